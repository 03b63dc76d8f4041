/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory: latency and bandwidth. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* A random cycle through 4 MB of pointers. */
static double pointer_chase(unsigned divisor)
{
    enum { COUNT = 4 * 1024 * 1024 / 8, STEPS = 20000000 };
    unsigned steps = bench_share(STEPS, divisor);
    void **slots = bench_allocate(COUNT * sizeof(*slots));
    unsigned *order = bench_allocate(COUNT * sizeof(*order));
    for (unsigned i = 0; i < COUNT; i++)
        order[i] = i;
    uint64_t x = 42;
    for (unsigned i = COUNT - 1; i > 0; i--) {
        x = bench_xorshift(x);
        unsigned j = x % i, other = order[j];
        order[j] = order[i];
        order[i] = other;
    }
    for (unsigned i = 0; i < COUNT; i++)
        slots[order[i]] = &slots[order[(i + 1) % COUNT]];
    bench_ready();
    void **at = slots;
    for (unsigned i = 0; i < steps; i++)
        at = *at;
    bench_keep((uint64_t)((void **)at - slots));
    free(order);
    free(slots);
    return (double)steps / STEPS;
}

static double copy(unsigned divisor)
{
    enum { SIZE = 64 * 1024 * 1024, ROUNDS = 10 };
    size_t size = bench_share(SIZE, divisor);
    uint8_t *from = bench_allocate(size), *to = bench_allocate(size);
    memset(from, 1, size);
    memset(to, 2, size);
    bench_ready();
    for (unsigned i = 0; i < ROUNDS; i++) {
        memcpy(to, from, size);
        bench_keep(to[i]);
    }
    free(from);
    free(to);
    return (double)size / SIZE;
}

const struct bench_test bench_memory[] = {
    {"chase", "pointer chase 4 MB, 20 M steps", pointer_chase},
    {"memcpy", "memcpy 10 x 64 MB", copy},
    {NULL, NULL, NULL},
};
