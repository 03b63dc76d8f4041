/* SPDX-License-Identifier: Apache-2.0 */
#include "memory/image.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK KIB(64) /* RAM is a multiple of PAGE_SIZE: the last one may be shorter */

/* Calls visit for each chunk of RAM with its offset in the image, until one returns not 0. */
static int for_each_chunk(const struct memory *memory,
                          int (*visit)(void *opaque, const uint8_t *bytes, uint64_t size,
                                       uint64_t offset),
                          void *opaque)
{
    const struct {
        const uint8_t *start;
        uint64_t size;
    } parts[] = {{memory->base, memory->low_size},
                 {memory->base + MEMORY_HIGH_START, memory->high_size}};
    uint64_t offset = 0;
    int result = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        for (uint64_t done = 0; done < parts[i].size && result == 0; done += CHUNK) {
            uint64_t left = parts[i].size - done, size = left < CHUNK ? left : CHUNK;
            result = visit(opaque, parts[i].start + done, size, offset);
            offset += size;
        }
    }
    return result;
}

static bool is_zero(const uint8_t *bytes, uint64_t size)
{
    return !bytes[0] && !memcmp(bytes, bytes + 1, size - 1);
}

static int write_all(int fd, const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    while (size) {
        const struct iovec vector = {(void *)bytes, size};
        ssize_t written = pwritev2(fd, &vector, 1, (off_t)offset, 0);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        bytes += written;
        offset += (uint64_t)written;
        size -= (uint64_t)written;
    }
    return 0;
}

struct writer {
    int image;
    uint32_t checksum;
    uint64_t size; /* of all RAM */
};

static int write_chunk(void *opaque, const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    struct writer *writer = opaque;
    writer->checksum = (uint32_t)crc32_z(writer->checksum, bytes, size);
    /* The last one gives the file its size. */
    if (is_zero(bytes, size) && offset + size < writer->size)
        return 0;
    return write_all(writer->image, bytes, size, offset);
}

int memory_write_image(const struct memory *memory, int image, uint32_t *checksum)
{
    struct writer writer = {.image = image, .size = memory->low_size + memory->high_size};
    int result = for_each_chunk(memory, write_chunk, &writer);
    *checksum = writer.checksum;
    return result;
}

static int add_chunk(void *opaque, const uint8_t *bytes, uint64_t size, uint64_t offset)
{
    uint32_t *checksum = opaque;
    *checksum = (uint32_t)crc32_z(*checksum, bytes, size);
    return 0;
}

uint32_t memory_checksum(const struct memory *memory)
{
    uint32_t checksum = 0;
    for_each_chunk(memory, add_chunk, &checksum);
    return checksum;
}
