/* SPDX-License-Identifier: Apache-2.0 */
/* VEX and EVEX encodings with other registers and memory operand. */
#ifndef NACRE_CPU_TRANSLATE_REWRITE_VEX_H
#define NACRE_CPU_TRANSLATE_REWRITE_VEX_H

#include "cpu/translate/rewrite.h"

/* Numbers of general registers to put in an instruction's places; NO_REGISTER: what is there stays.
 */
struct vex_registers {
    uint8_t reg, vvvv, rm; /* rm: of the operand, or the base of memory */
};

/* Emits the instruction; a memory operand becomes [rm + displacement]. */
void rewrite_vex(struct emitter *emitter, const struct instruction *instruction,
                 const struct vex_registers *registers, int32_t displacement);

#endif
