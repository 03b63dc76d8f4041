/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits: a frame that comes too early is refused, and its sender told when its time has come.
 */
#include "base/clock.h"
#include "net/filter.h"

#include <errno.h>
#include <stdlib.h>

struct limit {
    struct frame_backend backend;
    struct frame_backend *below;
    struct rate_limit out, in;
    struct loop_timer *out_timer, *in_timer;
};

/* True: one may pass now; else the timer says when. */
static bool may_pass(const struct rate_limit *rate, struct loop_timer *timer)
{
    uint64_t now = clock_monotonic_ns(), wait = rate_limit_wait(rate, now);
    if (wait)
        loop_timer_arm(timer, now + wait);
    return !wait;
}

static bool limit_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct limit *limit = (struct limit *)backend;
    if (!may_pass(&limit->out, limit->out_timer) ||
        !limit->below->ops->send(limit->below, frame, length))
        return false;
    rate_limit_charge(&limit->out, length, clock_monotonic_ns());
    return true;
}

static bool limit_receive(void *opaque, const struct frame *frame, size_t length)
{
    struct limit *limit = opaque;
    if (!may_pass(&limit->in, limit->in_timer) ||
        !frame_deliver(&limit->backend.sink, frame, length))
        return false;
    rate_limit_charge(&limit->in, length, clock_monotonic_ns());
    return true;
}

static void limit_ready(struct frame_backend *backend)
{
    struct limit *limit = (struct limit *)backend;
    limit->below->ops->ready(limit->below);
}

static void limit_writable(void *opaque)
{
    const struct limit *limit = opaque;
    frame_writable(&limit->backend.sink);
}

static void in_expired(void *opaque)
{
    limit_ready(opaque);
}

static void limit_close(struct frame_backend *backend)
{
    struct limit *limit = (struct limit *)backend;
    limit->below->ops->close(limit->below);
    loop_timer_destroy(limit->out_timer);
    loop_timer_destroy(limit->in_timer);
    free(limit);
}

static const struct frame_ops limit_ops = {
    .name = "limit", .send = limit_send, .ready = limit_ready, .close = limit_close};

struct frame_backend *limit_open(struct frame_backend *below,
                                 const struct rate_limit_config *config,
                                 const struct frame_host *host, struct error *error)
{
    struct limit *limit = calloc(1, sizeof(*limit));
    if (!limit) {
        error_set(error, ENOMEM, "--net: out of memory");
        below->ops->close(below);
        return NULL;
    }
    limit->backend.ops = &limit_ops;
    limit->below = below;
    rate_limit_init(&limit->out, config);
    rate_limit_init(&limit->in, config);
    limit->out_timer = loop_timer_create(host->loop, limit_writable, limit, error);
    limit->in_timer = loop_timer_create(host->loop, in_expired, limit, error);
    if (!limit->out_timer || !limit->in_timer) {
        limit_close(&limit->backend);
        return NULL;
    }
    below->sink = (struct frame_sink){limit_receive, limit_writable, limit};
    return &limit->backend;
}
