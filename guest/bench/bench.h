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
 * preparation calls bench_ready() when it begins in earnest.
 */
struct bench_test {
    const char *name;  /* one word */
    const char *title; /* what a table says */
    double (*run)(unsigned divisor);
};

/* Every file of tests ends its table with a row of NULLs. */
extern const struct bench_test bench_aes[], bench_bytecode[], bench_calls[], bench_compute[],
    bench_faults[], bench_files[], bench_memory[], bench_processes[], bench_random[],
    bench_sha256[], bench_signals[], bench_smp[], bench_strings[], bench_x87[];

/* Seconds since some fixed moment. */
static inline double bench_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* What went before was preparation: time counts from now. */
void bench_ready(void);

/*
 * Adds a result to the test's checksum. It keeps the compiler from dropping the work, and a guest
 * whose checksum differs from the host's has computed something wrong. Only values that depend on
 * the divisor alone may go in.
 */
void bench_keep(uint64_t value);

/* Ends the program with a line that says what could not be done or went wrong. */
_Noreturn void bench_fail(const char *what);

/* malloc() that does not return without memory. */
void *bench_allocate(size_t size);

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

/* Runs another program to its successful end, with its output in the checksum (command.c). */
void bench_command(char **command);

/* Is the first program of a guest: says so, and waits to be powered off (guest/bench/init.c). */
_Noreturn void bench_init(void);

#endif
