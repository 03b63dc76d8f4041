/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image: making, looking at and changing disk images. A file for each command below it. */
#include "cli/image.h"

#include "base/bits.h"

#include <errno.h>

static const struct command *const parts[] = {
    &command_image_create,   &command_image_info,
    &command_image_check,    &command_image_map,
    &command_image_convert,  &command_image_resize,
    &command_image_commit,   &command_image_rebase,
    &command_image_snapshot, NULL,
};

static int run(int argc, char **argv)
{
    return command_run_part(&command_image, argc, argv);
}

const struct command command_image = {
    .name = "image",
    .summary = "make, look at and change disk images",
    .usage = "COMMAND FILE... [OPTION...]",
    .examples = "  nacre image create disk.qcow2 20G\n"
                "  nacre image create --backing debian.qcow2 overlay.qcow2\n"
                "  nacre image convert disk.img disk.qcow2\n",
    .options = no_options,
    .parts = parts,
    .run = run,
};

/* --- shared by the commands --- */

int image_set_format(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->format = text;
    return 0;
}

int image_set_target_format(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->target_format = text;
    return 0;
}

int image_set_quiet(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->quiet = true;
    return 0;
}

int image_add_word(void *target, const char *text, struct error *error)
{
    struct image_options *options = target;
    if (options->word_count == ARRAY_SIZE(options->words))
        return error_set(error, EINVAL, "%s: one word too many", text);
    options->words[options->word_count++] = text;
    return 0;
}

int image_parse(const struct command *command, struct image_options *options, int argc, char **argv,
                unsigned least, unsigned most, struct error *error)
{
    *options = (struct image_options){0};
    int result = options_parse(command, options, argc, argv, error);
    if (result)
        return result;
    if (options->word_count < least || options->word_count > most)
        return error_set(error, EINVAL, "%s: usage: nacre %s %s", command->name, command->name,
                         command->usage);
    return 0;
}

struct image *image_open_word(const char *path, const char *format, bool read_only, bool no_backing,
                              struct error *error)
{
    const struct block_options options = {
        .path = path, .format = format, .read_only = read_only, .no_backing = no_backing};
    return image_open(&options, error);
}

int image_end(struct image *image, int result, struct error *error)
{
    char path[ERROR_MESSAGE_MAX / 2] = "";
    if (image)
        snprintf(path, sizeof(path), "%s", image->file->path);
    int closed = image ? image_close(image) : 0;
    if (result == 0 && closed < 0)
        result = error_set(error, -closed, "%s: %s", path, strerror(-closed));
    if (result >= 0)
        return EXIT_CODE_OK;
    fprintf(stderr, "nacre: %s\n", error->message);
    return result == -ENOMEM || result == -EIO ? EXIT_CODE_HOST : EXIT_CODE_CONFIGURATION;
}

const char *image_format_for(const char *path, const char *format)
{
    size_t length = strlen(path);
    if (format)
        return format;
    return length > 6 && !strcmp(path + length - 6, ".qcow2") ? "qcow2" : "raw";
}
