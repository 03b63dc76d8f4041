/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DISK_RAW_H
#define NACRE_DISK_RAW_H

#include "disk/image.h"

/* The image takes the file over, also when it fails. */
struct image *raw_open(struct file *file, const struct block_options *options, struct error *error);

#endif
