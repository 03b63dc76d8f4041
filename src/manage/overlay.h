/* SPDX-License-Identifier: Apache-2.0 */
/* Images that a VM's disks go on in, when what they were becomes a snapshot's. */
#ifndef NACRE_MANAGE_OVERLAY_H
#define NACRE_MANAGE_OVERLAY_H

#include "base/error.h"

#include <jansson.h>
#include <limits.h>
#include <stdint.h>

struct overlay_file {
    unsigned disk; /* number in its machine */
    char path[PATH_MAX];
    int fd, below_fd; /* the image, locked; what it is on top of, read-only */
    uint64_t size;    /* bytes of its file */
};

/* An image that overlays go on top of. */
struct overlay_below {
    const char *path, *format;
    uint64_t size; /* bytes of the disk */
};

/* Makes the file folder/diskN-M.qcow2 with the first M that is free. -errno with *error. */
int overlay_create(struct overlay_file *overlay, unsigned disk, const struct overlay_below *below,
                   const char *folder, struct error *error);
/* Opens both. -errno with *error. */
int overlay_open(struct overlay_file *overlay, const struct overlay_below *below,
                 struct error *error);
void overlay_close(struct overlay_file *overlay);

/* Makes the overlay the place of a config's disk. */
void overlay_enter(const struct overlay_file *overlay, json_t *config);

#endif
