/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of buffers: measuring, cutting, copying. Offsets and sizes are in bytes. */
#ifndef NACRE_BASE_IOVEC_H
#define NACRE_BASE_IOVEC_H

#include <stdint.h>
#include <sys/uio.h>

uint64_t vector_size(const struct iovec *vector, unsigned count);

/*
 * Fills `slice` with the pieces of the vector that make up [offset, offset + length); returns how
 * many. When `room` pieces do not reach that far, the slice ends earlier.
 */
unsigned vector_slice(struct iovec *slice, unsigned room, const struct iovec *vector,
                      unsigned count, uint64_t offset, uint64_t length);

/* Copies to or from a vector, from byte `offset` on; returns the bytes copied. */
uint64_t vector_read(const struct iovec *vector, unsigned count, uint64_t offset, void *bytes,
                     uint64_t size);
uint64_t vector_write(const struct iovec *vector, unsigned count, uint64_t offset,
                      const void *bytes, uint64_t size);
void vector_clear(const struct iovec *vector, unsigned count, uint64_t offset, uint64_t size);

#endif
