/* SPDX-License-Identifier: Apache-2.0 */
/* A block back end in memory for tests and fuzz targets of devices: it holds requests until it is
 * drained. A request outside the medium ends the test: no device may let one through. */
#ifndef NACRE_TESTS_DEVICE_RAM_BLOCK_H
#define NACRE_TESTS_DEVICE_RAM_BLOCK_H

#include "disk/block.h"

struct ram_block {
    struct block block;
    uint8_t *bytes;
    struct block_queue held;
    int failure; /* what requests end with, if not 0: -errno */
    unsigned flushes;
};

/* `size` bytes; byte i holds (i / 512) ^ i, so that each sector and each place in it is known. */
struct ram_block *ram_block_create(uint64_t size);
void ram_block_destroy(struct ram_block *ram);
uint8_t ram_block_byte(uint64_t offset);

#endif
