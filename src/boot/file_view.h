/* SPDX-License-Identifier: Apache-2.0 */
/* A whole file, read-only in memory. */
#ifndef NACRE_BOOT_FILE_VIEW_H
#define NACRE_BOOT_FILE_VIEW_H

#include "base/error.h"

#include <stdint.h>

struct file_view {
    const uint8_t *bytes;
    uint64_t size;
};

/* option: what to name in errors ("--kernel"). path NULL: an empty view. */
int file_view_open(struct file_view *view, const char *option, const char *path,
                   struct error *error);
/* Gives its pages back to the host; a later look at the bytes reads them again. */
void file_view_release(const struct file_view *view);
void file_view_close(struct file_view *view);

#endif
