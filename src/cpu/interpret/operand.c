/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interpret/operand.h"

#include "cpu/segmentation.h"

bool op_linear_checked(struct vcpu *vcpu, const struct op *op, unsigned size, bool write,
                       uint64_t *linear)
{
    /* A segment register that is not overridden and has no own meaning here stays unchecked. */
    if (op->segment >= SEG_COUNT) {
        *linear = op_offset(vcpu, op);
        return true;
    }
    return segment_linear(vcpu, op->segment, op_offset(vcpu, op), size, write, linear);
}

bool modify_begin_slow(struct vcpu *vcpu, struct modify *modify, unsigned size)
{
    enum mmu_status status;
    modify->pointer = mmu_hva_modify(vcpu, modify->gva, size, vcpu->mmu_mode, &status);
    if (modify->pointer) {
        modify->code = status == MMU_CODE;
        return true;
    }
    if (status == MMU_FAULT || !mmu_probe_write(vcpu, modify->gva, size, vcpu->mmu_mode))
        return false;
    modify->pointer = modify->bounce;
    return mmu_read(vcpu, modify->gva, modify->bounce, size, vcpu->mmu_mode) != MMU_FAULT;
}

enum mmu_status modify_end_slow(struct vcpu *vcpu, struct modify *modify, unsigned size)
{
    if (modify->pointer == modify->bounce)
        return mmu_write(vcpu, modify->gva, modify->bounce, size, vcpu->mmu_mode);
    return mmu_code_written(vcpu, modify->gva, size);
}

int selection_register(ZydisRegister name)
{
    static const struct {
        ZydisRegister first, last;
        int offset;
    } ranges[] = {
        {ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15, 0},   {ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D, 0},
        {ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W, 0},   {ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL, 0},
        {ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH, 1},     {ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_DIL, 32},
        {ZYDIS_REGISTER_R8B, ZYDIS_REGISTER_R15B, 64},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
        if (name >= ranges[i].first && name <= ranges[i].last)
            return ranges[i].offset + (int)(name - ranges[i].first) * 8;
    return -1;
}

static bool is_register(const ZydisDecodedOperand *operand)
{
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           selection_register(operand->reg.value) >= 0;
}

static uint8_t register_offset(const ZydisDecodedOperand *operand)
{
    return (uint8_t)selection_register(operand->reg.value);
}

enum operand_form selection_form(struct selection *selection)
{
    const ZydisDecodedOperand *first = &selection->operands[0], *second = &selection->operands[1];
    unsigned count = selection->instruction.operand_count_visible;
    struct op *op = selection->op;
    bool first_register = count > 0 && is_register(first);
    bool first_memory = count > 0 && first->type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (first_register)
        op->destination = register_offset(first);
    if (count == 1)
        return first_register ? FORM_REGISTER : first_memory ? FORM_MEMORY : FORM_OTHER;
    bool second_register = count > 1 && is_register(second);
    if (second_register) /* also behind a segment, control or debug register */
        op->source = register_offset(second);
    if (count < 2 || (!first_register && !first_memory))
        return FORM_OTHER;
    if (second_register)
        return first_register ? FORM_REGISTER_REGISTER : FORM_MEMORY_REGISTER;
    if (second->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        op->immediate = second->imm.value.u;
        return first_register ? FORM_REGISTER_IMMEDIATE : FORM_MEMORY_IMMEDIATE;
    }
    if (second->type == ZYDIS_OPERAND_TYPE_MEMORY && first_register)
        return FORM_REGISTER_MEMORY;
    return FORM_OTHER;
}
