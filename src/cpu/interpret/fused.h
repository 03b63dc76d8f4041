/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CMP or TEST with the conditional jump behind it as one handler: it has both operands at hand and
 * needs no flags to decide. The ops stay two; the first one's handler does the work of both.
 */
#ifndef NACRE_CPU_INTERPRET_FUSED_H
#define NACRE_CPU_INTERPRET_FUSED_H

#include "cpu/interpret/operand.h"

/* What kind of comparison an instruction is, for selection->compare; 0: none that can be fused. */
unsigned fused_compare(bool test, enum operand_form form, unsigned size);

/* A conditional jump is being selected: joins it with the comparison before it, if there is one. */
void fused_select(struct selection *selection, unsigned condition);

#endif
