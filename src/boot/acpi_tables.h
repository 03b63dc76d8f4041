/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI tables before it is known where they will lie: all pointers are offsets, no checksum is
 * there. */
#ifndef NACRE_BOOT_ACPI_TABLES_H
#define NACRE_BOOT_ACPI_TABLES_H

#include "base/bits.h"

#define ACPI_TABLES_MAX   8
#define ACPI_POINTERS_MAX 16

struct acpi_pointer {
    uint32_t field; /* its offset */
    uint8_t size;   /* bytes */
};

struct acpi_tables {
    uint8_t bytes[KIB(32)];
    uint32_t length;
    uint32_t tables[ACPI_TABLES_MAX]; /* offsets of those with a checksum */
    unsigned table_count;
    struct acpi_pointer pointers[ACPI_POINTERS_MAX];
    unsigned pointer_count;
    uint32_t xsdt;
    bool failed; /* something did not fit */
};

#endif
