/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC's timer: one-shot and periodic counts of a 1 GHz bus clock, and the TSC deadline.
 * Intel SDM vol. 3 §11.5.4. */
#include "base/clock.h"
#include "cpu/apic_private.h"
#include "cpu/control.h"

#define TIMER_MAX_NS (UINT64_C(1) << 62) /* more than any count or deadline that matters */

static uint64_t timer_divisor(const struct local_apic *apic)
{
    unsigned code = (apic->divide & 3) | (apic->divide >> 1 & 4);
    return code == 7 ? 1 : UINT64_C(2) << code;
}

static uint64_t timer_period_ns(const struct local_apic *apic)
{
    return apic->initial_count * timer_divisor(apic);
}

static bool timer_is(const struct local_apic *apic, uint32_t mode)
{
    return (apic->lvt[LVT_TIMER] & LVT_TIMER_MODE) == mode;
}

static void timer_arm(struct local_apic *apic)
{
    if (!apic->timer)
        return;
    if (apic->timer_deadline_ns)
        loop_timer_arm(apic->timer, apic->timer_deadline_ns);
    else
        loop_timer_disarm(apic->timer);
}

uint32_t apic_timer_count(const struct local_apic *apic)
{
    uint64_t now = clock_monotonic_ns();
    if (timer_is(apic, LVT_TIMER_TSC_DEADLINE) || apic->timer_deadline_ns <= now)
        return 0;
    return (uint32_t)((apic->timer_deadline_ns - now) / timer_divisor(apic));
}

void apic_timer_mode_changed(struct local_apic *apic)
{
    apic->timer_deadline_ns = apic->tsc_deadline = 0;
    timer_arm(apic);
}

void apic_timer_start(struct local_apic *apic, uint32_t count)
{
    pthread_mutex_lock(&apic->lock);
    if (!timer_is(apic, LVT_TIMER_TSC_DEADLINE)) {
        apic->initial_count = count;
        apic->timer_deadline_ns = count ? clock_monotonic_ns() + timer_period_ns(apic) : 0;
        timer_arm(apic);
    }
    pthread_mutex_unlock(&apic->lock);
}

void apic_timer_divide(struct local_apic *apic, uint32_t value)
{
    pthread_mutex_lock(&apic->lock);
    apic->divide = value & 0xb;
    pthread_mutex_unlock(&apic->lock);
}

void apic_timer_tsc_deadline(struct local_apic *apic, uint64_t tsc)
{
    pthread_mutex_lock(&apic->lock);
    if (timer_is(apic, LVT_TIMER_TSC_DEADLINE)) {
        apic->tsc_deadline = tsc;
        apic->timer_deadline_ns = tsc ? tsc_deadline_ns(apic->vcpu, tsc) : 0;
        timer_arm(apic);
    }
    pthread_mutex_unlock(&apic->lock);
}

void apic_timer_before_save(struct local_apic *apic)
{
    uint64_t now = clock_monotonic_ns(), deadline = apic->timer_deadline_ns;
    apic->timer_left_ns = 0;
    if (deadline)
        apic->timer_left_ns = deadline > now ? deadline - now : 1;
}

void apic_timer_after_load(struct local_apic *apic)
{
    uint64_t left = apic->timer_left_ns;
    apic->timer_deadline_ns = 0;
    if (left)
        apic->timer_deadline_ns =
            clock_monotonic_ns() + (left < TIMER_MAX_NS ? left : TIMER_MAX_NS);
    timer_arm(apic);
}

/* On the event loop's thread. A period that was missed altogether is skipped, without drift. */
void apic_timer_expired(void *opaque)
{
    struct local_apic *apic = opaque;
    bool fire = false;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&apic->lock);
    if (apic->timer_deadline_ns && apic->timer_deadline_ns <= now) {
        fire = !(apic->lvt[LVT_TIMER] & LVT_MASKED);
        uint64_t period = timer_period_ns(apic);
        if (timer_is(apic, LVT_TIMER_PERIODIC) && period)
            apic->timer_deadline_ns += period * (1 + (now - apic->timer_deadline_ns) / period);
        else
            apic->timer_deadline_ns = apic->tsc_deadline = 0;
        timer_arm(apic);
    }
    uint8_t vector = (uint8_t)apic->lvt[LVT_TIMER];
    pthread_mutex_unlock(&apic->lock);
    if (fire)
        apic_inject(apic, vector, false);
}
