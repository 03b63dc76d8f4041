/* SPDX-License-Identifier: Apache-2.0 */
/* Opening an image by its format. Which format a file has is never guessed from what a guest may
 * have written: docs/decisions/image-formats.md. */
#include "disk/image.h"

#include "base/bits.h"
#include "disk/qcow2/qcow2.h"
#include "disk/raw.h"

#include <errno.h>

static const struct {
    const char *format, *suffix;
    uint8_t magic[4]; /* all zero: none */
    struct image *(*open)(struct file *file, const struct block_options *options,
                          struct error *error);
} formats[] = {
    {.format = "raw", .suffix = "", .open = raw_open},
    {.format = "qcow2", .suffix = ".qcow2", .magic = {'Q', 'F', 'I', 0xfb}, .open = qcow2_open},
};

static int find_by_name(const char *format, struct error *error, const char *path)
{
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++)
        if (!strcmp(formats[i].format, format))
            return (int)i;
    return error_set(error, EINVAL, "%s: unknown format %s; known are raw and qcow2", path, format);
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);
    return length >= tail && !strcmp(text + length - tail, suffix);
}

/* The suffix says it, and the content must not say something else. */
static int find_by_suffix(struct file *file, struct error *error)
{
    uint8_t magic[4] = {0};
    for (unsigned i = 1; i < ARRAY_SIZE(formats); i++)
        if (ends_with(file->path, formats[i].suffix))
            return (int)i;
    if (file->size < sizeof(magic) || file_read(file, 0, magic, sizeof(magic)) < 0)
        return 0;
    for (unsigned i = 1; i < ARRAY_SIZE(formats); i++)
        if (!memcmp(formats[i].magic, magic, sizeof(magic)))
            return error_set(error, EINVAL,
                             "%s: looks like %s; say format=%s, or format=raw if it is a raw disk "
                             "on which a guest has written that",
                             file->path, formats[i].format, formats[i].format);
    return 0;
}

struct image *image_open(const struct block_options *options, struct error *error)
{
    struct file *file = file_open(options, error);
    return file ? image_open_file(file, options, error) : NULL;
}

struct image *image_open_file(struct file *file, const struct block_options *options,
                              struct error *error)
{
    int index = options->format ? find_by_name(options->format, error, options->path)
                                : find_by_suffix(file, error);
    if (index < 0) {
        file_close(file);
        return NULL;
    }
    return formats[index].open(file, options, error);
}

int image_read(struct image *image, uint64_t offset, void *bytes, uint64_t length)
{
    const struct iovec vector = {.iov_base = bytes, .iov_len = length};
    return image_execute(image, &(struct block_request){.operation = BLOCK_READ,
                                                        .offset = offset,
                                                        .length = length,
                                                        .vector = &vector,
                                                        .vector_count = 1});
}

int image_write(struct image *image, uint64_t offset, const void *bytes, uint64_t length)
{
    const struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
    return image_execute(image, &(struct block_request){.operation = BLOCK_WRITE,
                                                        .offset = offset,
                                                        .length = length,
                                                        .vector = &vector,
                                                        .vector_count = 1});
}

int image_flush(struct image *image)
{
    return image_execute(image, &(struct block_request){.operation = BLOCK_FLUSH});
}
