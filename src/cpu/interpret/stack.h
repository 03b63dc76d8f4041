/* SPDX-License-Identifier: Apache-2.0 */
/* The stack as instructions see it. For transfers that commit several things at once see
 * cpu/descriptor.h. */
#ifndef NACRE_CPU_INTERPRET_STACK_H
#define NACRE_CPU_INTERPRET_STACK_H

#include "cpu/mmu.h"

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

/* size: 2, 4 or 8. rSP changes only when the access succeeds. */
enum mmu_status stack_push_value(struct vcpu *vcpu, uint64_t value, unsigned size);
bool stack_pop_value(struct vcpu *vcpu, uint64_t *value, unsigned size);
/* Reads at any stack pointer value without moving it. */
bool stack_read_value(struct vcpu *vcpu, uint64_t pointer, uint64_t *value, unsigned size);

#endif
