/* SPDX-License-Identifier: Apache-2.0 */
/* IRET in every mode. APM vol. 3 IRET; APM vol. 2 §8.9.4. */
#include "cpu/control.h"
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/segmentation.h"
#include "cpu/virtual_interrupt.h"

#define FLAGS_ALWAYS (RFLAGS_ARITHMETIC | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT)
#define FLAGS_32     (RFLAGS_RF | RFLAGS_AC | RFLAGS_ID)

/* RFLAGS bits that IRET or POPF may change at this privilege. APM vol. 3 POPF */
uint64_t flags_writable(const struct vcpu *vcpu, unsigned cpl, unsigned operand_size)
{
    uint64_t mask = FLAGS_ALWAYS;
    if (operand_size > 2)
        mask |= FLAGS_32;
    if (cpl <= vcpu_iopl(vcpu))
        mask |= RFLAGS_IF;
    if (cpl == 0)
        mask |= RFLAGS_IOPL;
    return mask;
}

static void nmi_unblock(struct vcpu *vcpu)
{
    vcpu->nmi_blocked = false;
    if (vcpu->nmi_waiting) {
        vcpu->nmi_waiting = false;
        atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_NMI);
    }
}

static bool return_real(struct vcpu *vcpu, unsigned size)
{
    struct stack stack = stack_current(vcpu);
    uint64_t words[3];
    if (!stack_peek(vcpu, &stack, words, 3, size))
        return false;
    if (words[0] > vcpu->segments[SEG_CS].limit)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (!vcpu_v86(vcpu))
        control_write_rflags(vcpu, words[2], flags_writable(vcpu, 0, size));
    else if (!flags_return_v86(vcpu, words[2], size))
        return false;
    stack_move(&stack, 3 * size);
    vcpu->registers[GPR_RSP] = stack.pointer;
    vcpu->rip = words[0];
    segment_set_real(vcpu, SEG_CS, (uint16_t)words[1]);
    return true;
}

static bool return_to_v86(struct vcpu *vcpu, const struct stack *stack, uint64_t flags)
{
    /* EIP, CS, EFLAGS, ESP, SS, ES, DS, FS, GS */
    static const uint8_t order[] = {SEG_SS, SEG_ES, SEG_DS, SEG_FS, SEG_GS};
    uint64_t words[9];
    if (!stack_peek(vcpu, stack, words, 9, 4))
        return false;
    control_write_rflags(vcpu, flags,
                         flags_writable(vcpu, 0, 4) | RFLAGS_VM | RFLAGS_VIF | RFLAGS_VIP);
    vcpu->cpl = 3;
    vcpu->rip = words[0] & 0xffff;
    vcpu->registers[GPR_RSP] = words[3];
    segment_set_real(vcpu, SEG_CS, (uint16_t)words[1]);
    for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
        segment_set_real(vcpu, order[i], (uint16_t)words[4 + i]);
    return true;
}

static bool return_protected(struct vcpu *vcpu, unsigned size)
{
    struct stack stack = stack_current(vcpu);
    uint64_t words[5];
    bool long_mode = vcpu_long_mode(vcpu), from_64bit = vcpu_64bit(vcpu);
    if (!stack_peek(vcpu, &stack, words, 3, size))
        return false;
    uint64_t flags = words[2];
    if (flags & RFLAGS_VM && vcpu->cpl == 0 && size == 4 && !long_mode)
        return return_to_v86(vcpu, &stack, flags);
    uint16_t cs = (uint16_t)words[1];
    struct descriptor code;
    if (!return_target_check(vcpu, cs, &code))
        return false;
    /* The mask counts with the level that executes IRET, before it changes. */
    uint64_t mask = flags_writable(vcpu, vcpu->cpl, size);
    if (!vcpu->cpl && size > 2)
        mask |= RFLAGS_VIF | RFLAGS_VIP;
    if (from_64bit || selector_rpl(cs) != vcpu->cpl) {
        if (!stack_peek(vcpu, &stack, words, 5, size) ||
            !return_outer(vcpu, &code, cs, words[0], (uint16_t)words[4], words[3]))
            return false;
    } else {
        stack_move(&stack, 3 * size);
        if (!code_segment_enter(vcpu, &code, cs, vcpu->cpl, words[0]))
            return false;
        vcpu->registers[GPR_RSP] = stack.pointer;
    }
    control_write_rflags(vcpu, flags, mask);
    return true;
}

static bool return_nested_task(struct vcpu *vcpu)
{
    uint16_t link;
    if (vcpu_long_mode(vcpu))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (mmu_read(vcpu, vcpu->tr.base, &link, 2, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    return task_switch(vcpu, link, TASK_SWITCH_IRET, vcpu->rip, false, 0);
}

bool interrupt_return(struct vcpu *vcpu, unsigned operand_size)
{
    bool done;
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu))
        done = return_real(vcpu, operand_size);
    else if (vcpu->rflags & RFLAGS_NT)
        done = return_nested_task(vcpu);
    else
        done = return_protected(vcpu, operand_size);
    if (done)
        nmi_unblock(vcpu);
    return done;
}
