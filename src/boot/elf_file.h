/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files of both widths, as kernels of several boot protocols come. */
#ifndef NACRE_BOOT_ELF_FILE_H
#define NACRE_BOOT_ELF_FILE_H

#include "boot/boot.h"
#include "boot/file_view.h"

#include <elf.h>

/* Where the program headers lie; and the entry point, a virtual address. */
struct elf_file {
    uint64_t programs, entry;
    unsigned count;
    bool is_64bit;
};

bool elf_matches(const struct file_view *kernel);

/* Says what is wrong with the kernel; returns -ENOEXEC. */
int kernel_bad(const struct boot_options *options, const char *why, struct error *error);

int elf_file_read(const struct boot_options *options, const struct file_view *kernel,
                  struct elf_file *elf, struct error *error);
/* index: below elf->count. */
Elf64_Phdr elf_program(const struct file_view *kernel, const struct elf_file *elf, unsigned index);
/* Copies a PT_LOAD segment to its physical address; *end becomes the highest end so far. */
int elf_segment_load(const struct boot_options *options, const struct file_view *kernel,
                     const Elf64_Phdr *segment, struct memory *memory, uint64_t *end,
                     struct error *error);

#endif
