/* SPDX-License-Identifier: Apache-2.0 */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT: flat segments without a look at the descriptor tables. APM
 * vol. 2 §6.1. */
#include "cpu/control.h"
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/segmentation.h"

static struct segment flat_segment(uint16_t selector, unsigned dpl, uint16_t more)
{
    return (struct segment){
        .limit = 0xffffffff,
        .selector = selector,
        .attributes =
            (uint16_t)(SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE | SEGMENT_ACCESSED |
                       SEGMENT_GRANULARITY | dpl << SEGMENT_DPL_SHIFT | more),
    };
}

/* Flat CS and SS for level cpl. */
static void enter_flat(struct vcpu *vcpu, uint16_t cs, uint16_t ss, unsigned cpl, bool long_code)
{
    vcpu->segments[SEG_CS] =
        flat_segment(cs, cpl, SEGMENT_CODE | (long_code ? SEGMENT_LONG : SEGMENT_BIG));
    vcpu->segments[SEG_SS] = flat_segment(ss, cpl, SEGMENT_BIG);
    privilege_set(vcpu, cpl);
}

bool syscall_enter(struct vcpu *vcpu, uint64_t next_rip)
{
    if (!(vcpu->efer & EFER_SCE) || !vcpu_protected(vcpu))
        return raise_exception(vcpu, VECTOR_UD);
    uint16_t cs = vcpu->star >> 32 & 0xfffc;
    if (!vcpu_long_mode(vcpu)) {
        vcpu->registers[GPR_RCX] = (uint32_t)next_rip;
        vcpu->rflags &= ~(RFLAGS_IF | RFLAGS_VM | RFLAGS_RF);
        vcpu->rip = (uint32_t)vcpu->star;
        enter_flat(vcpu, cs, (uint16_t)(cs + 8), 0, false);
        return true;
    }
    vcpu->registers[GPR_RCX] = next_rip;
    vcpu->registers[GPR_R11] = vcpu->rflags & ~RFLAGS_RF;
    vcpu->rip = vcpu_64bit(vcpu) ? vcpu->lstar : vcpu->cstar;
    vcpu->rflags = (vcpu->rflags & ~(vcpu->fmask | RFLAGS_RF)) | RFLAGS_FIXED;
    enter_flat(vcpu, cs, (uint16_t)(cs + 8), 0, true);
    return true;
}

bool syscall_return(struct vcpu *vcpu, unsigned operand_size)
{
    if (!(vcpu->efer & EFER_SCE) || !vcpu_protected(vcpu))
        return raise_exception(vcpu, VECTOR_UD);
    uint64_t target = vcpu->registers[GPR_RCX];
    bool to_64bit = vcpu_64bit(vcpu) && operand_size == 8;
    if (vcpu->cpl || (to_64bit && !address_is_canonical(target)))
        return raise_error(vcpu, VECTOR_GP, 0);
    uint16_t base = vcpu->star >> 48 | 3;
    uint16_t cs = to_64bit ? (uint16_t)(base + 16) : base;
    uint64_t flags = vcpu->registers[GPR_R11];
    bool restore_flags = vcpu_64bit(vcpu);
    vcpu->rip = to_64bit ? target : (uint32_t)target;
    enter_flat(vcpu, cs, (uint16_t)(base + 8), 3, to_64bit);
    if (restore_flags)
        control_write_rflags(vcpu, flags, ~(RFLAGS_RF | RFLAGS_VM));
    else
        control_write_rflags(vcpu, RFLAGS_IF, RFLAGS_IF);
    return true;
}

bool sysenter_enter(struct vcpu *vcpu)
{
    uint16_t cs = vcpu->sysenter_cs & 0xfffc;
    if (!vcpu_protected(vcpu) || !cs)
        return raise_error(vcpu, VECTOR_GP, 0);
    bool long_mode = vcpu_long_mode(vcpu);
    vcpu->rflags &= ~(RFLAGS_IF | RFLAGS_VM | RFLAGS_RF);
    vcpu->rip = long_mode ? vcpu->sysenter_eip : (uint32_t)vcpu->sysenter_eip;
    vcpu->registers[GPR_RSP] = long_mode ? vcpu->sysenter_esp : (uint32_t)vcpu->sysenter_esp;
    enter_flat(vcpu, cs, (uint16_t)(cs + 8), 0, long_mode);
    return true;
}

bool sysenter_exit(struct vcpu *vcpu, unsigned operand_size)
{
    uint16_t base = vcpu->sysenter_cs & 0xfffc;
    bool to_64bit = operand_size == 8;
    uint64_t rip = vcpu->registers[GPR_RDX], rsp = vcpu->registers[GPR_RCX];
    if (!vcpu_protected(vcpu) || vcpu->cpl || !base ||
        (to_64bit && (!address_is_canonical(rip) || !address_is_canonical(rsp))))
        return raise_error(vcpu, VECTOR_GP, 0);
    uint16_t cs = (uint16_t)((base + (to_64bit ? 32 : 16)) | 3);
    vcpu->rip = to_64bit ? rip : (uint32_t)rip;
    vcpu->registers[GPR_RSP] = to_64bit ? rsp : (uint32_t)rsp;
    enter_flat(vcpu, cs, (uint16_t)(cs + 8), 3, to_64bit);
    return true;
}
