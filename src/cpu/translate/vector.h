/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's x87 and vector registers are in vcpu->xsave until code that uses them runs; then they
 * live in the host's until somebody else needs either. The stubs move the XMM registers and MXCSR,
 * this file the rest.
 */
#ifndef NACRE_CPU_TRANSLATE_VECTOR_H
#define NACRE_CPU_TRANSLATE_VECTOR_H

#include "cpu/vcpu.h"

/* Could an instruction raise an exception the host would see? Then they are interpreted. Looks at
 * vcpu->xsave and sets vector_trap. */
void translate_vector_update(struct vcpu *vcpu);

/* vcpu->xsave -> the host's x87 unit, and back with the unit left empty. The XMM registers are lost
 * on loading. */
void translate_x87_load(struct vcpu *vcpu);
void translate_x87_save(struct vcpu *vcpu);

#endif
