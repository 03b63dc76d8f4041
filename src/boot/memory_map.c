/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/memory_map.h"

#include "boot/layout.h"

unsigned memory_map(const struct memory *memory, struct memory_range ranges[MEMORY_RANGES_MAX])
{
    const struct memory_range all[MEMORY_RANGES_MAX] = {
        {0, BOOT_LOW_END, RANGE_RAM},
        {BOOT_LOW_END, MIB(1) - BOOT_LOW_END, RANGE_RESERVED},
        {MIB(1), memory->low_size - MIB(1), RANGE_RAM},
        {MEMORY_HIGH_START, memory->high_size, RANGE_RAM},
    };
    unsigned count = 0;
    for (unsigned i = 0; i < MEMORY_RANGES_MAX; i++)
        if (all[i].size)
            ranges[count++] = all[i];
    return count;
}
