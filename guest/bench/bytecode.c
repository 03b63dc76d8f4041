/* SPDX-License-Identifier: Apache-2.0 */
/* An interpreter in the guest: a stack machine of bytecodes behind one switch. */
#include "bench.h"

enum operation {
    PUSH,
    LOAD,
    STORE,
    ADD,
    SUBTRACT,
    MULTIPLY,
    XOR,
    MODULO,
    DUPLICATE,
    SWAP,
    LESS,
    JUMP_IF,
    END
};

/*
 * Variable 0 counts down from what the caller put there; variable 1 gathers
 *     v1 = (v1 * 31 + (v0 ^ v2)) % 1000003,  v2 = v1 + v2 (modulo 4096 when it is not below 2^20).
 */
static const uint32_t program[] = {
    LOAD,    1,    PUSH,   31,      MULTIPLY, LOAD,      0,        LOAD,      2,
    XOR,     ADD,  PUSH,   1000003, MODULO,   STORE,     1, /* v1 */
    LOAD,    1,    LOAD,   2,       ADD,      DUPLICATE, PUSH,     1u << 20,  LESS,
    JUMP_IF, 30,           /* small? */
    PUSH,    4096, MODULO, /* the jump's target is the STORE, entry 30 */
    STORE,   2,    LOAD,   0,       PUSH,     1,         SUBTRACT, DUPLICATE, STORE,
    0,       PUSH, 0,      SWAP,    LESS,     JUMP_IF,   0,        END,
};

static uint64_t run_bytecode(uint64_t rounds)
{
    uint64_t stack[16] = {0}, variables[4] = {rounds, 1, 2, 0};
    uint64_t *top = stack; /* the next free slot */
    for (const uint32_t *at = program;;) {
        switch ((enum operation) * at++) {
        case PUSH:
            *top++ = *at++;
            break;
        case LOAD:
            *top++ = variables[*at++];
            break;
        case STORE:
            variables[*at++] = *--top;
            break;
        case ADD:
            top--;
            top[-1] += top[0];
            break;
        case SUBTRACT:
            top--;
            top[-1] -= top[0];
            break;
        case MULTIPLY:
            top--;
            top[-1] *= top[0];
            break;
        case XOR:
            top--;
            top[-1] ^= top[0];
            break;
        case MODULO:
            top--;
            top[-1] %= top[0];
            break;
        case DUPLICATE:
            top[0] = top[-1];
            top++;
            break;
        case SWAP: {
            uint64_t value = top[-1];
            top[-1] = top[-2];
            top[-2] = value;
            break;
        }
        case LESS:
            top--;
            top[-1] = top[-1] < top[0];
            break;
        case JUMP_IF:
            at = *--top ? program + *at : at + 1;
            break;
        case END:
            return variables[1];
        }
    }
}

static double bytecode(unsigned divisor)
{
    enum { ROUNDS = 2000000 };
    unsigned rounds = bench_share(ROUNDS, divisor);
    bench_keep(run_bytecode(rounds));
    return (double)rounds / ROUNDS;
}

const struct bench_test bench_bytecode[] = {
    {"bytecode", "bytecode interpreter, 2 M rounds of 27 codes", bytecode},
    {NULL, NULL, NULL},
};
