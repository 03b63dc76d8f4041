/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/boot.h"

#include "boot/bzimage.h"
#include "boot/elf.h"
#include "boot/elf_file.h"
#include "boot/multiboot.h"

#include <errno.h>
#include <stdio.h>

/* The file's name ends at the first space. */
static int open_module(struct file_view *view, const char *text, struct error *error)
{
    char path[4096];
    size_t length = strcspn(text, " ");
    if (length >= sizeof(path))
        return error_set(error, ENAMETOOLONG, "--module: the file's name is too long");
    snprintf(path, sizeof(path), "%.*s", (int)length, text);
    return file_view_open(view, "--module", path, error);
}

int boot_files_open(struct boot_files *files, const struct boot_options *options,
                    struct error *error)
{
    *files = (struct boot_files){0};
    int result = file_view_open(&files->kernel, "--kernel", options->kernel, error);
    if (result == 0)
        result = file_view_open(&files->initrd, "--initrd", options->initrd, error);
    for (unsigned i = 0; result == 0 && i < options->module_count; i++)
        result = open_module(&files->modules[i], options->modules[i], error);
    return result;
}

void boot_files_close(struct boot_files *files)
{
    for (unsigned i = 0; i < BOOT_MODULES_MAX; i++)
        file_view_close(&files->modules[i]);
    file_view_close(&files->initrd);
    file_view_close(&files->kernel);
}

static int load(const struct boot_options *options, const struct boot_files *files,
                struct memory *memory, struct boot_entry *entry, struct error *error)
{
    const struct file_view *kernel = &files->kernel, *initrd = &files->initrd;
    if (!options->kernel)
        return error_set(error, EINVAL,
                         "--kernel: none was given when the machine was restored, so it cannot "
                         "boot again");
    if (options->module_count && !multiboot_matches(kernel))
        return error_set(error, EINVAL,
                         "--module: --kernel %s takes none: it has no multiboot header",
                         options->kernel);
    if (bzimage_matches(kernel))
        return bzimage_load(options, kernel, initrd, memory, entry, error);
    if (multiboot_matches(kernel) && (options->module_count || !elf_is_pvh(options, kernel)))
        return multiboot_load(options, files, memory, entry, error);
    if (elf_matches(kernel))
        return elf_load(options, kernel, initrd, memory, entry, error);
    return error_set(error, ENOEXEC,
                     "--kernel %s: is neither a Linux bzImage nor an ELF or multiboot kernel",
                     options->kernel);
}

int boot_load(const struct boot_options *options, const struct boot_files *files,
              struct memory *memory, struct boot_entry *entry, struct error *error)
{
    int result = load(options, files, memory, entry, error);
    for (unsigned i = 0; i < options->module_count; i++)
        file_view_release(&files->modules[i]);
    file_view_release(&files->initrd);
    file_view_release(&files->kernel);
    return result;
}
