/* SPDX-License-Identifier: Apache-2.0 */
/* What the loop in run.c and the events of emitted code share. */
#ifndef NACRE_CPU_TRANSLATE_EVENT_H
#define NACRE_CPU_TRANSLATE_EVENT_H

#include "cpu/translate/cache.h"

/* parked_flags -> vcpu->rflags, and back. */
void translate_flags_compose(struct vcpu *vcpu);
void translate_flags_park(struct vcpu *vcpu);

/*
 * Host address of the code for rip (its entry with parked flags), translating what is new. 0: the
 * exception of the fetch is recorded, or the instruction is the interpreter's (interpret_next), or
 * the cache is full (cache_full).
 */
uint64_t translate_lookup(struct vcpu *vcpu);

#endif
