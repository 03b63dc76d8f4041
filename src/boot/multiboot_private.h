/* SPDX-License-Identifier: Apache-2.0 */
/* What the versions of multiboot share. */
#ifndef NACRE_BOOT_MULTIBOOT_PRIVATE_H
#define NACRE_BOOT_MULTIBOOT_PRIVATE_H

#include "boot/multiboot.h"

#define MULTIBOOT_LOADER "nacre"

/* A kernel that says itself where it goes: no ELF file, or not to be read as one. */
struct multiboot_flat {
    uint64_t header_offset; /* in the file */
    uint32_t header, load, load_end, bss_end;
    bool given;
};

/* A header as it was found. */
struct multiboot_header {
    uint64_t offset;
    struct multiboot_flat flat;
    uint32_t entry;
    bool has_entry; /* instead of the ELF file's */
};

struct multiboot_module {
    uint32_t start, end; /* gpa */
    const char *words;   /* the file's name and what follows it */
};

struct multiboot_modules {
    struct multiboot_module list[BOOT_MODULES_MAX + 1]; /* the initrd first */
    unsigned count;
};

/* What a version does: read the header at offset (magic and checksum are right), and tell the
 * kernel of memory, modules and its command line: at BOOT_MULTIBOOT. -errno with *error. */
struct multiboot_version {
    uint32_t header_magic, entry_magic; /* in the file; in EAX */
    unsigned search_size, alignment;    /* of the header */
    unsigned words;                     /* of the header, whose sum is 0 */
    int (*read_header)(const struct boot_options *options, const struct file_view *kernel,
                       struct multiboot_header *header, struct error *error);
    int (*write_information)(const struct boot_options *options,
                             const struct multiboot_modules *modules, struct memory *memory,
                             struct error *error);
};

extern const struct multiboot_version multiboot1, multiboot2;

/* Information that grows from BOOT_MULTIBOOT on. */
struct multiboot_writer {
    struct memory *memory;
    uint64_t next; /* gpa */
    bool failed;
};

/* Appends the bytes at a multiple of `alignment`; returns their gpa. */
uint32_t multiboot_put(struct multiboot_writer *writer, const void *bytes, size_t size,
                       unsigned alignment);

#endif
