/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptor-table registers, questions about selectors, and segment registers. APM vol. 2 §4. */
#include "cpu/exception.h"
#include "cpu/interpret/stack.h"
#include "cpu/interpret/system.h"
#include "cpu/segmentation.h"

static unsigned table_base_size(const struct op *op, const struct vcpu *vcpu)
{
    return vcpu->code_mode & CODE_MODE_LONG ? 8 : 4;
}

static void load_table(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = table_base_size(op, vcpu);
    if (!system_privileged(vcpu) || !system_load_bytes(vcpu, op, bytes, 2 + size))
        FAULT(vcpu, op);
    uint64_t base = load_le(bytes + 2, size);
    if (size == 4 && op->operand_size == 2)
        base &= 0xffffff;
    struct descriptor_table *table = op->condition ? &vcpu->idtr : &vcpu->gdtr;
    table->limit = (uint16_t)load_le(bytes, 2);
    table->base = base;
    LEAVE(vcpu, op);
}

static void store_table(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = table_base_size(op, vcpu);
    const struct descriptor_table *table = op->condition ? &vcpu->idtr : &vcpu->gdtr;
    store_le(bytes, table->limit, 2);
    store_le(bytes + 2, table->base, size);
    LEAVE_OR_FAULT(vcpu, op,
                   system_umip_allows(vcpu) && system_store_bytes(vcpu, op, bytes, 2 + size));
}

/* op->condition: 0 LDTR, 1 TR */
static void load_system_segment(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    if (!system_protected_only(vcpu) || !system_privileged(vcpu) ||
        !system_load_word(vcpu, op, &selector))
        FAULT(vcpu, op);
    LEAVE_OR_FAULT(vcpu, op,
                   op->condition ? segment_load_tr(vcpu, selector)
                                 : segment_load_ldtr(vcpu, selector));
}

static void store_system_segment(struct vcpu *vcpu, const struct op *op)
{
    if (!system_protected_only(vcpu) || !system_umip_allows(vcpu))
        FAULT(vcpu, op);
    LEAVE_OR_FAULT(
        vcpu, op, system_store_word(vcpu, op, (op->condition ? &vcpu->tr : &vcpu->ldtr)->selector));
}

/* op->condition: 0 LAR, 1 LSL */
static inline enum mmu_status query_segment_work(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    uint32_t value = 0;
    bool ok;
    if (!system_protected_only(vcpu) || !system_load_word(vcpu, op, &selector) ||
        !(op->condition ? segment_query_limit(vcpu, selector, &value, &ok)
                        : segment_query_rights(vcpu, selector, &value, &ok)))
        return MMU_FAULT;
    if (ok && op->operand_size == 2)
        register_set16(vcpu, op->destination, (uint16_t)value);
    else if (ok)
        register_set64(vcpu, op->destination, value);
    flags_set_zero(vcpu, ok);
    return MMU_OK;
}
DEFINE_HANDLER(query_segment)

/* op->condition: 0 VERR, 1 VERW */
static inline enum mmu_status verify_segment_work(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    bool ok;
    if (!system_protected_only(vcpu) || !system_load_word(vcpu, op, &selector) ||
        !segment_verify(vcpu, selector, op->condition, &ok))
        return MMU_FAULT;
    flags_set_zero(vcpu, ok);
    return MMU_OK;
}
DEFINE_HANDLER(verify_segment)

static void arpl(struct vcpu *vcpu, const struct op *op)
{
    uint16_t value;
    if (!system_protected_only(vcpu) || !system_load_word(vcpu, op, &value))
        FAULT(vcpu, op);
    uint16_t rpl = register_get16(vcpu, op->source) & 3;
    bool raise = (value & 3) < rpl;
    if (raise && !system_store_word(vcpu, op, (value & ~3u) | rpl))
        FAULT(vcpu, op);
    flags_set_zero(vcpu, raise);
    LEAVE(vcpu, op);
}

/* --- segment registers; op->condition: which --- */

static void after_segment_load(struct vcpu *vcpu, const struct op *op)
{
    if (op->condition == SEG_SS)
        vcpu->interrupt_shadow = vcpu->trap_shadow = true;
}

static void mov_to_segment(struct vcpu *vcpu, const struct op *op)
{
    uint16_t selector;
    if (!system_load_word(vcpu, op, &selector) || !segment_load(vcpu, op->condition, selector))
        FAULT(vcpu, op);
    after_segment_load(vcpu, op);
    LEAVE(vcpu, op);
}

static void mov_from_segment(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, system_store_word(vcpu, op, vcpu->segments[op->condition].selector));
}

static void push_segment(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(
        vcpu, op, stack_push_value(vcpu, vcpu->segments[op->condition].selector, op->operand_size));
}

static void pop_segment(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value, pointer = vcpu->registers[GPR_RSP];
    if (!stack_read_value(vcpu, pointer, &value, op->operand_size) ||
        !segment_load(vcpu, op->condition, (uint16_t)value))
        FAULT(vcpu, op);
    stack_pointer_set(vcpu, pointer + op->operand_size);
    after_segment_load(vcpu, op);
    LEAVE(vcpu, op);
}

/* LDS, LES, LSS, LFS, LGS */
static void load_far_pointer(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[10];
    unsigned size = op->operand_size;
    if (!system_load_bytes(vcpu, op, bytes, size + 2) ||
        !segment_load(vcpu, op->condition, (uint16_t)load_le(bytes + size, 2)))
        FAULT(vcpu, op);
    uint64_t offset = load_le(bytes, size);
    if (size == 2)
        register_set16(vcpu, op->destination, (uint16_t)offset);
    else
        register_set64(vcpu, op->destination, offset);
    LEAVE(vcpu, op);
}

static const struct system_instruction instructions[] = {
    {ZYDIS_MNEMONIC_LGDT, load_table, 0, false},
    {ZYDIS_MNEMONIC_LIDT, load_table, 1, false},
    {ZYDIS_MNEMONIC_SGDT, store_table, 0, false},
    {ZYDIS_MNEMONIC_SIDT, store_table, 1, false},
    {ZYDIS_MNEMONIC_LLDT, load_system_segment, 0, false},
    {ZYDIS_MNEMONIC_LTR, load_system_segment, 1, false},
    {ZYDIS_MNEMONIC_SLDT, store_system_segment, 0, false},
    {ZYDIS_MNEMONIC_STR, store_system_segment, 1, false},
    {ZYDIS_MNEMONIC_LAR, query_segment, 0, true},
    {ZYDIS_MNEMONIC_LSL, query_segment, 1, true},
    {ZYDIS_MNEMONIC_VERR, verify_segment, 0, true},
    {ZYDIS_MNEMONIC_VERW, verify_segment, 1, true},
    {ZYDIS_MNEMONIC_ARPL, arpl, 0, false},
    {ZYDIS_MNEMONIC_LDS, load_far_pointer, SEG_DS, false},
    {ZYDIS_MNEMONIC_LES, load_far_pointer, SEG_ES, false},
    {ZYDIS_MNEMONIC_LSS, load_far_pointer, SEG_SS, false},
    {ZYDIS_MNEMONIC_LFS, load_far_pointer, SEG_FS, false},
    {ZYDIS_MNEMONIC_LGS, load_far_pointer, SEG_GS, false},
};

static op_handler *select_segment_move(struct selection *selection)
{
    struct op *op = selection->op;
    const ZydisDecodedOperand *operands = selection->operands;
    unsigned segments[2];
    for (unsigned i = 0; i < 2; i++) {
        ZydisRegister name = operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? operands[i].reg.value
                                                                             : ZYDIS_REGISTER_NONE;
        segments[i] = name >= ZYDIS_REGISTER_ES && name <= ZYDIS_REGISTER_GS
                          ? (unsigned)(name - ZYDIS_REGISTER_ES)
                          : SEG_COUNT;
    }
    if (segments[0] < SEG_COUNT && segments[0] != SEG_CS) {
        op->condition = (uint8_t)segments[0];
        return mov_to_segment;
    }
    op->condition = (uint8_t)segments[1];
    return segments[1] < SEG_COUNT ? mov_from_segment : NULL;
}

/* PUSH or POP of a segment register. */
static op_handler *select_segment_stack(struct selection *selection, op_handler *handler)
{
    ZydisRegister name = selection->operands[0].reg.value;
    if (selection->operands[0].type != ZYDIS_OPERAND_TYPE_REGISTER || name < ZYDIS_REGISTER_ES ||
        name > ZYDIS_REGISTER_GS)
        return NULL;
    selection->op->condition = (uint8_t)(name - ZYDIS_REGISTER_ES);
    /* The operand's width is the selector's; the stack moves by the instruction's operand size. */
    unsigned size = selection->instruction.operand_width / 8;
    if (selection->code_mode & CODE_MODE_LONG && size == 4)
        size = 8;
    selection->op->operand_size = (uint8_t)size;
    return handler;
}

op_handler *select_system_segment(struct selection *selection)
{
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        return select_segment_move(selection);
    case ZYDIS_MNEMONIC_PUSH:
        return select_segment_stack(selection, push_segment);
    case ZYDIS_MNEMONIC_POP:
        return select_segment_stack(selection, pop_segment);
    default:
        return system_find(selection, instructions, ARRAY_SIZE(instructions));
    }
}
