/* SPDX-License-Identifier: Apache-2.0 */
/* Rate limits of a disk: requests that come too early wait in a queue of their own. */
#include "disk/limit.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>

struct limited {
    struct block block;
    struct block *below;
    struct rate_limit limit;
    struct loop_timer *timer;
    struct block_queue waiting;
};

static void pass_on(struct limited *limited, struct block_request *request)
{
    bool moves = request->operation == BLOCK_READ || request->operation == BLOCK_WRITE;
    rate_limit_charge(&limited->limit, moves ? request->length : 0, clock_monotonic_ns());
    limited->below->ops->submit(limited->below, request);
}

static void pass_on_due(void *opaque)
{
    struct limited *limited = opaque;
    while (limited->waiting.first) {
        uint64_t now = clock_monotonic_ns(), wait = rate_limit_wait(&limited->limit, now);
        if (wait) {
            loop_timer_arm(limited->timer, now + wait);
            break;
        }
        pass_on(limited, block_queue_pop(&limited->waiting));
    }
    block_kick(limited->below);
}

static void limited_submit(struct block *block, struct block_request *request)
{
    struct limited *limited = (struct limited *)block;
    bool first = !limited->waiting.first;
    block_queue_push(&limited->waiting, request);
    if (first)
        pass_on_due(limited);
}

/* Nobody waits for a rate any more: the machine stops, or is being reset. */
static void limited_drain(struct block *block)
{
    struct limited *limited = (struct limited *)block;
    do {
        for (struct block_request *request; (request = block_queue_pop(&limited->waiting));)
            limited->below->ops->submit(limited->below, request);
        block_kick(limited->below);
        block_drain(limited->below);
    } while (limited->waiting.first);
}

static void limited_close(struct block *block)
{
    struct limited *limited = (struct limited *)block;
    limited_drain(block);
    block_close(limited->below);
    loop_timer_destroy(limited->timer);
    free(limited);
}

static void limited_prepare_overlay(struct block *block, const struct block_overlay *overlay,
                                    void (*done)(void *opaque, int result), void *opaque)
{
    const struct limited *limited = (const struct limited *)block;
    limited->below->ops->prepare_overlay(limited->below, overlay, done, opaque);
}

static int limited_switch_overlay(struct block *block)
{
    struct limited *limited = (struct limited *)block;
    int result = limited->below->ops->switch_overlay(limited->below);
    block->format = limited->below->format;
    return result;
}

static void limited_forget_overlay(struct block *block)
{
    const struct limited *limited = (const struct limited *)block;
    limited->below->ops->forget_overlay(limited->below);
}

static const struct block_ops limited_ops = {
    .submit = limited_submit,
    .drain = limited_drain,
    .close = limited_close,
    .prepare_overlay = limited_prepare_overlay,
    .switch_overlay = limited_switch_overlay,
    .forget_overlay = limited_forget_overlay,
};

struct block *limit_block_open(struct block *below, const struct rate_limit_config *config,
                               struct loop *loop, struct error *error)
{
    struct limited *limited = calloc(1, sizeof(*limited));
    if (limited)
        limited->timer = loop_timer_create(loop, pass_on_due, limited, error);
    else
        error_set(error, ENOMEM, "--disk: out of memory");
    if (!limited || !limited->timer) {
        block_close(below);
        free(limited);
        return NULL;
    }
    limited->block = *below;
    limited->block.ops = &limited_ops;
    limited->below = below;
    rate_limit_init(&limited->limit, config);
    return &limited->block;
}
