/* SPDX-License-Identifier: Apache-2.0 */
/* BT, BTS, BTR, BTC (bit strings in memory included), BSF, BSR, POPCNT. */
#include "cpu/control.h"
#include "cpu/interpret/operand.h"
#include "cpu/isa.h"

enum bit_action { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static uint64_t bit_change(uint64_t value, uint64_t mask, enum bit_action action)
{
    switch (action) {
    case BIT_SET:
        return value | mask;
    case BIT_RESET:
        return value & ~mask;
    case BIT_COMPLEMENT:
        return value ^ mask;
    default:
        return value;
    }
}

static void write_sized(struct vcpu *vcpu, uint8_t offset, uint64_t value, unsigned bytes)
{
    if (bytes == 2)
        register_set16(vcpu, offset, (uint16_t)value);
    else
        register_set64(vcpu, offset, bytes == 4 ? (uint32_t)value : value);
}

/* op->condition: the action; op->extra: 1 when the bit number is the immediate. */
static uint64_t bit_number(const struct vcpu *vcpu, const struct op *op)
{
    return op->extra ? op->immediate : register_get64(vcpu, op->source);
}

static void bit_register(struct vcpu *vcpu, const struct op *op)
{
    unsigned bit = bit_number(vcpu, op) % (op->operand_size * 8);
    uint64_t value = register_get64(vcpu, op->destination);
    flags_set_carry(vcpu, value >> bit & 1);
    if (op->condition != BIT_TEST)
        write_sized(vcpu, op->destination, bit_change(value, BIT(bit), op->condition),
                    op->operand_size);
    NEXT(vcpu, op);
}

/* A register bit number reaches beyond the operand: whole operands further up or down. */
static bool bit_memory_address(struct vcpu *vcpu, const struct op *op, bool write, uint64_t *gva)
{
    struct op moved = *op;
    if (!op->extra) {
        int64_t bit = sign_extend(register_get64(vcpu, op->source), op->operand_size * 8u);
        int64_t bits = op->operand_size * 8;
        moved.displacement += (bit - (int64_t)((uint64_t)bit % (uint64_t)bits)) / 8;
    }
    return op_linear(vcpu, &moved, op->operand_size, write, gva);
}

static inline enum mmu_status bit_memory_test_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva, value = 0;
    unsigned bit = bit_number(vcpu, op) % (op->operand_size * 8);
    if (!bit_memory_address(vcpu, op, false, &gva) ||
        mmu_read(vcpu, gva, &value, op->operand_size, vcpu->mmu_mode) == MMU_FAULT)
        return MMU_FAULT;
    flags_set_carry(vcpu, value >> bit & 1);
    return MMU_OK;
}
DEFINE_HANDLER(bit_memory_test)

static inline enum mmu_status bit_memory_work(struct vcpu *vcpu, const struct op *op)
{
    struct modify modify = {0};
    unsigned size = op->operand_size, bit = bit_number(vcpu, op) % (size * 8);
    if (!bit_memory_address(vcpu, op, true, &modify.gva) || !modify_begin_slow(vcpu, &modify, size))
        return MMU_FAULT;
    uint64_t old = load_le(modify.pointer, size);
    if (op->flags & OP_LOCK) {
        uint8_t *byte = (uint8_t *)modify.pointer + bit / 8;
        uint8_t mask = (uint8_t)(1u << bit % 8), before = 0;
        if (op->condition == BIT_SET)
            before = __atomic_fetch_or(byte, mask, __ATOMIC_SEQ_CST);
        else if (op->condition == BIT_RESET)
            before = __atomic_fetch_and(byte, (uint8_t)~mask, __ATOMIC_SEQ_CST);
        else
            before = __atomic_fetch_xor(byte, mask, __ATOMIC_SEQ_CST);
        flags_set_carry(vcpu, before & mask);
    } else {
        flags_set_carry(vcpu, old >> bit & 1);
        store_le(modify.pointer, bit_change(old, BIT(bit), op->condition), size);
    }
    return modify_end(vcpu, &modify, size);
}
DEFINE_HANDLER(bit_memory)

/* Source of BSF, BSR, POPCNT: register, or (op->extra) memory. */
static bool bit_source(struct vcpu *vcpu, const struct op *op, uint64_t *value)
{
    uint64_t gva;
    if (!op->extra) {
        *value = register_get64(vcpu, op->source) & bytes_mask(op->operand_size);
        return true;
    }
    *value = 0;
    return op_linear(vcpu, op, op->operand_size, false, &gva) &&
           mmu_read(vcpu, gva, value, op->operand_size, vcpu->mmu_mode) != MMU_FAULT;
}

/* A zero source leaves the destination as it is (AMD says so, Intel does so); only ZF is defined.
 */
static inline enum mmu_status bsf_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!bit_source(vcpu, op, &value))
        return MMU_FAULT;
    if (value)
        write_sized(vcpu, op->destination, (unsigned)__builtin_ctzll(value), op->operand_size);
    flags_set_zero(vcpu, !value);
    return MMU_OK;
}
DEFINE_HANDLER(bsf)

static inline enum mmu_status bsr_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!bit_source(vcpu, op, &value))
        return MMU_FAULT;
    if (value)
        write_sized(vcpu, op->destination, 63u - (unsigned)__builtin_clzll(value),
                    op->operand_size);
    flags_set_zero(vcpu, !value);
    return MMU_OK;
}
DEFINE_HANDLER(bsr)

static inline enum mmu_status popcnt_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!bit_source(vcpu, op, &value))
        return MMU_FAULT;
    write_sized(vcpu, op->destination, (unsigned)__builtin_popcountll(value), op->operand_size);
    flags_load(vcpu, value ? 0 : RFLAGS_ZF);
    return MMU_OK;
}
DEFINE_HANDLER(popcnt)

static op_handler *select_scan(struct selection *selection, op_handler *handler)
{
    enum operand_form form = selection_form(selection);
    selection->op->extra = form == FORM_REGISTER_MEMORY;
    selection->op->operand_size = selection->operands[0].size / 8;
    return handler;
}

static op_handler *select_test(struct selection *selection, enum bit_action action)
{
    struct op *op = selection->op;
    enum operand_form form = selection_form(selection);
    op->extra = form == FORM_REGISTER_IMMEDIATE || form == FORM_MEMORY_IMMEDIATE;
    op->condition = action;
    op->operand_size = selection->operands[0].size / 8;
    if (selection->memory_operand < 0)
        return bit_register;
    return action == BIT_TEST ? bit_memory_test : bit_memory;
}

op_handler *select_bit(struct selection *selection)
{
    /* Without BMI and LZCNT, TZCNT and LZCNT are BSF and BSR with a prefix that means nothing; with
     * them the host's units do it: vector.c. */
    bool has = isa_set_available(selection->vcpu->model, selection->instruction.meta.isa_set);
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
        return select_test(selection, BIT_TEST);
    case ZYDIS_MNEMONIC_BTS:
        return select_test(selection, BIT_SET);
    case ZYDIS_MNEMONIC_BTR:
        return select_test(selection, BIT_RESET);
    case ZYDIS_MNEMONIC_BTC:
        return select_test(selection, BIT_COMPLEMENT);
    case ZYDIS_MNEMONIC_BSF:
        return select_scan(selection, bsf);
    case ZYDIS_MNEMONIC_TZCNT:
        return has ? NULL : select_scan(selection, bsf);
    case ZYDIS_MNEMONIC_BSR:
        return select_scan(selection, bsr);
    case ZYDIS_MNEMONIC_LZCNT:
        return has ? NULL : select_scan(selection, bsr);
    case ZYDIS_MNEMONIC_POPCNT:
        return has ? select_scan(selection, popcnt) : NULL;
    default:
        return NULL;
    }
}
