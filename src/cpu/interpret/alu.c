/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT in every size and form. One
 * generic function an operation does the arithmetic; macros make a handler for each size and form
 * of it.
 */
#include "cpu/interpret/alu.h"

#include "cpu/interpret/fused.h"
#include "cpu/interpret/operand.h"

/* Handlers of a two-operand instruction that writes its destination. */
#define DEFINE_BINARY(name, bits)                                                                 \
    static void name##bits##_register_register(struct vcpu *vcpu, const struct op *op)            \
    {                                                                                             \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                             \
        uint##bits##_t b = register_get##bits(vcpu, op->source);                                  \
        register_set##bits(vcpu, op->destination, name##bits(vcpu, a, b));                        \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static void name##bits##_register_immediate(struct vcpu *vcpu, const struct op *op)           \
    {                                                                                             \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                             \
        register_set##bits(vcpu, op->destination,                                                 \
                           name##bits(vcpu, a, (uint##bits##_t)op->immediate));                   \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static void name##bits##_register_memory(struct vcpu *vcpu, const struct op *op)              \
    {                                                                                             \
        uint##bits##_t b;                                                                         \
        if (unlikely(!operand_load##bits(vcpu, op, &b)))                                          \
            FAULT(vcpu, op);                                                                      \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                             \
        register_set##bits(vcpu, op->destination, name##bits(vcpu, a, b));                        \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static inline __attribute__((always_inline)) enum mmu_status name##bits##_memory(             \
        struct vcpu *vcpu, const struct op *op, uint##bits##_t b)                                 \
    {                                                                                             \
        struct modify modify;                                                                     \
        if (unlikely(!modify_begin(vcpu, op, &modify, (bits) / 8)))                               \
            return MMU_FAULT;                                                                     \
        volatile access_u##bits *value = modify.pointer;                                          \
        *value = name##bits(vcpu, *value, b);                                                     \
        return modify_end(vcpu, &modify, (bits) / 8);                                             \
    }                                                                                             \
    static void name##bits##_memory_register(struct vcpu *vcpu, const struct op *op)              \
    {                                                                                             \
        NEXT_AFTER_STORE(vcpu, op,                                                                \
                         name##bits##_memory(vcpu, op, register_get##bits(vcpu, op->source)));    \
    }                                                                                             \
    static void name##bits##_memory_immediate(struct vcpu *vcpu, const struct op *op)             \
    {                                                                                             \
        NEXT_AFTER_STORE(vcpu, op, name##bits##_memory(vcpu, op, (uint##bits##_t)op->immediate)); \
    }

/* Handlers of CMP and TEST: nothing is written. */
#define DEFINE_COMPARE(name, operation, bits)                                           \
    static void name##bits##_register_register(struct vcpu *vcpu, const struct op *op)  \
    {                                                                                   \
        operation##bits(vcpu, register_get##bits(vcpu, op->destination),                \
                        register_get##bits(vcpu, op->source));                          \
        NEXT(vcpu, op);                                                                 \
    }                                                                                   \
    static void name##bits##_register_immediate(struct vcpu *vcpu, const struct op *op) \
    {                                                                                   \
        operation##bits(vcpu, register_get##bits(vcpu, op->destination),                \
                        (uint##bits##_t)op->immediate);                                 \
        NEXT(vcpu, op);                                                                 \
    }                                                                                   \
    static void name##bits##_register_memory(struct vcpu *vcpu, const struct op *op)    \
    {                                                                                   \
        uint##bits##_t b;                                                               \
        if (unlikely(!operand_load##bits(vcpu, op, &b)))                                \
            FAULT(vcpu, op);                                                            \
        operation##bits(vcpu, register_get##bits(vcpu, op->destination), b);            \
        NEXT(vcpu, op);                                                                 \
    }                                                                                   \
    static void name##bits##_memory_register(struct vcpu *vcpu, const struct op *op)    \
    {                                                                                   \
        uint##bits##_t a;                                                               \
        if (unlikely(!operand_load##bits(vcpu, op, &a)))                                \
            FAULT(vcpu, op);                                                            \
        operation##bits(vcpu, a, register_get##bits(vcpu, op->source));                 \
        NEXT(vcpu, op);                                                                 \
    }                                                                                   \
    static void name##bits##_memory_immediate(struct vcpu *vcpu, const struct op *op)   \
    {                                                                                   \
        uint##bits##_t a;                                                               \
        if (unlikely(!operand_load##bits(vcpu, op, &a)))                                \
            FAULT(vcpu, op);                                                            \
        operation##bits(vcpu, a, (uint##bits##_t)op->immediate);                        \
        NEXT(vcpu, op);                                                                 \
    }

#define DEFINE_UNARY(name, bits)                                                                   \
    static void name##bits##_register(struct vcpu *vcpu, const struct op *op)                      \
    {                                                                                              \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                              \
        register_set##bits(vcpu, op->destination, name##bits(vcpu, a));                            \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static inline enum mmu_status name##bits##_memory_work(struct vcpu *vcpu, const struct op *op) \
    {                                                                                              \
        struct modify modify;                                                                      \
        if (unlikely(!modify_begin(vcpu, op, &modify, (bits) / 8)))                                \
            return MMU_FAULT;                                                                      \
        volatile access_u##bits *value = modify.pointer;                                           \
        *value = name##bits(vcpu, *value);                                                         \
        return modify_end(vcpu, &modify, (bits) / 8);                                              \
    }                                                                                              \
    DEFINE_HANDLER(name##bits##_memory)

#define FOR_SIZES(macro, ...) \
    macro(__VA_ARGS__, 8) macro(__VA_ARGS__, 16) macro(__VA_ARGS__, 32) macro(__VA_ARGS__, 64)

FOR_SIZES(DEFINE_BINARY, add)
FOR_SIZES(DEFINE_BINARY, adc)
FOR_SIZES(DEFINE_BINARY, sub)
FOR_SIZES(DEFINE_BINARY, sbb)
FOR_SIZES(DEFINE_BINARY, and)
FOR_SIZES(DEFINE_BINARY, or)
FOR_SIZES(DEFINE_BINARY, xor)
FOR_SIZES(DEFINE_COMPARE, cmp, sub)
FOR_SIZES(DEFINE_COMPARE, test, and)
FOR_SIZES(DEFINE_UNARY, inc)
FOR_SIZES(DEFINE_UNARY, dec)
FOR_SIZES(DEFINE_UNARY, neg)
FOR_SIZES(DEFINE_UNARY, not )

/* XOR of a register with itself: the compiler's way to write zero. */
static void clear32(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, op->destination, 0);
    flags_set_logic(vcpu, 0);
    NEXT(vcpu, op);
}

#define FORM_ROW(name, form)                                              \
    {                                                                     \
        name##8_##form, name##16_##form, name##32_##form, name##64_##form \
    }
#define BINARY_FORMS(name)                                              \
    {                                                                   \
        [FORM_REGISTER_REGISTER] = FORM_ROW(name, register_register),   \
        [FORM_REGISTER_IMMEDIATE] = FORM_ROW(name, register_immediate), \
        [FORM_REGISTER_MEMORY] = FORM_ROW(name, register_memory),       \
        [FORM_MEMORY_REGISTER] = FORM_ROW(name, memory_register),       \
        [FORM_MEMORY_IMMEDIATE] = FORM_ROW(name, memory_immediate),     \
    }
#define UNARY_FORMS(name)                                                                   \
    {                                                                                       \
        [FORM_REGISTER] = FORM_ROW(name, register), [FORM_MEMORY] = FORM_ROW(name, memory), \
    }

enum {
    ALU_NONE,
    ALU_ADD,
    ALU_ADC,
    ALU_SUB,
    ALU_SBB,
    ALU_AND,
    ALU_OR,
    ALU_XOR,
    ALU_CMP,
    ALU_TEST,
    ALU_INC,
    ALU_DEC,
    ALU_NEG,
    ALU_NOT,
};

/* Every instruction of the guest comes by here when it is decoded: no search. */
static const uint8_t instructions[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    [ZYDIS_MNEMONIC_ADD] = ALU_ADD,   [ZYDIS_MNEMONIC_ADC] = ALU_ADC,
    [ZYDIS_MNEMONIC_SUB] = ALU_SUB,   [ZYDIS_MNEMONIC_SBB] = ALU_SBB,
    [ZYDIS_MNEMONIC_AND] = ALU_AND,   [ZYDIS_MNEMONIC_OR] = ALU_OR,
    [ZYDIS_MNEMONIC_XOR] = ALU_XOR,   [ZYDIS_MNEMONIC_CMP] = ALU_CMP,
    [ZYDIS_MNEMONIC_TEST] = ALU_TEST, [ZYDIS_MNEMONIC_INC] = ALU_INC,
    [ZYDIS_MNEMONIC_DEC] = ALU_DEC,   [ZYDIS_MNEMONIC_NEG] = ALU_NEG,
    [ZYDIS_MNEMONIC_NOT] = ALU_NOT,
};

/* By instruction, form, and size_index() of the operands. */
static op_handler *const handlers[][FORM_COUNT][4] = {
    [ALU_ADD] = BINARY_FORMS(add), [ALU_ADC] = BINARY_FORMS(adc), [ALU_SUB] = BINARY_FORMS(sub),
    [ALU_SBB] = BINARY_FORMS(sbb), [ALU_AND] = BINARY_FORMS(and), [ALU_OR] = BINARY_FORMS(or),
    [ALU_XOR] = BINARY_FORMS(xor), [ALU_CMP] = BINARY_FORMS(cmp), [ALU_TEST] = BINARY_FORMS(test),
    [ALU_INC] = UNARY_FORMS(inc),  [ALU_DEC] = UNARY_FORMS(dec),  [ALU_NEG] = UNARY_FORMS(neg),
    [ALU_NOT] = UNARY_FORMS(not ),
};

op_handler *select_alu(struct selection *selection)
{
    unsigned instruction = instructions[selection->instruction.mnemonic];
    if (instruction == ALU_NONE)
        return NULL;
    enum operand_form form = selection_form(selection);
    if (form == FORM_OTHER)
        return NULL;
    unsigned size = selection->operands[0].size / 8;
    const struct op *op = selection->op;
    if (instruction == ALU_XOR && form == FORM_REGISTER_REGISTER && op->destination == op->source &&
        size >= 4)
        return clear32;
    if (instruction == ALU_CMP || instruction == ALU_TEST)
        selection->compare = fused_compare(instruction == ALU_TEST, form, size);
    return handlers[instruction][form][size_index(size)];
}
