/* SPDX-License-Identifier: Apache-2.0 */
#include "console/output.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define OUTPUT_START  KIB(4)
#define WRITE_PIECE   KIB(4) /* what a pipe that polls writable takes without blocking */
#define PIECES_MAX    256    /* in one turn of the loop */
#define RETRY_NS      UINT64_C(10000000)
#define CLOSE_WAIT_MS 1000

struct output {
    struct loop *loop;
    /* Loop thread only. */
    int fd;
    struct loop_watch *watch; /* the descriptor was full: says when it is no more */
    struct loop_timer *retry; /* the same where a descriptor cannot be watched */
    uint8_t piece[WRITE_PIECE];
    size_t piece_start, piece_end; /* taken from the ring, not yet written */
    /* Guarded by the lock, which is never held while writing. */
    pthread_mutex_t lock;
    uint8_t *ring;
    size_t head, used, capacity, limit;
    bool flush_posted; /* or the watch or output_connect() will see to it */
};

/* Copies out of the ring; the caller holds the lock. */
static void ring_peek(const struct output *output, uint8_t *bytes, size_t count)
{
    size_t first = output->capacity - output->head;
    if (first > count)
        first = count;
    memcpy(bytes, output->ring + output->head, first);
    memcpy(bytes + first, output->ring, count - first);
}

static void ring_skip(struct output *output, size_t count)
{
    output->head = (output->head + count) & (output->capacity - 1);
    output->used -= count;
}

static void ring_put(struct output *output, const uint8_t *bytes, size_t count)
{
    size_t tail = (output->head + output->used) & (output->capacity - 1);
    size_t first = output->capacity - tail;
    if (first > count)
        first = count;
    memcpy(output->ring + tail, bytes, first);
    memcpy(output->ring, bytes + first, count - first);
    output->used += count;
}

/* Makes the ring large enough for `needed` bytes, as far as the limit and memory allow. */
static void ring_grow(struct output *output, size_t needed)
{
    size_t capacity = output->capacity ? output->capacity : OUTPUT_START;
    while (capacity < needed && capacity < output->limit)
        capacity *= 2;
    uint8_t *ring = capacity > output->capacity ? malloc(capacity) : NULL;
    if (!ring)
        return;
    if (output->used)
        ring_peek(output, ring, output->used);
    free(output->ring);
    output->ring = ring;
    output->head = 0;
    output->capacity = capacity;
}

/* Has the next bytes in output->piece. False: there are none. */
static bool next_piece(struct output *output)
{
    if (output->piece_start < output->piece_end)
        return true;
    pthread_mutex_lock(&output->lock);
    size_t count = output->used < WRITE_PIECE ? output->used : WRITE_PIECE;
    if (count) {
        ring_peek(output, output->piece, count);
        ring_skip(output, count);
    } else {
        output->flush_posted = false;
    }
    pthread_mutex_unlock(&output->lock);
    output->piece_start = 0;
    output->piece_end = count;
    return count;
}

/* False: the descriptor is full. A reader that has gone makes write fail: nobody wants those bytes.
 */
static bool write_piece(struct output *output, int wait_ms)
{
    struct pollfd poller = {.fd = output->fd, .events = POLLOUT};
    if (poll(&poller, 1, wait_ms) != 1)
        return false;
    ssize_t written = write(output->fd, output->piece + output->piece_start,
                            output->piece_end - output->piece_start);
    if (written < 0 && errno == EAGAIN)
        return false;
    if (written < 0 && errno == EINTR)
        return true;
    output->piece_start = written < 0 ? output->piece_end : output->piece_start + (size_t)written;
    return true;
}

enum progress { ALL_WRITTEN, MORE_LEFT, BLOCKED };

static enum progress flush(struct output *output, int wait_ms)
{
    for (unsigned i = 0; i < PIECES_MAX; i++) {
        if (output->fd < 0 || !next_piece(output))
            return ALL_WRITTEN;
        if (!write_piece(output, wait_ms))
            return BLOCKED;
    }
    return MORE_LEFT;
}

static void flush_posted(void *opaque);

static void writable(void *opaque, uint32_t events)
{
    struct output *output = opaque;
    loop_watch_change(output->watch, 0);
    flush_posted(output);
}

static void retry_soon(struct output *output)
{
    loop_timer_arm(output->retry, clock_monotonic_ns() + RETRY_NS);
}

static void wait_until_writable(struct output *output)
{
    if (output->watch)
        loop_watch_change(output->watch, EPOLLOUT);
    else
        output->watch = loop_watch_add(output->loop, output->fd, EPOLLOUT, writable, output, NULL);
    if (!output->watch)
        retry_soon(output);
}

static void flush_posted(void *opaque)
{
    struct output *output = opaque;
    enum progress progress = flush(output, 0);
    if (progress == BLOCKED)
        wait_until_writable(output);
    else if (progress == MORE_LEFT && loop_post(output->loop, flush_posted, output) < 0)
        retry_soon(output);
}

void output_write(struct output *output, const uint8_t *bytes, size_t count)
{
    pthread_mutex_lock(&output->lock);
    ring_grow(output, output->used + count);
    if (count > output->capacity) {
        bytes += count - output->capacity;
        count = output->capacity;
    }
    if (count > output->capacity - output->used)
        ring_skip(output, count - (output->capacity - output->used));
    if (count)
        ring_put(output, bytes, count);
    bool post = !output->flush_posted;
    output->flush_posted = true;
    pthread_mutex_unlock(&output->lock);
    if (post && loop_post(output->loop, flush_posted, output) < 0)
        retry_soon(output);
}

void output_connect(struct output *output, int fd)
{
    loop_watch_remove(output->watch);
    output->watch = NULL;
    output->fd = fd;
    if (fd >= 0)
        flush_posted(output);
}

void output_flush(struct output *output)
{
    while (flush(output, CLOSE_WAIT_MS) == MORE_LEFT)
        ;
}

struct output *output_create(struct loop *loop, size_t limit, struct error *error)
{
    struct output *output = calloc(1, sizeof(*output));
    if (!output) {
        error_set(error, ENOMEM, "console: out of memory");
        return NULL;
    }
    output->loop = loop;
    output->fd = -1;
    output->limit = limit;
    output->retry = loop_timer_create(loop, flush_posted, output, error);
    if (!output->retry) {
        free(output);
        return NULL;
    }
    pthread_mutex_init(&output->lock, NULL);
    return output;
}

void output_destroy(struct output *output)
{
    if (!output)
        return;
    loop_watch_remove(output->watch);
    loop_timer_destroy(output->retry);
    pthread_mutex_destroy(&output->lock);
    free(output->ring);
    free(output);
}
