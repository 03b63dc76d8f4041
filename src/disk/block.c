/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asynchronous face of an image. A request that amounts to the same one on the image's file
 * goes to io_uring if that is good at it; all others, and all where there is no io_uring, to
 * threads.
 */
#include "base/bits.h"
#include "disk/block_private.h"
#include "disk/limit.h"

#include <errno.h>
#include <stdlib.h>

void disk_finished(void *opaque, struct block_request *request)
{
    struct disk *disk = opaque;
    disk->in_flight--;
    if (!full_hold(disk, request))
        request->done(request, request->result);
}

static void uring_finished(void *opaque, struct block_request *request)
{
    struct disk *disk = opaque;
    if (disk->image->ops->release)
        disk->image->ops->release(disk->image, request);
    disk_finished(disk, request);
}

static bool fits_uring(const struct disk *disk, const struct block_request *request)
{
    if (!disk->uring || !disk->image->ops->locate)
        return false;
    switch (request->operation) {
    case BLOCK_READ:
        return true;
    case BLOCK_WRITE:
        return disk->ring_writes;
    case BLOCK_FLUSH:
        return disk->image->file->cache != BLOCK_CACHE_UNSAFE;
    default:
        return false;
    }
}

void disk_submit(struct block *block, struct block_request *request)
{
    struct disk *disk = (struct disk *)block;
    uint64_t offset;
    disk->in_flight++;
    if (fits_uring(disk, request) && disk->image->ops->locate(disk->image, request, &offset))
        uring_submit(disk->uring, request, offset);
    else
        pool_submit(disk->pool, request);
}

void disk_kick(struct block *block)
{
    struct disk *disk = (struct disk *)block;
    if (disk->uring)
        uring_kick(disk->uring);
}

void disk_drain(struct block *block)
{
    struct disk *disk = (struct disk *)block;
    disk->draining = true;
    full_retry(disk); /* the last chance of what waits for room */
    while (disk->in_flight) {
        if (disk->uring)
            uring_drain(disk->uring);
        pool_drain(disk->pool);
    }
    disk->draining = false;
}

static void closed(struct block_request *request, int result)
{
}

void disk_close(struct block *block)
{
    struct disk *disk = (struct disk *)block;
    struct block_request finish = {.operation = BLOCK_FINISH, .done = closed};
    /* On a thread of the pool: this one may be forbidden to touch files. */
    if (disk->pool && disk->image)
        disk_submit(block, &finish);
    overlay_forget(block);
    if (disk->uring)
        uring_destroy(disk->uring);
    if (disk->pool)
        pool_destroy(disk->pool);
    if (disk->image)
        image_close(disk->image);
    if (disk->retry)
        loop_timer_destroy(disk->retry);
    free(disk);
}

static const struct block_ops disk_ops = {
    .submit = disk_submit,
    .kick = disk_kick,
    .drain = disk_drain,
    .close = disk_close,
    .prepare_overlay = overlay_prepare,
    .switch_overlay = overlay_switch,
    .forget_overlay = overlay_forget,
};

static int start_io(struct disk *disk, const struct block_options *options, struct loop *loop,
                    struct error *error)
{
    struct error refused;
    bool must = options->aio == BLOCK_AIO_URING;
    if (options->aio != BLOCK_AIO_THREADS)
        disk->uring =
            uring_create(disk->image->file, loop, uring_finished, disk, must ? error : &refused);
    if (must && !disk->uring)
        return -error->code;
    /* Writes to files take the kernel's own threads, mostly one at a time: ours do better there
     * (docs/decisions/disk-io.md). */
    disk->ring_must = must;
    disk->ring_writes = must || disk->image->file->is_device;
    disk->pool =
        pool_create(disk->image, POOL_THREADS, options->guard, loop, disk_finished, disk, error);
    return disk->pool ? 0 : -error->code;
}

struct block *block_open(const struct block_options *options, struct loop *loop,
                         struct error *error)
{
    struct disk *disk = calloc(1, sizeof(*disk));
    if (!disk) {
        error_set(error, ENOMEM, "%s %s: out of memory", block_option(options), options->path);
        return NULL;
    }
    disk->image = image_open(options, error);
    if (!disk->image) {
        free(disk);
        error_prefix(error, "%s", block_option(options));
        return NULL;
    }
    disk->block = (struct block){
        .ops = &disk_ops,
        .size = disk->image->size,
        .format = disk->image->ops->format,
        .read_only = options->read_only,
        .can_discard = true,
        .sector_size = 512,
        .physical_sector_size = disk->image->file->physical_sector_size,
    };
    disk->watcher = options->watcher;
    if (full_create(disk, loop, error) < 0 || start_io(disk, options, loop, error) < 0) {
        disk_close(&disk->block);
        error_prefix(error, "%s", block_option(options));
        return NULL;
    }
    if (rate_limit_wanted(&options->limit))
        return limit_block_open(&disk->block, &options->limit, loop, error);
    return &disk->block;
}
