/* SPDX-License-Identifier: Apache-2.0 */
#include "base/iovec.h"

#include <string.h>

uint64_t vector_size(const struct iovec *vector, unsigned count)
{
    uint64_t size = 0;
    for (unsigned i = 0; i < count; i++)
        size += vector[i].iov_len;
    return size;
}

unsigned vector_slice(struct iovec *slice, unsigned room, const struct iovec *vector,
                      unsigned count, uint64_t offset, uint64_t length)
{
    unsigned used = 0;
    for (unsigned i = 0; i < count && used < room && length; i++) {
        if (offset >= vector[i].iov_len) {
            offset -= vector[i].iov_len;
            continue;
        }
        uint64_t left = vector[i].iov_len - offset;
        uint64_t size = left < length ? left : length;
        slice[used++] =
            (struct iovec){.iov_base = (uint8_t *)vector[i].iov_base + offset, .iov_len = size};
        length -= size;
        offset = 0;
    }
    return used;
}

enum copy { FROM_VECTOR, TO_VECTOR, CLEAR };

static uint64_t vector_copy(const struct iovec *vector, unsigned count, uint64_t offset,
                            uint8_t *bytes, uint64_t size, enum copy copy)
{
    uint64_t done = 0;
    for (unsigned i = 0; i < count && done < size; i++) {
        if (offset >= vector[i].iov_len) {
            offset -= vector[i].iov_len;
            continue;
        }
        uint64_t room = vector[i].iov_len - offset;
        uint64_t piece = size - done < room ? size - done : room;
        uint8_t *buffer = (uint8_t *)vector[i].iov_base + offset;
        if (copy == TO_VECTOR)
            memcpy(buffer, bytes + done, piece);
        else if (copy == FROM_VECTOR)
            memcpy(bytes + done, buffer, piece);
        else
            memset(buffer, 0, piece);
        done += piece;
        offset = 0;
    }
    return done;
}

uint64_t vector_read(const struct iovec *vector, unsigned count, uint64_t offset, void *bytes,
                     uint64_t size)
{
    return vector_copy(vector, count, offset, bytes, size, FROM_VECTOR);
}

uint64_t vector_write(const struct iovec *vector, unsigned count, uint64_t offset,
                      const void *bytes, uint64_t size)
{
    return vector_copy(vector, count, offset, (uint8_t *)bytes, size, TO_VECTOR);
}

void vector_clear(const struct iovec *vector, unsigned count, uint64_t offset, uint64_t size)
{
    vector_copy(vector, count, offset, NULL, size, CLEAR);
}
