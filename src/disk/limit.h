/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DISK_LIMIT_H
#define NACRE_DISK_LIMIT_H

#include "disk/block.h"

/* A disk whose requests wait their turn. Takes over what is below, and closes it, also when it
 * fails: NULL with *error. */
struct block *limit_block_open(struct block *below, const struct rate_limit_config *config,
                               struct loop *loop, struct error *error);

#endif
