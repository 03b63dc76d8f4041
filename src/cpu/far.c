/* SPDX-License-Identifier: Apache-2.0 */
/* Far JMP, CALL and RET, with call gates of 16, 32 and 64 bits and privilege changes. APM vol. 2
 * §4.9; vol. 3 CALL, JMP, RET (far). */
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/segmentation.h"

#define GATE_PARAMETERS_MAX 31

static bool is_tss(unsigned type)
{
    return type == DESCRIPTOR_TSS_AVAILABLE || type == DESCRIPTOR_TSS16_AVAILABLE ||
           type == DESCRIPTOR_TSS_BUSY || type == DESCRIPTOR_TSS16_BUSY;
}

static bool far_real(struct vcpu *vcpu, uint16_t selector, uint64_t offset)
{
    if (offset > vcpu->segments[SEG_CS].limit)
        return raise_error(vcpu, VECTOR_GP, 0);
    segment_set_real(vcpu, SEG_CS, selector);
    vcpu->rip = offset;
    return true;
}

/* Privilege rule for a direct transfer: same level, or conforming at the same or a more privileged
 * one. */
static bool direct_allowed(const struct vcpu *vcpu, const struct descriptor *descriptor,
                           uint16_t selector)
{
    if (descriptor_is_conforming(descriptor))
        return descriptor_dpl(descriptor) <= vcpu->cpl;
    return descriptor_dpl(descriptor) == vcpu->cpl && selector_rpl(selector) <= vcpu->cpl;
}

static bool read_target(struct vcpu *vcpu, uint16_t selector, struct descriptor *descriptor)
{
    if (selector_is_null(selector))
        return raise_error(vcpu, VECTOR_GP, 0);
    return descriptor_read(vcpu, selector, VECTOR_GP, descriptor);
}

/* Checks a call gate and reads the code descriptor it leads to. */
static bool gate_open(struct vcpu *vcpu, const struct descriptor *gate, uint16_t selector,
                      struct descriptor *code)
{
    unsigned dpl = descriptor_dpl(gate);
    unsigned type = descriptor_type(gate);
    bool valid =
        type == DESCRIPTOR_CALL_GATE || (type == DESCRIPTOR_CALL_GATE16 && !vcpu_long_mode(vcpu));
    if (!valid || dpl < vcpu->cpl || selector_rpl(selector) > dpl)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_present(gate))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    uint16_t target = gate_selector(gate);
    if (!read_target(vcpu, target, code))
        return false;
    bool long_only = vcpu_long_mode(vcpu) && !(code->high & BIT(21));
    if (!descriptor_is_code(code) || descriptor_dpl(code) > vcpu->cpl || long_only)
        return raise_error(vcpu, VECTOR_GP, selector_error(target));
    return true;
}

static uint64_t gate_target(const struct descriptor *gate)
{
    uint64_t offset = gate_offset(gate);
    return descriptor_type(gate) == DESCRIPTOR_CALL_GATE16 ? offset & 0xffff : offset;
}

bool far_jump(struct vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned operand_size,
              uint64_t next_rip)
{
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu))
        return far_real(vcpu, selector, offset);
    struct descriptor descriptor, code;
    if (!read_target(vcpu, selector, &descriptor))
        return false;
    if (descriptor_is_code(&descriptor)) {
        if (!direct_allowed(vcpu, &descriptor, selector))
            return raise_error(vcpu, VECTOR_GP, selector_error(selector));
        return code_segment_enter(vcpu, &descriptor, selector, vcpu->cpl, offset);
    }
    if (!descriptor_is_system(&descriptor))
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    unsigned type = descriptor_type(&descriptor);
    if (!vcpu_long_mode(vcpu) && (is_tss(type) || type == DESCRIPTOR_TASK_GATE))
        return task_switch(vcpu, selector, TASK_SWITCH_JUMP, next_rip, false, 0);
    if (!gate_open(vcpu, &descriptor, selector, &code))
        return false;
    if (!descriptor_is_conforming(&code) && descriptor_dpl(&code) != vcpu->cpl)
        return raise_error(vcpu, VECTOR_GP, selector_error(gate_selector(&descriptor)));
    return code_segment_enter(vcpu, &code, gate_selector(&descriptor), vcpu->cpl,
                              gate_target(&descriptor));
}

static bool call_direct(struct vcpu *vcpu, struct descriptor *descriptor, uint16_t selector,
                        uint64_t offset, unsigned size, uint64_t next_rip)
{
    const struct segment old = vcpu->segments[SEG_CS];
    const uint64_t old_rip = vcpu->rip;
    struct stack stack = stack_current(vcpu);
    const uint64_t words[] = {old.selector, next_rip};
    if (!code_segment_enter(vcpu, descriptor, selector, vcpu->cpl, offset))
        return false;
    if (!stack_push(vcpu, &stack, words, 2, size)) {
        vcpu->rip = old_rip;
        segment_set(vcpu, SEG_CS, &old);
        return false;
    }
    vcpu->registers[GPR_RSP] = stack.pointer;
    return true;
}

/* The stack of the inner level, from the TSS. */
static bool inner_stack(struct vcpu *vcpu, unsigned level, struct stack *stack)
{
    uint16_t selector;
    struct descriptor descriptor;
    if (!tss_stack(vcpu, level, &stack->pointer, &selector))
        return false;
    stack->mode = level == 3 ? MMU_USER : MMU_SUPERVISOR;
    stack->flat64 = vcpu_long_mode(vcpu);
    if (stack->flat64) {
        stack->segment = (struct segment){.selector = (uint16_t)level,
                                          .attributes = (uint16_t)(level << SEGMENT_DPL_SHIFT)};
        return true;
    }
    if (!stack_segment_check(vcpu, selector, level, VECTOR_TS, &descriptor))
        return false;
    stack->segment = descriptor_segment(&descriptor, selector);
    stack->error_code = selector_error(selector);
    return true;
}

/* A call through a gate to a more privileged level: new stack, parameters copied. */
static bool call_inner(struct vcpu *vcpu, const struct descriptor *gate, struct descriptor *code,
                       unsigned size, uint64_t next_rip)
{
    unsigned level = descriptor_dpl(code);
    unsigned parameters = vcpu_long_mode(vcpu) ? 0 : gate->high & 0x1f;
    struct stack old = stack_current(vcpu), stack;
    uint64_t words[4 + GATE_PARAMETERS_MAX], copied[GATE_PARAMETERS_MAX];
    if (!inner_stack(vcpu, level, &stack) || !stack_peek(vcpu, &old, copied, parameters, size))
        return false;
    unsigned count = 0;
    words[count++] = old.segment.selector;
    words[count++] = vcpu->registers[GPR_RSP];
    for (unsigned i = parameters; i-- > 0;)
        words[count++] = copied[i];
    words[count++] = vcpu->segments[SEG_CS].selector;
    words[count++] = next_rip;
    /* At most 64 bytes fit one all-or-nothing write: long parameter lists go in two, the outer half
     * first. */
    unsigned first = count * size > 64 ? count - 8 : 0;
    if ((first && !stack_push(vcpu, &stack, words, first, size)) ||
        !stack_push(vcpu, &stack, words + first, count - first, size))
        return false;
    if (!code_segment_enter(vcpu, code, gate_selector(gate), level, gate_target(gate)))
        return false;
    vcpu->registers[GPR_RSP] = stack.pointer;
    segment_set(vcpu, SEG_SS, &stack.segment);
    return true;
}

static bool call_gate(struct vcpu *vcpu, const struct descriptor *gate, uint16_t selector,
                      uint64_t next_rip)
{
    struct descriptor code;
    if (!gate_open(vcpu, gate, selector, &code))
        return false;
    unsigned size = descriptor_type(gate) == DESCRIPTOR_CALL_GATE16 ? 2
                    : vcpu_long_mode(vcpu)                          ? 8
                                                                    : 4;
    if (!descriptor_is_conforming(&code) && descriptor_dpl(&code) < vcpu->cpl)
        return call_inner(vcpu, gate, &code, size, next_rip);
    return call_direct(vcpu, &code, gate_selector(gate), gate_target(gate), size, next_rip);
}

bool far_call(struct vcpu *vcpu, uint16_t selector, uint64_t offset, unsigned operand_size,
              uint64_t next_rip)
{
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu)) {
        struct stack stack = stack_current(vcpu);
        const uint64_t words[] = {vcpu->segments[SEG_CS].selector, next_rip};
        if (offset > vcpu->segments[SEG_CS].limit)
            return raise_error(vcpu, VECTOR_GP, 0);
        if (!stack_push(vcpu, &stack, words, 2, operand_size))
            return false;
        vcpu->registers[GPR_RSP] = stack.pointer;
        return far_real(vcpu, selector, offset);
    }
    struct descriptor descriptor;
    if (!read_target(vcpu, selector, &descriptor))
        return false;
    if (descriptor_is_code(&descriptor)) {
        if (!direct_allowed(vcpu, &descriptor, selector))
            return raise_error(vcpu, VECTOR_GP, selector_error(selector));
        return call_direct(vcpu, &descriptor, selector, offset, operand_size, next_rip);
    }
    if (!descriptor_is_system(&descriptor))
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    unsigned type = descriptor_type(&descriptor);
    if (!vcpu_long_mode(vcpu) && (is_tss(type) || type == DESCRIPTOR_TASK_GATE))
        return task_switch(vcpu, selector, TASK_SWITCH_CALL, next_rip, false, 0);
    return call_gate(vcpu, &descriptor, selector, next_rip);
}

/* After a return to an outer level, data segments that level may not use become null. APM vol. 2
 * §4.9.5 */
void segments_drop_inner(struct vcpu *vcpu)
{
    static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        struct segment *segment = &vcpu->segments[data[i]];
        unsigned dpl = segment->attributes >> SEGMENT_DPL_SHIFT & 3;
        bool conforming =
            segment->attributes & SEGMENT_CODE && segment->attributes & SEGMENT_EXPAND_DOWN;
        if (segment->attributes & SEGMENT_PRESENT && !conforming && dpl < vcpu->cpl)
            *segment = (struct segment){0};
    }
    vcpu_update_mode(vcpu);
}

bool return_outer(struct vcpu *vcpu, struct descriptor *code, uint16_t cs, uint64_t rip,
                  uint16_t ss, uint64_t pointer)
{
    unsigned level = selector_rpl(cs);
    bool long_target = vcpu_long_mode(vcpu) && code->high & BIT(21);
    struct segment segment = {.selector = ss, .attributes = (uint16_t)(level << SEGMENT_DPL_SHIFT)};
    if (!selector_is_null(ss) || !long_target || level == 3) {
        struct descriptor descriptor;
        if (!stack_segment_check(vcpu, ss, level, VECTOR_GP, &descriptor) ||
            !descriptor_set_type(vcpu, &descriptor, SEGMENT_ACCESSED))
            return false;
        segment = descriptor_segment(&descriptor, ss);
    }
    if (!code_segment_enter(vcpu, code, cs, level, rip))
        return false;
    struct stack stack = {.segment = segment, .flat64 = long_target, .pointer = pointer};
    if (!long_target && !(segment.attributes & SEGMENT_BIG)) {
        stack.pointer = vcpu->registers[GPR_RSP];
        stack_move(&stack, (int64_t)(pointer - stack.pointer));
    }
    vcpu->registers[GPR_RSP] = stack.pointer;
    segment_set(vcpu, SEG_SS, &segment);
    segments_drop_inner(vcpu);
    return true;
}

bool return_target_check(struct vcpu *vcpu, uint16_t selector, struct descriptor *code)
{
    unsigned rpl = selector_rpl(selector);
    if (!read_target(vcpu, selector, code))
        return false;
    unsigned dpl = descriptor_dpl(code);
    bool allowed = descriptor_is_conforming(code) ? dpl <= rpl : dpl == rpl;
    if (!descriptor_is_code(code) || rpl < vcpu->cpl || !allowed)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_present(code))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    return true;
}

bool far_return(struct vcpu *vcpu, unsigned operand_size, uint16_t release)
{
    struct stack stack = stack_current(vcpu);
    uint64_t words[2], outer[2];
    if (!stack_peek(vcpu, &stack, words, 2, operand_size))
        return false;
    uint16_t selector = (uint16_t)words[1];
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu)) {
        if (!far_real(vcpu, selector, words[0]))
            return false;
        stack_move(&stack, 2 * operand_size + release);
        vcpu->registers[GPR_RSP] = stack.pointer;
        return true;
    }
    struct descriptor code;
    if (!return_target_check(vcpu, selector, &code))
        return false;
    stack_move(&stack, 2 * operand_size + release);
    if (selector_rpl(selector) == vcpu->cpl) {
        if (!code_segment_enter(vcpu, &code, selector, vcpu->cpl, words[0]))
            return false;
        vcpu->registers[GPR_RSP] = stack.pointer;
        return true;
    }
    if (!stack_peek(vcpu, &stack, outer, 2, operand_size) ||
        !return_outer(vcpu, &code, selector, words[0], (uint16_t)outer[1], outer[0]))
        return false;
    /* The parameters are released from the outer stack as well. */
    struct stack final = stack_current(vcpu);
    stack_move(&final, release);
    vcpu->registers[GPR_RSP] = final.pointer;
    return true;
}
