/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels with a multiboot header, version 1 (0.6.96) or 2, and their modules. */
#ifndef NACRE_BOOT_MULTIBOOT_H
#define NACRE_BOOT_MULTIBOOT_H

#include "boot/boot.h"
#include "boot/file_view.h"

bool multiboot_matches(const struct file_view *kernel);
int multiboot_load(const struct boot_options *options, const struct boot_files *files,
                   struct memory *memory, struct boot_entry *entry, struct error *error);

#endif
