/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PV EOI: a word of the guest's memory says that the interrupt just delivered needs no write to the
 * local APIC's EOI register; the guest clears the bit instead, and we see it when we next look at
 * what is in service. Linux Documentation/virt/kvm/x86/msr.rst, MSR_KVM_EOI_EN.
 */
#include "cpu/apic.h"
#include "cpu/paravirtual_private.h"

#define EOI_RESERVED BIT(1)
#define EOI_OFFER    1u

static _Atomic uint32_t *guest_word(const struct paravirtual *paravirtual)
{
    uint64_t gpa = paravirtual->end_of_interrupt & ~(EOI_RESERVED | PARAVIRTUAL_ENABLE);
    return memory_hva(paravirtual->vcpu->memory, gpa, sizeof(uint32_t));
}

static void word_written(const struct paravirtual *paravirtual)
{
    memory_note_write(paravirtual->vcpu->memory, paravirtual->end_of_interrupt & ~UINT64_C(3), 4);
}

/* Takes the bit away; true when it was still there: the guest has not used it. */
static bool offer_withdraw(struct paravirtual *paravirtual)
{
    _Atomic uint32_t *word = guest_word(paravirtual);
    paravirtual->eoi_offered = false;
    bool unused = atomic_fetch_and(word, ~EOI_OFFER) & EOI_OFFER;
    word_written(paravirtual);
    return unused;
}

bool paravirtual_eoi_enable(struct paravirtual *paravirtual, uint64_t value)
{
    if (value & EOI_RESERVED)
        return false;
    /* What the guest has ended by the old word must count before the word is gone. */
    apic_withdraw_eoi(paravirtual->vcpu->apic);
    paravirtual->end_of_interrupt = value;
    /* Not RAM: then there is nothing to offer, as if it were off. */
    if (!guest_word(paravirtual))
        paravirtual->end_of_interrupt = 0;
    return true;
}

void paravirtual_eoi_offer(struct vcpu *vcpu)
{
    struct paravirtual *paravirtual = vcpu->paravirtual;
    if (!(paravirtual->end_of_interrupt & PARAVIRTUAL_ENABLE))
        return;
    atomic_fetch_or(guest_word(paravirtual), EOI_OFFER);
    word_written(paravirtual);
    paravirtual->eoi_offered = true;
}

bool paravirtual_eoi_used(struct vcpu *vcpu, bool withdraw)
{
    struct paravirtual *paravirtual = vcpu->paravirtual;
    if (!paravirtual->eoi_offered)
        return false;
    if (!withdraw && atomic_load(guest_word(paravirtual)) & EOI_OFFER)
        return false;
    return !offer_withdraw(paravirtual);
}

void paravirtual_after_load(struct paravirtual *paravirtual)
{
    paravirtual->accounted = (struct time_split){0}; /* the host's time, and perhaps another's */
    if (!(paravirtual->end_of_interrupt & PARAVIRTUAL_ENABLE) || !guest_word(paravirtual)) {
        paravirtual->end_of_interrupt = 0;
        paravirtual->eoi_offered = false;
    }
}
