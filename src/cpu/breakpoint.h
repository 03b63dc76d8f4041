/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's own breakpoints, DR0 to DR3 under DR7: what they watch for, and what an instruction
 * met. Execution stops before an instruction, the others are noted in vcpu->watch_hits and reported
 * behind it. APM vol. 2 §13.1; Intel SDM vol. 3 §17.2.
 */
#ifndef NACRE_CPU_BREAKPOINT_H
#define NACRE_CPU_BREAKPOINT_H

#include "cpu/vcpu.h"

/* Is any armed? Engines then run one instruction at a time (CODE_MODE_STEP). */
static inline bool breakpoints_armed(const struct vcpu *vcpu)
{
    return vcpu->dr[7] & DR7_ENABLES;
}

/* Is one armed for data? Then nothing is cached in the TLB, and each access is looked at. */
bool breakpoints_watch_memory(const struct vcpu *vcpu);

/* The DR6 bits of those that stop at an instruction at this linear address; 0: none. */
uint64_t breakpoints_at(const struct vcpu *vcpu, uint64_t linear);

/* Notes which an access to memory, or to a port, meets. */
void breakpoints_note_memory(struct vcpu *vcpu, uint64_t linear, unsigned size, bool write);
void breakpoints_note_port(struct vcpu *vcpu, uint16_t port, unsigned size);

#endif
