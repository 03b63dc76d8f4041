/* SPDX-License-Identifier: Apache-2.0 */
/* Guest RAM in a file: what memory_open_image() maps. The low part comes first, then the high one;
 * what is zero is a hole. */
#ifndef NACRE_MEMORY_IMAGE_H
#define NACRE_MEMORY_IMAGE_H

#include "memory/memory.h"

/*
 * Fills an empty file. *checksum: CRC-32 of all RAM. 0 or -errno. Takes
 * no memory and no lock: a forked child may call it.
 */
int memory_write_image(const struct memory *memory, int image, uint32_t *checksum);

/* CRC-32 of all RAM. */
uint32_t memory_checksum(const struct memory *memory);

#endif
