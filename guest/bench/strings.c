/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C library's string functions over several sizes. Which variant runs (SSE2, AVX2, EVEX) is
 * what the library takes for the CPU it sees: that choice is part of what is measured.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

enum { BYTES = 800000000, LARGEST = 65536, SHIFT = 24 };
static const unsigned sizes[] = {16, 64, 256, 4096, LARGEST};

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

struct buffers {
    char left[LARGEST + SHIFT + 8], right[LARGEST + SHIFT + 8];
};

/* Volatile: the compiler must not hoist a call whose arguments repeat. */
static size_t (*volatile const length)(const char *) = strlen;
static void *(*volatile const find)(const void *, int, size_t) = memchr;
static int (*volatile const compare)(const char *, const char *) = strcmp;
static void *(*volatile const move)(void *, const void *, size_t) = memmove;

static uint64_t run_strlen(struct buffers *buffers, unsigned size, unsigned shift)
{
    (void)size;
    return length(buffers->left + shift);
}

static uint64_t run_memchr(struct buffers *buffers, unsigned size, unsigned shift)
{
    char *start = buffers->left + shift, *found = find(start, 0, size + 1);
    return (uint64_t)(found - start);
}

static uint64_t run_strcmp(struct buffers *buffers, unsigned size, unsigned shift)
{
    (void)size;
    return (uint64_t)(compare(buffers->left + shift, buffers->right + shift) != 0);
}

/* Overlapping by all but 8 bytes, both ways in turn. */
static uint64_t run_memmove(struct buffers *buffers, unsigned size, unsigned shift)
{
    char *target = buffers->right + shift;
    move(target, target + 8, size);
    move(target + 8, target, size);
    return (uint64_t)target[size - 1];
}

/* Small sizes get an eighth of the bytes: their cost is in the calls. */
static double run_sizes(uint64_t (*run)(struct buffers *, unsigned, unsigned), unsigned bytes,
                        unsigned divisor)
{
    struct buffers *buffers = bench_allocate(sizeof(*buffers));
    uint64_t total = 0, wanted = 0, done = 0;
    bench_ready();
    for (unsigned i = 0; i < SIZES; i++) {
        unsigned size = sizes[i];
        unsigned calls = (size < 4096 ? bytes / 8 : bytes) / size;
        unsigned share = bench_share(calls, divisor);
        memset(buffers, 'x', sizeof(*buffers));
        for (unsigned call = 0; call < share; call++) {
            unsigned shift = call % SHIFT;
            char left = buffers->left[shift + size], right = buffers->right[shift + size];
            buffers->left[shift + size] = buffers->right[shift + size] = 0;
            total += run(buffers, size, shift);
            buffers->left[shift + size] = left;
            buffers->right[shift + size] = right;
        }
        wanted += (uint64_t)calls * size;
        done += (uint64_t)share * size;
    }
    bench_keep(total);
    free(buffers);
    return (double)done / (double)wanted;
}

static double string_length(unsigned divisor)
{
    return run_sizes(run_strlen, BYTES, divisor);
}

static double memory_find(unsigned divisor)
{
    return run_sizes(run_memchr, BYTES, divisor);
}

static double string_compare(unsigned divisor)
{
    return run_sizes(run_strcmp, BYTES, divisor);
}

static double memory_move(unsigned divisor)
{
    return run_sizes(run_memmove, BYTES, divisor);
}

const struct bench_test bench_strings[] = {
    {"strlen", "strlen, 16 B to 64 KB", string_length},
    {"memchr", "memchr, 16 B to 64 KB", memory_find},
    {"strcmp", "strcmp, 16 B to 64 KB", string_compare},
    {"memmove", "memmove, overlapping, 16 B to 64 KB", memory_move},
    {NULL, NULL, NULL},
};
