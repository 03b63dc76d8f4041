/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Near JMP, CALL, RET, Jcc, LOOP, JCXZ, and the end of a block that falls through. A direct branch
 * whose target lies in the same page is chained: the next time it goes straight to the target's
 * ops. Others find their target in the jump cache.
 */
#include "cpu/interpret/branch.h"

#include "cpu/interpret/fused.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/stack.h"

/* To vcpu->rip by the jump cache. Code with limits goes by the loop, which looks at them. */
static inline __attribute__((always_inline)) void branch_by_cache(struct vcpu *vcpu)
{
    struct interpreter *interpreter = interpreter_of(vcpu);
    uint64_t linear = vcpu->rip + vcpu->segment_bases[SEG_CS];
    if (unlikely(!interpreter->runs_on || !(vcpu->code_mode & (CODE_MODE_LONG | CODE_MODE_FLAT))))
        return;
    struct block *block = jump_find(vcpu, interpreter, linear, vcpu->code_mode);
    if (likely(block != NULL))
        return branch_enter(vcpu, block);
}

void branch_unchained(struct vcpu *vcpu, const struct op *op)
{
    if ((vcpu->registers[REGISTER_BLOCK] ^ vcpu->rip) & PAGE_MASK)
        return branch_by_cache(vcpu);
    interpreter_of(vcpu)->chain_from = op;
}

static inline __attribute__((always_inline)) void branch_indirect(struct vcpu *vcpu,
                                                                  uint64_t target)
{
    vcpu->rip = target;
    return branch_by_cache(vcpu);
}

void block_end(struct vcpu *vcpu, const struct op *op)
{
    uint64_t rip = op_rip(vcpu, op);
    branch_chain(vcpu, op, vcpu->code_mode & CODE_MODE_LONG ? rip : (uint32_t)rip);
}

static void jump_relative(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = branch_target(vcpu, op);
    if (unlikely(!branch_check(vcpu, target)))
        FAULT(vcpu, op);
    branch_chain(vcpu, op, target);
}

/* Not taken: the op behind a conditional branch is a block_end and chains on its own. */
#define DEFINE_CONDITIONAL(condition)                                    \
    static void jump_##condition(struct vcpu *vcpu, const struct op *op) \
    {                                                                    \
        if (flags_condition(vcpu, condition)) {                          \
            uint64_t target = branch_target(vcpu, op);                   \
            if (unlikely(!branch_check(vcpu, target)))                   \
                FAULT(vcpu, op);                                         \
            return branch_chain(vcpu, op, target);                       \
        }                                                                \
        NEXT(vcpu, op);                                                  \
    }
DEFINE_CONDITIONAL(0)
DEFINE_CONDITIONAL(1)
DEFINE_CONDITIONAL(2)
DEFINE_CONDITIONAL(3)
DEFINE_CONDITIONAL(4)
DEFINE_CONDITIONAL(5)
DEFINE_CONDITIONAL(6)
DEFINE_CONDITIONAL(7)
DEFINE_CONDITIONAL(8)
DEFINE_CONDITIONAL(9)
DEFINE_CONDITIONAL(10)
DEFINE_CONDITIONAL(11)
DEFINE_CONDITIONAL(12)
DEFINE_CONDITIONAL(13)
DEFINE_CONDITIONAL(14)
DEFINE_CONDITIONAL(15)
static op_handler *const conditionals[16] = {
    jump_0, jump_1, jump_2,  jump_3,  jump_4,  jump_5,  jump_6,  jump_7,
    jump_8, jump_9, jump_10, jump_11, jump_12, jump_13, jump_14, jump_15,
};

/* The count register of LOOP and JCXZ has the address size. */
static void jump_count_zero(struct vcpu *vcpu, const struct op *op)
{
    if (vcpu->registers[GPR_RCX] & op_address_mask(op))
        NEXT(vcpu, op);
    jump_relative(vcpu, op);
}

/* condition: 0 LOOP, 1 LOOPE, 2 LOOPNE */
static void loop_count(struct vcpu *vcpu, const struct op *op)
{
    bool last = !((vcpu->registers[GPR_RCX] - 1) & op_address_mask(op));
    bool wanted = op->condition == 0 || (op->condition == 1) == flag_zero(vcpu);
    bool taken = !last && wanted;
    if (taken && unlikely(!branch_check(vcpu, branch_target(vcpu, op))))
        FAULT(vcpu, op);
    op_advance(vcpu, op, GPR_RCX, -1);
    if (!taken)
        NEXT(vcpu, op);
    branch_chain(vcpu, op, branch_target(vcpu, op));
}

static void call_relative(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = branch_target(vcpu, op);
    if (unlikely(!branch_check(vcpu, target)))
        FAULT(vcpu, op);
    if (unlikely(stack_push_value(vcpu, op_next_rip(vcpu, op), op->operand_size) == MMU_FAULT))
        FAULT(vcpu, op);
    branch_chain(vcpu, op, target);
}

static uint64_t wrap_size(uint64_t value, unsigned size)
{
    return size == 8 ? value : value & bytes_mask(size);
}

static void jump_register(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = wrap_size(register_get64(vcpu, op->destination), op->operand_size);
    if (unlikely(!branch_check(vcpu, target)))
        FAULT(vcpu, op);
    branch_indirect(vcpu, target);
}

/* The slow reads go through locals of their own: see cpu/access.h. */
static inline bool load_target(struct vcpu *vcpu, const struct op *op, uint64_t *target)
{
    uint64_t gva, narrow = 0;
    if (!op_linear(vcpu, op, op->operand_size, false, &gva))
        return false;
    if (likely(op->operand_size == 8))
        return access_load64(vcpu, gva, target) == MMU_OK;
    bool ok = mmu_read(vcpu, gva, &narrow, op->operand_size, vcpu->mmu_mode) != MMU_FAULT;
    *target = narrow;
    return ok;
}

static inline bool load_return(struct vcpu *vcpu, const struct op *op, uint64_t *target)
{
    uint64_t value = 0;
    bool ok = stack_read_value(vcpu, vcpu->registers[GPR_RSP], &value, op->operand_size);
    *target = value;
    return ok;
}

static void jump_memory(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target;
    if (unlikely(!load_target(vcpu, op, &target) || !branch_check(vcpu, target)))
        FAULT(vcpu, op);
    branch_indirect(vcpu, target);
}

static void call_register(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = wrap_size(register_get64(vcpu, op->destination), op->operand_size);
    if (unlikely(!branch_check(vcpu, target) ||
                 stack_push_value(vcpu, op_next_rip(vcpu, op), op->operand_size) == MMU_FAULT))
        FAULT(vcpu, op);
    branch_indirect(vcpu, target);
}

static void call_memory(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target;
    if (unlikely(!load_target(vcpu, op, &target) || !branch_check(vcpu, target) ||
                 stack_push_value(vcpu, op_next_rip(vcpu, op), op->operand_size) == MMU_FAULT))
        FAULT(vcpu, op);
    branch_indirect(vcpu, target);
}

static void return_near(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target;
    if (unlikely(!load_return(vcpu, op, &target) || !branch_check(vcpu, target)))
        FAULT(vcpu, op);
    stack_pointer_set(vcpu, vcpu->registers[GPR_RSP] + op->operand_size + op->immediate);
    branch_indirect(vcpu, target);
}

/* 64-bit code, with the stack access in line. */

static void call64_relative(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target = branch_target(vcpu, op);
    if (unlikely(!branch_check(vcpu, target) ||
                 stack64_push(vcpu, op_next_rip(vcpu, op)) == MMU_FAULT))
        FAULT(vcpu, op);
    branch_chain(vcpu, op, target);
}

static void return64(struct vcpu *vcpu, const struct op *op)
{
    uint64_t target;
    if (unlikely(!stack64_read(vcpu, &target) || !branch_check(vcpu, target)))
        FAULT(vcpu, op);
    vcpu->registers[GPR_RSP] += 8 + op->immediate;
    branch_indirect(vcpu, target);
}

/* Direct branches: displacement, and the width rIP is cut to. */
static op_handler *relative(struct selection *selection, op_handler *handler)
{
    struct op *op = selection->op;
    op->immediate = (uint64_t)selection->operands[0].imm.value.s;
    if (selection->code_mode & CODE_MODE_LONG)
        op->operand_size = 8;
    selection->ends_block = true;
    return handler;
}

static op_handler *indirect(struct selection *selection, op_handler *by_register,
                            op_handler *by_memory)
{
    selection->ends_block = true;
    switch (selection_form(selection)) {
    case FORM_REGISTER:
        return by_register;
    case FORM_MEMORY:
        return by_memory;
    default:
        return NULL;
    }
}

op_handler *select_branch(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    bool far = instruction->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
    bool immediate = selection->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    bool long_code = selection->code_mode & CODE_MODE_LONG;
    struct op *op = selection->op;
    if (far)
        return NULL;
    switch (instruction->mnemonic) {
    case ZYDIS_MNEMONIC_JMP:
        return immediate ? relative(selection, jump_relative)
                         : indirect(selection, jump_register, jump_memory);
    case ZYDIS_MNEMONIC_CALL:
        return immediate ? relative(selection, long_code ? call64_relative : call_relative)
                         : indirect(selection, call_register, call_memory);
    case ZYDIS_MNEMONIC_RET:
        op->immediate = instruction->operand_count_visible ? selection->operands[0].imm.value.u : 0;
        selection->ends_block = true;
        return long_code ? return64 : return_near;
    case ZYDIS_MNEMONIC_JCXZ:
    case ZYDIS_MNEMONIC_JECXZ:
    case ZYDIS_MNEMONIC_JRCXZ:
        return relative(selection, jump_count_zero);
    case ZYDIS_MNEMONIC_LOOP:
        op->condition = 0;
        return relative(selection, loop_count);
    case ZYDIS_MNEMONIC_LOOPE:
        op->condition = 1;
        return relative(selection, loop_count);
    case ZYDIS_MNEMONIC_LOOPNE:
        op->condition = 2;
        return relative(selection, loop_count);
    default:
        break;
    }
    if (instruction->meta.category != ZYDIS_CATEGORY_COND_BR)
        return NULL;
    fused_select(selection, instruction->opcode & 0xf);
    return relative(selection, conditionals[instruction->opcode & 0xf]);
}
