/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of memory: latency, bandwidth, fresh pages. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A random cycle through 4 MB of pointers. */
static double pointer_chase(unsigned divisor, double *start)
{
    enum { COUNT = 4 * 1024 * 1024 / 8, STEPS = 20000000 };
    unsigned steps = bench_share(STEPS, divisor);
    void **slots = malloc(COUNT * sizeof(*slots));
    unsigned *order = malloc(COUNT * sizeof(*order));
    if (!slots || !order)
        exit(1);
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
    *start = bench_now();
    void **at = slots;
    for (unsigned i = 0; i < steps; i++)
        at = *at;
    bench_keep((uint64_t)(uintptr_t)at);
    free(order);
    free(slots);
    return (double)steps / STEPS;
}

static double copy(unsigned divisor, double *start)
{
    enum { SIZE = 64 * 1024 * 1024, ROUNDS = 10 };
    size_t size = bench_share(SIZE, divisor);
    uint8_t *from = malloc(size), *to = malloc(size);
    if (!from || !to)
        exit(1);
    memset(from, 1, size);
    memset(to, 2, size);
    *start = bench_now();
    for (unsigned i = 0; i < ROUNDS; i++) {
        memcpy(to, from, size);
        bench_keep(to[i]);
    }
    free(from);
    free(to);
    return (double)size / SIZE;
}

static double touch(unsigned divisor, double *start)
{
    enum { PAGES = 64 * 1024 * 1024 / 4096, ROUNDS = 5 };
    unsigned pages = bench_share(PAGES, divisor);
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t size = (size_t)pages * 4096;
        uint8_t *area =
            mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (area == MAP_FAILED)
            exit(1);
        madvise(area, size, MADV_NOHUGEPAGE);
        for (unsigned i = 0; i < pages; i++)
            area[(size_t)i * 4096] = 1;
        munmap(area, size);
    }
    return (double)pages / PAGES;
}

const struct bench_test bench_memory[] = {
    {"chase", pointer_chase},
    {"memcpy", copy},
    {"touch", touch},
    {NULL, NULL},
};
