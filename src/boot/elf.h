/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_BOOT_ELF_H
#define NACRE_BOOT_ELF_H

#include "boot/boot.h"
#include "boot/file_view.h"

/* True when the ELF file has a PVH entry note. */
bool elf_is_pvh(const struct boot_options *options, const struct file_view *kernel);
int elf_load(const struct boot_options *options, const struct file_view *kernel,
             const struct file_view *initrd, struct memory *memory, struct boot_entry *entry,
             struct error *error);

#endif
