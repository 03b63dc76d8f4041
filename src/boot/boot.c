/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/boot.h"

#include "boot/bzimage.h"
#include "boot/elf.h"

#include <errno.h>

static int load_views(const struct boot_options *options, const struct file_view *kernel,
                      const struct file_view *initrd, struct memory *memory,
                      struct boot_entry *entry, struct error *error)
{
    if (bzimage_matches(kernel))
        return bzimage_load(options, kernel, initrd, memory, entry, error);
    if (elf_matches(kernel))
        return elf_load(options, kernel, initrd, memory, entry, error);
    return error_set(error, ENOEXEC, "--kernel %s: is neither a Linux bzImage nor an ELF kernel",
                     options->kernel);
}

int boot_load(const struct boot_options *options, struct memory *memory, struct boot_entry *entry,
              struct error *error)
{
    struct file_view kernel, initrd = {0};
    int result = file_view_open(&kernel, "--kernel", options->kernel, error);
    if (result < 0)
        return result;
    result = file_view_open(&initrd, "--initrd", options->initrd, error);
    if (result == 0)
        result = load_views(options, &kernel, &initrd, memory, entry, error);
    file_view_close(&initrd);
    file_view_close(&kernel);
    return result;
}
