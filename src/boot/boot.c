/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/boot.h"

#include "boot/bzimage.h"
#include "boot/elf.h"

#include <errno.h>

int boot_files_open(struct boot_files *files, const struct boot_options *options,
                    struct error *error)
{
    *files = (struct boot_files){0};
    int result = file_view_open(&files->kernel, "--kernel", options->kernel, error);
    return result < 0 ? result : file_view_open(&files->initrd, "--initrd", options->initrd, error);
}

void boot_files_close(struct boot_files *files)
{
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
    if (bzimage_matches(kernel))
        return bzimage_load(options, kernel, initrd, memory, entry, error);
    if (elf_matches(kernel))
        return elf_load(options, kernel, initrd, memory, entry, error);
    return error_set(error, ENOEXEC, "--kernel %s: is neither a Linux bzImage nor an ELF kernel",
                     options->kernel);
}

int boot_load(const struct boot_options *options, const struct boot_files *files,
              struct memory *memory, struct boot_entry *entry, struct error *error)
{
    int result = load(options, files, memory, entry, error);
    file_view_release(&files->initrd);
    file_view_release(&files->kernel);
    return result;
}
