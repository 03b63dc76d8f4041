/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/firmware.h"

#include "base/settings.h"

#include <errno.h>
#include <string.h>

/* Where Debian's packages put them. */
static const struct known_firmware {
    const char *word, *image, *template, *package;
} known[] = {
    {"bios", "/usr/share/seabios/bios-256k.bin", NULL, "seabios"},
    {"uefi", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd", "ovmf"},
};

const char *firmware_word(unsigned index)
{
    return index < ARRAY_SIZE(known) ? known[index].word : NULL;
}

static int set_variables(void *target, char *value, struct error *error)
{
    ((struct firmware_options *)target)->variables = value;
    return 0;
}

static const struct setting firmware_settings[] = {{"vars", set_variables}, {NULL, NULL}};

int firmware_parse(char *text, struct firmware_options *options, struct error *error)
{
    char *word = strsep(&text, ",");
    *options = (struct firmware_options){.image = word};
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        if (strcmp(known[i].word, word))
            continue;
        options->image = known[i].image;
        options->template = known[i].template;
        if (text && !known[i].template)
            return error_set(error, EINVAL, "--firmware %s: has no variables to keep", word);
    }
    return settings_apply(firmware_settings, options, "--firmware", text, error);
}

/* What to do when a file is not there. */
static void add_hint(const struct firmware_options *options, struct error *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++)
        if (options->image == known[i].image)
            error_set(error, error->code, "--firmware %s: no %s; install Debian's package %s",
                      known[i].word, known[i].image, known[i].package);
}

int firmware_load(const struct firmware_options *options, struct memory *memory,
                  struct error *error)
{
    struct file_view view;
    int result = file_view_open(&view, "--firmware", options->image, error);
    if (result == -ENOENT)
        add_hint(options, error);
    if (result < 0)
        return result;
    if (view.size % PAGE_SIZE || view.size > MEMORY_ROM_MAX)
        result = error_set(error, EINVAL,
                           "--firmware %s: %llu bytes are no ROM image: must be whole pages of "
                           "4096 bytes, at most 16 MiB",
                           options->image, (unsigned long long)view.size);
    else
        result = memory_add_rom(memory, view.bytes, view.size, error);
    file_view_close(&view);
    return result;
}
