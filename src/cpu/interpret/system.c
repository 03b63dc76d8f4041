/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System instructions: what their handlers share, and the way to the file that has the handler. The
 * handlers check privilege and operands and call the engine-independent CPU. Most of them end their
 * block: what follows may run in another mode.
 */
#include "cpu/interpret/system.h"

#include "cpu/exception.h"

bool system_privileged(struct vcpu *vcpu)
{
    return vcpu->cpl == 0 || raise_error(vcpu, VECTOR_GP, 0);
}

bool system_protected_only(struct vcpu *vcpu)
{
    return (vcpu_protected(vcpu) && !vcpu_v86(vcpu)) || raise_exception(vcpu, VECTOR_UD);
}

bool system_umip_allows(struct vcpu *vcpu)
{
    return !(vcpu->cr4 & CR4_UMIP && vcpu->cpl) || raise_error(vcpu, VECTOR_GP, 0);
}

bool system_load_bytes(struct vcpu *vcpu, const struct op *op, void *bytes, unsigned size)
{
    uint64_t gva;
    return op_linear(vcpu, op, size, false, &gva) &&
           mmu_read(vcpu, gva, bytes, size, vcpu->mmu_mode) != MMU_FAULT;
}

bool system_store_bytes(struct vcpu *vcpu, const struct op *op, const void *bytes, unsigned size)
{
    uint64_t gva;
    return op_linear(vcpu, op, size, true, &gva) &&
           mmu_write(vcpu, gva, bytes, size, vcpu->mmu_mode) != MMU_FAULT;
}

/* A 16-bit register or memory source (selectors, LMSW). */
bool system_load_word(struct vcpu *vcpu, const struct op *op, uint16_t *value)
{
    if (op->extra & OPERAND_MEMORY)
        return system_load_bytes(vcpu, op, value, 2);
    *value = register_get16(vcpu, op->extra & OPERAND_SECOND ? op->source : op->destination);
    return true;
}

/* Stores a value to a register of operand size, or 16 bits to memory (SLDT, STR, SMSW, MOV from
 * segment). */
bool system_store_word(struct vcpu *vcpu, const struct op *op, uint64_t value)
{
    if (op->extra & OPERAND_MEMORY) {
        uint16_t word = (uint16_t)value;
        return system_store_bytes(vcpu, op, &word, 2);
    }
    if (op->operand_size == 2)
        register_set16(vcpu, op->destination, (uint16_t)value);
    else
        register_set64(vcpu, op->destination, value & bytes_mask(op->operand_size));
    return true;
}

uint64_t system_register_full(const struct vcpu *vcpu, uint8_t offset)
{
    uint64_t value = register_get64(vcpu, offset);
    return vcpu->code_mode & CODE_MODE_LONG ? value : (uint32_t)value;
}

op_handler *system_find(struct selection *selection, const struct system_instruction *instructions,
                        unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        selection->op->condition = instructions[i].condition;
        selection->ends_block = !instructions[i].goes_on;
        return instructions[i].handler;
    }
    return NULL;
}

op_handler *select_system(struct selection *selection)
{
    static select_function *const groups[] = {select_system_flow, select_system_segment,
                                              select_system_control, select_system_register,
                                              select_port};
    struct op *op = selection->op;
    selection_form(selection);
    op->extra = (selection->memory_operand >= 0 ? OPERAND_MEMORY : 0) |
                (selection->instruction.operand_count_visible > 1 ? OPERAND_SECOND : 0);
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_ARPL)
        op->extra &= ~(uint64_t)OPERAND_SECOND; /* the selector to adjust is the first operand */
    selection->ends_block = true;
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++) {
        op_handler *handler = groups[i](selection);
        if (handler)
            return handler;
    }
    return NULL;
}
