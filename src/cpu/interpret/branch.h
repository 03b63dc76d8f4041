/* SPDX-License-Identifier: Apache-2.0 */
/* How near branches find and enter the block they lead to. */
#ifndef NACRE_CPU_INTERPRET_BRANCH_H
#define NACRE_CPU_INTERPRET_BRANCH_H

#include "cpu/exception.h"
#include "cpu/interpret/block.h"

/* Wraps a near target to the operand size; false (with #GP) when it cannot be reached. */
static inline bool branch_check(struct vcpu *vcpu, uint64_t target)
{
    if (likely(vcpu->code_mode & CODE_MODE_LONG))
        return likely(address_is_canonical(target)) || raise_error(vcpu, VECTOR_GP, 0);
    return target <= vcpu->segments[SEG_CS].limit || raise_error(vcpu, VECTOR_GP, 0);
}

/* Runs the block at vcpu->rip: straight on where the compiler makes tail calls and nothing else
 * asks for a look, else by the loop. */
static inline __attribute__((always_inline)) void branch_enter(struct vcpu *vcpu,
                                                               struct block *block)
{
#ifdef NACRE_TAIL_CALLS
    uint64_t count = vcpu->instruction_count + block->op_count;
    if (likely(!atomic_load_explicit(&vcpu->requests, memory_order_relaxed)) &&
        likely(count <= vcpu->instruction_budget)) {
        vcpu_count(vcpu, block->op_count);
        vcpu->registers[REGISTER_BLOCK] = vcpu->rip;
        return block->ops[0].run(vcpu, block->ops);
    }
#endif
}

/* To vcpu->rip, from a direct branch that is not chained: to another page, or the loop shall chain
 * it. */
void branch_unchained(struct vcpu *vcpu, const struct op *op);

/* The end of a direct branch. */
static inline __attribute__((always_inline)) void branch_chain(struct vcpu *vcpu,
                                                               const struct op *op, uint64_t target)
{
    vcpu->rip = target;
    if (likely(op->target != NULL))
        return branch_enter(vcpu, op->target);
    return branch_unchained(vcpu, op);
}

/* Target of a relative branch; immediate holds the displacement, operand_size the width of rIP. */
static inline uint64_t branch_target(const struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = op_rip(vcpu, op) + op->length + op->immediate;
    if (likely(op->operand_size == 8))
        return target;
    return op->operand_size == 4 ? (uint32_t)target : (uint16_t)target;
}

#endif
