/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the header, and placing kernel and modules: alike in both versions. */
#include "boot/multiboot.h"

#include "boot/elf_file.h"
#include "boot/layout.h"
#include "boot/multiboot_private.h"

#include <errno.h>

/* The newer one first: a kernel may have both headers. */
static const struct multiboot_version *const versions[] = {&multiboot2, &multiboot1};

static bool is_header(const struct multiboot_version *version, const struct file_view *kernel,
                      uint64_t offset)
{
    uint32_t sum = 0;
    if (!range_within(offset, version->words * 4, kernel->size) ||
        load_le(kernel->bytes + offset, 4) != version->header_magic)
        return false;
    for (unsigned i = 0; i < version->words; i++)
        sum += (uint32_t)load_le(kernel->bytes + offset + i * 4, 4);
    return !sum;
}

/* NULL: there is none. */
static const struct multiboot_version *find(const struct file_view *kernel, uint64_t *offset)
{
    for (unsigned i = 0; i < ARRAY_SIZE(versions); i++)
        for (*offset = 0; *offset < versions[i]->search_size; *offset += versions[i]->alignment)
            if (is_header(versions[i], kernel, *offset))
                return versions[i];
    return NULL;
}

bool multiboot_matches(const struct file_view *kernel)
{
    uint64_t offset;
    return find(kernel, &offset);
}

/* The file's bytes from where the header says that `load` lies; load_end 0: all of them. */
static int load_flat(const struct boot_options *options, const struct file_view *kernel,
                     const struct multiboot_flat *flat, struct memory *memory, uint64_t *end,
                     struct error *error)
{
    uint64_t before = (uint64_t)flat->header - flat->load;
    if (flat->header < flat->load || before > flat->header_offset ||
        (flat->load_end && flat->load_end < flat->load))
        return kernel_bad(options, "the addresses in its multiboot header are wrong", error);
    uint64_t offset = flat->header_offset - before;
    uint64_t size = flat->load_end ? flat->load_end - flat->load : kernel->size - offset;
    uint64_t bss = flat->bss_end > flat->load + size ? flat->bss_end - flat->load - size : 0;
    const Elf64_Phdr segment = {
        .p_offset = offset, .p_paddr = flat->load, .p_filesz = size, .p_memsz = size + bss};
    return elf_segment_load(options, kernel, &segment, memory, end, error);
}

/* *entry: the ELF file's, as a physical address. */
static int load_elf(const struct boot_options *options, const struct file_view *kernel,
                    struct memory *memory, uint64_t *entry, uint64_t *end, struct error *error)
{
    struct elf_file elf;
    int result = elf_file_read(options, kernel, &elf, error);
    *entry = result < 0 ? 0 : elf.entry;
    for (unsigned i = 0; result == 0 && i < elf.count; i++) {
        Elf64_Phdr segment = elf_program(kernel, &elf, i);
        if (segment.p_type != PT_LOAD)
            continue;
        if (elf.entry >= segment.p_vaddr && elf.entry - segment.p_vaddr < segment.p_memsz)
            *entry = elf.entry - segment.p_vaddr + segment.p_paddr;
        result = elf_segment_load(options, kernel, &segment, memory, end, error);
    }
    return result;
}

static int place_module(const struct file_view *view, const char *words, struct memory *memory,
                        struct multiboot_modules *modules, uint64_t *end, struct error *error)
{
    uint64_t start = align_up(*end, PAGE_SIZE);
    if (memory_write(memory, start, view->bytes, view->size) < 0)
        return error_set(error, ENOMEM, "--module %s: does not fit; give more --memory", words);
    *end = start + view->size;
    modules->list[modules->count++] =
        (struct multiboot_module){(uint32_t)start, (uint32_t)*end, words};
    return 0;
}

static int place_modules(const struct boot_options *options, const struct boot_files *files,
                         struct memory *memory, struct multiboot_modules *modules, uint64_t end,
                         struct error *error)
{
    int result = 0;
    modules->count = 0;
    if (files->initrd.size)
        result = place_module(&files->initrd, options->initrd, memory, modules, &end, error);
    for (unsigned i = 0; result == 0 && i < options->module_count; i++)
        result =
            place_module(&files->modules[i], options->modules[i], memory, modules, &end, error);
    return result;
}

uint32_t multiboot_put(struct multiboot_writer *writer, const void *bytes, size_t size,
                       unsigned alignment)
{
    uint64_t gpa = align_up(writer->next, alignment);
    if (!range_within(gpa, size, BOOT_COMMAND_LINE) ||
        memory_write(writer->memory, gpa, bytes, size) < 0) {
        writer->failed = true;
        return 0;
    }
    writer->next = gpa + size;
    return (uint32_t)gpa;
}

int multiboot_load(const struct boot_options *options, const struct boot_files *files,
                   struct memory *memory, struct boot_entry *entry, struct error *error)
{
    const struct file_view *kernel = &files->kernel;
    struct multiboot_header header = {0};
    struct multiboot_modules modules;
    uint64_t start = 0, end = MIB(1);
    const struct multiboot_version *version = find(kernel, &header.offset);
    int result = version->read_header(options, kernel, &header, error);
    if (result < 0)
        return result;
    if (strlen(options->command_line) >= BOOT_COMMAND_LINE_MAX)
        return error_set(error, E2BIG, "--append: command line is too long");
    if (header.flat.given)
        result = load_flat(options, kernel, &header.flat, memory, &end, error);
    else if (elf_matches(kernel))
        result = load_elf(options, kernel, memory, &start, &end, error);
    else
        result = kernel_bad(options, "has a multiboot header without addresses, but is no ELF file",
                            error);
    if (result == 0)
        result = place_modules(options, files, memory, &modules, end, error);
    if (result == 0)
        result = version->write_information(options, &modules, memory, error);
    *entry = (struct boot_entry){.protocol = BOOT_MULTIBOOT,
                                 .rip = header.has_entry ? header.entry : start,
                                 .rax = version->entry_magic,
                                 .rbx = BOOT_MULTIBOOT};
    return result;
}
