/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images: the disk's content is the file, byte for byte. */
#include "disk/raw.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

static int raw_execute(struct image *image, const struct block_request *request)
{
    return request->operation == BLOCK_FINISH ? 0 : file_execute(image->file, request);
}

static bool raw_locate(struct image *image, struct block_request *request, uint64_t *offset)
{
    *offset = request->offset;
    return true;
}

static int raw_extent(struct image *image, uint64_t offset, uint64_t length, struct extent *extent)
{
    return image->file->ops->extent(image->file, offset, length, extent);
}

static int raw_resize(struct image *image, uint64_t size, struct error *error)
{
    int result = file_resize(image->file, size);
    if (result < 0)
        return error_set(error, -result, "%s: cannot make it %llu bytes long", image->file->path,
                         (unsigned long long)size);
    image->size = size;
    return 0;
}

static int raw_close(struct image *image)
{
    file_close(image->file);
    free(image);
    return 0;
}

static const struct image_ops raw_ops = {
    .format = "raw",
    .execute = raw_execute,
    .locate = raw_locate,
    .extent = raw_extent,
    .resize = raw_resize,
    .close = raw_close,
};

struct image *raw_open(struct file *file, const struct block_options *options, struct error *error)
{
    /* A tail that fills no sector cannot be reached. */
    uint64_t size = align_down(file->size, 512);
    struct image *image = size ? calloc(1, sizeof(*image)) : NULL;
    if (!size)
        error_set(error, EINVAL, "%s: is empty; make it with truncate -s SIZE", file->path);
    else if (!image)
        error_set(error, ENOMEM, "%s: out of memory", file->path);
    if (!image) {
        file_close(file);
        return NULL;
    }
    *image = (struct image){
        .ops = &raw_ops, .file = file, .size = size, .read_only = options->read_only};
    return image;
}
