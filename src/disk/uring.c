/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring, by liburing. Each request under way has a slot; a transfer that the kernel cuts short,
 * or with more pieces than a slot holds, goes on from where it came to. Requests beyond the slots
 * wait in a queue.
 */
#include "disk/uring.h"

#include "base/bits.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SLOTS  128
#define PIECES 32 /* of a vector, in one operation */

struct slot {
    struct block_request *request;
    uint64_t offset; /* in the file */
    uint64_t done;   /* bytes */
    struct slot *next_free;
    struct iovec pieces[PIECES];
};

struct uring {
    struct file *file;
    void (*finished)(void *opaque, struct block_request *request);
    void *opaque;
    struct io_uring ring;
    struct loop_watch *watch;
    unsigned under_way;   /* slots in use */
    unsigned unsubmitted; /* of those, not yet the kernel's */
    struct block_queue waiting;
    struct slot *free;
    struct slot slots[SLOTS];
};

static void prepare(struct uring *uring, struct slot *slot)
{
    /* There are as many entries as slots. */
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    const struct block_request *request = slot->request;
    struct file *file = uring->file;
    uint64_t offset = slot->offset + slot->done;
    unsigned count = vector_slice(slot->pieces, PIECES, request->vector, request->vector_count,
                                  request->skip + slot->done, request->length - slot->done);
    int fd = file->ops->descriptor(file, offset, slot->pieces, count);
    if (request->operation == BLOCK_FLUSH)
        io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
    else if (request->operation == BLOCK_READ)
        io_uring_prep_readv(entry, fd, slot->pieces, count, offset);
    else
        io_uring_prep_writev2(entry, fd, slot->pieces, count, offset,
                              file->cache == BLOCK_CACHE_WRITETHROUGH ? RWF_DSYNC : 0);
    io_uring_sqe_set_data(entry, slot);
    uring->unsubmitted++;
}

static void begin(struct uring *uring, struct block_request *request, uint64_t offset)
{
    struct slot *slot = uring->free;
    uring->free = slot->next_free;
    slot->request = request;
    slot->offset = offset;
    slot->done = 0;
    uring->under_way++;
    prepare(uring, slot);
}

void uring_submit(struct uring *uring, struct block_request *request, uint64_t offset)
{
    request->file_offset = offset;
    if (uring->free)
        begin(uring, request, offset);
    else
        block_queue_push(&uring->waiting, request);
}

void uring_kick(struct uring *uring)
{
    while (uring->unsubmitted) {
        int result = io_uring_submit(&uring->ring);
        if (result > 0)
            uring->unsubmitted -= (unsigned)result;
        else if (result != -EINTR && uring->under_way > uring->unsubmitted)
            return; /* the kernel is short of something: a completion brings us back */
        else if (result != -EINTR)
            poll(NULL, 0, 1); /* a millisecond */
    }
}

/* What the operation moved: more to do for the request? */
static bool advance(struct uring *uring, struct slot *slot, int moved)
{
    struct block_request *request = slot->request;
    request->result = moved < 0 ? moved : 0;
    if (request->operation == BLOCK_FLUSH)
        return false;
    if (moved == -EINTR || moved == -EAGAIN)
        return true;
    if (moved > 0)
        slot->done += (unsigned)moved;
    else if (moved == 0 && request->operation == BLOCK_READ && uring->file->grows)
        vector_clear(request->vector, request->vector_count, request->skip + slot->done,
                     request->length - slot->done);
    else if (moved == 0)
        request->result = -EIO; /* the file has become shorter */
    return moved > 0 && slot->done < request->length;
}

static void complete(struct uring *uring, struct slot *slot, int moved)
{
    struct block_request *request = slot->request;
    if (advance(uring, slot, moved)) {
        prepare(uring, slot);
        return;
    }
    slot->next_free = uring->free;
    uring->free = slot;
    uring->under_way--;
    struct block_request *waiting = block_queue_pop(&uring->waiting);
    if (waiting)
        begin(uring, waiting, waiting->file_offset);
    uring->finished(uring->opaque, request);
}

static void reap(struct uring *uring)
{
    struct io_uring_cqe *completion;
    while (io_uring_peek_cqe(&uring->ring, &completion) == 0) {
        struct slot *slot = io_uring_cqe_get_data(completion);
        int moved = completion->res;
        io_uring_cqe_seen(&uring->ring, completion);
        complete(uring, slot, moved);
    }
    uring_kick(uring);
}

static void ready(void *opaque, uint32_t events)
{
    reap(opaque);
}

void uring_drain(struct uring *uring)
{
    while (uring->under_way) {
        struct io_uring_cqe *completion;
        uring_kick(uring);
        io_uring_wait_cqe(&uring->ring, &completion);
        reap(uring);
    }
}

void uring_set_file(struct uring *uring, struct file *file)
{
    uring->file = file;
}

void uring_destroy(struct uring *uring)
{
    loop_watch_remove(uring->watch);
    io_uring_queue_exit(&uring->ring);
    free(uring);
}

/* Debian 12's liburing declares its functions for these, but does not export them. */
static int ring_register(const struct io_uring *ring, unsigned operation, const void *argument,
                         unsigned count)
{
    return syscall(SYS_io_uring_register, ring->ring_fd, operation, argument, count) < 0 ? -errno
                                                                                         : 0;
}

/*
 * Operations in a ring pass no seccomp filter: the ring itself takes those of disks only, and no
 * more files or buffers. Kernels before 5.10 cannot do that; Landlock holds there, too.
 */
static int make_ring(struct io_uring *ring)
{
    static const uint8_t operations[] = {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC};
    struct io_uring_restriction restrictions[ARRAY_SIZE(operations)];
    int result = io_uring_queue_init(SLOTS, ring, IORING_SETUP_R_DISABLED);
    if (result == -EINVAL)
        return io_uring_queue_init(SLOTS, ring, 0);
    if (result < 0)
        return result;
    memset(restrictions, 0, sizeof(restrictions));
    for (unsigned i = 0; i < ARRAY_SIZE(operations); i++) {
        restrictions[i].opcode = IORING_RESTRICTION_SQE_OP;
        restrictions[i].sqe_op = operations[i];
    }
    result =
        ring_register(ring, IORING_REGISTER_RESTRICTIONS, restrictions, ARRAY_SIZE(restrictions));
    if (result == 0)
        result = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (result < 0)
        io_uring_queue_exit(ring);
    return result;
}

struct uring *uring_create(struct file *file, struct loop *loop,
                           void (*finished)(void *opaque, struct block_request *request),
                           void *opaque, struct error *error)
{
    struct uring *uring = file->ops->descriptor ? calloc(1, sizeof(*uring)) : NULL;
    if (!uring) {
        error_set(error, ENOTSUP, "%s: io_uring cannot reach it", file->path);
        return NULL;
    }
    int result = make_ring(&uring->ring);
    if (result < 0) {
        error_set(error, -result, "%s: this host offers no io_uring (%s); use aio=threads",
                  file->path, strerror(-result));
        free(uring);
        return NULL;
    }
    uring->file = file;
    uring->finished = finished;
    uring->opaque = opaque;
    for (unsigned i = 0; i < SLOTS; i++) {
        uring->slots[i].next_free = uring->free;
        uring->free = &uring->slots[i];
    }
    uring->watch = loop_watch_add(loop, uring->ring.ring_fd, EPOLLIN, ready, uring, error);
    if (!uring->watch) {
        uring_destroy(uring);
        return NULL;
    }
    return uring;
}
