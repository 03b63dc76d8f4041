/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/bay.h"

#include "base/bits.h"
#include "disk/block_private.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 2 /* of each bay; most stay empty */

struct bay {
    struct disk disk; /* first */
    struct block_request request;
    char *path, *format; /* of the disk that is in, or being put in */
    bool read_only;
    int fd; /* -1: taken over by the image */
    uint64_t size;
    struct error error;
    block_bay_done *done;
    void *opaque;
};

static void forget_names(struct bay *bay)
{
    free(bay->path);
    free(bay->format);
    bay->path = bay->format = NULL;
}

/* On a thread of the disk's: the loop's may not touch files. */
static int open_medium(struct block_request *request)
{
    struct bay *bay = request->opaque;
    /* What it is based on could not be opened any more. */
    const struct block_options options = {.path = bay->path,
                                          .format = bay->format,
                                          .read_only = bay->read_only,
                                          .depth = IMAGE_DEPTH_MAX};
    struct file *file = file_adopt(&options, bay->fd, bay->size);
    bay->fd = -1;
    if (!file)
        return error_set(&bay->error, ENOMEM, "%s: out of memory", bay->path);
    bay->disk.image = image_open_file(file, &options, &bay->error);
    if (bay->disk.image)
        return 0;
    if (bay->error.code == ELOOP)
        return error_set(&bay->error, EINVAL,
                         "%s: is based on another image; nacre image convert makes one that can be "
                         "attached",
                         bay->path);
    return -bay->error.code;
}

static int close_medium(struct block_request *request)
{
    struct bay *bay = request->opaque;
    int result = image_close(bay->disk.image);
    bay->disk.image = NULL;
    if (result < 0)
        error_set(&bay->error, -result, "%s: %s", bay->path, strerror(-result));
    return result;
}

static void finished(struct block_request *request, int result)
{
    struct bay *bay = request->opaque;
    struct disk *disk = &bay->disk;
    pool_set_image(disk->pool, disk->image);
    if (disk->image) {
        disk->block.size = disk->image->size;
        disk->block.format = disk->image->ops->format;
        disk->block.read_only = bay->read_only;
        disk->block.physical_sector_size = disk->image->file->physical_sector_size;
    } else {
        forget_names(bay);
    }
    bay->done(bay->opaque, result, result < 0 ? bay->error.message : NULL);
}

static void submit(struct bay *bay, int (*call)(struct block_request *request),
                   block_bay_done *done, void *opaque)
{
    bay->error = (struct error){0};
    bay->done = done;
    bay->opaque = opaque;
    bay->request = (struct block_request){.call = call, .done = finished, .opaque = bay};
    bay->disk.in_flight++;
    pool_submit(bay->disk.pool, &bay->request);
}

void block_bay_insert(struct block *block, const struct block_medium *medium, block_bay_done *done,
                      void *opaque)
{
    struct bay *bay = (struct bay *)block;
    bay->path = strdup(medium->path);
    bay->format = medium->format ? strdup(medium->format) : NULL;
    if (!bay->path || (medium->format && !bay->format)) {
        forget_names(bay);
        close(medium->fd);
        done(opaque, -ENOMEM, "out of memory");
        return;
    }
    bay->read_only = medium->read_only;
    bay->fd = medium->fd;
    bay->size = medium->size;
    submit(bay, open_medium, done, opaque);
}

void block_bay_empty(struct block *block, block_bay_done *done, void *opaque)
{
    struct bay *bay = (struct bay *)block;
    block_drain(block);
    submit(bay, close_medium, done, opaque);
}

static void bay_close(struct block *block)
{
    struct bay *bay = (struct bay *)block;
    block_drain(block); /* it may be about to be opened */
    forget_names(bay);
    disk_close(block);
}

static const struct block_ops bay_ops = {
    .submit = disk_submit,
    .kick = disk_kick,
    .drain = disk_drain,
    .close = bay_close,
};

struct block *block_bay_create(const struct thread_guard *guard, struct loop *loop,
                               struct error *error)
{
    struct bay *bay = calloc(1, sizeof(*bay));
    if (!bay) {
        error_set(error, ENOMEM, "disk: out of memory");
        return NULL;
    }
    bay->fd = -1;
    bay->disk.block = (struct block){.ops = &bay_ops, .can_discard = true, .sector_size = 512};
    bay->disk.pool = pool_create(NULL, THREADS, guard, loop, disk_finished, &bay->disk, error);
    if (bay->disk.pool)
        return &bay->disk.block;
    free(bay);
    return NULL;
}
