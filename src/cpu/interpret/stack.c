/* SPDX-License-Identifier: Apache-2.0 */
/* PUSH, POP, PUSHA, POPA, ENTER, LEAVE. The stack's address size is SS.B's, or 64 bits in 64-bit
 * code. */
#include "cpu/interpret/stack.h"

#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/segmentation.h"

/* Where pushing `size` bytes writes, or popping reads; checked in segmented code. */
static bool stack_address(struct vcpu *vcpu, uint64_t pointer, unsigned size, bool write,
                          uint64_t *linear)
{
    if (likely(vcpu->code_mode & CODE_MODE_LONG)) {
        *linear = pointer;
        return true;
    }
    return segment_linear(vcpu, SEG_SS, pointer & stack_pointer_mask(vcpu), size, write, linear);
}

enum mmu_status stack_fault(struct vcpu *vcpu)
{
    exception_in_stack(vcpu);
    return MMU_FAULT;
}

enum mmu_status stack_push_value(struct vcpu *vcpu, uint64_t value, unsigned size)
{
    uint64_t pointer = vcpu->registers[GPR_RSP] - size, linear;
    enum mmu_status status;
    if (!stack_address(vcpu, pointer, size, true, &linear))
        return MMU_FAULT;
    if (likely(size == 8))
        status = access_store64(vcpu, linear, value);
    else if (size == 4)
        status = access_store32(vcpu, linear, (uint32_t)value);
    else
        status = access_store16(vcpu, linear, (uint16_t)value);
    if (unlikely(status == MMU_FAULT))
        return stack_fault(vcpu);
    stack_pointer_set(vcpu, pointer);
    return status;
}

bool stack_read_value(struct vcpu *vcpu, uint64_t pointer, uint64_t *value, unsigned size)
{
    uint64_t linear;
    *value = 0;
    if (!stack_address(vcpu, pointer, size, false, &linear))
        return false;
    enum mmu_status status = likely(size == 8)
                                 ? access_load64(vcpu, linear, value)
                                 : mmu_read(vcpu, linear, value, size, vcpu->mmu_mode);
    return likely(status != MMU_FAULT) || stack_fault(vcpu) == MMU_OK;
}

bool stack_pop_value(struct vcpu *vcpu, uint64_t *value, unsigned size)
{
    if (!stack_read_value(vcpu, vcpu->registers[GPR_RSP], value, size))
        return false;
    stack_pointer_set(vcpu, vcpu->registers[GPR_RSP] + size);
    return true;
}

static void push64_register(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(vcpu, op, stack64_push(vcpu, register_get64(vcpu, op->destination)));
}

static void pop64_register(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (unlikely(!stack64_read(vcpu, &value)))
        FAULT(vcpu, op);
    vcpu->registers[GPR_RSP] += 8;
    register_set64(vcpu, op->destination, value);
    NEXT(vcpu, op);
}

static void push_register(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(
        vcpu, op, stack_push_value(vcpu, register_get64(vcpu, op->destination), op->operand_size));
}

static void push_immediate(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(vcpu, op, stack_push_value(vcpu, op->immediate, op->operand_size));
}

static bool load_operand(struct vcpu *vcpu, const struct op *op, uint64_t *value)
{
    uint64_t gva;
    *value = 0;
    return op_linear(vcpu, op, op->operand_size, false, &gva) &&
           mmu_read(vcpu, gva, value, op->operand_size, vcpu->mmu_mode) != MMU_FAULT;
}

static inline enum mmu_status push_memory_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!load_operand(vcpu, op, &value))
        return MMU_FAULT;
    return stack_push_value(vcpu, value, op->operand_size);
}
DEFINE_HANDLER(push_memory)

static inline enum mmu_status pop_register_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!stack_pop_value(vcpu, &value, op->operand_size))
        return MMU_FAULT;
    if (op->operand_size == 2)
        register_set16(vcpu, op->destination, (uint16_t)value);
    else
        register_set64(vcpu, op->destination, value);
    return MMU_OK;
}
DEFINE_HANDLER(pop_register)

/* An address that uses rSP is computed with its value after the pop; a fault must put the old one
 * back. */
static inline enum mmu_status pop_memory_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value, gva, old = vcpu->registers[GPR_RSP];
    if (!stack_pop_value(vcpu, &value, op->operand_size))
        return MMU_FAULT;
    enum mmu_status status = MMU_FAULT;
    if (op_linear(vcpu, op, op->operand_size, true, &gva))
        status = mmu_write(vcpu, gva, &value, op->operand_size, vcpu->mmu_mode);
    if (status == MMU_FAULT)
        vcpu->registers[GPR_RSP] = old;
    return status;
}
DEFINE_HANDLER(pop_memory)

static inline enum mmu_status push_all_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint8_t bytes[32];
    uint64_t pointer = vcpu->registers[GPR_RSP] - 8 * size, linear;
    for (unsigned i = 0; i < 8; i++)
        store_le(bytes + (7 - i) * size, vcpu->registers[i], size);
    if (!stack_address(vcpu, pointer, 8 * size, true, &linear))
        return MMU_FAULT;
    enum mmu_status status = mmu_write(vcpu, linear, bytes, 8 * size, vcpu->mmu_mode);
    if (status != MMU_FAULT)
        stack_pointer_set(vcpu, pointer);
    return status;
}
DEFINE_HANDLER(push_all)

static inline enum mmu_status pop_all_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint8_t bytes[32];
    uint64_t pointer = vcpu->registers[GPR_RSP], linear;
    if (!stack_address(vcpu, pointer, 8 * size, false, &linear) ||
        mmu_read(vcpu, linear, bytes, 8 * size, vcpu->mmu_mode) == MMU_FAULT)
        return MMU_FAULT;
    for (unsigned i = 0; i < 8; i++) {
        uint64_t value = load_le(bytes + (7 - i) * size, size);
        if (i == GPR_RSP)
            continue;
        if (size == 2)
            register_set16(vcpu, (uint8_t)(i * 8), (uint16_t)value);
        else
            register_set32(vcpu, (uint8_t)(i * 8), (uint32_t)value);
    }
    stack_pointer_set(vcpu, pointer + 8 * size);
    return MMU_OK;
}
DEFINE_HANDLER(pop_all)

static void set_sized(struct vcpu *vcpu, unsigned number, uint64_t value, unsigned size)
{
    if (size == 2)
        register_set16(vcpu, (uint8_t)(number * 8), (uint16_t)value);
    else
        register_set64(vcpu, (uint8_t)(number * 8), size == 4 ? (uint32_t)value : value);
}

static inline enum mmu_status leave_frame_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value, mask = stack_pointer_mask(vcpu);
    uint64_t pointer = vcpu->registers[GPR_RBP] & mask;
    if (!stack_read_value(vcpu, pointer, &value, op->operand_size))
        return MMU_FAULT;
    stack_pointer_set(vcpu, pointer + op->operand_size);
    set_sized(vcpu, GPR_RBP, value, op->operand_size);
    return MMU_OK;
}
DEFINE_HANDLER(leave_frame)

/* ENTER: frame pointers of outer levels are copied. immediate: allocation, extra: nesting level. */
static inline enum mmu_status enter_frame_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size, level = op->extra & 31;
    uint64_t old_rsp = vcpu->registers[GPR_RSP], value;
    enum mmu_status status = stack_push_value(vcpu, vcpu->registers[GPR_RBP], size);
    uint64_t frame = vcpu->registers[GPR_RSP];
    for (unsigned i = 1; i < level && status != MMU_FAULT; i++)
        status = stack_read_value(vcpu, vcpu->registers[GPR_RBP] - i * size, &value, size)
                     ? stack_push_value(vcpu, value, size)
                     : MMU_FAULT;
    if (level && status != MMU_FAULT)
        status = stack_push_value(vcpu, frame, size);
    uint64_t final = vcpu->registers[GPR_RSP] - (op->immediate & 0xffff), linear;
    /* The new top must be writable. */
    if (status != MMU_FAULT && (!stack_address(vcpu, final, size, true, &linear) ||
                                !mmu_probe_write(vcpu, linear, size, vcpu->mmu_mode)))
        status = stack_fault(vcpu);
    if (status == MMU_FAULT) {
        vcpu->registers[GPR_RSP] = old_rsp;
        return MMU_FAULT;
    }
    set_sized(vcpu, GPR_RBP, frame, size);
    stack_pointer_set(vcpu, final);
    return status;
}
DEFINE_HANDLER(enter_frame)

static op_handler *select_push(struct selection *selection)
{
    struct op *op = selection->op;
    enum operand_form form = selection_form(selection);
    if (selection->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        op->immediate = selection->operands[0].imm.value.u;
        return push_immediate;
    }
    if (form == FORM_REGISTER)
        return selection->code_mode & CODE_MODE_LONG && op->operand_size == 8 ? push64_register
                                                                              : push_register;
    return form == FORM_MEMORY ? push_memory : NULL;
}

static op_handler *select_pop(struct selection *selection)
{
    enum operand_form form = selection_form(selection);
    if (form == FORM_REGISTER)
        return selection->code_mode & CODE_MODE_LONG && selection->op->operand_size == 8
                   ? pop64_register
                   : pop_register;
    return form == FORM_MEMORY ? pop_memory : NULL;
}

op_handler *select_stack(struct selection *selection)
{
    struct op *op = selection->op;
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
        return select_push(selection);
    case ZYDIS_MNEMONIC_POP:
        return select_pop(selection);
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD:
        return push_all;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
        return pop_all;
    case ZYDIS_MNEMONIC_LEAVE:
        return leave_frame;
    case ZYDIS_MNEMONIC_ENTER:
        op->immediate = selection->operands[0].imm.value.u;
        op->extra = selection->operands[1].imm.value.u;
        return enter_frame;
    default:
        return NULL;
    }
}
