/* SPDX-License-Identifier: Apache-2.0 */
/* Small pieces of machine code on a bare processor, run by the interpreter. */
#ifndef NACRE_TESTS_CPU_CODE_H
#define NACRE_TESTS_CPU_CODE_H

#include "bare.h"

/* cmocka fixtures: as bare_setup, with the interpreter attached; in 64-bit or 32-bit level 0. */
int code_setup_long(void **state);
int code_setup_host(void **state); /* 64-bit, with all that --cpu host has */
int code_setup_protected(void **state);

/*
 * Puts the code at CODE with a HLT behind it, and a HLT at every handler, and runs from the present
 * state at CODE until one of them. Returns the vector reached, or CODE_END for the first. At a
 * level above 0, HLT is #GP: the code comes to its end there when it faults at that HLT.
 */
enum { CODE_END = -1 };
int code_run(struct bare *bare, const uint8_t *code, size_t size);

#define CODE_RUN(bare, ...) \
    code_run(bare, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Word `index` of `size` bytes from the top of the stack: of a handler's frame. */
uint64_t code_stack(struct bare *bare, unsigned index, unsigned size);

#endif
