/* SPDX-License-Identifier: Apache-2.0 */
/* A disk on an image, as the files of its asynchronous face know it. */
#ifndef NACRE_DISK_BLOCK_PRIVATE_H
#define NACRE_DISK_BLOCK_PRIVATE_H

#include "disk/block.h"
#include "disk/image.h"
#include "disk/pool.h"
#include "disk/uring.h"

struct overlay;

struct disk {
    struct block block;
    struct image *image;
    struct pool *pool;
    struct uring *uring; /* NULL: threads only */
    bool ring_must;      /* the user wants the ring to take all it can */
    bool ring_writes;
    unsigned in_flight;
    struct block_watcher watcher;
    struct block_queue held; /* until the host has room again */
    struct loop_timer *retry;
    bool is_full, draining;
    struct overlay *overlay; /* prepared, or being so; NULL: none */
};

/* block.c: operations of the same names; what a pool calls. */
void disk_submit(struct block *block, struct block_request *request);
void disk_kick(struct block *block);
void disk_drain(struct block *block);
void disk_close(struct block *block);
void disk_finished(void *opaque, struct block_request *request);

/* full.c: keeps a request that has found no room on the host; false: it is over. */
bool full_hold(struct disk *disk, struct block_request *request);
/* Tries again what has been kept. */
void full_retry(struct disk *disk);
int full_create(struct disk *disk, struct loop *loop, struct error *error);

/* overlay.c: operations of the same names. */
void overlay_prepare(struct block *block, const struct block_overlay *overlay,
                     void (*done)(void *opaque, int result), void *opaque);
int overlay_switch(struct block *block);
void overlay_forget(struct block *block);

#endif
