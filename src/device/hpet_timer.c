/* SPDX-License-Identifier: Apache-2.0 */
/* A comparator of the HPET: one-shot and periodic. IA-PC HPET specification 1.0a §2.3.8, §2.3.9. */
#include "device/hpet_timer.h"

#define WRITABLE                                                                   \
    (HPET_TIMER_LEVEL | HPET_TIMER_ENABLE | HPET_TIMER_PERIODIC | HPET_TIMER_SET | \
     HPET_TIMER_32BIT | HPET_TIMER_ROUTE)
/* GSIs that nobody else drives: 16 to 19 are PCI's, those below are the ISA devices'. */
#define ROUTES (BIT(20) | BIT(21) | BIT(22) | BIT(23))

void hpet_timer_reset(struct hpet_timer *timer)
{
    *timer = (struct hpet_timer){.comparator = UINT64_MAX, .match = HPET_NEVER};
}

static uint64_t timer_mask(const struct hpet_timer *timer)
{
    return timer->config & HPET_TIMER_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* 32-bit timers match whenever the counter's low half comes round; 64 bits take longer than the
 * host will live. */
void hpet_timer_plan(struct hpet_timer *timer, uint64_t counter)
{
    uint64_t distance = timer->comparator - counter;
    if (timer->config & HPET_TIMER_32BIT)
        distance = ((distance - 1) & UINT32_MAX) + 1;
    timer->match = counter + distance > counter ? counter + distance : HPET_NEVER;
}

void hpet_timer_advance(struct hpet_timer *timer, uint64_t counter)
{
    if (!(timer->config & HPET_TIMER_PERIODIC) || !timer->period) {
        hpet_timer_plan(timer, counter);
        return;
    }
    uint64_t steps = 1 + (counter - timer->match) / timer->period;
    uint64_t next = timer->match + steps * timer->period;
    timer->comparator = next & timer_mask(timer);
    timer->match = next > counter ? next : HPET_NEVER;
}

int hpet_timer_route(const struct hpet_timer *timer)
{
    unsigned route = (timer->config & HPET_TIMER_ROUTE) >> HPET_TIMER_ROUTE_SHIFT;
    return ROUTES >> route & 1 ? (int)route : -1;
}

uint64_t hpet_timer_read_config(const struct hpet_timer *timer)
{
    return (timer->config & ~HPET_TIMER_SET) | HPET_TIMER_CAPABLE | ROUTES << 32;
}

/* A route that is not there does not read back: that is how drivers find out. */
void hpet_timer_write_config(struct hpet_timer *timer, uint64_t value, uint64_t mask)
{
    uint32_t old = timer->config;
    timer->config = (uint32_t)(((old & ~mask) | value) & WRITABLE);
    if (hpet_timer_route(timer) < 0)
        timer->config = (timer->config & ~HPET_TIMER_ROUTE) | (old & HPET_TIMER_ROUTE);
    timer->comparator &= timer_mask(timer);
    timer->period &= timer_mask(timer);
    timer->raised = false;
}

/* One write sets a periodic timer's period; after HPET_TIMER_SET it sets the comparator as well. */
void hpet_timer_write_comparator(struct hpet_timer *timer, uint64_t value, uint64_t mask)
{
    bool periodic = timer->config & HPET_TIMER_PERIODIC;
    if (periodic)
        timer->period = ((timer->period & ~mask) | value) & timer_mask(timer);
    if (!periodic || timer->config & HPET_TIMER_SET)
        timer->comparator = ((timer->comparator & ~mask) | value) & timer_mask(timer);
    timer->config &= ~HPET_TIMER_SET;
}

void hpet_timer_after_load(struct hpet_timer *timer)
{
    timer->config &= WRITABLE;
}

static const struct state_field timer_fields[] = {
    STATE_FIELD(struct hpet_timer, config), STATE_FIELD(struct hpet_timer, comparator),
    STATE_FIELD(struct hpet_timer, period), STATE_FIELD(struct hpet_timer, match),
    STATE_FIELD(struct hpet_timer, raised),
};
const struct state_table hpet_timer_state = STATE_TABLE("hpet-timer", 1, timer_fields);
