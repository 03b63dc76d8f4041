/* SPDX-License-Identifier: Apache-2.0 */
/* Random reads and writes that do not wait for each other: what a TLB, real or emulated, holds. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static double random_access(size_t size, unsigned full, unsigned divisor)
{
    size_t count = size / sizeof(uint64_t); /* a power of two */
    uint64_t *values = bench_allocate(size), x = 7;
    unsigned steps = bench_share(full, divisor);
    memset(values, 1, size);
    bench_ready();
    for (unsigned i = 0; i < steps; i++) {
        x = bench_xorshift(x);
        values[x & (count - 1)] += values[x >> 32 & (count - 1)];
    }
    bench_keep(values[x & (count - 1)]);
    free(values);
    return (double)steps / full;
}

static double small_area(unsigned divisor)
{
    return random_access(4 << 20, 20000000, divisor);
}

static double large_area(unsigned divisor)
{
    return random_access(64 << 20, 5000000, divisor);
}

const struct bench_test bench_random[] = {
    {"random4", "random access over 4 MB, 20 M", small_area},
    {"random64", "random access over 64 MB, 5 M", large_area},
    {NULL, NULL, NULL},
};
