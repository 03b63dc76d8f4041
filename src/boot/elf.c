/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels with a PVH entry note: Xen docs/misc/pvh.pandoc, start_info.h. The entry is 32-bit
 * protected mode, paging off. */
#include "boot/elf.h"

#include "boot/elf_file.h"
#include "boot/layout.h"
#include "boot/memory_map.h"

#include <elf.h>
#include <errno.h>

#define NOTE_PHYS32_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define START_INFO_MAGIC  0x336ec578u

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, command_line, rsdp, memmap;
    uint32_t memmap_entries, reserved;
};
struct start_module {
    uint64_t address, size, command_line, reserved;
};
struct memmap_entry {
    uint64_t address, size;
    uint32_t type, reserved;
};

/* Looks for the PVH entry among a segment's notes. Names and descriptors are padded to four bytes.
 */
static bool find_note(const struct file_view *kernel, const Elf64_Phdr *segment, uint64_t *entry)
{
    uint64_t offset = segment->p_offset, end = offset + segment->p_filesz;
    if (!range_within(segment->p_offset, segment->p_filesz, kernel->size))
        return false;
    while (range_within(offset, sizeof(Elf64_Nhdr), end)) {
        Elf64_Nhdr note;
        memcpy(&note, kernel->bytes + offset, sizeof(note));
        uint64_t name = offset + sizeof(note);
        uint64_t value = name + align_up(note.n_namesz, 4);
        uint64_t next = value + align_up(note.n_descsz, 4);
        if (next > end)
            return false;
        if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == 4 && note.n_descsz >= 4 &&
            !memcmp(kernel->bytes + name, "Xen", 4)) {
            *entry = load_le(kernel->bytes + value, note.n_descsz >= 8 ? 8 : 4);
            return true;
        }
        offset = next;
    }
    return false;
}

bool elf_is_pvh(const struct boot_options *options, const struct file_view *kernel)
{
    struct elf_file elf;
    uint64_t entry;
    bool found = false;
    if (!elf_matches(kernel) || elf_file_read(options, kernel, &elf, NULL) < 0)
        return false;
    for (unsigned i = 0; i < elf.count && !found; i++) {
        Elf64_Phdr segment = elf_program(kernel, &elf, i);
        found = segment.p_type == PT_NOTE && find_note(kernel, &segment, &entry);
    }
    return found;
}

static int write_start_info(const struct boot_options *options, const struct file_view *initrd,
                            struct memory *memory, uint64_t kernel_end, struct error *error)
{
    struct start_info info = {.magic = START_INFO_MAGIC,
                              .version = 1,
                              .command_line = BOOT_COMMAND_LINE,
                              .rsdp = BOOT_RSDP};
    struct memory_range ranges[MEMORY_RANGES_MAX];
    struct memmap_entry map[MEMORY_RANGES_MAX] = {0};
    info.memmap = BOOT_PVH_INFO + sizeof(info);
    info.memmap_entries = memory_map(memory, ranges);
    for (unsigned i = 0; i < info.memmap_entries; i++)
        map[i] = (struct memmap_entry){ranges[i].start, ranges[i].size, ranges[i].type, 0};
    if (initrd->size) {
        struct start_module module = {.size = initrd->size};
        if (initrd->size + kernel_end + PAGE_SIZE > memory->low_size)
            return error_set(error, ENOMEM, "--initrd %s: does not fit; give more --memory",
                             options->initrd);
        module.address = align_down(memory->low_size - initrd->size, PAGE_SIZE);
        memory_write(memory, module.address, initrd->bytes, initrd->size);
        info.modules = info.memmap + sizeof(map);
        info.module_count = 1;
        memory_write(memory, info.modules, &module, sizeof(module));
    }
    memory_write(memory, BOOT_PVH_INFO, &info, sizeof(info));
    memory_write(memory, info.memmap, map, sizeof(map));
    return memory_write(memory, BOOT_COMMAND_LINE, options->command_line,
                        strlen(options->command_line) + 1);
}

int elf_load(const struct boot_options *options, const struct file_view *kernel,
             const struct file_view *initrd, struct memory *memory, struct boot_entry *entry,
             struct error *error)
{
    struct elf_file elf;
    int result = elf_file_read(options, kernel, &elf, error);
    if (result < 0)
        return result;
    if (strlen(options->command_line) >= BOOT_COMMAND_LINE_MAX)
        return error_set(error, E2BIG, "--append: command line is too long");
    uint64_t start = 0, end = 0;
    bool found = false;
    for (unsigned i = 0; i < elf.count; i++) {
        Elf64_Phdr segment = elf_program(kernel, &elf, i);
        if (segment.p_type == PT_NOTE)
            found |= find_note(kernel, &segment, &start);
        if (segment.p_type != PT_LOAD)
            continue;
        result = elf_segment_load(options, kernel, &segment, memory, &end, error);
        if (result < 0)
            return result;
    }
    if (!found)
        return kernel_bad(options,
                          "has no PVH entry note and no multiboot header; use a bzImage, or a "
                          "kernel built with CONFIG_PVH",
                          error);
    result = write_start_info(options, initrd, memory, end, error);
    if (result < 0)
        return result;
    *entry = (struct boot_entry){.protocol = BOOT_PVH, .rip = start, .rbx = BOOT_PVH_INFO};
    return 0;
}
