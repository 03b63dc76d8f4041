/* SPDX-License-Identifier: Apache-2.0 */
/* Direct kernel boot and the tables firmware would make. Linux Documentation/arch/x86/boot.rst; PVH
 * ABI; ACPI 6.4. */
#ifndef NACRE_BOOT_BOOT_H
#define NACRE_BOOT_BOOT_H

#include "base/error.h"
#include "boot/file_view.h"
#include "memory/memory.h"

/* How the boot processor starts. The machine puts this into the vcpu. */
enum boot_protocol { BOOT_LINUX64, BOOT_LINUX32, BOOT_PVH };

struct boot_entry {
    enum boot_protocol protocol;
    uint64_t rip;
    uint64_t rax;      /* multiboot: which version */
    uint64_t rbx;      /* PVH: start info; multiboot: information */
    uint64_t rsi;      /* Linux: boot_params */
    uint64_t cr3;      /* 64-bit Linux: identity-mapped page tables built in guest memory */
    uint64_t gdt_base; /* Linux: flat GDT built in guest memory; selectors 0x10 code, 0x18 data */
    uint16_t gdt_limit;
};

#define BOOT_MODULES_MAX 8

struct boot_options {
    const char *kernel;
    const char *initrd;                    /* or NULL */
    const char *modules[BOOT_MODULES_MAX]; /* multiboot: a file and its words, as given */
    unsigned module_count;
    const char *command_line;
    unsigned cpu_count;
    bool text_screen; /* the screen is in VGA text mode 3 */
};

/* The guest's files, kept for reboots: a machine in its jail opens none. */
struct boot_files {
    struct file_view kernel, initrd;
    struct file_view modules[BOOT_MODULES_MAX];
};

/* Maps the files that the options name. -errno with *error. */
int boot_files_open(struct boot_files *files, const struct boot_options *options,
                    struct error *error);
void boot_files_close(struct boot_files *files);

/* Checks the files and places all in guest memory. -errno with *error. */
int boot_load(const struct boot_options *options, const struct boot_files *files,
              struct memory *memory, struct boot_entry *entry, struct error *error);

#endif
