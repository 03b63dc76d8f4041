/* SPDX-License-Identifier: Apache-2.0 */
/* What of a local APIC is saved. */
#include "cpu/apic_private.h"

void apic_before_save(struct local_apic *apic)
{
    pthread_mutex_lock(&apic->lock);
    apic_timer_before_save(apic);
    pthread_mutex_unlock(&apic->lock);
}

void apic_after_load(struct local_apic *apic)
{
    uint32_t waiting = 0;
    pthread_mutex_lock(&apic->lock);
    for (unsigned i = 0; i < ARRAY_SIZE(apic->irr); i++)
        waiting |= apic->irr[i];
    atomic_store(&apic->waiting, waiting != 0);
    apic_timer_after_load(apic);
    pthread_mutex_unlock(&apic->lock);
}

static const struct state_field apic_fields[] = {
    STATE_ARRAY(struct local_apic, isr),          STATE_ARRAY(struct local_apic, tmr),
    STATE_ARRAY(struct local_apic, irr),          STATE_ARRAY(struct local_apic, lvt),
    STATE_FIELD(struct local_apic, tpr),          STATE_FIELD(struct local_apic, spurious),
    STATE_FIELD(struct local_apic, logical),      STATE_FIELD(struct local_apic, format),
    STATE_FIELD(struct local_apic, error_status), STATE_FIELD(struct local_apic, error_pending),
    STATE_FIELD(struct local_apic, command),      STATE_FIELD(struct local_apic, initial_count),
    STATE_FIELD(struct local_apic, divide),       STATE_FIELD(struct local_apic, timer_left_ns),
    STATE_FIELD(struct local_apic, tsc_deadline), STATE_FIELD(struct local_apic, lint0_level),
};
const struct state_table apic_state = STATE_TABLE("local-apic", 2, apic_fields);
