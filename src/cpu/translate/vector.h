/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's x87 and vector registers are in vcpu->xsave until code that uses them runs; then they
 * live in the host's until somebody else needs either. The stubs move the vector registers and
 * MXCSR, as many as code has asked for, this file the rest.
 */
#ifndef NACRE_CPU_TRANSLATE_VECTOR_H
#define NACRE_CPU_TRANSLATE_VECTOR_H

#include "cpu/vcpu.h"

struct translation;

/* Could an instruction raise an exception the host would see? Then they are interpreted. Looks at
 * vcpu->xsave and sets vector_trap. */
void translate_vector_update(struct vcpu *vcpu);

/* The vector registers that emitted code leaves in the host's from now on, beside those it does
 * already; and that none are there: for what starts next. */
void translate_vector_want(struct vcpu *vcpu, const struct translation *translation);
void translate_vector_drop(struct vcpu *vcpu);

/* vcpu->xsave -> the host's x87 unit, and back with the unit left empty. The XMM registers are lost
 * on loading. */
void translate_x87_load(struct vcpu *vcpu);
void translate_x87_save(struct vcpu *vcpu);

#endif
