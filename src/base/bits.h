/* SPDX-License-Identifier: Apache-2.0 */
/* Small arithmetic that everything uses: bit fields, alignment, little-endian loads and stores. */
#ifndef NACRE_BASE_BITS_H
#define NACRE_BASE_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#define BIT(n)            (UINT64_C(1) << (n))
#define KIB(n)            ((uint64_t)(n) << 10)
#define MIB(n)            ((uint64_t)(n) << 20)
#define GIB(n)            ((uint64_t)(n) << 30)

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* Bits high..low of value, shifted down to bit 0. */
static inline uint64_t bits_get(uint64_t value, unsigned high, unsigned low)
{
    return (value >> low) & (~UINT64_C(0) >> (63 - (high - low)));
}

/* All-ones in the low `bytes` bytes; bytes is 1 to 8. */
static inline uint64_t bytes_mask(unsigned bytes)
{
    return ~UINT64_C(0) >> (64 - bytes * 8);
}

/* The low `bits` bits (1 to 64) of value as a signed number. */
static inline int64_t sign_extend(uint64_t value, unsigned bits)
{
    return (int64_t)(value << (64 - bits)) >> (64 - bits);
}

static inline uint64_t align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

static inline uint64_t align_up(uint64_t value, uint64_t alignment)
{
    return align_down(value + alignment - 1, alignment);
}

/* True when [offset, offset + length) lies inside [0, limit), with overflow considered. */
static inline bool range_within(uint64_t offset, uint64_t length, uint64_t limit)
{
    return offset <= limit && length <= limit - offset;
}

/* Loads and stores of 1 to 8 little-endian bytes at any alignment. The host is little-endian. */
static inline uint64_t load_le(const void *bytes, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, bytes, size);
    return value;
}

static inline void store_le(void *bytes, uint64_t value, unsigned size)
{
    memcpy(bytes, &value, size);
}

/* The same, big-endian. */
static inline uint64_t load_be(const void *bytes, unsigned size)
{
    return __builtin_bswap64(load_le(bytes, size)) >> (64 - 8 * size);
}

static inline void store_be(void *bytes, uint64_t value, unsigned size)
{
    store_le(bytes, __builtin_bswap64(value) >> (64 - 8 * size), size);
}

#endif
