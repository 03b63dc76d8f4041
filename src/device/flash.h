/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_FLASH_H
#define NACRE_DEVICE_FLASH_H

#include "bus/bus.h"

#define FLASH_BLOCK_SIZE KIB(4) /* what is erased at once */
#define FLASH_SIZE_MAX   MIB(8)

struct flash_config {
    uint64_t gpa;
    uint32_t size;       /* bytes, whole blocks, up to FLASH_SIZE_MAX */
    const void *content; /* what it holds at first; may be `backing` */
    uint8_t *backing;    /* `size` bytes of memory that are kept the same; NULL: none */
};

/* The bus owns it. -errno with *error. */
int flash_create(struct bus *bus, const struct flash_config *config, struct error *error);

#endif
