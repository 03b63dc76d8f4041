/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/virtual_interrupt.h"

#include "cpu/control.h"
#include "cpu/descriptor.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/segmentation.h"

#define REDIRECTION_BITMAP_SIZE 32 /* bytes, in front of the I/O bitmap */

/* IOPL lets this level change IF. */
static bool flag_is_ours(const struct vcpu *vcpu)
{
    return !vcpu_protected(vcpu) || vcpu->cpl <= vcpu_iopl(vcpu);
}

/* IF may not be touched, but there is a VIF for it. */
static bool flag_is_virtual(const struct vcpu *vcpu)
{
    return vcpu->cpl == 3 && vcpu->cr4 & (vcpu_v86(vcpu) ? CR4_VME : CR4_PVI);
}

bool interrupt_flag_clear(struct vcpu *vcpu)
{
    if (flag_is_ours(vcpu))
        vcpu->rflags &= ~RFLAGS_IF;
    else if (flag_is_virtual(vcpu))
        vcpu->rflags &= ~RFLAGS_VIF;
    else
        return raise_error(vcpu, VECTOR_GP, 0);
    return true;
}

bool interrupt_flag_set(struct vcpu *vcpu)
{
    if (!flag_is_ours(vcpu)) {
        /* VIP: the monitor holds an interrupt for the task and wants to be told. */
        if (!flag_is_virtual(vcpu) || vcpu->rflags & RFLAGS_VIP)
            return raise_error(vcpu, VECTOR_GP, 0);
        vcpu->rflags |= RFLAGS_VIF;
    } else if (!(vcpu->rflags & RFLAGS_IF)) {
        vcpu->rflags |= RFLAGS_IF;
        vcpu->interrupt_shadow = true;
        vcpu_recheck_interrupts(vcpu);
    }
    return true;
}

/* A virtual-8086 task whose IOPL keeps it from IF has VIF for it in 16-bit images alone. */
static bool image_is_virtual(const struct vcpu *vcpu, unsigned size)
{
    return vcpu->cr4 & CR4_VME && size == 2;
}

/* What such a task sees of its flags: VIF as IF, and IOPL 3. */
static uint64_t virtual_image(uint64_t rflags)
{
    uint64_t image = (rflags & ~RFLAGS_IF) | RFLAGS_IOPL;
    return rflags & RFLAGS_VIF ? image | RFLAGS_IF : image;
}

bool flags_push_image(struct vcpu *vcpu, unsigned size, uint64_t *image)
{
    *image = vcpu->rflags & ~(RFLAGS_VM | RFLAGS_RF);
    if (!vcpu_v86(vcpu) || flag_is_ours(vcpu))
        return true;
    *image = virtual_image(*image);
    return image_is_virtual(vcpu, size) || raise_error(vcpu, VECTOR_GP, 0);
}

static bool virtual_flags_write(struct vcpu *vcpu, uint64_t image, unsigned size)
{
    bool wakes = image & RFLAGS_IF && vcpu->rflags & RFLAGS_VIP;
    if (!image_is_virtual(vcpu, size) || image & RFLAGS_TF || wakes)
        return raise_error(vcpu, VECTOR_GP, 0);
    uint64_t value = (image & ~RFLAGS_VIF) | (image & RFLAGS_IF ? RFLAGS_VIF : 0);
    control_write_rflags(vcpu, value, flags_writable(vcpu, 3, 2) | RFLAGS_VIF);
    return true;
}

bool flags_pop(struct vcpu *vcpu, uint64_t image, unsigned size)
{
    if (vcpu_v86(vcpu) && !flag_is_ours(vcpu))
        return virtual_flags_write(vcpu, image, size);
    control_write_rflags(vcpu, image, flags_writable(vcpu, vcpu->cpl, size) & ~RFLAGS_RF);
    return true;
}

bool flags_return_v86(struct vcpu *vcpu, uint64_t image, unsigned size)
{
    if (!flag_is_ours(vcpu))
        return virtual_flags_write(vcpu, image, size);
    control_write_rflags(vcpu, image, flags_writable(vcpu, 3, size));
    return true;
}

/* The vector's bit in the redirection bitmap: set, it goes to the monitor. */
static bool redirection_read(struct vcpu *vcpu, unsigned vector, bool *monitor)
{
    uint16_t map;
    uint8_t bits;
    if (!tss_io_map(vcpu, &map))
        return false;
    uint32_t offset = map - REDIRECTION_BITMAP_SIZE + vector / 8;
    if (offset > vcpu->tr.limit)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (mmu_read(vcpu, vcpu->tr.base + offset, &bits, 1, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    *monitor = bits >> vector % 8 & 1;
    return true;
}

/* As real mode does it, with the task's vector table at linear address 0. */
static bool redirect(struct vcpu *vcpu, unsigned vector)
{
    uint32_t entry;
    bool ours = flag_is_ours(vcpu);
    struct stack stack = stack_current(vcpu);
    const uint64_t words[] = {ours ? vcpu->rflags : virtual_image(vcpu->rflags),
                              vcpu->segments[SEG_CS].selector, vcpu->rip};
    if (mmu_read(vcpu, vector * 4, &entry, 4, vcpu->mmu_mode) == MMU_FAULT ||
        !stack_push(vcpu, &stack, words, 3, 2))
        return false;
    vcpu->registers[GPR_RSP] = stack.pointer;
    vcpu->rip = entry & 0xffff;
    segment_set_real(vcpu, SEG_CS, (uint16_t)(entry >> 16));
    control_write_rflags(vcpu, 0, RFLAGS_TF | (ours ? RFLAGS_IF : RFLAGS_VIF));
    return true;
}

bool interrupt_numbered_deliver(struct vcpu *vcpu, unsigned vector)
{
    bool monitor = true;
    if (vcpu_v86(vcpu)) {
        if (vcpu->cr4 & CR4_VME && !redirection_read(vcpu, vector, &monitor))
            return false;
        if (!monitor)
            return redirect(vcpu, vector);
        if (!flag_is_ours(vcpu))
            return raise_error(vcpu, VECTOR_GP, 0);
    }
    return interrupt_deliver(vcpu, vector, INTERRUPT_SOFTWARE);
}
