/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image convert: the same content in another format, or without its backing images. */
#include "cli/image.h"
#include "disk/copy.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static int set_replace(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->replace = true;
    return 0;
}

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    {"target-format", "FORMAT", "the new image's format: raw or qcow2 (as its name says)",
     image_set_target_format, NULL},
    {"replace", NULL, "overwrite a file that exists", set_replace, NULL},
    IMAGE_OPTION_QUIET,
    {0},
};

static int create_target(const struct image_options *options, uint64_t size, const char **format,
                         struct error *error)
{
    const char *path = options->words[1];
    const struct qcow2_create_options create = {.size = size};
    *format = image_format_for(path, options->target_format);
    bool is_qcow2 = !strcmp(*format, "qcow2");
    if (!is_qcow2 && strcmp(*format, "raw"))
        return error_set(error, EINVAL, "--target-format %s: known are raw and qcow2", *format);
    int result = file_create(path, is_qcow2 ? 0 : size, options->replace, error);
    if (result == -EEXIST)
        return error_set(error, EEXIST, "%s: exists; see --replace", path);
    return result == 0 && is_qcow2 ? qcow2_create(path, &create, error) : result;
}

static int convert(const struct image_options *options, struct image *from, struct error *error)
{
    struct progress progress;
    const char *format;
    int result = create_target(options, from->size, &format, error);
    if (result < 0)
        return result;
    struct image *to = image_open_word(options->words[1], format, false, true, error);
    if (!to)
        return -error->code;
    progress_init(&progress, "convert", options->quiet);
    result = image_copy(
        from, to, &(struct copy_progress){.advance = progress_advance, .opaque = &progress}, error);
    int closed = image_close(to);
    if (result == 0 && closed < 0)
        result = error_set(error, -closed, "%s: %s", options->words[1], strerror(-closed));
    if (result < 0)
        unlink(options->words[1]);
    return result;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *from = NULL;
    int result = image_parse(&command_image_convert, &options, argc, argv, 2, 2, &error);
    if (result == 0) {
        from = image_open_word(options.words[0], options.format, true, false, &error);
        result = from ? convert(&options, from, &error) : -error.code;
    }
    return image_end(from, result, &error);
}

const struct command command_image_convert = {
    .name = "image convert",
    .summary = "copy a disk into a new image, in any format, in one file",
    .usage = "SOURCE TARGET [OPTION...]",
    .examples = "  nacre image convert disk.img disk.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
