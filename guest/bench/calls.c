/* SPDX-License-Identifier: Apache-2.0 */
/* Indirect calls through a table of functions, in an order no simple predictor knows. */
#include "bench.h"

#define FUNCTIONS 16

#define FUNCTION(n, expression)                                    \
    __attribute__((noinline)) static uint64_t call_##n(uint64_t x) \
    {                                                              \
        return expression;                                         \
    }

FUNCTION(0, x + 1)
FUNCTION(1, x ^ 0x5555)
FUNCTION(2, x * 3)
FUNCTION(3, x - 7)
FUNCTION(4, x << 1)
FUNCTION(5, x >> 1)
FUNCTION(6, ~x)
FUNCTION(7, x + (x >> 3))
FUNCTION(8, x ^ (x << 5))
FUNCTION(9, x | 1)
FUNCTION(10, x & ~2ull)
FUNCTION(11, x * 5 + 1)
FUNCTION(12, -x)
FUNCTION(13, x + 13)
FUNCTION(14, x ^ (x >> 11))
FUNCTION(15, x - (x << 2))

static uint64_t (*volatile const functions[FUNCTIONS])(uint64_t) = {
    call_0, call_1, call_2,  call_3,  call_4,  call_5,  call_6,  call_7,
    call_8, call_9, call_10, call_11, call_12, call_13, call_14, call_15,
};

/* The order repeats after 1024 calls: a processor learns part of it, as it does in real programs.
 */
static double indirect_calls(unsigned divisor)
{
    enum { CALLS = 30000000, ORDER = 1024 };
    static uint8_t order[ORDER];
    unsigned calls = bench_share(CALLS, divisor);
    uint64_t x = 99, value = 1;
    for (unsigned i = 0; i < ORDER; i++) {
        x = bench_xorshift(x);
        order[i] = x % FUNCTIONS;
    }
    for (unsigned i = 0; i < calls; i++)
        value = functions[order[i % ORDER]](value);
    bench_keep(value);
    return (double)calls / CALLS;
}

const struct bench_test bench_calls[] = {
    {"indirect", "indirect calls x 30 M, 16 targets", indirect_calls},
    {NULL, NULL, NULL},
};
