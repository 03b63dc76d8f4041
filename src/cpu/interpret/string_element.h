/* SPDX-License-Identifier: Apache-2.0 */
/* What the string instructions (string.c) share with INS and OUTS (port.c). */
#ifndef NACRE_CPU_INTERPRET_STRING_ELEMENT_H
#define NACRE_CPU_INTERPRET_STRING_ELEMENT_H

#include "cpu/interpret/op.h"

/*
 * Linear address of the element at `number`: GPR_RSI in the segment that can be overridden, or
 * GPR_RDI in ES. False: fault recorded.
 */
bool string_linear(struct vcpu *vcpu, const struct op *op, unsigned number, bool write,
                   uint64_t *linear);

/* How far rSI and rDI move with each element, by DF. */
static inline int64_t string_step(const struct vcpu *vcpu, const struct op *op)
{
    return vcpu->rflags & RFLAGS_DF ? -(int64_t)op->operand_size : op->operand_size;
}

#endif
