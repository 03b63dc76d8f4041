/* SPDX-License-Identifier: Apache-2.0 */
/* Where direct boot puts what it builds below 1 MiB. */
#ifndef NACRE_BOOT_LAYOUT_H
#define NACRE_BOOT_LAYOUT_H

#include "base/bits.h"

#define BOOT_GDT              UINT64_C(0x500)
#define BOOT_PVH_INFO         UINT64_C(0x6000)
#define BOOT_PARAMS           UINT64_C(0x7000)
#define BOOT_PAGE_TABLES      UINT64_C(0x9000)  /* six pages */
#define BOOT_MULTIBOOT        UINT64_C(0x10000) /* information structures, up to the next */
#define BOOT_COMMAND_LINE     UINT64_C(0x20000)
#define BOOT_COMMAND_LINE_MAX KIB(8)
#define BOOT_LOW_END          UINT64_C(0x9fc00) /* end of conventional memory */
#define BOOT_RSDP             UINT64_C(0xe0000) /* ACPI tables follow */
#define BOOT_TABLES_END       UINT64_C(0xf0000)
#define BOOT_SMBIOS           UINT64_C(0xf0000) /* guests look for it from here to 1 MiB */

#endif
