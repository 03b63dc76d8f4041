/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter as a helper of another engine: single instructions, and stretches of code that
 * the other engine does not run. The vcpu's state is exact before and after each call; an exception
 * that comes up is left in vcpu->exception.
 */
#ifndef NACRE_CPU_INTERPRET_SINGLE_H
#define NACRE_CPU_INTERPRET_SINGLE_H

#include "cpu/interpret/op.h"

/*
 * Decodes one instruction (no x87, MMX or SSE) into an op and the block_end behind it. False when
 * the bytes are none. The ops hold for every vcpu of the same model in this mode.
 */
bool interpret_prepare(struct vcpu *vcpu, uint32_t code_mode, const uint8_t *bytes, unsigned length,
                       struct op ops[2]);

/* Runs what interpret_prepare() made; rip is at the instruction. */
void interpret_operation(struct vcpu *vcpu, const struct op *ops);

/* Runs the instruction at rip, whatever it is, with single step and breakpoints. */
void interpret_one(struct vcpu *vcpu);

/* Runs blocks until an exception, a request, the budget's end, or `until` says so. */
void interpret_until(struct vcpu *vcpu, bool (*until)(const struct vcpu *vcpu));

#endif
