/* SPDX-License-Identifier: Apache-2.0 */
/* Local APIC: registers and MSRs. What waits and what is in service: apic_service.c; timer:
 * apic_timer.c; messages: apic_message.c. */
#include "cpu/apic.h"

#include "base/clock.h"
#include "cpu/apic_private.h"
#include "cpu/control.h"

#include <errno.h>
#include <stdlib.h>

#define APIC_VERSION 0x00050014u /* integrated, six LVT entries, no EOI suppression */

/* Bits of each LVT entry that can be written. Intel SDM vol. 3 figure 11-8 */
static const uint32_t lvt_writable[LVT_COUNT] = {
    [LVT_TIMER] = 0x000700ff, [LVT_THERMAL] = 0x000107ff, [LVT_COUNTER] = 0x000107ff,
    [LVT_LINT0] = 0x0001a7ff, [LVT_LINT1] = 0x0001a7ff,   [LVT_ERROR] = 0x000100ff,
};

bool apic_x2(const struct local_apic *apic)
{
    return apic->vcpu->apic_base & APIC_BASE_X2APIC;
}

struct local_apic *apic_create(struct vcpu *vcpu, struct error *error)
{
    struct local_apic *apic = calloc(1, sizeof(*apic));
    if (!apic) {
        error_set(error, ENOMEM, "vcpu %u: out of memory", vcpu->index);
        return NULL;
    }
    apic->vcpu = vcpu;
    pthread_mutex_init(&apic->lock, NULL);
    if (vcpu->bus->loop) {
        apic->timer = loop_timer_create(vcpu->bus->loop, apic_timer_expired, apic, error);
        if (!apic->timer) {
            apic_destroy(apic);
            return NULL;
        }
    }
    return apic;
}

void apic_destroy(struct local_apic *apic)
{
    if (!apic)
        return;
    loop_timer_destroy(apic->timer);
    pthread_mutex_destroy(&apic->lock);
    free(apic);
}

void apic_reset(struct local_apic *apic, bool init)
{
    pthread_mutex_lock(&apic->lock);
    if (apic->timer)
        loop_timer_disarm(apic->timer);
    memset(apic->isr, 0, sizeof(apic->isr));
    memset(apic->tmr, 0, sizeof(apic->tmr));
    memset(apic->irr, 0, sizeof(apic->irr));
    for (int i = 0; i < LVT_COUNT; i++)
        apic->lvt[i] = LVT_MASKED;
    /* As firmware leaves the boot processor: the 8259 pair comes in through LINT0, NMI through
     * LINT1. */
    if (!apic->vcpu->index) {
        apic->lvt[LVT_LINT0] = DELIVERY_EXTINT << 8;
        apic->lvt[LVT_LINT1] = DELIVERY_NMI << 8;
    }
    apic->tpr = 0;
    apic->spurious = 0xff;
    apic->logical = apic_x2(apic) ? apic->logical : 0;
    apic->format = 0xffffffff;
    apic->error_status = apic->error_pending = 0;
    apic->command = 0;
    apic->initial_count = apic->divide = 0;
    apic->timer_deadline_ns = apic->tsc_deadline = 0;
    atomic_store(&apic->waiting, false);
    pthread_mutex_unlock(&apic->lock);
}

/* LINT0 is open for this kind of interrupt. The caller holds the lock. */
static bool lint0_takes(const struct local_apic *apic, unsigned delivery)
{
    uint32_t lint0 = apic->lvt[LVT_LINT0];
    return !(lint0 & LVT_MASKED) && (lint0 >> 8 & 7) == delivery;
}

bool apic_accepts_extint(struct local_apic *apic)
{
    pthread_mutex_lock(&apic->lock);
    bool accepts = !apic_enabled(apic) || lint0_takes(apic, DELIVERY_EXTINT);
    pthread_mutex_unlock(&apic->lock);
    return accepts;
}

/* The 8259 pair's output, gated by LINT0. The device that raises the one and the vcpu that opens
 * the other do so at the same time: under the lock, the later of both sees it. */
static void update_extint(struct local_apic *apic)
{
    pthread_mutex_lock(&apic->lock);
    bool open = !apic_enabled(apic) || lint0_takes(apic, DELIVERY_EXTINT);
    bool level = apic->lint0_level && open;
    atomic_store(&apic->vcpu->extint_level, level);
    pthread_mutex_unlock(&apic->lock);
    if (level)
        vcpu_request(apic->vcpu, VCPU_REQUEST_EXTINT);
}

void apic_set_lint0(void *opaque, unsigned number, int level)
{
    struct local_apic *apic = opaque;
    pthread_mutex_lock(&apic->lock);
    apic->lint0_level = level;
    bool fixed = level && apic_enabled(apic) && lint0_takes(apic, DELIVERY_FIXED);
    uint8_t vector = (uint8_t)apic->lvt[LVT_LINT0];
    pthread_mutex_unlock(&apic->lock);
    update_extint(apic);
    if (fixed)
        apic_inject(apic, vector, false);
}

/* --- registers --- */

static uint32_t id_register(const struct local_apic *apic)
{
    return apic_x2(apic) ? apic->vcpu->index : apic->vcpu->index << 24;
}

/* x2APIC: cluster and position follow from the id. Intel SDM vol. 3 §11.12.10.2 */
uint32_t apic_logical_id(const struct local_apic *apic)
{
    unsigned id = apic->vcpu->index;
    return apic_x2(apic) ? (id >> 4) << 16 | 1u << (id & 15) : apic->logical;
}

static int lvt_index(unsigned offset)
{
    return offset >= REGISTER_LVT_TIMER && offset <= REGISTER_LVT_ERROR
               ? (int)(offset - REGISTER_LVT_TIMER) >> 4
               : -1;
}

uint32_t apic_read(struct local_apic *apic, unsigned offset)
{
    uint32_t value = 0;
    offset &= 0xff0;
    pthread_mutex_lock(&apic->lock);
    if (lvt_index(offset) >= 0)
        value = apic->lvt[lvt_index(offset)];
    else if (offset >= REGISTER_ISR && offset < REGISTER_ISR + 0x80)
        value = apic_in_service(apic)[(offset - REGISTER_ISR) >> 4];
    else if (offset >= REGISTER_TMR && offset < REGISTER_TMR + 0x80)
        value = apic->tmr[(offset - REGISTER_TMR) >> 4];
    else if (offset >= REGISTER_IRR && offset < REGISTER_IRR + 0x80)
        value = apic->irr[(offset - REGISTER_IRR) >> 4];
    else
        switch (offset) {
        case REGISTER_ID:
            value = id_register(apic);
            break;
        case REGISTER_VERSION:
            value = APIC_VERSION;
            break;
        case REGISTER_TPR:
            value = apic->tpr;
            break;
        case REGISTER_PPR:
            value = apic_processor_priority(apic);
            break;
        case REGISTER_LOGICAL:
            value = apic_logical_id(apic);
            break;
        case REGISTER_FORMAT:
            value = apic->format;
            break;
        case REGISTER_SPURIOUS:
            value = apic->spurious;
            break;
        case REGISTER_ERROR:
            value = apic->error_status;
            break;
        case REGISTER_COMMAND:
            value = (uint32_t)apic->command;
            break;
        case REGISTER_COMMAND_HIGH:
            value = (uint32_t)(apic->command >> 32);
            break;
        case REGISTER_INITIAL_COUNT:
            value = apic->initial_count;
            break;
        case REGISTER_CURRENT_COUNT:
            value = apic_timer_count(apic);
            break;
        case REGISTER_DIVIDE:
            value = apic->divide;
            break;
        default:
            break;
        }
    pthread_mutex_unlock(&apic->lock);
    return value;
}

static void write_lvt(struct local_apic *apic, unsigned index, uint32_t value)
{
    pthread_mutex_lock(&apic->lock);
    uint32_t old = apic->lvt[index];
    if (!(apic->spurious & SPURIOUS_ENABLE))
        value |= LVT_MASKED;
    apic->lvt[index] = value & lvt_writable[index];
    if (index == LVT_TIMER && (old ^ value) & LVT_TIMER_MODE)
        apic_timer_mode_changed(apic);
    pthread_mutex_unlock(&apic->lock);
    if (index == LVT_LINT0)
        update_extint(apic);
}

static void write_spurious(struct local_apic *apic, uint32_t value)
{
    pthread_mutex_lock(&apic->lock);
    apic->spurious = value & 0x1ff;
    for (int i = 0; !(value & SPURIOUS_ENABLE) && i < LVT_COUNT; i++)
        apic->lvt[i] |= LVT_MASKED;
    pthread_mutex_unlock(&apic->lock);
    update_extint(apic);
    vcpu_recheck_interrupts(apic->vcpu);
}

void apic_write(struct local_apic *apic, unsigned offset, uint32_t value)
{
    offset &= 0xff0;
    if (lvt_index(offset) >= 0) {
        write_lvt(apic, (unsigned)lvt_index(offset), value);
        return;
    }
    switch (offset) {
    case REGISTER_TPR:
        apic_set_tpr(apic, value & 0xff);
        break;
    case REGISTER_EOI:
        apic_end_of_interrupt(apic);
        break;
    case REGISTER_LOGICAL:
        apic->logical = value & 0xff000000;
        break;
    case REGISTER_FORMAT:
        apic->format = value | 0x0fffffff;
        break;
    case REGISTER_SPURIOUS:
        write_spurious(apic, value);
        break;
    case REGISTER_ERROR:
        apic->error_status = apic->error_pending;
        apic->error_pending = 0;
        break;
    case REGISTER_COMMAND_HIGH:
        apic->command = (apic->command & 0xffffffff) | (uint64_t)(value & 0xff000000) << 32;
        break;
    case REGISTER_COMMAND:
        apic->command = (apic->command & ~UINT64_C(0xffffffff)) | (value & ~COMMAND_BUSY);
        apic_send(apic, value, (uint32_t)(apic->command >> 56));
        break;
    case REGISTER_INITIAL_COUNT:
        apic_timer_start(apic, value);
        break;
    case REGISTER_DIVIDE:
        apic_timer_divide(apic, value);
        break;
    default:
        break;
    }
}

/* Mode changes that IA32_APIC_BASE allows. Intel SDM vol. 3 §11.12.5 */
static bool write_base(struct local_apic *apic, uint64_t value)
{
    struct vcpu *vcpu = apic->vcpu;
    const uint64_t mode = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
    uint64_t old = vcpu->apic_base, physical = BIT(vcpu->model->physical_address_bits) - 1;
    bool x2apic_model = vcpu->model->leaf1_ecx & BIT(21);
    if (value & ~((physical & PAGE_MASK) | mode | APIC_BASE_BSP))
        return false;
    if (value & APIC_BASE_X2APIC && (!(value & APIC_BASE_ENABLE) || !x2apic_model))
        return false;
    if (old & APIC_BASE_X2APIC && (value & mode) == APIC_BASE_ENABLE)
        return false;
    vcpu->apic_base = (value & ~APIC_BASE_BSP) | (old & APIC_BASE_BSP);
    if (!(value & APIC_BASE_ENABLE) && old & APIC_BASE_ENABLE)
        apic_reset(apic, false);
    update_extint(apic);
    mmu_flush_all(vcpu);
    return true;
}

bool apic_msr_read(struct local_apic *apic, uint32_t index, uint64_t *value)
{
    if (index == MSR_APIC_BASE) {
        *value = apic->vcpu->apic_base;
        return true;
    }
    if (index == MSR_TSC_DEADLINE) {
        *value = apic->tsc_deadline;
        return apic->vcpu->model->leaf1_ecx & BIT(24);
    }
    unsigned offset = (index - MSR_X2APIC_FIRST) << 4;
    if (!apic_x2(apic) || offset > REGISTER_SELF_IPI || offset == REGISTER_FORMAT ||
        offset == REGISTER_COMMAND_HIGH || offset == REGISTER_EOI || offset == REGISTER_SELF_IPI)
        return false;
    *value = offset == REGISTER_COMMAND ? apic->command : apic_read(apic, offset);
    return true;
}

bool apic_msr_write(struct local_apic *apic, uint32_t index, uint64_t value)
{
    if (index == MSR_APIC_BASE)
        return write_base(apic, value);
    if (index == MSR_TSC_DEADLINE) {
        apic_timer_tsc_deadline(apic, value);
        return apic->vcpu->model->leaf1_ecx & BIT(24);
    }
    unsigned offset = (index - MSR_X2APIC_FIRST) << 4;
    if (!apic_x2(apic))
        return false;
    if (offset == REGISTER_COMMAND) {
        apic->command = value;
        apic_send(apic, (uint32_t)value, (uint32_t)(value >> 32));
        return true;
    }
    if (value >> 32)
        return false;
    switch (offset) {
    case REGISTER_SELF_IPI:
        apic_inject(apic, (uint8_t)value, false);
        return true;
    case REGISTER_ID:
    case REGISTER_VERSION:
    case REGISTER_LOGICAL:
    case REGISTER_FORMAT:
    case REGISTER_COMMAND_HIGH:
    case REGISTER_CURRENT_COUNT:
        return false;
    case REGISTER_EOI:
    case REGISTER_ERROR:
        if (value)
            return false;
        break;
    default:
        break;
    }
    apic_write(apic, offset, (uint32_t)value);
    return true;
}
