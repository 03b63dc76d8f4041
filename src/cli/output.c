/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_MAX    MIB(16)
#define OUTPUT_START  KIB(4)
#define WRITE_PIECE   KIB(4) /* what a pipe that polls writable takes without blocking */
#define PIECES_MAX    256
#define RETRY_NS      UINT64_C(10000000)
#define CLOSE_WAIT_MS 1000

struct output {
    struct loop *loop;
    struct loop_timer *retry; /* the descriptor was full */
    int fd;
    pthread_mutex_t lock; /* guards what follows; never held while writing */
    char *bytes;
    size_t used, capacity;
    bool flush_posted;
};

/* Takes up to WRITE_PIECE bytes off the front. */
static size_t take_piece(struct output *output, char piece[WRITE_PIECE])
{
    pthread_mutex_lock(&output->lock);
    size_t count = output->used < WRITE_PIECE ? output->used : WRITE_PIECE;
    if (count) {
        memcpy(piece, output->bytes, count);
        output->used -= count;
        memmove(output->bytes, output->bytes + count, output->used);
    }
    if (!count)
        output->flush_posted = false;
    pthread_mutex_unlock(&output->lock);
    return count;
}

/* A reader that has gone makes write fail: nobody wants those bytes. */
static void write_piece(int fd, const char *piece, size_t count)
{
    while (count) {
        ssize_t written = write(fd, piece, count);
        if (written < 0 && errno != EINTR && errno != EAGAIN)
            return;
        if (written > 0) {
            piece += written;
            count -= (size_t)written;
        }
    }
}

/* False when some may be left: the descriptor takes no more, or the guest writes without end. */
static bool flush(struct output *output, int wait_ms)
{
    char piece[WRITE_PIECE];
    for (unsigned i = 0; i < PIECES_MAX; i++) {
        struct pollfd poller = {.fd = output->fd, .events = POLLOUT};
        if (output->fd < 0 || poll(&poller, 1, wait_ms) != 1)
            return false;
        size_t count = take_piece(output, piece);
        if (!count)
            return true;
        write_piece(output->fd, piece, count);
    }
    return false;
}

static void flush_posted(void *opaque)
{
    struct output *output = opaque;
    if (!flush(output, 0))
        loop_timer_arm(output->retry, clock_monotonic_ns() + RETRY_NS);
}

/* The caller holds the lock. */
static bool grow(struct output *output, size_t needed)
{
    size_t capacity = output->capacity ? output->capacity : OUTPUT_START;
    while (capacity < needed)
        capacity *= 2;
    if (capacity > OUTPUT_MAX)
        return false;
    char *bytes = realloc(output->bytes, capacity);
    if (!bytes)
        return false;
    output->bytes = bytes;
    output->capacity = capacity;
    return true;
}

void output_write(struct output *output, const char *bytes, size_t count)
{
    pthread_mutex_lock(&output->lock);
    if (output->used + count <= output->capacity || grow(output, output->used + count)) {
        memcpy(output->bytes + output->used, bytes, count);
        output->used += count;
    }
    bool post = !output->flush_posted;
    output->flush_posted = true;
    pthread_mutex_unlock(&output->lock);
    if (post && loop_post(output->loop, flush_posted, output) < 0)
        loop_timer_arm(output->retry, 0);
}

void output_connect(struct output *output, int fd)
{
    output->fd = fd;
}

void output_flush(struct output *output)
{
    flush(output, CLOSE_WAIT_MS);
}

struct output *output_create(struct loop *loop, struct error *error)
{
    struct output *output = calloc(1, sizeof(*output));
    if (!output) {
        error_set(error, ENOMEM, "terminal: out of memory");
        return NULL;
    }
    output->loop = loop;
    output->fd = -1;
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
    output_flush(output);
    loop_timer_destroy(output->retry);
    pthread_mutex_destroy(&output->lock);
    free(output->bytes);
    free(output);
}
