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
    bool firmware;                        /* there is one, and it describes itself */
};

struct smbios {
    uint8_t entry[24]; /* the entry point, without address and checksum */
    uint8_t bytes[8192];
    uint32_t size; /* of the structures in it */
};

/* -errno with *error. */
int smbios_build(const struct smbios_config *config, const struct memory *memory,
                 struct smbios *smbios, struct error *error);
/* For direct boot: entry point and structures at BOOT_SMBIOS. -errno with *error. */
int smbios_place(struct smbios *smbios, struct memory *memory, struct error *error);

#endif
