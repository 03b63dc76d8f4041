/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of KVM's paravirtual interface share. */
#ifndef NACRE_CPU_PARAVIRTUAL_PRIVATE_H
#define NACRE_CPU_PARAVIRTUAL_PRIVATE_H

#include "cpu/paravirtual.h"

#define PARAVIRTUAL_ENABLE BIT(0) /* in the MSRs that hold an address */

/* Where a vcpu's time went, in nanoseconds since some start. */
struct time_split {
    uint64_t wall, running, sleeping;
};

struct paravirtual {
    struct vcpu *vcpu;
    uint64_t wall_clock, system_time, steal_time, end_of_interrupt; /* the MSRs */
    uint32_t version;
    uint64_t stolen_ns;
    uint32_t steal_version;
    struct time_split accounted; /* wall 0: nothing yet */
    bool eoi_offered; /* the guest's word says that the interrupt in service needs no EOI */
};

/* MSR writes; false: #GP. */
bool paravirtual_steal_enable(struct paravirtual *paravirtual, uint64_t value);
bool paravirtual_eoi_enable(struct paravirtual *paravirtual, uint64_t value);

#endif
