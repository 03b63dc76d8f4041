/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot2 Specification 2.0: §3.1 the header, §3.6 the information. */
#include "boot/elf_file.h"
#include "boot/layout.h"
#include "boot/memory_map.h"
#include "boot/multiboot_private.h"

#include <errno.h>

#define HEADER_SIZE   16 /* magic, architecture, length, checksum; tags follow */
#define TAG_ALIGNMENT 8
#define TAG_SIZE_MIN  8 /* kind, flags, size */
#define TAG_OPTIONAL  BIT(0)

enum header_tag {
    HEADER_END = 0,
    HEADER_REQUEST,
    HEADER_ADDRESSES,
    HEADER_ENTRY,
    HEADER_CONSOLE,
    HEADER_FRAMEBUFFER,
    HEADER_ALIGN, /* modules on page boundaries: always */
};

enum info_tag {
    INFO_END = 0,
    INFO_COMMAND_LINE,
    INFO_LOADER,
    INFO_MODULE,
    INFO_MEMORY,
    INFO_MAP = 6,
    INFO_RSDP = 15,
};

/* --- the header's tags --- */

/* The kinds of information that the kernel cannot do without. */
static int check_requests(const struct boot_options *options, const uint8_t *tag, uint32_t size,
                          struct error *error)
{
    const uint32_t known = BIT(INFO_COMMAND_LINE) | BIT(INFO_LOADER) | BIT(INFO_MODULE) |
                           BIT(INFO_MEMORY) | BIT(INFO_MAP) | BIT(INFO_RSDP);
    for (uint32_t at = TAG_SIZE_MIN; at + 4 <= size; at += 4) {
        uint32_t kind = (uint32_t)load_le(tag + at, 4);
        if (kind > 31 || !(known >> kind & 1))
            return error_set(error, ENOEXEC,
                             "--kernel %s: its multiboot header asks for information of type %u, "
                             "which only firmware has; start it from GRUB, with --firmware",
                             options->kernel, kind);
    }
    return 0;
}

static int read_addresses(const struct boot_options *options, const uint8_t *tag, uint32_t size,
                          struct multiboot_header *header, struct error *error)
{
    if (size < TAG_SIZE_MIN + 16)
        return kernel_bad(options, "a tag of its multiboot header is too short", error);
    header->flat = (struct multiboot_flat){
        .header_offset = header->offset,
        .header = (uint32_t)load_le(tag + 8, 4),
        .load = (uint32_t)load_le(tag + 12, 4),
        .load_end = (uint32_t)load_le(tag + 16, 4),
        .bss_end = (uint32_t)load_le(tag + 20, 4),
        .given = true,
    };
    return 0;
}

static int read_entry(const struct boot_options *options, const uint8_t *tag, uint32_t size,
                      struct multiboot_header *header, struct error *error)
{
    if (size < TAG_SIZE_MIN + 4)
        return kernel_bad(options, "a tag of its multiboot header is too short", error);
    header->entry = (uint32_t)load_le(tag + 8, 4);
    header->has_entry = true;
    return 0;
}

static int read_tag(const struct boot_options *options, const uint8_t *tag, uint32_t size,
                    struct multiboot_header *header, struct error *error)
{
    bool optional = load_le(tag + 2, 2) & TAG_OPTIONAL;
    uint32_t kind = (uint32_t)load_le(tag, 2);
    switch (kind) {
    case HEADER_REQUEST:
        return optional ? 0 : check_requests(options, tag, size, error);
    case HEADER_ADDRESSES:
        return read_addresses(options, tag, size, header, error);
    case HEADER_ENTRY:
        return read_entry(options, tag, size, header, error);
    case HEADER_CONSOLE:
    case HEADER_ALIGN:
        return 0;
    default:
        if (optional)
            return 0;
        return error_set(error, ENOEXEC,
                         "--kernel %s: its multiboot header asks for tag %u; start it from GRUB, "
                         "with --firmware",
                         options->kernel, kind);
    }
}

static int read_header(const struct boot_options *options, const struct file_view *kernel,
                       struct multiboot_header *header, struct error *error)
{
    const uint8_t *bytes = kernel->bytes + header->offset;
    uint32_t length = (uint32_t)load_le(bytes + 8, 4), at = HEADER_SIZE;
    if (load_le(bytes + 4, 4) != 0)
        return kernel_bad(options, "is a multiboot kernel of another architecture", error);
    if (!range_within(header->offset, length, kernel->size))
        return kernel_bad(options, "file is truncated or damaged", error);
    while (range_within(at, TAG_SIZE_MIN, length)) {
        uint32_t size = (uint32_t)load_le(bytes + at + 4, 4);
        if (size < TAG_SIZE_MIN || !range_within(at, size, length))
            return kernel_bad(options, "a tag of its multiboot header is damaged", error);
        if (load_le(bytes + at, 2) == HEADER_END)
            return 0;
        int result = read_tag(options, bytes + at, size, header, error);
        if (result < 0)
            return result;
        at = (uint32_t)align_up((uint64_t)at + size, TAG_ALIGNMENT);
    }
    return kernel_bad(options, "its multiboot header has no end", error);
}

/* --- information --- */

/* A tag of these bytes and then those. */
static void put_tag(struct multiboot_writer *writer, enum info_tag kind, const void *bytes,
                    size_t size, const void *more, size_t more_size)
{
    const uint32_t start[2] = {kind, (uint32_t)(TAG_SIZE_MIN + size + more_size)};
    multiboot_put(writer, start, sizeof(start), TAG_ALIGNMENT);
    multiboot_put(writer, bytes, size, 1);
    multiboot_put(writer, more, more_size, 1);
}

static void put_text(struct multiboot_writer *writer, enum info_tag kind, const char *text)
{
    put_tag(writer, kind, text, strlen(text) + 1, "", 0);
}

static void put_module(struct multiboot_writer *writer, const struct multiboot_module *module)
{
    const uint32_t place[2] = {module->start, module->end};
    put_tag(writer, INFO_MODULE, place, sizeof(place), module->words, strlen(module->words) + 1);
}

static void put_map(struct multiboot_writer *writer)
{
    enum { ENTRY_SIZE = 24 };
    const uint32_t kind[2] = {ENTRY_SIZE, 0};
    struct memory_range ranges[MEMORY_RANGES_MAX];
    uint8_t map[MEMORY_RANGES_MAX * ENTRY_SIZE] = {0};
    unsigned count = memory_map(writer->memory, ranges);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = map + (size_t)i * ENTRY_SIZE;
        store_le(entry, ranges[i].start, 8);
        store_le(entry + 8, ranges[i].size, 8);
        store_le(entry + 16, ranges[i].type, 4);
    }
    put_tag(writer, INFO_MAP, kind, sizeof(kind), map, (size_t)count * ENTRY_SIZE);
}

static void put_rsdp(struct multiboot_writer *writer)
{
    uint8_t rsdp[36];
    if (memory_read(writer->memory, BOOT_RSDP, rsdp, sizeof(rsdp)) == 0)
        put_tag(writer, INFO_RSDP, rsdp, sizeof(rsdp), "", 0);
}

static int write_information(const struct boot_options *options,
                             const struct multiboot_modules *modules, struct memory *memory,
                             struct error *error)
{
    struct multiboot_writer writer = {.memory = memory, .next = BOOT_MULTIBOOT + 8};
    const uint32_t kib[2] = {BOOT_LOW_END >> 10, (uint32_t)((memory->low_size - MIB(1)) >> 10)};
    put_text(&writer, INFO_COMMAND_LINE, options->command_line);
    put_text(&writer, INFO_LOADER, MULTIBOOT_LOADER);
    for (unsigned i = 0; i < modules->count; i++)
        put_module(&writer, &modules->list[i]);
    put_tag(&writer, INFO_MEMORY, kib, sizeof(kib), "", 0);
    put_map(&writer);
    put_rsdp(&writer);
    put_tag(&writer, INFO_END, "", 0, "", 0);
    const uint32_t start[2] = {(uint32_t)(writer.next - BOOT_MULTIBOOT), 0};
    if (writer.failed || memory_write(memory, BOOT_MULTIBOOT, start, sizeof(start)) < 0)
        return error_set(error, E2BIG, "--module: their words are too long");
    return 0;
}

const struct multiboot_version multiboot2 = {
    .header_magic = 0xe85250d6,
    .entry_magic = 0x36d76289,
    .search_size = 32768,
    .alignment = 8,
    .words = 4,
    .read_header = read_header,
    .write_information = write_information,
};
