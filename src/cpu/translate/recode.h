/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings of 32-bit code that 64-bit mode has given another meaning, or none. */
#ifndef NACRE_CPU_TRANSLATE_RECODE_H
#define NACRE_CPU_TRANSLATE_RECODE_H

#include <Zydis/Zydis.h>

/* No re-encoding is longer: 66, a segment, 67, opcode, ModRM, SIB, displacement. */
#define RECODED_MAX 10

/*
 * Writes the same instruction as 64-bit mode encodes it, with 32-bit addresses. Returns its length;
 * 0: there is no need to, or 64-bit mode does not have it.
 */
unsigned recode(const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands,
                uint8_t recoded[RECODED_MAX]);

#endif
