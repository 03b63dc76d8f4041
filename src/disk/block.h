/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Block back ends behind one struct. Requests are asynchronous: submit returns at once, done is
 * called on the event loop's thread. Offsets and lengths are in bytes.
 */
#ifndef NACRE_DISK_BLOCK_H
#define NACRE_DISK_BLOCK_H

#include "base/error.h"
#include "base/loop.h"
#include "base/thread.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum block_operation { BLOCK_READ, BLOCK_WRITE, BLOCK_FLUSH, BLOCK_DISCARD, BLOCK_WRITE_ZEROES };

struct block_request {
    enum block_operation operation;
    uint64_t offset; /* bytes */
    uint64_t length; /* bytes; for READ and WRITE the sum of the vector */
    struct iovec *vector;
    int vector_count;
    /* result: 0 or -errno. */
    void (*done)(struct block_request *request, int result);
    void *opaque;
    struct block_request *next; /* the back end's while the request is in flight */
};

struct block;

struct block_ops {
    const char *format; /* "raw" */
    void (*submit)(struct block *block, struct block_request *request);
    void (*close)(struct block *block); /* waits for requests in flight */
};

struct block {
    const struct block_ops *ops;
    uint64_t size; /* bytes */
    bool read_only;
    bool can_discard;
    unsigned sector_size; /* bytes: 512 or 4096 */
};

struct block_options {
    const char *path;
    const char *format; /* NULL: guess */
    bool read_only;
    bool direct;                      /* O_DIRECT */
    const struct thread_guard *guard; /* what each I/O thread enters; NULL: none */
};

struct block *block_open(const struct block_options *options, struct loop *loop,
                         struct error *error);

static inline void block_submit(struct block *block, struct block_request *request)
{
    block->ops->submit(block, request);
}

static inline void block_close(struct block *block)
{
    block->ops->close(block);
}

#endif
