/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jump slots of one vcpu: a small cache from guest virtual address to host code, and the
 * contexts that its tags name. On the vcpu's own thread.
 */
#ifndef NACRE_CPU_TRANSLATE_JUMP_H
#define NACRE_CPU_TRANSLATE_JUMP_H

#include "cpu/translate/cache.h"

/* CODE_MODE_* bits the translator's code depends on, and those it knows. */
uint32_t jump_mode(const struct vcpu *vcpu);

/* Is there translated code for the present mode at all? */
bool jump_mode_known(const struct vcpu *vcpu);

/* Brings jump_context up to date, and drops slots that have become wrong. After anything that may
 * have changed the mode or the address space, before emitted code runs again. */
void jump_update(struct vcpu *vcpu);

/* Lets indirect branches to gva (which is in rip_page) find the translation. */
void jump_add(struct vcpu *vcpu, uint64_t gva, const struct translation *translation);

/* The slot that knows gva, or NULL. */
const struct jump_slot *jump_find(const struct vcpu *vcpu, uint64_t gva);

/* Empties the slot of gva. */
void jump_forget(struct vcpu *vcpu, uint64_t gva);
void jump_clear(struct vcpu *vcpu);

#endif
