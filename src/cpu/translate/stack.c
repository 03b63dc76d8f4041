/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stack instructions. Functions begin and end with several of them in a row: such a run is checked
 * once.
 */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

#define RUN_MAX 8

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

/* S0 := hva of the slot below the stack pointer. */
static void push_access(struct builder *builder)
{
    int32_t slot = build_slot_size(builder);
    build_free_flags(builder, builder->instruction->flags_live);
    build_add_pointer(builder, S0, GPR_RSP, -slot);
    build_access(builder, MMU_WRITE, (unsigned)slot);
}

static void pop_access(struct builder *builder, unsigned from)
{
    build_free_flags(builder, builder->instruction->flags_live);
    build_load_pointer(builder, S0, from);
    build_access(builder, MMU_READ, (unsigned)build_slot_size(builder));
}

/* The register or immediate operand of a PUSH to [S0 + displacement]. */
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
    if (is_stolen(number)) {
        emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU_REGISTER(number));
        number = S1;
    }
    store(builder, number, displacement);
}

/* The register operand of a POP from [S0 + displacement]. */
static void load_operand(struct builder *builder, int32_t displacement)
{
    unsigned number = guest_register(builder->instruction->operands[0].reg.value);
    load(builder, is_stolen(number) ? S1 : number, displacement);
    if (is_stolen(number))
        emit_vcpu(&builder->emitter, OPCODE_STORE, true, S1, VCPU_REGISTER(number));
}

/* --- one by one --- */

void build_push_spill(struct builder *builder)
{
    push_access(builder);
    emit_vcpu(&builder->emitter, OPCODE_LOAD, true, S1, VCPU(translate.spill));
    store(builder, S1, 0);
    build_add_pointer(builder, GPR_RSP, GPR_RSP, -build_slot_size(builder));
}

void build_push_return(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    push_access(builder);
    build_code_address(builder, S1, instruction_end(instruction));
    store(builder, S1, 0);
    build_add_pointer(builder, GPR_RSP, GPR_RSP, -build_slot_size(builder));
}

void build_push(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    if (instruction->memory >= 0) {
        build_load_operand(builder);
        emit_vcpu(&builder->emitter, OPCODE_STORE, true, S0, VCPU(translate.spill));
        build_push_spill(builder);
        return;
    }
    push_access(builder);
    store_operand(builder, 0);
    build_add_pointer(builder, GPR_RSP, GPR_RSP, -build_slot_size(builder));
}

void build_pop(struct builder *builder)
{
    pop_access(builder, GPR_RSP);
    load_operand(builder, 0);
    if (!is_stack_pointer(builder->instruction))
        build_add_pointer(builder, GPR_RSP, GPR_RSP, build_slot_size(builder));
}

void build_leave(struct builder *builder)
{
    pop_access(builder, GPR_RBP);
    build_add_pointer(builder, GPR_RSP, GPR_RBP, build_slot_size(builder));
    load(builder, GPR_RBP, 0);
}

/* Bytes a RET takes off the stack. */
static int32_t return_size(const struct builder *builder, const struct instruction *instruction)
{
    bool more = instruction->decoded.operand_count_visible;
    return build_slot_size(builder) + (more ? (int32_t)instruction->operands[0].imm.value.u : 0);
}

/* S0 := where RET goes. */
static void pop_return(struct builder *builder)
{
    pop_access(builder, GPR_RSP);
    load(builder, S0, 0);
    build_add_pointer(builder, GPR_RSP, GPR_RSP, return_size(builder, builder->instruction));
}

void build_return(struct builder *builder)
{
    pop_return(builder);
    build_indirect(builder, return_size(builder, builder->instruction));
}

/* --- runs --- */

static bool joins_pushes(const struct instruction *instruction)
{
    return instruction->method == METHOD_PUSH && instruction->memory < 0 &&
           !is_stack_pointer(instruction);
}

static bool joins_pops(const struct instruction *instruction)
{
    return instruction->method == METHOD_POP && !is_stack_pointer(instruction);
}

/* How many instructions from the present one on make a run; the last of one of pops may be a RET.
 */
static unsigned run_length(const struct builder *builder)
{
    const struct instruction *first = builder->instruction;
    const struct instruction *end = builder->scan->instructions + builder->scan->count;
    const struct instruction *at = first;
    bool pops = joins_pops(first);
    while (at < end && at - first < RUN_MAX && (pops ? joins_pops(at) : joins_pushes(at)))
        at++;
    if (pops && at < end && at->method == METHOD_RETURN)
        at++;
    return (unsigned)(at - first);
}

static void build_run(struct builder *builder, unsigned count)
{
    const struct instruction *first = builder->instruction;
    int32_t slot = build_slot_size(builder), size = (int32_t)count * slot;
    bool pops = joins_pops(first);
    for (unsigned i = 0; i < count; i++) {
        builder->instruction = first + i;
        if (!pops)
            store_operand(builder, size - slot * ((int32_t)i + 1));
        else if (first[i].method == METHOD_POP)
            load_operand(builder, slot * (int32_t)i);
        else
            load(builder, S0, slot * (int32_t)i);
    }
    if (builder->instruction->method == METHOD_RETURN)
        size += return_size(builder, builder->instruction) - slot;
    build_add_pointer(builder, GPR_RSP, GPR_RSP, pops ? size : -size);
}

unsigned build_stack_run(struct builder *builder, uint32_t host)
{
    unsigned count = run_length(builder);
    if (count < 2)
        return 0;
    const struct instruction *first = builder->instruction;
    bool pops = joins_pops(first);
    build_free_flags(builder, first->flags_live);
    int32_t size = (int32_t)count * build_slot_size(builder);
    if (pops)
        build_load_pointer(builder, S0, GPR_RSP);
    else
        build_add_pointer(builder, S0, GPR_RSP, -size);
    build_run_access(builder, pops ? MMU_READ : MMU_WRITE, (unsigned)size);
    build_run(builder, count);
    if (first[count - 1].method == METHOD_RETURN)
        build_indirect(builder, return_size(builder, &first[count - 1]));
    for (unsigned i = 0; i < count; i++) {
        builder->instruction = first + i;
        build_mark(builder, host);
    }
    return count;
}
