/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host that is full: requests that found no room wait here, and are tried again each second until
 * there is. To the guest they only take long; whoever runs it is told, and may pause it meanwhile.
 */
#include "base/clock.h"
#include "disk/block_private.h"

#include <errno.h>

#define RETRY_NS UINT64_C(1000000000)

static void tell(struct disk *disk, bool full)
{
    if (disk->is_full == full)
        return;
    disk->is_full = full;
    if (disk->watcher.full)
        disk->watcher.full(disk->watcher.opaque, full);
}

/* Nothing waits, and nothing is being tried again: it is over. */
static void full_check(struct disk *disk)
{
    if (!disk->held.first && !disk->in_flight)
        tell(disk, false);
}

void full_retry(struct disk *disk)
{
    struct block_queue held = disk->held;
    disk->held = (struct block_queue){0};
    for (struct block_request *request; (request = block_queue_pop(&held));)
        disk_submit(&disk->block, request);
    disk_kick(&disk->block);
}

static void retry_expired(void *opaque)
{
    full_retry(opaque);
}

bool full_hold(struct disk *disk, struct block_request *request)
{
    bool no_room = request->result == -ENOSPC || request->result == -EDQUOT;
    if (!no_room || disk->draining) {
        full_check(disk);
        return false;
    }
    block_queue_push(&disk->held, request);
    loop_timer_arm(disk->retry, clock_monotonic_ns() + RETRY_NS);
    tell(disk, true);
    return true;
}

int full_create(struct disk *disk, struct loop *loop, struct error *error)
{
    disk->retry = loop_timer_create(loop, retry_expired, disk, error);
    return disk->retry ? 0 : -error->code;
}
