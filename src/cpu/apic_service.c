/* SPDX-License-Identifier: Apache-2.0 */
/* What waits at a local APIC, what is in service, and which of them goes first. Intel SDM vol. 3
 * §11.8. */
#include "cpu/apic_private.h"
#include "cpu/paravirtual.h"

static int bitmap_highest(const uint32_t map[8])
{
    for (int i = 7; i >= 0; i--)
        if (map[i])
            return i * 32 + 31 - __builtin_clz(map[i]);
    return -1;
}

static void bitmap_set(uint32_t map[8], unsigned vector, bool value)
{
    if (value)
        map[vector / 32] |= 1u << vector % 32;
    else
        map[vector / 32] &= ~(1u << vector % 32);
}

static bool vector_is_level(const struct local_apic *apic, int vector)
{
    return apic->tmr[vector / 32] >> vector % 32 & 1;
}

/* --- the caller holds the lock --- */

/* Ends what is in service; the vector, or -1. */
static int service_end(struct local_apic *apic)
{
    int vector = bitmap_highest(apic->isr);
    if (vector >= 0)
        bitmap_set(apic->isr, (unsigned)vector, false);
    return vector;
}

/* Has the guest ended what is in service by the word in its memory? An offer that it has not taken
 * up stands only while nothing waits: its EOI must be seen when it comes. */
static void sync_offered_eoi(struct local_apic *apic)
{
    if (paravirtual_eoi_used(apic->vcpu, bitmap_highest(apic->irr) >= 0))
        service_end(apic);
}

void apic_withdraw_eoi(struct local_apic *apic)
{
    pthread_mutex_lock(&apic->lock);
    if (paravirtual_eoi_used(apic->vcpu, true))
        service_end(apic);
    pthread_mutex_unlock(&apic->lock);
}

const uint32_t *apic_in_service(struct local_apic *apic)
{
    sync_offered_eoi(apic);
    return apic->isr;
}

uint8_t apic_processor_priority(struct local_apic *apic)
{
    int in_service = bitmap_highest(apic_in_service(apic));
    uint8_t class = in_service < 0 ? 0 : in_service & 0xf0;
    return (apic->tpr & 0xf0) >= class ? apic->tpr : class;
}

static int deliverable_vector(struct local_apic *apic)
{
    int vector = bitmap_highest(apic->irr);
    return vector >= 0 && (vector & 0xf0) > (apic_processor_priority(apic) & 0xf0) ? vector : -1;
}

bool apic_has_interrupt(struct local_apic *apic)
{
    if (!atomic_load(&apic->waiting))
        return false;
    pthread_mutex_lock(&apic->lock);
    bool has =
        apic_enabled(apic) && apic->spurious & SPURIOUS_ENABLE && deliverable_vector(apic) >= 0;
    pthread_mutex_unlock(&apic->lock);
    return has;
}

int apic_take_interrupt(struct local_apic *apic)
{
    if (!atomic_load(&apic->waiting))
        return -1;
    pthread_mutex_lock(&apic->lock);
    int vector = -1;
    if (apic_enabled(apic) && apic->spurious & SPURIOUS_ENABLE)
        vector = deliverable_vector(apic);
    if (vector >= 0) {
        bitmap_set(apic->irr, (unsigned)vector, false);
        bitmap_set(apic->isr, (unsigned)vector, true);
        bool more = bitmap_highest(apic->irr) >= 0;
        atomic_store(&apic->waiting, more);
        if (!more && !vector_is_level(apic, vector))
            paravirtual_eoi_offer(apic->vcpu);
    }
    pthread_mutex_unlock(&apic->lock);
    return vector;
}

void apic_accept(struct local_apic *apic, uint8_t vector, bool level)
{
    if (vector < 16) {
        apic->error_pending |= ERROR_ILLEGAL_RECEIVED;
        return;
    }
    bitmap_set(apic->irr, vector, true);
    bitmap_set(apic->tmr, vector, level);
    atomic_store(&apic->waiting, true);
}

void apic_inject(struct local_apic *apic, uint8_t vector, bool level)
{
    pthread_mutex_lock(&apic->lock);
    bool accepts = apic_enabled(apic) && apic->spurious & SPURIOUS_ENABLE;
    if (accepts)
        apic_accept(apic, vector, level);
    pthread_mutex_unlock(&apic->lock);
    if (accepts)
        vcpu_request(apic->vcpu, VCPU_REQUEST_INTERRUPT);
}

void apic_end_of_interrupt(struct local_apic *apic)
{
    pthread_mutex_lock(&apic->lock);
    if (paravirtual_eoi_used(apic->vcpu, true)) /* this EOI is for the one below */
        service_end(apic);
    int vector = service_end(apic);
    bool level = vector >= 0 && vector_is_level(apic, vector);
    pthread_mutex_unlock(&apic->lock);
    if (level)
        bus_eoi(apic->vcpu->bus, (uint8_t)vector);
    vcpu_recheck_interrupts(apic->vcpu);
}

uint8_t apic_tpr(const struct local_apic *apic)
{
    return apic->tpr;
}

void apic_set_tpr(struct local_apic *apic, uint8_t tpr)
{
    pthread_mutex_lock(&apic->lock);
    apic->tpr = tpr;
    apic->vcpu->cr8 = tpr >> 4;
    pthread_mutex_unlock(&apic->lock);
    vcpu_recheck_interrupts(apic->vcpu);
}
