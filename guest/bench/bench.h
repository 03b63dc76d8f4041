/* SPDX-License-Identifier: Apache-2.0 */
/* The benchmark program: a static binary that runs natively on the host and inside a guest. */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/*
 * A test does the full work divided by `divisor` (slow engines pass a large one) and returns the
 * fraction of the full work it really did, so that times can be scaled. A test with a costly
 * preparation sets *start again when it begins in earnest.
 */
struct bench_test {
    const char *name;
    double (*run)(unsigned divisor, double *start);
};

extern const struct bench_test bench_compute[], bench_memory[], bench_kernel[];

/* Seconds since some fixed moment. */
static inline double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Keeps the compiler from dropping a computed value. */
static inline void bench_keep(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

static inline uint64_t bench_xorshift(uint64_t x)
{
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

/* count / divisor, at least 1. */
static inline unsigned bench_share(unsigned count, unsigned divisor)
{
    return count / divisor ? count / divisor : 1;
}

#endif
