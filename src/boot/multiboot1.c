/* SPDX-License-Identifier: Apache-2.0 */
/* Multiboot Specification 0.6.96: §3.1 the header, §3.3 the information. */
#include "boot/elf_file.h"
#include "boot/layout.h"
#include "boot/memory_map.h"
#include "boot/multiboot_private.h"

#include <errno.h>

/* Words of the header. */
enum {
    HEADER_FLAGS = 1,
    HEADER_ADDRESS = 3,
    HEADER_LOAD,
    HEADER_LOAD_END,
    HEADER_BSS_END,
    HEADER_ENTRY,
    HEADER_WORDS,
};
#define FLAG_ALIGN     BIT(0) /* modules on page boundaries: always */
#define FLAG_MEMORY    BIT(1)
#define FLAG_ADDRESSES BIT(16)
#define FLAGS_REQUIRED 0xffffu /* a loader that does not know one of these must give up */

/* Words of the information. */
enum {
    INFO_FLAGS = 0,
    INFO_MEMORY_LOWER,
    INFO_MEMORY_UPPER,
    INFO_COMMAND_LINE = 4,
    INFO_MODULE_COUNT,
    INFO_MODULES,
    INFO_MAP_SIZE = 11,
    INFO_MAP,
    INFO_LOADER = 16,
    INFO_WORDS = 29,
};
#define HAS_MEMORY       BIT(0)
#define HAS_COMMAND_LINE BIT(2)
#define HAS_MODULES      BIT(3)
#define HAS_MAP          BIT(6)
#define HAS_LOADER       BIT(9)

static uint32_t word(const struct file_view *kernel, uint64_t offset, unsigned number)
{
    return (uint32_t)load_le(kernel->bytes + offset + number * 4, 4);
}

static int read_header(const struct boot_options *options, const struct file_view *kernel,
                       struct multiboot_header *header, struct error *error)
{
    const uint64_t offset = header->offset;
    uint32_t flags = word(kernel, offset, HEADER_FLAGS);
    if (flags & FLAGS_REQUIRED & ~(FLAG_ALIGN | FLAG_MEMORY))
        return kernel_bad(options,
                          "its multiboot header asks for a video mode or more: start it "
                          "from GRUB, with --firmware",
                          error);
    if (!(flags & FLAG_ADDRESSES))
        return 0;
    if (!range_within(offset, HEADER_WORDS * 4, kernel->size))
        return kernel_bad(options, "file is truncated or damaged", error);
    header->flat = (struct multiboot_flat){
        .header_offset = offset,
        .header = word(kernel, offset, HEADER_ADDRESS),
        .load = word(kernel, offset, HEADER_LOAD),
        .load_end = word(kernel, offset, HEADER_LOAD_END),
        .bss_end = word(kernel, offset, HEADER_BSS_END),
        .given = true,
    };
    header->entry = word(kernel, offset, HEADER_ENTRY);
    header->has_entry = true;
    return 0;
}

static uint32_t put_text(struct multiboot_writer *writer, const char *text)
{
    return multiboot_put(writer, text, strlen(text) + 1, 1);
}

static uint32_t put_modules(struct multiboot_writer *writer,
                            const struct multiboot_modules *modules)
{
    uint32_t list[BOOT_MODULES_MAX + 1][4] = {0};
    for (unsigned i = 0; i < modules->count; i++) {
        const struct multiboot_module *module = &modules->list[i];
        const uint32_t record[4] = {module->start, module->end, put_text(writer, module->words), 0};
        memcpy(list[i], record, sizeof(record));
    }
    return multiboot_put(writer, list, modules->count * sizeof(list[0]), 4);
}

/* Entries of 24 bytes: the size of what follows, start, size, type. */
static uint32_t put_map(struct multiboot_writer *writer, uint32_t *size)
{
    enum { ENTRY_SIZE = 24 };
    struct memory_range ranges[MEMORY_RANGES_MAX];
    uint8_t map[MEMORY_RANGES_MAX * ENTRY_SIZE];
    unsigned count = memory_map(writer->memory, ranges);
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = map + (size_t)i * ENTRY_SIZE;
        store_le(entry, ENTRY_SIZE - 4, 4);
        store_le(entry + 4, ranges[i].start, 8);
        store_le(entry + 12, ranges[i].size, 8);
        store_le(entry + 20, ranges[i].type, 4);
    }
    *size = count * ENTRY_SIZE;
    return multiboot_put(writer, map, *size, 4);
}

static int write_information(const struct boot_options *options,
                             const struct multiboot_modules *modules, struct memory *memory,
                             struct error *error)
{
    uint32_t info[INFO_WORDS] = {0};
    struct multiboot_writer writer = {.memory = memory, .next = BOOT_MULTIBOOT + sizeof(info)};
    info[INFO_FLAGS] = HAS_MEMORY | HAS_COMMAND_LINE | HAS_MODULES | HAS_MAP | HAS_LOADER;
    info[INFO_MEMORY_LOWER] = BOOT_LOW_END >> 10;
    info[INFO_MEMORY_UPPER] = (uint32_t)((memory->low_size - MIB(1)) >> 10);
    info[INFO_COMMAND_LINE] = put_text(&writer, options->command_line);
    info[INFO_LOADER] = put_text(&writer, MULTIBOOT_LOADER);
    info[INFO_MODULE_COUNT] = modules->count;
    info[INFO_MODULES] = put_modules(&writer, modules);
    info[INFO_MAP] = put_map(&writer, &info[INFO_MAP_SIZE]);
    if (writer.failed || memory_write(memory, BOOT_MULTIBOOT, info, sizeof(info)) < 0)
        return error_set(error, E2BIG, "--module: their words are too long");
    return 0;
}

const struct multiboot_version multiboot1 = {
    .header_magic = 0x1badb002,
    .entry_magic = 0x2badb002,
    .search_size = 8192,
    .alignment = 4,
    .words = 3,
    .read_header = read_header,
    .write_information = write_information,
};
