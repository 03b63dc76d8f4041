/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/copy.h"

#include "base/bits.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER MIB(1)
#define GRAIN  KIB(4) /* what is looked at for zeroes */

struct copy {
    struct image *from, *to;
    const struct copy_progress *progress;
    uint8_t *bytes, *others;
};

static bool is_zero(const uint8_t *bytes, uint64_t length)
{
    return !length || (!bytes[0] && !memcmp(bytes, bytes + 1, length - 1));
}

/* Reads, and zeroes behind the image's end. image NULL: zeroes. */
static int read_padded(struct image *image, uint64_t offset, uint8_t *bytes, uint64_t length)
{
    uint64_t size = image ? image->size : 0;
    uint64_t inside = offset >= size ? 0 : length < size - offset ? length : size - offset;
    memset(bytes + inside, 0, length - inside);
    return inside ? image_read(image, offset, bytes, inside) : 0;
}

/* Writes the grains of `bytes` that differ from `others` (NULL: from zeroes), in as few pieces as
 * possible. */
static int write_different(struct image *to, uint64_t offset, const uint8_t *bytes,
                           const uint8_t *others, uint64_t length)
{
    uint64_t start = 0;
    int result = 0;
    for (uint64_t at = 0; at <= length && result == 0; at += GRAIN) {
        uint64_t size = length - at < GRAIN ? length - at : GRAIN;
        bool same =
            !size || (others ? !memcmp(bytes + at, others + at, size) : is_zero(bytes + at, size));
        uint64_t end = at < length ? at : length;
        if (same && end > start)
            result = image_write(to, offset + start, bytes + start, end - start);
        if (same)
            start = at + GRAIN;
    }
    if (result == 0 && start < length)
        result = image_write(to, offset + start, bytes + start, length - start);
    return result;
}

int image_find(struct image *image, uint64_t offset, uint64_t length, struct extent *extent,
               struct image **where, unsigned *depth)
{
    for (*depth = 0; image && offset < image->size; image = image->backing, ++*depth) {
        if (length > image->size - offset)
            length = image->size - offset;
        int result = image->ops->extent(image, offset, length, extent);
        length = extent->length;
        *where = image;
        if (result < 0 || extent->kind != EXTENT_BACKING)
            return result;
    }
    *where = NULL;
    *extent = (struct extent){.kind = EXTENT_BACKING, .length = length};
    return 0;
}

/* --- one step each: bytes from offset on, at most length; the bytes done, or -errno --- */

static int64_t copy_step(struct copy *copy, uint64_t offset, uint64_t length)
{
    struct extent extent;
    struct image *where;
    unsigned depth;
    int result = image_find(copy->from, offset, length, &extent, &where, &depth);
    if (result < 0)
        return result;
    if (!where || extent.kind == EXTENT_ZERO || extent.kind == EXTENT_BACKING)
        return (int64_t)extent.length;
    if (extent.length > BUFFER)
        extent.length = BUFFER;
    result = image_read(copy->from, offset, copy->bytes, extent.length);
    if (result == 0)
        result = write_different(copy->to, offset, copy->bytes, NULL, extent.length);
    return result < 0 ? result : (int64_t)extent.length;
}

static int64_t own_step(struct copy *copy, uint64_t offset, uint64_t length)
{
    struct extent extent;
    int result = copy->from->ops->extent(copy->from, offset, length, &extent);
    if (result < 0 || extent.kind == EXTENT_BACKING)
        return result < 0 ? result : (int64_t)extent.length;
    if (extent.kind == EXTENT_ZERO) {
        result = image_execute(copy->to, &(struct block_request){.operation = BLOCK_WRITE_ZEROES,
                                                                 .may_unmap = true,
                                                                 .offset = offset,
                                                                 .length = extent.length});
        return result < 0 ? result : (int64_t)extent.length;
    }
    if (extent.length > BUFFER)
        extent.length = BUFFER;
    result = image_read(copy->from, offset, copy->bytes, extent.length);
    if (result == 0)
        result = image_write(copy->to, offset, copy->bytes, extent.length);
    return result < 0 ? result : (int64_t)extent.length;
}

/* from: the image; to: what it shall be based on, or NULL. */
static int64_t difference_step(struct copy *copy, uint64_t offset, uint64_t length)
{
    struct extent extent;
    int result = copy->from->ops->extent(copy->from, offset, length, &extent);
    if (result < 0 || extent.kind != EXTENT_BACKING)
        return result < 0 ? result : (int64_t)extent.length;
    if (extent.length > BUFFER)
        extent.length = BUFFER;
    result = read_padded(copy->from->backing, offset, copy->bytes, extent.length);
    if (result == 0)
        result = read_padded(copy->to, offset, copy->others, extent.length);
    if (result == 0)
        result = write_different(copy->from, offset, copy->bytes, copy->others, extent.length);
    return result < 0 ? result : (int64_t)extent.length;
}

static int run(struct copy *copy,
               int64_t (*step)(struct copy *copy, uint64_t offset, uint64_t length),
               struct image *written, struct error *error)
{
    uint64_t total = copy->from->size;
    int64_t result = 0;
    copy->bytes = aligned_alloc(GRAIN, BUFFER);
    copy->others = aligned_alloc(GRAIN, BUFFER);
    if (!copy->bytes || !copy->others)
        result = -ENOMEM;
    for (uint64_t done = 0; done < total && result >= 0; done += (uint64_t)result) {
        if (copy->progress && copy->progress->advance)
            copy->progress->advance(copy->progress->opaque, done, total);
        result = step(copy, done, total - done);
    }
    if (copy->progress && copy->progress->advance)
        copy->progress->advance(copy->progress->opaque, total, total);
    if (result >= 0)
        result = image_flush(written);
    free(copy->bytes);
    free(copy->others);
    if (result >= 0)
        return 0;
    return error_set(error, (int)-result, "%s to %s: %s", copy->from->file->path,
                     written->file->path, strerror((int)-result));
}

int image_copy(struct image *from, struct image *to, const struct copy_progress *progress,
               struct error *error)
{
    struct copy copy = {.from = from, .to = to, .progress = progress};
    return run(&copy, copy_step, to, error);
}

int image_copy_own(struct image *from, struct image *to, const struct copy_progress *progress,
                   struct error *error)
{
    struct copy copy = {.from = from, .to = to, .progress = progress};
    return run(&copy, own_step, to, error);
}

int image_copy_difference(struct image *image, struct image *other,
                          const struct copy_progress *progress, struct error *error)
{
    struct copy copy = {.from = image, .to = other, .progress = progress};
    return run(&copy, difference_step, image, error);
}
