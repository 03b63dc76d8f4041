/* SPDX-License-Identifier: Apache-2.0 */
/* AES-128 in plain C (FIPS 197), by the usual four tables of 256 words; no AES instructions. */
#include "bench.h"

#include <string.h>

enum { ROUNDS = 10, WORDS = 4 * (ROUNDS + 1) };

struct aes {
    uint8_t substitute[256];
    uint32_t table[4][256]; /* a column of SubBytes and MixColumns, rotated by 0 to 3 bytes */
    uint32_t keys[WORDS];
};

static uint32_t rotate(uint32_t word, unsigned bits)
{
    return bits ? word << bits | word >> (32 - bits) : word;
}

/* Multiplication by x in GF(2^8), FIPS 197 section 4.2.1. */
static uint8_t times_two(uint8_t value)
{
    return (uint8_t)(value << 1 ^ (value & 0x80 ? 0x1b : 0));
}

/* The S-box from its definition (5.1.1): walk p over all powers of 3, and q over their inverses. */
static void make_tables(struct aes *aes)
{
    uint8_t p = 1, q = 1;
    aes->substitute[0] = 0x63;
    do {
        p ^= times_two(p);
        q ^= q << 1;
        q ^= q << 2;
        q ^= q << 4;
        q ^= q & 0x80 ? 0x09 : 0;
        uint8_t s = 0x63;
        for (unsigned i = 0; i < 5; i++)
            s ^= (uint8_t)(q << i | q >> (8 - i));
        aes->substitute[p] = s;
    } while (p != 1);
    for (unsigned i = 0; i < 256; i++) {
        uint8_t one = aes->substitute[i], two = times_two(one);
        uint32_t column =
            (uint32_t)two << 24 | (uint32_t)one << 16 | (uint32_t)one << 8 | (one ^ two);
        for (unsigned row = 0; row < 4; row++)
            aes->table[row][i] = rotate(column, 32 - 8 * row);
    }
}

static uint32_t substitute_word(const struct aes *aes, uint32_t word)
{
    const uint8_t *s = aes->substitute;
    return (uint32_t)s[word >> 24] << 24 | (uint32_t)s[word >> 16 & 255] << 16 |
           (uint32_t)s[word >> 8 & 255] << 8 | s[word & 255];
}

static void expand_key(struct aes *aes, const uint32_t key[4])
{
    uint8_t constant = 1;
    for (unsigned i = 0; i < WORDS; i++) {
        uint32_t word = i < 4 ? key[i] : aes->keys[i - 1];
        if (i >= 4 && i % 4 == 0) {
            word = substitute_word(aes, rotate(word, 8)) ^ (uint32_t)constant << 24;
            constant = times_two(constant);
        }
        aes->keys[i] = i < 4 ? word : aes->keys[i - 4] ^ word;
    }
}

static void encrypt(const struct aes *aes, uint32_t block[4])
{
    const uint32_t *key = aes->keys;
    uint32_t in[4], out[4];
    for (unsigned i = 0; i < 4; i++)
        in[i] = block[i] ^ *key++;
    for (unsigned round = 1; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 4; i++)
            out[i] = aes->table[0][in[i] >> 24] ^ aes->table[1][in[(i + 1) % 4] >> 16 & 255] ^
                     aes->table[2][in[(i + 2) % 4] >> 8 & 255] ^
                     aes->table[3][in[(i + 3) % 4] & 255] ^ *key++;
        memcpy(in, out, sizeof(in));
    }
    for (unsigned i = 0; i < 4; i++)
        block[i] = substitute_word(aes, (in[i] & 0xff000000) | (in[(i + 1) % 4] & 0xff0000) |
                                            (in[(i + 2) % 4] & 0xff00) | (in[(i + 3) % 4] & 0xff)) ^
                   *key++;
}

/* Blocks in a chain, each the encryption of the one before. */
static double aes_blocks(unsigned divisor)
{
    enum { BLOCKS = 1500000 };
    static const uint32_t key[4] = {0x00010203, 0x04050607, 0x08090a0b, 0x0c0d0e0f};
    static const uint32_t expected[4] = {0x69c4e0d8, 0x6a7b0430, 0xd8cdb780, 0x70b4c55a};
    static struct aes aes;
    uint32_t block[4] = {0x00112233, 0x44556677, 0x8899aabb, 0xccddeeff};
    unsigned blocks = bench_share(BLOCKS, divisor);
    make_tables(&aes);
    expand_key(&aes, key);
    encrypt(&aes, block);
    if (memcmp(block, expected, sizeof(block)) != 0)
        bench_fail("AES differs from FIPS 197, appendix C.1");
    for (unsigned i = 0; i < blocks; i++)
        encrypt(&aes, block);
    bench_keep((uint64_t)block[0] << 32 | block[1]);
    return (double)blocks / BLOCKS;
}

const struct bench_test bench_aes[] = {
    {"aes", "AES-128 in C, 24 MB", aes_blocks},
    {NULL, NULL, NULL},
};
