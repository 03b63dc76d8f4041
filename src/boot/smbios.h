/* SPDX-License-Identifier: Apache-2.0 */
/* The SMBIOS structures firmware would make: who made the machine and what is in it. */
#ifndef NACRE_BOOT_SMBIOS_H
#define NACRE_BOOT_SMBIOS_H

#include "base/error.h"
#include "memory/memory.h"

struct smbios_config {
    unsigned cpu_count;
    const char *cpu_name;                 /* the brand string */
    uint32_t cpu_signature, cpu_features; /* CPUID leaf 1 EAX and EDX */
};

/* Writes entry point and structures at BOOT_SMBIOS. -errno with *error. */
int smbios_write(const struct smbios_config *config, struct memory *memory, struct error *error);

#endif
