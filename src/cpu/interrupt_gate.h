/* SPDX-License-Identifier: Apache-2.0 */
/* Entering an interrupt or exception handler: the step below exception.c's rules about nested
 * faults. */
#ifndef NACRE_CPU_INTERRUPT_GATE_H
#define NACRE_CPU_INTERRUPT_GATE_H

#include "cpu/exception.h"

/* Enters the handler of event->vector, or records the fault met on the way and returns false with
 * nothing changed. */
bool interrupt_enter(struct vcpu *vcpu, enum interrupt_kind kind, const struct exception *event);

#endif
