/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block back ends behind one struct, as devices see them. Requests are asynchronous: submit returns
 * at once, and done is called on the event loop's thread. Offsets and lengths are in bytes.
 */
#ifndef NACRE_DISK_BLOCK_H
#define NACRE_DISK_BLOCK_H

#include "base/error.h"
#include "base/iovec.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/rate_limit.h"
#include "base/thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum block_operation {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,
    BLOCK_DISCARD,
    BLOCK_WRITE_ZEROES,
    BLOCK_FINISH, /* the last of all: what a format writes when its image is closed */
};

struct block_request {
    enum block_operation operation;
    bool may_unmap;  /* WRITE_ZEROES: the range may give up its space */
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes; the vector of READ and WRITE may be longer */
    const struct iovec *vector;
    unsigned vector_count;
    uint64_t skip; /* bytes of the vector that come before the request's */
    /* result: 0 or -errno. */
    void (*done)(struct block_request *request, int result);
    void *opaque;
    /* On a thread of the disk's, in place of the operation; result is what it returns. Optional. */
    int (*call)(struct block_request *request);
    /* The back end's while the request is in flight. */
    struct block_request *next;
    uint64_t file_offset;
    unsigned epoch;
    int result;
};

/* First in, first out, linked by `next`: a request in flight needs no other memory. */
struct block_queue {
    struct block_request *first, *last;
};

static inline void block_queue_push(struct block_queue *queue, struct block_request *request)
{
    request->next = NULL;
    if (queue->first)
        queue->last->next = request;
    else
        queue->first = request;
    queue->last = request;
}

static inline struct block_request *block_queue_pop(struct block_queue *queue)
{
    struct block_request *request = queue->first;
    if (request)
        queue->first = request->next;
    return request;
}

struct block;

/*
 * What takes a disk's writes from some moment on: an empty qcow2 image of its size on top of what
 * it is until then, which nobody writes any more. Somebody outside the jail has opened both; the
 * disk takes them over.
 */
struct block_overlay {
    const char *path; /* of the overlay, for messages */
    uint64_t size;    /* bytes of its file */
    int fd;           /* to read and write */
    int below_fd;     /* the present image again, to read: its old descriptor, which holds its lock,
                         is closed */
};

/* All on the event loop's thread. */
struct block_ops {
    void (*submit)(struct block *block, struct block_request *request);
    /* Optional. Submitted requests may be held back until then: one system call for many. */
    void (*kick)(struct block *block);
    /* Waits for the requests in flight and calls their done functions. */
    void (*drain)(struct block *block);
    void (*close)(struct block *block); /* drains first */
    /* Opens an overlay and writes back what waits below; done is called with 0 or -errno. */
    void (*prepare_overlay)(struct block *block, const struct block_overlay *overlay,
                            void (*done)(void *opaque, int result), void *opaque);
    /* Puts it on top. Nothing is in flight. 0 or -errno. */
    int (*switch_overlay)(struct block *block);
    /* It is not wanted any more. */
    void (*forget_overlay)(struct block *block);
};

/* What a device has asked for since the machine began. */
struct block_counters {
    uint64_t requests[BLOCK_FINISH]; /* by enum block_operation */
    uint64_t bytes[BLOCK_FINISH];
};

struct block {
    const struct block_ops *ops;
    struct block_counters counters;
    uint64_t size;      /* bytes */
    const char *format; /* of its image: "qcow2" */
    bool read_only;
    bool can_discard;
    unsigned sector_size;          /* bytes: what requests are multiples of */
    unsigned physical_sector_size; /* bytes: what they had better be multiples of */
};

enum block_cache {
    BLOCK_CACHE_WRITEBACK,    /* the host's page cache; a flush makes writes last */
    BLOCK_CACHE_NONE,         /* past the page cache (O_DIRECT); a flush makes writes last */
    BLOCK_CACHE_WRITETHROUGH, /* the host's page cache for reads; every write lasts at once */
    BLOCK_CACHE_UNSAFE,       /* flushes are ignored: for what may be lost */
};

/* What does the I/O. AUTO: io_uring where the host has it, else threads. */
enum block_aio { BLOCK_AIO_AUTO, BLOCK_AIO_THREADS, BLOCK_AIO_URING };

/* Told, on the loop's thread, when the host has no room for what is written (requests wait until it
 * has), and when that is over. It must not call the block. */
struct block_watcher {
    void (*full)(void *opaque, bool full); /* NULL: nobody cares */
    void *opaque;
};

/* What the guest sees the disk as. */
enum block_bus { BLOCK_BUS_VIRTIO, BLOCK_BUS_IDE };

struct block_options {
    const char *option; /* of the command line, to name in errors; NULL: --disk */
    const char *path;
    enum block_bus bus;
    const char *format; /* NULL: as the name says (docs/decisions/image-formats.md) */
    bool read_only;
    bool lenient;    /* open what is damaged: to check it */
    bool no_backing; /* leave what it is based on closed */
    unsigned depth;  /* backing images above this one */
    enum block_cache cache;
    enum block_aio aio;
    struct rate_limit_config limit;
    struct block_watcher watcher;
    struct log *log;                  /* for what goes wrong later; NULL: silent */
    const struct thread_guard *guard; /* what each I/O thread enters; NULL: none */
};

/* PATH[,SETTING=VALUE...] as after --disk; options->option may be set before. The text is cut up in
 * place and must live as long. */
int block_options_parse(struct block_options *options, char *text, struct error *error);

/* The option to name in an error about it. */
static inline const char *block_option(const struct block_options *options)
{
    return options->option ? options->option : "--disk";
}

struct block *block_open(const struct block_options *options, struct loop *loop,
                         struct error *error);

static inline void block_submit(struct block *block, struct block_request *request)
{
    if (request->operation < BLOCK_FINISH) {
        block->counters.requests[request->operation]++;
        block->counters.bytes[request->operation] += request->length;
    }
    block->ops->submit(block, request);
}

static inline void block_kick(struct block *block)
{
    if (block->ops->kick)
        block->ops->kick(block);
}

static inline void block_drain(struct block *block)
{
    block->ops->drain(block);
}

static inline void block_close(struct block *block)
{
    block->ops->close(block);
}

#endif
