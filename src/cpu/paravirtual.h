/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KVM's paravirtual interface, offered by every engine: CPUID leaf 0x40000000, kvmclock and the
 * wall clock, steal time, PV EOI, PV IPIs and kick-CPU hypercalls. Linux
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
/* False: there is no such MSR, or it does not take the value (#GP). */
bool paravirtual_msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value);
bool paravirtual_msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value);
/* VMCALL / VMMCALL: arguments and result in the guest's registers. */
void paravirtual_hypercall(struct vcpu *vcpu);

/* Tells the guest how much time the host took, if a while has passed since. Own thread. */
void paravirtual_account(struct vcpu *vcpu);
/* The vcpu was or will be stopped on purpose: the time until the next account is nobody's. */
void paravirtual_account_pause(struct vcpu *vcpu);

/* The interrupt just put in service may be ended by the guest's word alone. */
void paravirtual_eoi_offer(struct vcpu *vcpu);
/* True once when the guest has ended it so. withdraw: takes an offer that was not used back. */
bool paravirtual_eoi_used(struct vcpu *vcpu, bool withdraw);

extern const struct state_table paravirtual_state;
void paravirtual_after_load(struct paravirtual *paravirtual);

#endif
