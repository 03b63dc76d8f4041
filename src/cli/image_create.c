/* SPDX-License-Identifier: Apache-2.0 */
/* nacre image create: a new, empty image. */
#include "base/bits.h"
#include "cli/image.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int set_backing(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->create.backing = text;
    return 0;
}

static int set_backing_format(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->create.backing_format = text;
    return 0;
}

static int set_cluster_size(void *target, const char *text, struct error *error)
{
    uint64_t size;
    int result = size_parse("cluster-size", text, &size, error);
    if (result == 0 && (size < 512 || size > MIB(2)))
        result = error_set(error, EINVAL, "--cluster-size %s: must be from 512 to 2M", text);
    if (result == 0)
        ((struct image_options *)target)->create.cluster_size = (unsigned)size;
    return result;
}

static int set_refcount_bits(void *target, const char *text, struct error *error)
{
    unsigned *bits = &((struct image_options *)target)->create.refcount_bits;
    return number_parse("refcount-bits", text, 1, 64, bits, error);
}

static int set_version(void *target, const char *text, struct error *error)
{
    unsigned *version = &((struct image_options *)target)->create.version;
    return number_parse("qcow2-version", text, 2, 3, version, error);
}

static int set_lazy(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->create.lazy_refcounts = true;
    return 0;
}

static int set_replace(void *target, const char *text, struct error *error)
{
    ((struct image_options *)target)->replace = true;
    return 0;
}

static const struct option_spec option_table[] = {
    IMAGE_OPTION_FORMAT,
    {"backing", "FILE", "base the image on this one (qcow2)", set_backing, NULL},
    {"backing-format", "FORMAT", "format of the backing image (as its name says)",
     set_backing_format, NULL},
    {"cluster-size", "SIZE", "unit of allocation, 512 to 2M (64K)", set_cluster_size, NULL},
    {"refcount-bits", "N", "width of the reference counts, 1 to 64 (16)", set_refcount_bits, NULL},
    {"lazy-refcounts", NULL, "write reference counts late; a crash makes the next start slow",
     set_lazy, NULL},
    {"qcow2-version", "N", "2 or 3 (3)", set_version, NULL},
    {"replace", NULL, "empty a file that exists", set_replace, NULL},
    {0},
};

/* The size of the backing image, which must be there and be what it is said to be. */
static int look_at_backing(const char *path, struct qcow2_create_options *create,
                           struct error *error)
{
    char resolved[ERROR_MESSAGE_MAX];
    const char *slash = create->backing[0] == '/' ? NULL : strrchr(path, '/');
    snprintf(resolved, sizeof(resolved), "%.*s%s", slash ? (int)(slash - path + 1) : 0, path,
             create->backing);
    struct image *image = image_open_word(resolved, create->backing_format, true, false, error);
    if (!image)
        return error_prefix(error, "--backing");
    if (!create->size)
        create->size = image->size;
    /* What it is now is written down: no later look at its content decides. */
    create->backing_format = image->ops->format;
    image_close(image);
    return 0;
}

static int create(struct image_options *options, struct error *error)
{
    const char *path = options->words[0], *format = image_format_for(path, options->format);
    struct qcow2_create_options *qcow2 = &options->create;
    bool is_qcow2 = !strcmp(format, "qcow2");
    int result =
        options->word_count > 1 ? size_parse("size", options->words[1], &qcow2->size, error) : 0;
    if (result < 0)
        return error_prefix(error, "%s", path);
    if (!is_qcow2 && strcmp(format, "raw"))
        return error_set(error, EINVAL, "--format %s: known are raw and qcow2", format);
    if (!is_qcow2 && qcow2->backing)
        return error_set(error, EINVAL, "%s: only a qcow2 image can have a backing image", path);
    if (qcow2->backing)
        result = look_at_backing(path, qcow2, error);
    if (result < 0)
        return result;
    qcow2->size = align_up(qcow2->size, 512);
    if (!qcow2->size)
        return error_set(error, EINVAL, "%s: say how large it shall be, as 20G", path);
    result = file_create(path, is_qcow2 ? 0 : qcow2->size, options->replace, error);
    if (result < 0 || !is_qcow2)
        return result == -EEXIST ? error_set(error, EEXIST, "%s: exists; see --replace", path)
                                 : result;
    result = qcow2_create(path, qcow2, error);
    if (result < 0)
        unlink(path);
    return result;
}

int image_create_overlay(const char *path, const char *backing, uint64_t size, struct error *error)
{
    struct image_options options = {.words = {path}, .word_count = 1};
    char *absolute = realpath(backing, NULL);
    options.create.backing = absolute ? absolute : backing;
    options.create.size = size;
    int result = create(&options, error);
    free(absolute);
    return result;
}

static int run(int argc, char **argv)
{
    struct image_options options;
    struct error error = {0};
    int result = image_parse(&command_image_create, &options, argc, argv, 1, 2, &error);
    if (result == 0)
        result = create(&options, &error);
    return image_end(NULL, result, &error);
}

const struct command command_image_create = {
    .name = "image create",
    .summary = "make an empty image",
    .usage = "FILE [SIZE] [OPTION...]",
    .examples = "  nacre image create disk.qcow2 20G\n",
    .options = option_table,
    .argument = image_add_word,
    .run = run,
};
