/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A drive without a disk: its threads are made at the start, before a jail closes around the
 * process, and later a file that somebody else has opened is put in. All on the loop's thread.
 */
#ifndef NACRE_DISK_BAY_H
#define NACRE_DISK_BAY_H

#include "disk/block.h"

struct block_medium {
    const char *path;   /* for messages, and for the format if that is NULL */
    const char *format; /* NULL: as the name says */
    bool read_only;
    int fd; /* taken over */
    uint64_t size;
};

typedef void block_bay_done(void *opaque, int result, const char *why);

/* NULL with *error. block_close() ends it. */
struct block *block_bay_create(const struct thread_guard *guard, struct loop *loop,
                               struct error *error);

/* Opens the image. done is called later: 0, or -errno with why. The bay is empty, and nothing else
 * is asked of it meanwhile. */
void block_bay_insert(struct block *bay, const struct block_medium *medium, block_bay_done *done,
                      void *opaque);
/* Closes the image when all requests are done. done: what could not be written any more. */
void block_bay_empty(struct block *bay, block_bay_done *done, void *opaque);

#endif
