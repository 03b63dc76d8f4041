/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC of one vcpu: xAPIC page and x2APIC MSRs, timer (one-shot, periodic, TSC deadline),
 * IPIs, LINT pins. Intel SDM vol. 3 §11; APM vol. 2 §16. Safe to call from any thread.
 */
#ifndef NACRE_CPU_APIC_H
#define NACRE_CPU_APIC_H

#include "cpu/vcpu.h"

struct local_apic *apic_create(struct vcpu *vcpu, struct error *error);
void apic_destroy(struct local_apic *apic);
void apic_reset(struct local_apic *apic, bool init);

/* Registers by xAPIC offset (0 to 0xff0), 32-bit accesses. Own vcpu's thread. */
uint32_t apic_read(struct local_apic *apic, unsigned offset);
void apic_write(struct local_apic *apic, unsigned offset, uint32_t value);
/* x2APIC MSRs 0x800 to 0x8ff, TSC deadline and APIC_BASE: false means #GP (the caller raises it).
 */
bool apic_msr_read(struct local_apic *apic, uint32_t index, uint64_t *value);
bool apic_msr_write(struct local_apic *apic, uint32_t index, uint64_t value);

/* Takes back the paravirtual EOI that is on offer, and ends the interrupt if the guest has used it.
 */
void apic_withdraw_eoi(struct local_apic *apic);

void apic_set_tpr(struct local_apic *apic, uint8_t tpr);
uint8_t apic_tpr(const struct local_apic *apic);

/* A vector above the processor priority waits in IRR. */
bool apic_has_interrupt(struct local_apic *apic);
/* Moves the highest deliverable vector from IRR to ISR and returns it; -1 when none. */
int apic_take_interrupt(struct local_apic *apic);
/* LINT0 accepts ExtINT (or the APIC is disabled): the 8259 pair's interrupts reach this CPU. */
bool apic_accepts_extint(struct local_apic *apic);

/* An interrupt message (MSI format) for whichever vcpus it names. Any thread. */
void apic_deliver_message(struct vcpu_group *group, uint64_t address, uint32_t data);
/* An IPI to one vcpu; used by ICR writes and KVM's PV IPI hypercall. */
void apic_inject(struct local_apic *apic, uint8_t vector, bool level);
/* LINT0 wire from the 8259 pair (struct irq_line.set); opaque is the struct local_apic. */
void apic_set_lint0(void *opaque, unsigned number, int level);

extern const struct state_table apic_state;
/* With all vcpus stopped. The time that a timer has left is kept, not the host's time of its end.
 */
void apic_before_save(struct local_apic *apic);
void apic_after_load(struct local_apic *apic);

#endif
