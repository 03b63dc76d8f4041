/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD, SHRD and the BMI2 forms that the models may have. A
 * count of zero changes no flag. OF is defined for a count of one; other counts give what the
 * formula for one gives.
 */
#include "cpu/interpret/operand.h"

typedef uint64_t shift_function(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits);

static uint64_t truncate(uint64_t value, unsigned bits)
{
    return value & (~UINT64_C(0) >> (64 - bits));
}

static bool top_bit(uint64_t value, unsigned bits)
{
    return value >> (bits - 1) & 1;
}

static void set_shift_flags(struct vcpu *vcpu, uint64_t result, unsigned bits, bool carry,
                            bool overflow)
{
    flags_set_logic(vcpu, sign_extend(result, bits));
    flags_set_carry_overflow(vcpu, carry, overflow);
}

/* Counts are already masked to 5 or 6 bits and not zero; narrow operands may see counts beyond
 * their width. */
static uint64_t shl(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    uint64_t result = truncate(value << count, bits);
    bool carry = count <= bits && value >> (bits - count) & 1;
    set_shift_flags(vcpu, result, bits, carry, top_bit(result, bits) ^ carry);
    return result;
}

static uint64_t shr(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    uint64_t result = value >> count;
    set_shift_flags(vcpu, result, bits, value >> (count - 1) & 1, top_bit(value, bits));
    return result;
}

static uint64_t sar(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    int64_t wide = sign_extend(value, bits);
    uint64_t result = truncate((uint64_t)(wide >> count), bits);
    set_shift_flags(vcpu, result, bits, wide >> (count - 1) & 1, false);
    return result;
}

static uint64_t rol(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    count %= bits;
    uint64_t result = count ? truncate(value << count | value >> (bits - count), bits) : value;
    bool carry = result & 1;
    flags_set_carry_overflow(vcpu, carry, top_bit(result, bits) ^ carry);
    return result;
}

static uint64_t ror(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    count %= bits;
    uint64_t result = count ? truncate(value >> count | value << (bits - count), bits) : value;
    bool carry = top_bit(result, bits);
    flags_set_carry_overflow(vcpu, carry, carry ^ top_bit(result << 1, bits));
    return result;
}

static uint64_t rcl(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    bool carry = flag_carry(vcpu);
    for (count %= bits + 1; count; count--) {
        bool out = top_bit(value, bits);
        value = truncate(value << 1 | carry, bits);
        carry = out;
    }
    flags_set_carry_overflow(vcpu, carry, top_bit(value, bits) ^ carry);
    return value;
}

static uint64_t rcr(struct vcpu *vcpu, uint64_t value, unsigned count, unsigned bits)
{
    bool carry = flag_carry(vcpu);
    for (count %= bits + 1; count; count--) {
        bool out = value & 1;
        value = value >> 1 | (uint64_t)carry << (bits - 1);
        carry = out;
    }
    flags_set_carry_overflow(vcpu, carry, top_bit(value, bits) ^ top_bit(value << 1, bits));
    return value;
}

static unsigned count_mask(unsigned bits)
{
    return bits == 64 ? 63 : 31;
}

#define COUNT_IN_CL 0x100 /* in op->extra: the count comes from CL */

static unsigned shift_count(const struct vcpu *vcpu, const struct op *op, unsigned bits)
{
    uint64_t count = op->extra & COUNT_IN_CL ? vcpu->registers[GPR_RCX] : op->extra;
    return (unsigned)count & count_mask(bits);
}

/* A count of zero still clears the upper half of a 32-bit register destination. */
#define DEFINE_SHIFT(name, bits)                                                                   \
    static void name##bits##_register(struct vcpu *vcpu, const struct op *op)                      \
    {                                                                                              \
        unsigned count = shift_count(vcpu, op, bits);                                              \
        uint##bits##_t value = register_get##bits(vcpu, op->destination);                          \
        if (count)                                                                                 \
            value = (uint##bits##_t)name(vcpu, value, count, bits);                                \
        register_set##bits(vcpu, op->destination, value);                                          \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static inline enum mmu_status name##bits##_memory_work(struct vcpu *vcpu, const struct op *op) \
    {                                                                                              \
        struct modify modify;                                                                      \
        unsigned count = shift_count(vcpu, op, bits);                                              \
        if (unlikely(!modify_begin(vcpu, op, &modify, (bits) / 8)))                                \
            return MMU_FAULT;                                                                      \
        volatile access_u##bits *value = modify.pointer;                                           \
        if (count)                                                                                 \
            *value = (uint##bits##_t)name(vcpu, *value, count, bits);                              \
        return modify_end(vcpu, &modify, (bits) / 8);                                              \
    }                                                                                              \
    DEFINE_HANDLER(name##bits##_memory)
#define DEFINE_SHIFT_SIZES(name) \
    DEFINE_SHIFT(name, 8) DEFINE_SHIFT(name, 16) DEFINE_SHIFT(name, 32) DEFINE_SHIFT(name, 64)

DEFINE_SHIFT_SIZES(shl)
DEFINE_SHIFT_SIZES(shr)
DEFINE_SHIFT_SIZES(sar)
DEFINE_SHIFT_SIZES(rol)
DEFINE_SHIFT_SIZES(ror)
DEFINE_SHIFT_SIZES(rcl)
DEFINE_SHIFT_SIZES(rcr)

/* SHLD and SHRD; 16-bit counts beyond 16 rotate the pair again, as processors do. */
static uint64_t double_left(struct vcpu *vcpu, uint64_t value, uint64_t fill, unsigned count,
                            unsigned bits)
{
    unsigned __int128 wide = (unsigned __int128)value << bits | fill;
    if (bits == 16)
        wide = (unsigned __int128)(value << 32 | fill << 16 | value);
    unsigned width = bits == 16 ? 48 : 2 * bits;
    unsigned __int128 shifted = wide << count;
    uint64_t result = truncate((uint64_t)(shifted >> (width - bits)), bits);
    bool carry = (uint64_t)(wide >> (width - count)) & 1;
    set_shift_flags(vcpu, result, bits, carry, top_bit(result ^ value, bits));
    return result;
}

static uint64_t double_right(struct vcpu *vcpu, uint64_t value, uint64_t fill, unsigned count,
                             unsigned bits)
{
    unsigned __int128 wide = (unsigned __int128)fill << bits | value;
    if (bits == 16)
        wide = (unsigned __int128)(value << 32 | fill << 16 | value);
    uint64_t result = truncate((uint64_t)(wide >> count), bits);
    bool carry = (uint64_t)(wide >> (count - 1)) & 1;
    set_shift_flags(vcpu, result, bits, carry, top_bit(result ^ value, bits));
    return result;
}

#define DEFINE_DOUBLE(name, bits)                                                                  \
    static void name##bits##_register(struct vcpu *vcpu, const struct op *op)                      \
    {                                                                                              \
        unsigned count = shift_count(vcpu, op, bits);                                              \
        uint##bits##_t value = register_get##bits(vcpu, op->destination);                          \
        if (count)                                                                                 \
            value = (uint##bits##_t)name(vcpu, value, register_get##bits(vcpu, op->source), count, \
                                         bits);                                                    \
        register_set##bits(vcpu, op->destination, value);                                          \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static inline enum mmu_status name##bits##_memory_work(struct vcpu *vcpu, const struct op *op) \
    {                                                                                              \
        struct modify modify;                                                                      \
        unsigned count = shift_count(vcpu, op, bits);                                              \
        if (unlikely(!modify_begin(vcpu, op, &modify, (bits) / 8)))                                \
            return MMU_FAULT;                                                                      \
        volatile access_u##bits *value = modify.pointer;                                           \
        if (count)                                                                                 \
            *value = (uint##bits##_t)name(vcpu, *value, register_get##bits(vcpu, op->source),      \
                                          count, bits);                                            \
        return modify_end(vcpu, &modify, (bits) / 8);                                              \
    }                                                                                              \
    DEFINE_HANDLER(name##bits##_memory)

DEFINE_DOUBLE(double_left, 16)
DEFINE_DOUBLE(double_left, 32)
DEFINE_DOUBLE(double_left, 64)
DEFINE_DOUBLE(double_right, 16)
DEFINE_DOUBLE(double_right, 32)
DEFINE_DOUBLE(double_right, 64)

#define SIZES(name, form)                                                 \
    {                                                                     \
        name##8_##form, name##16_##form, name##32_##form, name##64_##form \
    }
#define WIDE_SIZES(name, form)                                  \
    {                                                           \
        NULL, name##16_##form, name##32_##form, name##64_##form \
    }
static const struct {
    ZydisMnemonic mnemonic;
    unsigned count_operand;     /* index */
    op_handler *handlers[2][4]; /* register, memory; by size_index */
} instructions[] = {
    {ZYDIS_MNEMONIC_SHL, 1, {SIZES(shl, register), SIZES(shl, memory)}},
    {ZYDIS_MNEMONIC_SHR, 1, {SIZES(shr, register), SIZES(shr, memory)}},
    {ZYDIS_MNEMONIC_SAR, 1, {SIZES(sar, register), SIZES(sar, memory)}},
    {ZYDIS_MNEMONIC_ROL, 1, {SIZES(rol, register), SIZES(rol, memory)}},
    {ZYDIS_MNEMONIC_ROR, 1, {SIZES(ror, register), SIZES(ror, memory)}},
    {ZYDIS_MNEMONIC_RCL, 1, {SIZES(rcl, register), SIZES(rcl, memory)}},
    {ZYDIS_MNEMONIC_RCR, 1, {SIZES(rcr, register), SIZES(rcr, memory)}},
    {ZYDIS_MNEMONIC_SHLD, 2, {WIDE_SIZES(double_left, register), WIDE_SIZES(double_left, memory)}},
    {ZYDIS_MNEMONIC_SHRD,
     2,
     {WIDE_SIZES(double_right, register), WIDE_SIZES(double_right, memory)}},
};

op_handler *select_shift(struct selection *selection)
{
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        selection_form(selection);
        const ZydisDecodedOperand *count = &selection->operands[instructions[i].count_operand];
        selection->op->extra =
            count->type == ZYDIS_OPERAND_TYPE_REGISTER ? COUNT_IN_CL : count->imm.value.u & 0xff;
        bool memory = selection->memory_operand == 0;
        return instructions[i].handlers[memory][size_index(selection->operands[0].size / 8)];
    }
    return NULL;
}
