/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk from which cloud-init takes what it is to do: its NoCloud data source, a FAT file system
 * with the label CIDATA that holds the files user-data and meta-data.
 */
#ifndef NACRE_MANAGE_SEED_H
#define NACRE_MANAGE_SEED_H

#include "base/error.h"
#include "manage/state_directory.h"

#include <stddef.h>
#include <stdint.h>

struct seed_file {
    const char *name; /* at most 26 characters */
    const char *bytes;
    size_t size;
};

#define SEED_SIZE ((size_t)2 << 20) /* bytes of the file system */

/* Makes the file system in SEED_SIZE bytes of zeroes. volume_id: any number. -EFBIG when the files
 * do not fit. */
int seed_build(uint8_t *image, const struct seed_file *files, unsigned count, uint32_t volume_id);

/* Writes STATE_SEED for the VM, with the user's file of user-data. -errno with *error. */
int seed_write(const struct state_directory *directory, const char *user_data, struct error *error);

#endif
