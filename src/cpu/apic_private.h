/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the local APIC share. Register offsets: Intel SDM vol. 3 table 11-1. */
#ifndef NACRE_CPU_APIC_PRIVATE_H
#define NACRE_CPU_APIC_PRIVATE_H

#include "cpu/apic.h"
#include "cpu/mmu.h"

enum {
    REGISTER_ID = 0x20,
    REGISTER_VERSION = 0x30,
    REGISTER_TPR = 0x80,
    REGISTER_PPR = 0xa0,
    REGISTER_EOI = 0xb0,
    REGISTER_LOGICAL = 0xd0,
    REGISTER_FORMAT = 0xe0,
    REGISTER_SPURIOUS = 0xf0,
    REGISTER_ISR = 0x100,
    REGISTER_TMR = 0x180,
    REGISTER_IRR = 0x200,
    REGISTER_ERROR = 0x280,
    REGISTER_COMMAND = 0x300,
    REGISTER_COMMAND_HIGH = 0x310,
    REGISTER_LVT_TIMER = 0x320,
    REGISTER_LVT_ERROR = 0x370,
    REGISTER_INITIAL_COUNT = 0x380,
    REGISTER_CURRENT_COUNT = 0x390,
    REGISTER_DIVIDE = 0x3e0,
    REGISTER_SELF_IPI = 0x3f0,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_COUNTER, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
#define LVT_MASKED             BIT(16)
#define LVT_TIMER_MODE         (BIT(17) | BIT(18))
#define LVT_TIMER_PERIODIC     BIT(17)
#define LVT_TIMER_TSC_DEADLINE BIT(18)

#define SPURIOUS_ENABLE        BIT(8)
#define COMMAND_BUSY           BIT(12)
#define ERROR_ILLEGAL_RECEIVED BIT(6)

enum {
    DELIVERY_FIXED,
    DELIVERY_LOWEST,
    DELIVERY_SMI,
    DELIVERY_RESERVED,
    DELIVERY_NMI,
    DELIVERY_INIT,
    DELIVERY_STARTUP,
    DELIVERY_EXTINT,
};

struct local_apic {
    struct vcpu *vcpu;
    pthread_mutex_t lock;
    uint32_t isr[8], tmr[8], irr[8]; /* bit n of the bitmap: vector n */
    atomic_bool waiting;             /* some bit of irr is set: a look without the lock */
    uint32_t lvt[LVT_COUNT];
    uint8_t tpr;
    uint32_t spurious, logical, format, error_status, error_pending;
    uint64_t command;
    bool lint0_level;
    /* timer */
    struct loop_timer *timer;
    uint32_t initial_count, divide;
    uint64_t timer_deadline_ns; /* 0: not running */
    uint64_t timer_left_ns;     /* the same from now on, as it is saved; 0: not running */
    uint64_t tsc_deadline;
};

static inline bool apic_enabled(const struct local_apic *apic)
{
    return apic->vcpu->apic_base & APIC_BASE_ENABLE;
}

bool apic_x2(const struct local_apic *apic);
uint32_t apic_logical_id(const struct local_apic *apic);
/* Puts a vector into IRR; the caller holds the lock and wakes the vcpu. */
void apic_accept(struct local_apic *apic, uint8_t vector, bool level);

/* The bitmap of vectors in service, and the priority that follows. Own thread, with the lock. */
const uint32_t *apic_in_service(struct local_apic *apic);
uint8_t apic_processor_priority(struct local_apic *apic);
void apic_end_of_interrupt(struct local_apic *apic);

/* A write to ICR: command word and destination. */
void apic_send(struct local_apic *apic, uint32_t command, uint32_t destination);

/* apic_timer.c. count and mode_changed: the caller holds the lock. */
void apic_timer_expired(void *opaque);
uint32_t apic_timer_count(const struct local_apic *apic);
void apic_timer_mode_changed(struct local_apic *apic);
void apic_timer_before_save(struct local_apic *apic);
void apic_timer_after_load(struct local_apic *apic);
void apic_timer_start(struct local_apic *apic, uint32_t count);
void apic_timer_divide(struct local_apic *apic, uint32_t value);
void apic_timer_tsc_deadline(struct local_apic *apic, uint64_t tsc);

#endif
