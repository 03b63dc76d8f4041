/* SPDX-License-Identifier: Apache-2.0 */
/* A guest instruction as host code: the same opcode with other registers and memory operand. */
#ifndef NACRE_CPU_TRANSLATE_REWRITE_H
#define NACRE_CPU_TRANSLATE_REWRITE_H

#include "cpu/translate/emit.h"
#include "cpu/translate/scan.h"

/* Number of a guest general register of any width (AH counts as RAX), or NO_REGISTER. */
unsigned guest_register(ZydisRegister name);

/* Is it one of those whose guest value stays in memory? */
static inline bool is_stolen(unsigned number)
{
    return number == S0 || number == S1;
}

/*
 * Emits the instruction with its memory operand, if it has one, at [S0 + displacement]. Guest R14
 * and R15 are loaded before it and stored after it where it uses them.
 */
void rewrite_emit(struct emitter *emitter, const struct instruction *instruction,
                  int32_t displacement);

/* ModRM, displacement and immediate: the instruction's own, with these registers and, where it has
 * memory, [rm + displacement]. EVEX counts short displacements in units, so it has a long one. */
void rewrite_operands(struct emitter *emitter, const struct instruction *instruction, unsigned reg,
                      unsigned rm, int32_t displacement);
/* Legacy prefixes, REX not among them. */
bool rewrite_is_prefix(uint8_t byte);

/* Can it be said with two scratch registers? */
bool rewrite_is_possible(const struct instruction *instruction);

/* Does the instruction use guest R14 or R15, or AH to BH? */
bool rewrite_is_awkward(const struct instruction *instruction);

/* May a LEA stand in the translation as it is? */
bool rewrite_lea_is_verbatim(const struct instruction *instruction);

#endif
