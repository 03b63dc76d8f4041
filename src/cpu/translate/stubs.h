/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few pieces of fixed host code: the way from C into emitted code and back. They are the only
 * places where host registers are switched.
 */
#ifndef NACRE_CPU_TRANSLATE_STUBS_H
#define NACRE_CPU_TRANSLATE_STUBS_H

#include "cpu/translate/cache.h"

/* Runs emitted code from vcpu->translate.target on, guest state from *vcpu; comes back when an
 * event wants the loop in C. The GS base must hold the vcpu's address. */
typedef void enter_function(struct vcpu *vcpu);

/* Emits the stubs at the start of an empty cache. */
void stubs_emit(struct translator *translator);

/*
 * What emitted code calls at a site, with all guest state in *vcpu (the arithmetic flags in
 * parked_flags). address: S0. Returns the host address to go on at, or 0 to leave.
 */
uint64_t translate_event(struct vcpu *vcpu, struct site *site, uint64_t address);

#endif
