/* SPDX-License-Identifier: Apache-2.0 */
/* An instruction that is being given its operands. */
#ifndef NACRE_TESTS_DIFFERENTIAL_DRAFT_H
#define NACRE_TESTS_DIFFERENTIAL_DRAFT_H

#include "differential/catalogue.h"

struct draft {
    struct builder *builder;
    const struct entry *entry;
    ZydisEncoderRequest request;
    bool absolute; /* has a RIP-relative operand: encode for its address */
};

/* General registers that the mode has. */
static inline unsigned draft_register_count(const struct builder *builder)
{
    return builder->test->mode == MODE_64 ? 16 : 8;
}

/* The memory operand is mostly to be aligned. */
bool draft_is_aligned(const struct draft *draft);
/* Adds a memory operand of `size` bytes, and notes the registers of its address in the case. */
void draft_add_memory(struct draft *draft, unsigned size);

#endif
