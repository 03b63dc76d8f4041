/* SPDX-License-Identifier: Apache-2.0 */
/* long double is the x87 unit on this architecture: a long sum, and sines by its own instruction.
 */
#include "bench.h"

static long double x87_sine(long double angle)
{
    __asm__("fsin" : "+t"(angle));
    return angle;
}

static double long_double(unsigned divisor)
{
    enum { TERMS = 10000000, SINES = TERMS / 16 };
    unsigned terms = bench_share(TERMS, divisor);
    long double sum = 0, product = 1;
    for (unsigned i = 0; i < terms; i++) {
        long double k = i * 2 + 1;
        sum += (i & 1 ? -4.0L : 4.0L) / k; /* towards pi */
        product = product * (1.0L + 1.0L / (k * k));
        if (i % (TERMS / SINES) == 0)
            product += x87_sine(k * 1e-3L) * 1e-6L;
    }
    /* Exact: x87 has one format and one rounding on every machine that is one. */
    bench_keep((uint64_t)(int64_t)(sum * 1e9L));
    bench_keep((uint64_t)(int64_t)(product * 1e6L));
    return (double)terms / TERMS;
}

const struct bench_test bench_x87[] = {
    {"x87", "x87 long double, 10 M terms", long_double},
    {NULL, NULL, NULL},
};
