/* SPDX-License-Identifier: Apache-2.0 */
/* What the interpreter's loop needs of the x87 and vector instructions. */
#ifndef NACRE_CPU_INTERPRET_VECTOR_H
#define NACRE_CPU_INTERPRET_VECTOR_H

#include "cpu/vcpu.h"

int vector_create(struct vcpu *vcpu, struct error *error);
void vector_destroy(struct vcpu *vcpu);
/* Around every run(): between them the x87 state may live elsewhere than in vcpu->xsave. */
void vector_enter(struct vcpu *vcpu);
void vector_leave(struct vcpu *vcpu);

/* The stubs' buffer is nearly full: drop every block, then reset it. */
bool vector_code_full(const struct vcpu *vcpu);
void vector_code_reset(struct vcpu *vcpu);

#endif
