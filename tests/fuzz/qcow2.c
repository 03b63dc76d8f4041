/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images: the input is four bytes of choices and an image. It is opened, checked, read and
 * written. All of that may fail; nothing may crash, hang, or take memory without bound.
 */
#include "fuzz/fuzz.h"

#include "base/bits.h"
#include "disk/memory_file.h"
#include "disk/qcow2/qcow2.h"

#define PIECE 4096

static void use(struct image *image)
{
    static uint8_t bytes[PIECE];
    const struct iovec vector = {bytes, sizeof(bytes)};
    uint64_t ends[] = {0, image->size / 2, image->size > PIECE ? image->size - PIECE : 0};
    for (unsigned i = 0; i < 24; i++) {
        uint64_t offset = align_down(ends[i % ARRAY_SIZE(ends)], 512) + i / 3 * 512;
        const struct block_request request = {.operation = (enum block_operation)((i * 7 + 5) % 5),
                                              .may_unmap = i & 1,
                                              .offset = offset,
                                              .length = sizeof(bytes),
                                              .vector = &vector,
                                              .vector_count = 1};
        struct extent extent;
        if (!range_within(offset, sizeof(bytes), image->size))
            continue;
        image->ops->extent(image, offset, sizeof(bytes), &extent);
        image_execute(image, &request);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    struct qcow2_check check;
    unsigned choices = (unsigned)fuzz_take_integer(&input, 4);
    const struct block_options options = {.path = "fuzz.qcow2",
                                          .read_only = choices & 1,
                                          .lenient = choices & 2,
                                          .depth = 1, /* small caches */
                                          .no_backing = true};
    struct file *file = memory_file_create(input.bytes, input.length, NULL);
    struct image *image = qcow2_open(file, &options, &error);
    if (!image && !error.message[0])
        abort(); /* a failure that tells the user nothing */
    if (!image)
        return 0;
    qcow2_check(image, (enum qcow2_repair)(choices & 1 ? 0 : choices >> 2 & 3) % 3, &check, &error);
    if (!(choices & 2)) {
        use(image);
        if (choices & 16 && !(choices & 1)) {
            qcow2_snapshot_create(image, "new", &error);
            qcow2_snapshot_apply(image, "one", &error);
            qcow2_snapshot_delete(image, "one", &error);
        }
        use(image);
    }
    image_close(image);
    return 0;
}
