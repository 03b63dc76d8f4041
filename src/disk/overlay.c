/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Freezing what a disk holds, while the guest goes on: an overlay is opened beside the image, then,
 * at a moment when nothing is in flight, put on top of it. From there on the image below is as
 * fixed as its file's name in a snapshot promises.
 */
#include "disk/block_private.h"
#include "disk/qcow2/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct overlay {
    struct disk *disk;
    struct block_overlay files; /* descriptors that are used up are -1 */
    char *path;
    struct image *image; /* open */
    struct block_request request;
    void (*done)(void *opaque, int result);
    void *opaque;
};

static void overlay_free(struct overlay *overlay)
{
    if (overlay->image)
        image_close(overlay->image);
    if (overlay->files.fd >= 0)
        close(overlay->files.fd);
    if (overlay->files.below_fd >= 0)
        close(overlay->files.below_fd);
    free(overlay->path);
    free(overlay);
}

/* On a thread of the disk's. */
static int open_overlay(struct block_request *request)
{
    struct overlay *overlay = request->opaque;
    struct image *below = overlay->disk->image;
    const struct block_options options = {
        .path = overlay->path, .no_backing = true, .cache = below->file->cache};
    struct file *file = file_adopt(&options, overlay->files.fd, overlay->files.size);
    overlay->files.fd = -1;
    if (!file)
        return -ENOMEM;
    overlay->image = qcow2_open(file, &options, NULL);
    if (!overlay->image || overlay->image->size != below->size)
        return -EINVAL;
    /* Most of what is to be written, before the machine has to wait for it. */
    return image_flush(below);
}

static void prepared(struct block_request *request, int result)
{
    struct overlay *overlay = request->opaque;
    void (*done)(void *opaque, int result) = overlay->done;
    void *opaque = overlay->opaque;
    if (result < 0) {
        overlay->disk->overlay = NULL;
        overlay_free(overlay);
    }
    done(opaque, result);
}

static void close_files(const struct block_overlay *files)
{
    close(files->fd);
    close(files->below_fd);
}

void overlay_prepare(struct block *block, const struct block_overlay *files,
                     void (*done)(void *opaque, int result), void *opaque)
{
    struct disk *disk = (struct disk *)block;
    struct overlay *overlay = disk->overlay ? NULL : calloc(1, sizeof(*overlay));
    char *path = overlay ? strdup(files->path) : NULL;
    if (!path) {
        free(overlay);
        close_files(files);
        done(opaque, disk->overlay ? -EBUSY : -ENOMEM);
        return;
    }
    *overlay = (struct overlay){
        .disk = disk, .files = *files, .path = path, .done = done, .opaque = opaque};
    overlay->request =
        (struct block_request){.call = open_overlay, .done = prepared, .opaque = overlay};
    disk->overlay = overlay;
    disk->in_flight++;
    pool_submit(disk->pool, &overlay->request);
}

static void finished(struct block_request *request, int result)
{
    *(int *)request->opaque = result;
}

int overlay_switch(struct block *block)
{
    struct disk *disk = (struct disk *)block;
    struct overlay *overlay = disk->overlay;
    int result = overlay ? 0 : -ENOENT;
    if (result < 0)
        return result;
    struct block_request finish = {.operation = BLOCK_FINISH, .done = finished, .opaque = &result};
    disk->in_flight++;
    pool_submit(disk->pool, &finish);
    block_drain(block);
    if (result < 0)
        return result;
    struct image *below = disk->image;
    below->read_only = true;
    file_freeze(below->file, overlay->files.below_fd);
    overlay->files.below_fd = -1;
    disk->image = overlay->image;
    disk->image->backing = below;
    disk->block.format = disk->image->ops->format;
    disk->ring_writes = disk->ring_must;
    pool_set_image(disk->pool, disk->image);
    if (disk->uring)
        uring_set_file(disk->uring, disk->image->file);
    overlay->image = NULL;
    overlay_free(overlay);
    disk->overlay = NULL;
    return 0;
}

void overlay_forget(struct block *block)
{
    struct disk *disk = (struct disk *)block;
    block_drain(block); /* it may be about to be opened */
    if (disk->overlay)
        overlay_free(disk->overlay);
    disk->overlay = NULL;
}
