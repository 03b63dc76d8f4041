/* SPDX-License-Identifier: Apache-2.0 */
/* ELF kernels with a PVH entry note: Xen docs/misc/pvh.pandoc, start_info.h. The entry is 32-bit
 * protected mode, paging off. */
#include "boot/elf.h"

#include "boot/layout.h"

#include <elf.h>
#include <errno.h>

#define NOTE_PHYS32_ENTRY 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define START_INFO_MAGIC  0x336ec578u
#define MEMMAP_RAM        1
#define MEMMAP_RESERVED   2

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

bool elf_matches(const struct file_view *kernel)
{
    return kernel->size >= sizeof(Elf64_Ehdr) && !memcmp(kernel->bytes, ELFMAG, SELFMAG);
}

static int bad(const struct boot_options *options, const char *why, struct error *error)
{
    return error_set(error, ENOEXEC, "--kernel %s: %s", options->kernel, why);
}

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

static int load_segment(const struct boot_options *options, const struct file_view *kernel,
                        const Elf64_Phdr *segment, struct memory *memory, uint64_t *end,
                        struct error *error)
{
    if (segment->p_filesz > segment->p_memsz ||
        !range_within(segment->p_offset, segment->p_filesz, kernel->size))
        return bad(options, "file is truncated or damaged", error);
    if (segment->p_paddr < MIB(1) ||
        !range_within(segment->p_paddr, segment->p_memsz, memory->low_size))
        return error_set(error, ENOMEM, "--memory: a segment of %s lies at %llu MiB",
                         options->kernel, (unsigned long long)(segment->p_paddr >> 20));
    memory_write(memory, segment->p_paddr, kernel->bytes + segment->p_offset, segment->p_filesz);
    memory_clear(memory, segment->p_paddr + segment->p_filesz,
                 segment->p_memsz - segment->p_filesz);
    if (segment->p_paddr + segment->p_memsz > *end)
        *end = segment->p_paddr + segment->p_memsz;
    return 0;
}

/* Where the program headers lie. PVH kernels come as 64-bit and as 32-bit files. */
struct programs {
    uint64_t offset;
    unsigned count;
    bool is_64bit;
};

static size_t program_size(const struct programs *programs)
{
    return programs->is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

static int programs_find(const struct boot_options *options, const struct file_view *kernel,
                         struct programs *programs, struct error *error)
{
    Elf64_Ehdr header;
    Elf32_Ehdr header32;
    unsigned machine, entry_size;
    memcpy(&header, kernel->bytes, sizeof(header));
    memcpy(&header32, kernel->bytes, sizeof(header32));
    programs->is_64bit = header.e_ident[EI_CLASS] == ELFCLASS64;
    if (programs->is_64bit) {
        machine = header.e_machine;
        entry_size = header.e_phentsize;
        programs->offset = header.e_phoff;
        programs->count = header.e_phnum;
    } else {
        machine = header32.e_machine;
        entry_size = header32.e_phentsize;
        programs->offset = header32.e_phoff;
        programs->count = header32.e_phnum;
    }
    if (machine != (programs->is_64bit ? EM_X86_64 : EM_386))
        return bad(options, "is not an x86 ELF file", error);
    uint64_t size = (uint64_t)programs->count * program_size(programs);
    if (entry_size != program_size(programs) || !range_within(programs->offset, size, kernel->size))
        return bad(options, "file is truncated or damaged", error);
    return 0;
}

static Elf64_Phdr program_read(const struct file_view *kernel, const struct programs *programs,
                               unsigned index)
{
    const uint8_t *bytes = kernel->bytes + programs->offset + index * program_size(programs);
    Elf64_Phdr program;
    Elf32_Phdr narrow;
    if (programs->is_64bit) {
        memcpy(&program, bytes, sizeof(program));
        return program;
    }
    memcpy(&narrow, bytes, sizeof(narrow));
    return (Elf64_Phdr){.p_type = narrow.p_type,
                        .p_offset = narrow.p_offset,
                        .p_paddr = narrow.p_paddr,
                        .p_filesz = narrow.p_filesz,
                        .p_memsz = narrow.p_memsz};
}

static int write_start_info(const struct boot_options *options, const struct file_view *initrd,
                            struct memory *memory, uint64_t kernel_end, struct error *error)
{
    struct start_info info = {.magic = START_INFO_MAGIC,
                              .version = 1,
                              .command_line = BOOT_COMMAND_LINE,
                              .rsdp = BOOT_RSDP};
    const struct memmap_entry map[] = {
        {0, BOOT_LOW_END, MEMMAP_RAM, 0},
        {BOOT_LOW_END, MIB(1) - BOOT_LOW_END, MEMMAP_RESERVED, 0},
        {MIB(1), memory->low_size - MIB(1), MEMMAP_RAM, 0},
        {MEMORY_HIGH_START, memory->high_size, MEMMAP_RAM, 0},
    };
    info.memmap = BOOT_PVH_INFO + sizeof(info);
    info.memmap_entries = memory->high_size ? 4 : 3;
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
    struct programs programs;
    int result = programs_find(options, kernel, &programs, error);
    if (result < 0)
        return result;
    if (strlen(options->command_line) >= BOOT_COMMAND_LINE_MAX)
        return error_set(error, E2BIG, "--append: command line is too long");
    uint64_t start = 0, end = 0;
    bool found = false;
    for (unsigned i = 0; i < programs.count; i++) {
        Elf64_Phdr segment = program_read(kernel, &programs, i);
        if (segment.p_type == PT_NOTE)
            found |= find_note(kernel, &segment, &start);
        if (segment.p_type != PT_LOAD || !segment.p_memsz)
            continue;
        result = load_segment(options, kernel, &segment, memory, &end, error);
        if (result < 0)
            return result;
    }
    if (!found)
        return bad(options,
                   "has no PVH entry note; use a bzImage, or a kernel built with CONFIG_PVH",
                   error);
    result = write_start_info(options, initrd, memory, end, error);
    if (result < 0)
        return result;
    *entry = (struct boot_entry){.protocol = BOOT_PVH, .rip = start, .rbx = BOOT_PVH_INFO};
    return 0;
}
