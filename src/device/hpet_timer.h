/* SPDX-License-Identifier: Apache-2.0 */
/* One comparator of the HPET. The caller serialises. */
#ifndef NACRE_DEVICE_HPET_TIMER_H
#define NACRE_DEVICE_HPET_TIMER_H

#include "base/bits.h"
#include "base/state.h"

#define HPET_TICK_NS UINT64_C(10)
#define HPET_NEVER   UINT64_MAX

/* Configuration and capabilities. IA-PC HPET specification 1.0a §2.3.8 */
#define HPET_TIMER_LEVEL       BIT(1)
#define HPET_TIMER_ENABLE      BIT(2)
#define HPET_TIMER_PERIODIC    BIT(3)
#define HPET_TIMER_CAPABLE     (BIT(4) | BIT(5)) /* periodic, 64 bits */
#define HPET_TIMER_SET         BIT(6) /* the next write sets the comparator itself, too */
#define HPET_TIMER_32BIT       BIT(8)
#define HPET_TIMER_ROUTE       (UINT64_C(31) << HPET_TIMER_ROUTE_SHIFT)
#define HPET_TIMER_ROUTE_SHIFT 9

struct hpet_timer {
    uint32_t config; /* the bits above that can be written */
    uint64_t comparator, period;
    uint64_t match; /* counter at which it fires next, beyond 32 bits as well; or HPET_NEVER */
    bool raised;    /* edge-triggered: the line has been high since it fired */
};

void hpet_timer_reset(struct hpet_timer *timer);

/* Finds the next match behind `counter`, after something has been written. */
void hpet_timer_plan(struct hpet_timer *timer, uint64_t counter);
/* After a match: a periodic comparator moves on, past the periods that were missed. */
void hpet_timer_advance(struct hpet_timer *timer, uint64_t counter);

/* The GSI to which it is routed, or -1. */
int hpet_timer_route(const struct hpet_timer *timer);

uint64_t hpet_timer_read_config(const struct hpet_timer *timer);
/* value and mask: what is written, and where, of the register's eight bytes. */
void hpet_timer_write_config(struct hpet_timer *timer, uint64_t value, uint64_t mask);
void hpet_timer_write_comparator(struct hpet_timer *timer, uint64_t value, uint64_t mask);

/* Makes what was loaded a state that a timer can have. */
void hpet_timer_after_load(struct hpet_timer *timer);
extern const struct state_table hpet_timer_state;

#endif
