/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image resize: a larger or smaller disk. */
#include "base/bits.h"
#include "cli/image.h"

#include <errno.h>

static int set_shrink(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->shrink = true;
    return 0;
}

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    {"shrink", NULL, "cut the disk's end off, with what lies there", set_shrink, NULL},
    {0},
};

static int resize(const struct image_options *options, struct image *image, struct error *error)
{
    const char *text = options->words[1];
    uint64_t size;
    bool add = *text == '+';
    int result = size_parse("size", text + add, &size, error);
    if (result < 0)
        return error_prefix(error, "%s", options->words[0]);
    if (add && size > INT64_MAX - image->size)
        return error_set(error, EFBIG, "%s: is too large", options->words[0]);
    size = align_up(size + (add ? image->size : 0), 512);
    if (!size || size > INT64_MAX)
        return error_set(error, EINVAL, "%s: no disk has %s bytes", options->words[0], text);
    if (size < image->size && !options->shrink)
        return error_set(error, EINVAL,
                         "%s: would lose its last %llu bytes; say --shrink if that is meant",
                         options->words[0], (unsigned long long)(image->size - size));
    return image->ops->resize(image, size, error);
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    struct image *image = NULL;
    int result = image_parse(&command_image_resize, &options, argc, argv, 2, 2, &error);
    if (result == 0) {
        image = image_open_word(options.words[0], options.format, false, false, &error);
        result = image ? resize(&options, image, &error) : -error.code;
    }
    return image_end(image, result, &error);
}

const struct command command_image_resize = {
    .name = "image resize",
    .summary = "make a disk larger or smaller",
    .usage = "FILE SIZE|+SIZE [OPTION...]",
    .examples = "  nacre image resize disk.qcow2 +10G\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
