/* SPDX-License-Identifier: Apache-2.0 */
/* The tables that describe this machine to a guest. */
#ifndef NACRE_VM_VM_TABLES_H
#define NACRE_VM_VM_TABLES_H

#include "boot/acpi.h"
#include "boot/smbios.h"
#include "vm/vm.h"

/* The caller frees it with free(). NULL with *error. */
struct acpi_tables *vm_acpi_tables(const struct vm_config *config, const struct memory *memory,
                                   struct error *error);
int vm_smbios(const struct vm_config *config, const struct memory *memory, struct smbios *smbios,
              struct error *error);
/* Both in guest memory, as firmware leaves them: for direct boot. -errno with *error. */
int vm_tables_place(const struct vm_config *config, struct memory *memory, struct error *error);

#endif
