/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches with 16- and 32-bit TSSs. APM vol. 2 §12.3, §12.4. */
#include "cpu/control.h"
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/segmentation.h"

/* A TSS's dynamic fields, whatever its width. */
struct task_state {
    uint64_t cr3;
    uint64_t rip, rflags;
    uint64_t registers[8];
    uint16_t segments[SEG_COUNT];
    uint16_t ldtr;
    bool trap;
};

/* Offsets of the two formats. APM vol. 2 figures 12-7 and 12-6 */
struct task_format {
    unsigned width; /* of a register, bytes */
    unsigned cr3;   /* 0: none */
    unsigned rip, rflags, registers, segments, segment_stride, segment_count, ldtr, trap;
    unsigned limit_min;
};
static const struct task_format format32 = {4, 28, 32, 36, 40, 72, 4, 6, 96, 100, 103};
static const struct task_format format16 = {2, 0, 14, 16, 18, 34, 2, 4, 42, 0, 43};

#define BUSY_BIT 2u

static const struct task_format *task_format(const struct segment *tss)
{
    return tss->attributes & BIT(3) ? &format32 : &format16;
}

static bool task_field(struct vcpu *vcpu, uint64_t address, uint64_t *value, unsigned size)
{
    *value = 0;
    return mmu_read(vcpu, address, value, size, MMU_SUPERVISOR) != MMU_FAULT;
}

static bool task_store(struct vcpu *vcpu, uint64_t address, uint64_t value, unsigned size)
{
    return mmu_write(vcpu, address, &value, size, MMU_SUPERVISOR) != MMU_FAULT;
}

/* Saves the running task into its TSS. */
static bool task_save(struct vcpu *vcpu, uint64_t rip, uint64_t rflags)
{
    const struct task_format *format = task_format(&vcpu->tr);
    uint64_t base = vcpu->tr.base;
    if (!task_store(vcpu, base + format->rip, rip, format->width) ||
        !task_store(vcpu, base + format->rflags, rflags, format->width))
        return false;
    for (unsigned i = 0; i < 8; i++)
        if (!task_store(vcpu, base + format->registers + i * format->width, vcpu->registers[i],
                        format->width))
            return false;
    for (unsigned i = 0; i < format->segment_count; i++)
        if (!task_store(vcpu, base + format->segments + i * format->segment_stride,
                        vcpu->segments[i].selector, 2))
            return false;
    return true;
}

static bool task_load(struct vcpu *vcpu, const struct segment *tss, struct task_state *state)
{
    const struct task_format *format = task_format(tss);
    uint64_t value;
    *state = (struct task_state){0};
    if ((format->cr3 && !task_field(vcpu, tss->base + format->cr3, &state->cr3, 4)) ||
        !task_field(vcpu, tss->base + format->rip, &state->rip, format->width) ||
        !task_field(vcpu, tss->base + format->rflags, &state->rflags, format->width))
        return false;
    for (unsigned i = 0; i < 8; i++)
        if (!task_field(vcpu, tss->base + format->registers + i * format->width,
                        &state->registers[i], format->width))
            return false;
    for (unsigned i = 0; i < format->segment_count; i++) {
        if (!task_field(vcpu, tss->base + format->segments + i * format->segment_stride, &value, 2))
            return false;
        state->segments[i] = (uint16_t)value;
    }
    if (!task_field(vcpu, tss->base + format->ldtr, &value, 2))
        return false;
    state->ldtr = (uint16_t)value;
    if (format->trap) {
        if (!task_field(vcpu, tss->base + format->trap, &value, 2))
            return false;
        state->trap = value & 1;
    }
    return true;
}

static bool task_descriptor(struct vcpu *vcpu, uint16_t selector, enum task_switch_reason reason,
                            struct descriptor *descriptor, uint16_t *tss_selector)
{
    unsigned vector = reason == TASK_SWITCH_IRET ? VECTOR_TS : VECTOR_GP;
    bool direct = reason == TASK_SWITCH_JUMP || reason == TASK_SWITCH_CALL;
    if (!descriptor_read(vcpu, selector, vector, descriptor))
        return false;
    unsigned dpl = descriptor_dpl(descriptor);
    if (direct && (dpl < vcpu->cpl || dpl < selector_rpl(selector)))
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (descriptor_is_system(descriptor) && descriptor_type(descriptor) == DESCRIPTOR_TASK_GATE) {
        if (!descriptor_present(descriptor))
            return raise_error(vcpu, VECTOR_NP, selector_error(selector));
        selector = gate_selector(descriptor);
        if (!descriptor_read(vcpu, selector, vector, descriptor))
            return false;
    }
    unsigned type = descriptor_type(descriptor);
    bool busy = reason == TASK_SWITCH_IRET;
    bool fits = busy ? type == DESCRIPTOR_TSS_BUSY || type == DESCRIPTOR_TSS16_BUSY
                     : type == DESCRIPTOR_TSS_AVAILABLE || type == DESCRIPTOR_TSS16_AVAILABLE;
    if (selector & 4 || !descriptor_is_system(descriptor) || !fits)
        return raise_error(vcpu, vector, selector_error(selector));
    if (!descriptor_present(descriptor))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    struct segment tss = descriptor_segment(descriptor, selector);
    if (tss.limit < task_format(&tss)->limit_min)
        return raise_error(vcpu, VECTOR_TS, selector_error(selector));
    *tss_selector = selector;
    return true;
}

static bool task_clear_busy(struct vcpu *vcpu)
{
    uint64_t address = vcpu->gdtr.base + (vcpu->tr.selector & 0xfff8u) + 5;
    uint64_t type;
    return task_field(vcpu, address, &type, 1) &&
           task_store(vcpu, address, type & ~(uint64_t)BUSY_BIT, 1);
}

/* CS of the incoming task: errors are #TS. */
static bool task_load_code(struct vcpu *vcpu, uint16_t selector, uint64_t rip)
{
    struct descriptor code;
    if (selector_is_null(selector))
        return raise_error(vcpu, VECTOR_TS, 0);
    if (!descriptor_read(vcpu, selector, VECTOR_TS, &code))
        return false;
    unsigned dpl = descriptor_dpl(&code), rpl = selector_rpl(selector);
    bool allowed = descriptor_is_conforming(&code) ? dpl <= rpl : dpl == rpl;
    if (!descriptor_is_code(&code) || !allowed)
        return raise_error(vcpu, VECTOR_TS, selector_error(selector));
    return code_segment_enter(vcpu, &code, selector, rpl, rip);
}

static bool task_load_segments(struct vcpu *vcpu, const struct task_state *state)
{
    if (vcpu_v86(vcpu)) {
        vcpu->cpl = 3;
        for (unsigned i = 0; i < SEG_COUNT; i++)
            segment_set_real(vcpu, i, state->segments[i]);
        return true;
    }
    static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    if (!task_load_code(vcpu, state->segments[SEG_CS], state->rip))
        return false;
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
        if (segment_load(vcpu, order[i], state->segments[order[i]]))
            continue;
        if (vcpu->exception.vector == VECTOR_GP)
            vcpu->exception.vector = VECTOR_TS;
        return false;
    }
    return true;
}

/* The new task's registers and segments. False: a fault, which belongs to the new task. */
static bool task_enter(struct vcpu *vcpu, const struct task_state *state)
{
    const struct task_format *format = task_format(&vcpu->tr);
    vcpu->cr0 |= CR0_TS;
    if (format->cr3 && vcpu->cr0 & CR0_PG && !control_write_cr3(vcpu, state->cr3))
        return false;
    vcpu->rip = state->rip;
    vcpu->rflags = (state->rflags & RFLAGS_DEFINED) | RFLAGS_FIXED;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t keep = format->width == 2 ? vcpu->registers[i] & 0xffff0000 : 0;
        vcpu->registers[i] = keep | state->registers[i];
    }
    /* Selectors first, not present: a fault below must not leave the old task's segments usable. */
    for (unsigned i = 0; i < SEG_COUNT; i++)
        vcpu->segments[i] = (struct segment){.selector = state->segments[i]};
    vcpu_update_mode(vcpu);
    if (!segment_load_ldtr(vcpu, state->ldtr)) {
        vcpu->exception.vector = VECTOR_TS;
        return false;
    }
    if (!task_load_segments(vcpu, state))
        return false;
    vcpu_update_mode(vcpu);
    return true;
}

static bool task_push_error(struct vcpu *vcpu, uint32_t error_code)
{
    struct stack stack = stack_current(vcpu);
    const uint64_t word = error_code;
    if (!stack_push(vcpu, &stack, &word, 1, task_format(&vcpu->tr)->width))
        return false;
    vcpu->registers[GPR_RSP] = stack.pointer;
    return true;
}

bool task_switch(struct vcpu *vcpu, uint16_t selector, enum task_switch_reason reason,
                 uint64_t next_rip, bool has_error_code, uint32_t error_code)
{
    struct descriptor descriptor;
    struct task_state state;
    uint16_t tss_selector = 0, old_selector = vcpu->tr.selector;
    bool nests = reason == TASK_SWITCH_CALL || reason == TASK_SWITCH_GATE;
    if (!task_descriptor(vcpu, selector, reason, &descriptor, &tss_selector))
        return false;
    struct segment tss = descriptor_segment(&descriptor, tss_selector);
    uint64_t old_flags = vcpu->rflags;
    if (reason == TASK_SWITCH_IRET)
        old_flags &= ~RFLAGS_NT;
    if (!task_load(vcpu, &tss, &state) || !task_save(vcpu, next_rip, old_flags))
        return false;
    if (!nests && !task_clear_busy(vcpu))
        return false;
    if (nests) {
        if (!task_store(vcpu, tss.base, old_selector, 2))
            return false;
        state.rflags |= RFLAGS_NT;
    }
    if (!descriptor_set_type(vcpu, &descriptor, BUSY_BIT))
        return false;
    vcpu->tr = descriptor_segment(&descriptor, tss_selector);
    /* From here on the new task runs: a fault is left pending at its first instruction. */
    if (!task_enter(vcpu, &state) || (has_error_code && !task_push_error(vcpu, error_code)))
        return true;
    if (state.trap)
        raise_debug(vcpu, DR6_BT);
    return true;
}
