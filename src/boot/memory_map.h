/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware would say of the memory, whatever the boot protocol writes it into. */
#ifndef NACRE_BOOT_MEMORY_MAP_H
#define NACRE_BOOT_MEMORY_MAP_H

#include "memory/memory.h"

/* The types of ACPI 6.4 §15: all protocols have them. */
enum memory_range_type { RANGE_RAM = 1, RANGE_RESERVED = 2 };

struct memory_range {
    uint64_t start, size;
    enum memory_range_type type;
};

#define MEMORY_RANGES_MAX 4

/* Returns how many there are. */
unsigned memory_map(const struct memory *memory, struct memory_range ranges[MEMORY_RANGES_MAX]);

#endif
