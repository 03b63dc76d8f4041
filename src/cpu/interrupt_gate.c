/* SPDX-License-Identifier: Apache-2.0 */
/* IVT, 16- and 32-bit interrupt and trap gates, task gates, 64-bit gates with IST. APM vol. 2 §8.6
 * to §8.9. */
#include "cpu/interrupt_gate.h"

#include "cpu/descriptor.h"
#include "cpu/mmu.h"
#include "cpu/segmentation.h"

/* Error-code bits of a fault in delivery: from the IDT, while delivering an external event. */
#define ERROR_EXTERNAL 1u
#define ERROR_IDT      2u

#define FLAGS_CLEARED (RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM)

static uint32_t idt_error(unsigned vector)
{
    return vector * 8 + ERROR_IDT;
}

/* RFLAGS as pushed: faults push RF set so that the restarted instruction passes its breakpoint. */
static uint64_t flags_to_push(const struct vcpu *vcpu, enum interrupt_kind kind,
                              const struct exception *event)
{
    bool trap = event->vector == VECTOR_DB || event->vector == VECTOR_BP ||
                event->vector == VECTOR_OF || event->vector == VECTOR_DF;
    uint64_t flags = vcpu->rflags;
    return kind == INTERRUPT_EXCEPTION && !trap ? flags | RFLAGS_RF : flags;
}

static bool enter_real(struct vcpu *vcpu, const struct exception *event)
{
    uint32_t entry;
    uint64_t offset = event->vector * 4u;
    if (offset + 3 > vcpu->idtr.limit)
        return raise_error(vcpu, VECTOR_GP, idt_error(event->vector));
    if (mmu_read(vcpu, vcpu->idtr.base + offset, &entry, 4, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    struct stack stack = stack_current(vcpu);
    const uint64_t words[] = {vcpu->rflags, vcpu->segments[SEG_CS].selector, vcpu->rip};
    if (!stack_push(vcpu, &stack, words, 3, 2))
        return false;
    vcpu->registers[GPR_RSP] = stack.pointer;
    vcpu->rflags &= ~(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC);
    vcpu->rip = entry & 0xffff;
    segment_set_real(vcpu, SEG_CS, (uint16_t)(entry >> 16));
    return true;
}

/* Reads and checks the gate of a vector. */
static bool gate_read(struct vcpu *vcpu, enum interrupt_kind kind, unsigned vector,
                      struct descriptor *gate)
{
    bool long_mode = vcpu_long_mode(vcpu);
    unsigned size = long_mode ? 16 : 8;
    uint64_t words[2] = {0};
    if (vector * size + size - 1 > vcpu->idtr.limit)
        return raise_error(vcpu, VECTOR_GP, idt_error(vector));
    uint64_t address = vcpu->idtr.base + vector * size;
    if (mmu_read(vcpu, address, words, size, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    *gate = (struct descriptor){.low = (uint32_t)words[0],
                                .high = (uint32_t)(words[0] >> 32),
                                .upper_base = (uint32_t)words[1],
                                .address = address};
    const uint32_t legacy_types = 1u << DESCRIPTOR_TASK_GATE | 1u << DESCRIPTOR_INTERRUPT_GATE16 |
                                  1u << DESCRIPTOR_TRAP_GATE16 | 1u << DESCRIPTOR_INTERRUPT_GATE |
                                  1u << DESCRIPTOR_TRAP_GATE;
    const uint32_t long_types = 1u << DESCRIPTOR_INTERRUPT_GATE | 1u << DESCRIPTOR_TRAP_GATE;
    uint32_t types = long_mode ? long_types : legacy_types;
    if (!descriptor_is_system(gate) || !(types >> descriptor_type(gate) & 1))
        return raise_error(vcpu, VECTOR_GP, idt_error(vector));
    if (kind == INTERRUPT_SOFTWARE && descriptor_dpl(gate) < vcpu->cpl)
        return raise_error(vcpu, VECTOR_GP, idt_error(vector));
    if (!descriptor_present(gate))
        return raise_error(vcpu, VECTOR_NP, idt_error(vector));
    return true;
}

/* The handler's code segment and the level it runs at. */
static bool handler_code(struct vcpu *vcpu, uint16_t selector, struct descriptor *code,
                         unsigned *level)
{
    if (selector_is_null(selector))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (!descriptor_read(vcpu, selector, VECTOR_GP, code))
        return false;
    bool long_only = vcpu_long_mode(vcpu) && !(code->high & BIT(21));
    if (!descriptor_is_code(code) || descriptor_dpl(code) > vcpu->cpl || long_only)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    if (!descriptor_present(code))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    *level = descriptor_is_conforming(code) ? vcpu->cpl : descriptor_dpl(code);
    if (vcpu_v86(vcpu) && *level)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    return true;
}

static void handler_flags(struct vcpu *vcpu, const struct descriptor *gate)
{
    vcpu->rflags &= ~FLAGS_CLEARED;
    unsigned type = descriptor_type(gate);
    if (type == DESCRIPTOR_INTERRUPT_GATE || type == DESCRIPTOR_INTERRUPT_GATE16)
        vcpu->rflags &= ~RFLAGS_IF;
    vcpu_update_mode(vcpu);
}

/* Where a 64-bit handler's frame goes: IST, the TSS, or the present stack; always 16-byte aligned.
 */
static bool long_stack(struct vcpu *vcpu, const struct descriptor *gate, unsigned level,
                       struct stack *stack)
{
    uint16_t unused;
    unsigned ist = gate->high & 7;
    uint64_t pointer = vcpu->registers[GPR_RSP];
    if (ist) {
        if (!tss_interrupt_stack(vcpu, ist, &pointer))
            return false;
    } else if (level != vcpu->cpl && !tss_stack(vcpu, level, &pointer, &unused)) {
        return false;
    }
    *stack = (struct stack){
        .flat64 = true,
        .pointer = pointer & ~UINT64_C(15),
        .mode = level == 3 ? MMU_USER : MMU_SUPERVISOR,
    };
    return true;
}

static bool enter_long(struct vcpu *vcpu, enum interrupt_kind kind, const struct exception *event,
                       const struct descriptor *gate)
{
    struct descriptor code;
    struct stack stack;
    unsigned level;
    if (!handler_code(vcpu, gate_selector(gate), &code, &level) ||
        !long_stack(vcpu, gate, level, &stack))
        return false;
    const uint64_t words[] = {
        vcpu->segments[SEG_SS].selector,
        vcpu->registers[GPR_RSP],
        flags_to_push(vcpu, kind, event),
        vcpu->segments[SEG_CS].selector,
        vcpu->rip,
        event->error_code,
    };
    if (!stack_push(vcpu, &stack, words, event->has_error_code ? 6 : 5, 8))
        return false;
    unsigned old_level = vcpu->cpl;
    if (!code_segment_enter(vcpu, &code, gate_selector(gate), level, gate_offset(gate)))
        return false;
    vcpu->registers[GPR_RSP] = stack.pointer;
    if (level != old_level)
        vcpu->segments[SEG_SS] = (struct segment){
            .selector = (uint16_t)level, .attributes = (uint16_t)(level << SEGMENT_DPL_SHIFT)};
    handler_flags(vcpu, gate);
    return true;
}

/* The inner stack that the TSS names for `level`. */
static bool legacy_inner_stack(struct vcpu *vcpu, unsigned level, struct stack *stack)
{
    uint16_t selector;
    struct descriptor descriptor;
    *stack = (struct stack){.mode = level == 3 ? MMU_USER : MMU_SUPERVISOR};
    if (!tss_stack(vcpu, level, &stack->pointer, &selector) ||
        !stack_segment_check(vcpu, selector, level, VECTOR_TS, &descriptor))
        return false;
    stack->segment = descriptor_segment(&descriptor, selector);
    stack->error_code = selector_error(selector);
    return true;
}

/* Fills the frame, outermost word first; returns the number of words. */
static unsigned legacy_frame(const struct vcpu *vcpu, enum interrupt_kind kind,
                             const struct exception *event, bool inner, uint64_t *words)
{
    static const uint8_t v86_segments[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
    unsigned count = 0;
    if (vcpu_v86(vcpu))
        for (unsigned i = 0; i < ARRAY_SIZE(v86_segments); i++)
            words[count++] = vcpu->segments[v86_segments[i]].selector;
    if (inner) {
        words[count++] = vcpu->segments[SEG_SS].selector;
        words[count++] = vcpu->registers[GPR_RSP];
    }
    words[count++] = flags_to_push(vcpu, kind, event);
    words[count++] = vcpu->segments[SEG_CS].selector;
    words[count++] = vcpu->rip;
    if (event->has_error_code)
        words[count++] = event->error_code;
    return count;
}

static bool enter_legacy(struct vcpu *vcpu, enum interrupt_kind kind, const struct exception *event,
                         const struct descriptor *gate)
{
    struct descriptor code;
    unsigned level;
    if (!handler_code(vcpu, gate_selector(gate), &code, &level))
        return false;
    bool inner = level != vcpu->cpl, from_v86 = vcpu_v86(vcpu);
    struct stack stack = stack_current(vcpu);
    if (inner && !legacy_inner_stack(vcpu, level, &stack))
        return false;
    uint64_t words[10];
    unsigned type = descriptor_type(gate);
    bool wide = type == DESCRIPTOR_INTERRUPT_GATE || type == DESCRIPTOR_TRAP_GATE;
    unsigned count = legacy_frame(vcpu, kind, event, inner, words);
    uint64_t offset = wide ? gate_offset(gate) : gate_offset(gate) & 0xffff;
    if (offset > descriptor_segment(&code, 0).limit)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (!stack_push(vcpu, &stack, words, count, wide ? 4 : 2))
        return false;
    uint64_t old_flags = vcpu->rflags;
    vcpu->rflags &= ~RFLAGS_VM;
    if (!code_segment_enter(vcpu, &code, gate_selector(gate), level, offset)) {
        vcpu->rflags = old_flags;
        return false;
    }
    if (from_v86) {
        static const uint8_t data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
        for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
            vcpu->segments[data[i]] = (struct segment){0};
    }
    vcpu->registers[GPR_RSP] = stack.pointer;
    if (inner)
        vcpu->segments[SEG_SS] = stack.segment;
    handler_flags(vcpu, gate);
    return true;
}

static bool enter(struct vcpu *vcpu, enum interrupt_kind kind, const struct exception *event)
{
    struct descriptor gate = {0};
    if (!vcpu_protected(vcpu))
        return enter_real(vcpu, event);
    if (!gate_read(vcpu, kind, event->vector, &gate))
        return false;
    if (vcpu_long_mode(vcpu))
        return enter_long(vcpu, kind, event, &gate);
    if (descriptor_type(&gate) == DESCRIPTOR_TASK_GATE)
        return task_switch(vcpu, gate_selector(&gate), TASK_SWITCH_GATE, vcpu->rip,
                           event->has_error_code, event->error_code);
    return enter_legacy(vcpu, kind, event, &gate);
}

bool interrupt_enter(struct vcpu *vcpu, enum interrupt_kind kind, const struct exception *event)
{
    if (enter(vcpu, kind, event)) {
        vcpu->interrupt_shadow = false;
        return true;
    }
    const uint32_t selector_faults =
        1u << VECTOR_TS | 1u << VECTOR_NP | 1u << VECTOR_SS | 1u << VECTOR_GP;
    struct exception *fault = &vcpu->exception;
    if (kind != INTERRUPT_SOFTWARE && selector_faults >> fault->vector & 1)
        fault->error_code |= ERROR_EXTERNAL;
    return false;
}
