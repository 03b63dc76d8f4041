/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DISK_RAW_H
#define NACRE_DISK_RAW_H

#include "disk/block.h"

struct block *raw_open(const struct block_options *options, struct loop *loop, struct error *error);

#endif
