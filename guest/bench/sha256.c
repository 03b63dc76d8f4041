/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 in plain C (FIPS 180-4, section 6.2); no SHA instructions. */
#include "bench.h"

#include <math.h>
#include <string.h>

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return word >> bits | word << (32 - bits);
}

/* The first 32 bits of the fraction of the n-th prime's root (sections 4.2.2 and 5.3.3). */
static uint32_t root_fraction(unsigned prime, long double (*root)(long double))
{
    long double value = root(prime);
    return (uint32_t)((value - floorl(value)) * 4294967296.0L);
}

static void make_constants(uint32_t constants[64], uint32_t state[8])
{
    unsigned count = 0;
    for (unsigned candidate = 2; count < 64; candidate++) {
        unsigned divisor = 2;
        while (divisor * divisor <= candidate && candidate % divisor)
            divisor++;
        if (divisor * divisor <= candidate)
            continue;
        if (count < 8)
            state[count] = root_fraction(candidate, sqrtl);
        constants[count++] = root_fraction(candidate, cbrtl);
    }
}

static void add_block(uint32_t state[8], const uint32_t constants[64], const uint32_t block[16])
{
    uint32_t w[64], v[8];
    memcpy(w, block, 64);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof(v));
    for (unsigned i = 0; i < 64; i++) {
        uint32_t first = v[7] + (rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25)) +
                         ((v[4] & v[5]) ^ (~v[4] & v[6])) + constants[i] + w[i];
        uint32_t second = (rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22)) +
                          ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        v[7] = v[6];
        v[6] = v[5];
        v[5] = v[4];
        v[4] = v[3] + first;
        v[3] = v[2];
        v[2] = v[1];
        v[1] = v[0];
        v[0] = first + second;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += v[i];
}

static double sha256_blocks(unsigned divisor)
{
    enum { BLOCKS = 400000 };
    static const uint32_t abc[16] = {0x61626380, [15] = 24};
    uint32_t constants[64], initial[8], state[8], block[16];
    unsigned blocks = bench_share(BLOCKS, divisor);
    make_constants(constants, initial);
    memcpy(state, initial, sizeof(state));
    add_block(state, constants, abc);
    if (state[0] != 0xba7816bf || state[7] != 0xf20015ad)
        bench_fail("SHA-256 of \"abc\" differs from FIPS 180-4's");
    memcpy(block, abc, sizeof(block));
    for (unsigned i = 0; i < blocks; i++) {
        block[i % 16] = i;
        add_block(state, constants, block);
    }
    bench_keep((uint64_t)state[0] << 32 | state[7]);
    return (double)blocks / BLOCKS;
}

const struct bench_test bench_sha256[] = {
    {"sha256", "SHA-256 in C, 25.6 MB", sha256_blocks},
    {NULL, NULL, NULL},
};
