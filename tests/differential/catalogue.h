/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions there are to compare, and how one of them is encoded. */
#ifndef NACRE_TESTS_DIFFERENTIAL_CATALOGUE_H
#define NACRE_TESTS_DIFFERENTIAL_CATALOGUE_H

#include "differential/differential.h"

/*
 * One encodable form of an instruction. `shape` has a letter an operand:
 *   r  general register of `size` bytes      l w d q  of 1, 2, 4, 8 bytes
 *   m  memory of `size` bytes                o  memory of one byte     h  of two
 *   i  immediate of `size` bytes             b  of one byte            e  of two, small
 *   c  CL    A  AX    n  nesting level of ENTER
 *   x y z k p s  XMM, YMM, ZMM, mask, MMX, ST(i)      X  XMM0    0  ST(0)
 *   v  vector of INT    S  segment register    f  memory with a far pointer, offset of `size` bytes
 *   j  relative branch                       t  register that holds an address of code
 */
struct entry {
    const char *group, *shape;
    ZydisMnemonic mnemonic;
    uint64_t undefined; /* flags left open, at most */
    uint16_t size;      /* bytes; 0: no operand depends on it */
    uint8_t modes;      /* BIT(enum code_mode) */
    enum feature feature;
    enum setup setup;
    ZydisEncodableEncoding encoding;
    bool lockable, repeatable;
};

/* A row of the written part of the catalogue: all shapes in every size that can be encoded. */
struct row {
    const char *group;
    ZydisMnemonic mnemonic;
    const char *shapes; /* separated by spaces; "-": no operand */
    uint64_t undefined;
    enum setup setup;
    bool lockable, repeatable;
};
extern const struct row general_rows[];
extern const unsigned general_row_count;

/* A random entry of the group (NULL: any, by the groups' weights) that the case's mode and the
 * features have. NULL: the group has none. */
const struct entry *catalogue_pick(struct random *random, const char *group,
                                   const struct test_case *test, uint64_t features);

bool catalogue_has(const char *group);
void catalogue_print(void);

/* Where a case's code is put together. */
struct builder {
    struct random *random;
    struct test_case *test;
    uint32_t frozen; /* registers that are not to be written: of sequences */
    bool plain;      /* memory operands only through test->pointers: of sequences */
};

/* Appends an instance of the entry to the case's code. False: could not be encoded this time. */
bool builder_add(struct builder *builder, const struct entry *entry);
/* Appends what the request says. */
bool builder_encode(struct builder *builder, ZydisEncoderRequest *request);
/* As that, with a RIP-relative operand that says where it is to lead. */
bool builder_encode_absolute(struct builder *builder, ZydisEncoderRequest *request);
void add_register(ZydisEncoderRequest *request, ZydisRegister name);
void add_immediate(ZydisEncoderRequest *request, int64_t value);
ZydisEncoderRequest request_of(enum code_mode mode, ZydisMnemonic mnemonic);
ZydisDecoder decoder_of(enum code_mode mode);
/* General register `number` of 1 (low byte), 2, 4 or 8 bytes. */
ZydisRegister general_register(unsigned number, unsigned size);
/* Append `mnemonic a, b`, `mnemonic name, value` ... */
bool builder_rr(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister a, ZydisRegister b);
bool builder_ri(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister name, int64_t value);
bool builder_r(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister name);
bool builder_plain(struct builder *builder, ZydisMnemonic mnemonic);
/* Notes the flags that are open behind the last instruction. */
void builder_note(struct builder *builder, uint64_t undefined);

/* sequence.c */
void generate_sequence(struct builder *builder, uint64_t features);

#endif
