/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's paravirtual interface, offered by every engine: CPUID leaf 0x40000000, kvmclock and the
 * wall clock, PV IPIs and kick-CPU hypercalls. Linux
 * Documentation/virt/kvm/x86/{cpuid,msr,hypercalls}.rst.
 */
#ifndef NACRE_CPU_PARAVIRTUAL_H
#define NACRE_CPU_PARAVIRTUAL_H

#include "cpu/control.h"

struct paravirtual *paravirtual_create(struct vcpu *vcpu, struct error *error);
void paravirtual_destroy(struct paravirtual *paravirtual);
void paravirtual_reset(struct paravirtual *paravirtual);

/* True when leaf belongs to 0x40000000..0x400000ff and *result is filled. */
bool paravirtual_cpuid(const struct vcpu *vcpu, uint32_t leaf, struct cpuid_result *result);
/* True when the MSR is one of ours; *ok false then means #GP. */
bool paravirtual_msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value, bool *ok);
bool paravirtual_msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value, bool *ok);
/* VMCALL / VMMCALL: arguments and result in the guest's registers. */
void paravirtual_hypercall(struct vcpu *vcpu);

extern const struct state_table paravirtual_state;

#endif
