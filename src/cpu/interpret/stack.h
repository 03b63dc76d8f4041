/* SPDX-License-Identifier: Apache-2.0 */
/* The stack as instructions see it. For transfers that commit several things at once see
 * cpu/descriptor.h. */
#ifndef NACRE_CPU_INTERPRET_STACK_H
#define NACRE_CPU_INTERPRET_STACK_H

#include "cpu/access.h"

static inline uint64_t stack_pointer_mask(const struct vcpu *vcpu)
{
    if (vcpu->code_mode & CODE_MODE_LONG)
        return ~UINT64_C(0);
    return vcpu->code_mode & CODE_MODE_STACK_BIG ? 0xffffffff : 0xffff;
}

/* Sets rSP; bits beyond the stack's address size stay. */
static inline void stack_pointer_set(struct vcpu *vcpu, uint64_t pointer)
{
    uint64_t mask = stack_pointer_mask(vcpu);
    uint64_t kept = mask == 0xffff ? vcpu->registers[GPR_RSP] & ~mask : 0;
    vcpu->registers[GPR_RSP] = kept | (pointer & mask);
}

/* Makes the #GP of an address that is not canonical the #SS that it is on the stack; MMU_FAULT. APM
 * vol. 2 §8.2.13 */
enum mmu_status stack_fault(struct vcpu *vcpu);

/* 64-bit code: a push, and a look at the top. */
static inline enum mmu_status stack64_push(struct vcpu *vcpu, uint64_t value)
{
    uint64_t pointer = vcpu->registers[GPR_RSP] - 8;
    enum mmu_status status = access_store64(vcpu, pointer, value);
    if (unlikely(status == MMU_FAULT))
        return stack_fault(vcpu);
    vcpu->registers[GPR_RSP] = pointer;
    return status;
}

static inline bool stack64_read(struct vcpu *vcpu, uint64_t *value)
{
    return likely(access_load64(vcpu, vcpu->registers[GPR_RSP], value) != MMU_FAULT) ||
           stack_fault(vcpu) == MMU_OK;
}

/* size: 2, 4 or 8. rSP changes only when the access succeeds. */
enum mmu_status stack_push_value(struct vcpu *vcpu, uint64_t value, unsigned size);
bool stack_pop_value(struct vcpu *vcpu, uint64_t *value, unsigned size);
/* Reads at any stack pointer value without moving it. */
bool stack_read_value(struct vcpu *vcpu, uint64_t pointer, uint64_t *value, unsigned size);

#endif
