/* SPDX-License-Identifier: Apache-2.0 */
/* ELF files: System V ABI, chapters 4 and 5. */
#include "boot/elf_file.h"

#include <errno.h>

bool elf_matches(const struct file_view *kernel)
{
    return kernel->size >= sizeof(Elf64_Ehdr) && !memcmp(kernel->bytes, ELFMAG, SELFMAG);
}

int kernel_bad(const struct boot_options *options, const char *why, struct error *error)
{
    return error_set(error, ENOEXEC, "--kernel %s: %s", options->kernel, why);
}

int elf_segment_load(const struct boot_options *options, const struct file_view *kernel,
                     const Elf64_Phdr *segment, struct memory *memory, uint64_t *end,
                     struct error *error)
{
    if (!segment->p_memsz)
        return 0;
    if (segment->p_filesz > segment->p_memsz ||
        !range_within(segment->p_offset, segment->p_filesz, kernel->size))
        return kernel_bad(options, "file is truncated or damaged", error);
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

static size_t program_size(const struct elf_file *elf)
{
    return elf->is_64bit ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
}

int elf_file_read(const struct boot_options *options, const struct file_view *kernel,
                  struct elf_file *elf, struct error *error)
{
    Elf64_Ehdr header;
    Elf32_Ehdr header32;
    unsigned machine, entry_size;
    memcpy(&header, kernel->bytes, sizeof(header));
    memcpy(&header32, kernel->bytes, sizeof(header32));
    elf->is_64bit = header.e_ident[EI_CLASS] == ELFCLASS64;
    if (elf->is_64bit) {
        machine = header.e_machine;
        entry_size = header.e_phentsize;
        elf->programs = header.e_phoff;
        elf->count = header.e_phnum;
        elf->entry = header.e_entry;
    } else {
        machine = header32.e_machine;
        entry_size = header32.e_phentsize;
        elf->programs = header32.e_phoff;
        elf->count = header32.e_phnum;
        elf->entry = header32.e_entry;
    }
    if (machine != (elf->is_64bit ? EM_X86_64 : EM_386))
        return kernel_bad(options, "is not an x86 ELF file", error);
    uint64_t size = (uint64_t)elf->count * program_size(elf);
    if (entry_size != program_size(elf) || !range_within(elf->programs, size, kernel->size))
        return kernel_bad(options, "file is truncated or damaged", error);
    return 0;
}

Elf64_Phdr elf_program(const struct file_view *kernel, const struct elf_file *elf, unsigned index)
{
    const uint8_t *bytes = kernel->bytes + elf->programs + index * program_size(elf);
    Elf64_Phdr program;
    Elf32_Phdr narrow;
    if (elf->is_64bit) {
        memcpy(&program, bytes, sizeof(program));
        return program;
    }
    memcpy(&narrow, bytes, sizeof(narrow));
    return (Elf64_Phdr){.p_type = narrow.p_type,
                        .p_offset = narrow.p_offset,
                        .p_vaddr = narrow.p_vaddr,
                        .p_paddr = narrow.p_paddr,
                        .p_filesz = narrow.p_filesz,
                        .p_memsz = narrow.p_memsz};
}
