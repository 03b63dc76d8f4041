/* SPDX-License-Identifier: Apache-2.0 */
/* Stack instructions. What several in a row change RSP by is added at their end. */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

static bool is_stack_pointer(const struct instruction *instruction)
{
    return instruction->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           guest_register(instruction->operands[0].reg.value) == GPR_RSP;
}

static void load(struct builder *builder, unsigned to, int32_t displacement)
{
    const struct emit_address address = {S0, NO_REGISTER, 0, displacement};
    emit_memory(&builder->emitter, OPCODE_LOAD, builder->wide, to, &address);
}

static void store(struct builder *builder, unsigned from, int32_t displacement)
{
    const struct emit_address address = {S0, NO_REGISTER, 0, displacement};
    emit_memory(&builder->emitter, OPCODE_STORE, builder->wide, from, &address);
}

static bool joins_pushes(const struct instruction *instruction)
{
    return instruction->method == METHOD_PUSH && instruction->memory < 0 &&
           !is_stack_pointer(instruction);
}

static bool joins_pops(const struct instruction *instruction)
{
    return instruction->method == METHOD_RETURN ||
           (instruction->method == METHOD_POP && !is_stack_pointer(instruction));
}

/* Does the next instruction go on with what the present one does, in the same window? Then nothing
 * can come up between them that would show RSP. */
static bool goes_on(const struct builder *builder)
{
    const struct instruction *present = builder->instruction, *next = present + 1;
    unsigned index = (unsigned)(present - builder->scan->instructions);
    if (index + 1 == builder->scan->count)
        return false;
    const struct window_reach *here = &builder->plan.reaches[index][WINDOW_STACK];
    const struct window_reach *there = &builder->plan.reaches[index + 1][WINDOW_STACK];
    bool joins = (joins_pushes(present) && joins_pushes(next)) ||
                 (present->method == METHOD_POP && joins_pops(present) && joins_pops(next));
    return joins && here->window >= 0 && here->window == there->window;
}

/* Adds to RSP, now or together with what follows. */
static void move_stack(struct builder *builder, int32_t change)
{
    builder->stack_change += change;
    if (goes_on(builder))
        return;
    build_add_pointer(builder, GPR_RSP, GPR_RSP, builder->stack_change);
    builder->stack_change = 0;
}

/* Where a PUSH goes to: [S0 + the result]. */
static int32_t push_access(struct builder *builder)
{
    return build_stack_access(builder, MMU_WRITE, GPR_RSP, -build_slot_size(builder));
}

static int32_t pop_access(struct builder *builder, unsigned from)
{
    return build_stack_access(builder, MMU_READ, from, 0);
}

/* The register (of segments too) or immediate operand of a PUSH to [S0 + displacement]. */
static void store_operand(struct builder *builder, int32_t displacement)
{
    struct emitter *emitter = &builder->emitter;
    const ZydisDecodedOperand *operand = &builder->instruction->operands[0];
    if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        /* mov [S0 + disp32], imm32 */
        const uint8_t bytes[] = {builder->wide ? 0x49 : 0x41, 0xc7, 0x86};
        emit_bytes(emitter, bytes, sizeof(bytes));
        emit_u32(emitter, (uint32_t)displacement);
        emit_u32(emitter, (uint32_t)operand->imm.value.s);
        return;
    }
    unsigned number = guest_register(operand->reg.value);
    if (number == NO_REGISTER)
        build_load_selector(builder, S1, operand->reg.value);
    else if (is_stolen(number))
        emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU_REGISTER(number));
    store(builder, number == NO_REGISTER || is_stolen(number) ? S1 : number, displacement);
}

/* The register operand of a POP from [S0 + displacement]. */
static void load_operand(struct builder *builder, int32_t displacement)
{
    unsigned number = guest_register(builder->instruction->operands[0].reg.value);
    load(builder, is_stolen(number) ? S1 : number, displacement);
    if (is_stolen(number))
        emit_vcpu(&builder->emitter, OPCODE_STORE, true, S1, VCPU_REGISTER(number));
}

void build_push_spill(struct builder *builder)
{
    int32_t displacement = push_access(builder);
    emit_vcpu(&builder->emitter, OPCODE_LOAD, true, S1, VCPU(translate.spill));
    store(builder, S1, displacement);
    move_stack(builder, -build_slot_size(builder));
}

void build_push_return(struct builder *builder)
{
    int32_t displacement = push_access(builder);
    build_code_address(builder, S1, instruction_end(builder->instruction));
    store(builder, S1, displacement);
    move_stack(builder, -build_slot_size(builder));
}

void build_push(struct builder *builder)
{
    if (builder->instruction->memory >= 0) {
        build_load_operand(builder);
        emit_vcpu(&builder->emitter, OPCODE_STORE, true, S0, VCPU(translate.spill));
        build_push_spill(builder);
        return;
    }
    store_operand(builder, push_access(builder));
    move_stack(builder, -build_slot_size(builder));
}

void build_pop(struct builder *builder)
{
    load_operand(builder, pop_access(builder, GPR_RSP));
    if (!is_stack_pointer(builder->instruction))
        move_stack(builder, build_slot_size(builder));
}

void build_leave(struct builder *builder)
{
    int32_t displacement = pop_access(builder, GPR_RBP);
    build_add_pointer(builder, GPR_RSP, GPR_RBP, build_slot_size(builder));
    load(builder, GPR_RBP, displacement);
}

void build_return(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    bool more = instruction->decoded.operand_count_visible;
    int32_t size =
        build_slot_size(builder) + (more ? (int32_t)instruction->operands[0].imm.value.u : 0);
    load(builder, S0, pop_access(builder, GPR_RSP));
    move_stack(builder, size);
    build_indirect(builder, size);
}
