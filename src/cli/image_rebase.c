/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image rebase: another backing image below the same content. */
#include "cli/image.h"
#include "disk/copy.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static int set_backing(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->backing = text;
    return 0;
}

static int set_backing_format(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->backing_format = text;
    return 0;
}

static int set_unsafe(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->unsafe = true;
    return 0;
}

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    {"backing", "FILE", "the new backing image; none if left out", set_backing, NULL},
    {"backing-format", "FORMAT", "its format (as its name says)", set_backing_format, NULL},
    {"unsafe", NULL, "only change the name: for a backing image that was moved", set_unsafe, NULL},
    IMAGE_OPTION_QUIET,
    {0},
};

/* The new backing image; names are relative to the image's folder. */
static struct image *open_new(const struct image_options *options, struct error *error)
{
    char path[PATH_MAX];
    const char *image = options->words[0];
    const char *slash = options->backing[0] == '/' ? NULL : strrchr(image, '/');
    snprintf(path, sizeof(path), "%.*s%s", slash ? (int)(slash - image + 1) : 0, image,
             options->backing);
    return image_open_word(path, options->backing_format, true, false, error);
}

static int rebase(const struct image_options *options, struct image *image, struct error *error)
{
    struct progress progress;
    const char *format = options->backing_format;
    struct image *other = NULL;
    int result = 0;
    if (!image_is_qcow2(image))
        return error_set(error, EINVAL, "%s: is a raw image, which has no backing image",
                         options->words[0]);
    if (options->backing) {
        other = open_new(options, error);
        if (!other)
            return -error->code;
        format = other->ops->format;
    }
    progress_init(&progress, "rebase", options->quiet);
    if (!options->unsafe)
        result = image_copy_difference(
            image, other, &(struct copy_progress){.advance = progress_advance, .opaque = &progress},
            error);
    if (other)
        image_close(other);
    return result == 0 ? qcow2_set_backing(image, options->backing, format, error) : result;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *image = NULL;
    int result = image_parse(&command_image_rebase, &options, argc, argv, 1, 1, &error);
    if (result == 0) {
        image = image_open_word(options.words[0], options.format, false, options.unsafe, &error);
        result = image ? rebase(&options, image, &error) : -error.code;
    }
    return image_end(image, result, &error);
}

const struct command command_image_rebase = {
    .name = "image rebase",
    .summary = "change an image's backing image and keep its content",
    .usage = "FILE [OPTION...]",
    .examples = "  nacre image rebase --backing newer.qcow2 overlay.qcow2\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
