/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the bare processor: integers, bytes, branches, calls, floating point. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double integer_loop(unsigned divisor)
{
    unsigned rounds = bench_share(100000000, divisor);
    uint64_t x = 88172645463325252u;
    for (unsigned i = 0; i < rounds; i++)
        x = bench_xorshift(x);
    bench_keep(x);
    return rounds / 1e8;
}

/* Primes below 4 million, four times: byte stores with growing strides. */
static double sieve(unsigned divisor)
{
    enum { SIZE = 4000000, ROUNDS = 4 };
    unsigned size = bench_share(SIZE, divisor);
    uint8_t *composite = bench_allocate(size);
    unsigned primes = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memset(composite, 0, size);
        for (unsigned i = 2; i < size; i++) {
            if (composite[i])
                continue;
            primes++;
            for (uint64_t j = (uint64_t)i * i; j < size; j += i)
                composite[j] = 1;
        }
    }
    bench_keep(primes);
    free(composite);
    return (double)size / SIZE;
}

static int compare_integers(const void *left, const void *right)
{
    int a = *(const int *)left, b = *(const int *)right;
    return (a > b) - (a < b);
}

static double sort(unsigned divisor)
{
    unsigned count = bench_share(1000000, divisor);
    int *values = bench_allocate(count * sizeof(*values));
    uint64_t x = 1234567;
    for (unsigned i = 0; i < count; i++) {
        x = bench_xorshift(x);
        values[i] = (int)x;
    }
    qsort(values, count, sizeof(*values), compare_integers);
    bench_keep((uint64_t)values[count / 2]);
    free(values);
    return count * log2(count) / (1e6 * log2(1e6));
}

/* Through a volatile pointer: gcc would otherwise unroll the recursion into something else. */
static unsigned fibonacci(unsigned n);
static unsigned (*volatile fibonacci_call)(unsigned) = fibonacci;

__attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) static unsigned
fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static double recursion(unsigned divisor)
{
    double fraction = 1;
    unsigned n = 36;
    while (fraction * divisor > 1.3 && n > 5) {
        fraction /= 1.6180339887;
        n--;
    }
    bench_keep(fibonacci_call(n));
    return fraction;
}

/* 240 x 240 matrices of doubles, then 480,000 sines, six times. */
static double floating_point(unsigned divisor)
{
    enum { SIZE = 240, SINES = 480000, ROUNDS = 6 };
    static double a[SIZE][SIZE], b[SIZE][SIZE], c[SIZE][SIZE];
    unsigned rows = bench_share(SIZE, divisor);
    for (unsigned i = 0; i < SIZE; i++)
        for (unsigned j = 0; j < SIZE; j++) {
            a[i][j] = i + j * 0.5;
            b[i][j] = i * 0.25 - j;
            c[i][j] = 0;
        }
    bench_ready();
    double sum = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < rows; i++)
            for (unsigned k = 0; k < SIZE; k++)
                for (unsigned j = 0; j < SIZE; j++)
                    c[i][j] += a[i][k] * b[k][j];
        sum += c[rows - 1][SIZE - 1];
        for (unsigned i = 0; i < SINES / SIZE * rows; i++)
            sum += sin(i * 0.001);
    }
    bench_keep((uint64_t)llround(sum)); /* rounded: the library may sum with or without FMA */
    return (double)rows / SIZE;
}

const struct bench_test bench_compute[] = {
    {"integer", "integer loop, 100 M rounds of xorshift", integer_loop},
    {"sieve", "sieve, byte stores", sieve},
    {"qsort", "qsort 1 M", sort},
    {"fib", "recursive fib(36)", recursion},
    {"float", "double matmul + sin", floating_point},
    {NULL, NULL, NULL},
};
