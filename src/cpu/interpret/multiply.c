/* SPDX-License-Identifier: Apache-2.0 */
/* MUL, IMUL, DIV, IDIV. SF, ZF, AF and PF are undefined after MUL and IMUL: they follow the low
 * result here. */
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"

#define AH_OFFSET  1
#define RAX_OFFSET 0
#define RDX_OFFSET (GPR_RDX * 8)

static void set_product_flags(struct vcpu *vcpu, int64_t low, bool overflow)
{
    flags_set_logic(vcpu, low);
    flags_set_carry_overflow(vcpu, overflow, overflow);
}

/* One-operand forms: accumulator times value into rDX:rAX (AX for bytes). */
#define DEFINE_MULTIPLY(bits, wide, signed_wide)                                                   \
    static void mul##bits(struct vcpu *vcpu, uint##bits##_t value)                                 \
    {                                                                                              \
        wide product = (wide)register_get##bits(vcpu, RAX_OFFSET) * value;                         \
        store_product##bits(vcpu, (uint##bits##_t)product, (uint##bits##_t)(product >> (bits)));   \
        set_product_flags(vcpu, (int##bits##_t)product, product >> (bits) != 0);                   \
    }                                                                                              \
    static void imul##bits(struct vcpu *vcpu, uint##bits##_t value)                                \
    {                                                                                              \
        signed_wide product = (signed_wide)(int##bits##_t)register_get##bits(vcpu, RAX_OFFSET) *   \
                              (int##bits##_t)value;                                                \
        store_product##bits(vcpu, (uint##bits##_t)product, (uint##bits##_t)(product >> (bits)));   \
        set_product_flags(vcpu, (int##bits##_t)product, product != (int##bits##_t)product);        \
    }                                                                                              \
    /* False: #DE. */                                                                              \
    static bool div##bits(struct vcpu *vcpu, uint##bits##_t divisor)                               \
    {                                                                                              \
        wide dividend =                                                                            \
            (wide)load_high##bits(vcpu) << (bits) | register_get##bits(vcpu, RAX_OFFSET);          \
        if (!divisor || dividend / divisor > (uint##bits##_t) ~UINT64_C(0))                        \
            return raise_exception(vcpu, VECTOR_DE);                                               \
        store_product##bits(vcpu, (uint##bits##_t)(dividend / divisor),                            \
                            (uint##bits##_t)(dividend % divisor));                                 \
        return true;                                                                               \
    }                                                                                              \
    static bool idiv##bits(struct vcpu *vcpu, uint##bits##_t value)                                \
    {                                                                                              \
        int##bits##_t divisor = (int##bits##_t)value;                                              \
        wide raw = (wide)load_high##bits(vcpu) << (bits) | register_get##bits(vcpu, RAX_OFFSET);   \
        signed_wide dividend = (signed_wide)raw;                                                   \
        signed_wide lowest = (signed_wide)((wide)1 << (2 * (bits)-1));                             \
        if (!divisor || (divisor == -1 && dividend == lowest))                                     \
            return raise_exception(vcpu, VECTOR_DE);                                               \
        signed_wide quotient = dividend / divisor;                                                 \
        if (quotient != (int##bits##_t)quotient)                                                   \
            return raise_exception(vcpu, VECTOR_DE);                                               \
        store_product##bits(vcpu, (uint##bits##_t)quotient, (uint##bits##_t)(dividend % divisor)); \
        return true;                                                                               \
    }                                                                                              \
    static void mul##bits##_handler(struct vcpu *vcpu, const struct op *op)                        \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        if (!source##bits(vcpu, op, &value))                                                       \
            FAULT(vcpu, op);                                                                       \
        mul##bits(vcpu, value);                                                                    \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static void imul##bits##_handler(struct vcpu *vcpu, const struct op *op)                       \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        if (!source##bits(vcpu, op, &value))                                                       \
            FAULT(vcpu, op);                                                                       \
        imul##bits(vcpu, value);                                                                   \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static void div##bits##_handler(struct vcpu *vcpu, const struct op *op)                        \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        if (!source##bits(vcpu, op, &value) || !div##bits(vcpu, value))                            \
            FAULT(vcpu, op);                                                                       \
        NEXT(vcpu, op);                                                                            \
    }                                                                                              \
    static void idiv##bits##_handler(struct vcpu *vcpu, const struct op *op)                       \
    {                                                                                              \
        uint##bits##_t value;                                                                      \
        if (!source##bits(vcpu, op, &value) || !idiv##bits(vcpu, value))                           \
            FAULT(vcpu, op);                                                                       \
        NEXT(vcpu, op);                                                                            \
    }

/* The high half lives in rDX, but for bytes in AH. */
static uint8_t load_high8(const struct vcpu *vcpu)
{
    return register_get8(vcpu, AH_OFFSET);
}

static void store_product8(struct vcpu *vcpu, uint8_t low, uint8_t high)
{
    register_set8(vcpu, RAX_OFFSET, low);
    register_set8(vcpu, AH_OFFSET, high);
}

#define DEFINE_HIGH(bits)                                                                       \
    static uint##bits##_t load_high##bits(const struct vcpu *vcpu)                              \
    {                                                                                           \
        return register_get##bits(vcpu, RDX_OFFSET);                                            \
    }                                                                                           \
    static void store_product##bits(struct vcpu *vcpu, uint##bits##_t low, uint##bits##_t high) \
    {                                                                                           \
        register_set##bits(vcpu, RAX_OFFSET, low);                                              \
        register_set##bits(vcpu, RDX_OFFSET, high);                                             \
    }
DEFINE_HIGH(16)
DEFINE_HIGH(32)
DEFINE_HIGH(64)

/* condition: 1 when the source is the memory operand. */
#define DEFINE_SOURCE(bits)                                                                        \
    static inline bool source##bits(struct vcpu *vcpu, const struct op *op, uint##bits##_t *value) \
    {                                                                                              \
        if (op->condition)                                                                         \
            return operand_load##bits(vcpu, op, value);                                            \
        *value = register_get##bits(vcpu, op->source);                                             \
        return true;                                                                               \
    }
DEFINE_SOURCE(8)
DEFINE_SOURCE(16)
DEFINE_SOURCE(32)
DEFINE_SOURCE(64)

DEFINE_MULTIPLY(8, uint16_t, int16_t)
DEFINE_MULTIPLY(16, uint32_t, int32_t)
DEFINE_MULTIPLY(32, uint64_t, int64_t)
DEFINE_MULTIPLY(64, unsigned __int128, __int128)

#define DEFINE_IMUL_LOW(bits, signed_wide)                                                      \
    /* Two- and three-operand IMUL. */                                                          \
    static uint##bits##_t imul_low##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b) \
    {                                                                                           \
        signed_wide product = (signed_wide)(int##bits##_t)a * (int##bits##_t)b;                 \
        set_product_flags(vcpu, (int##bits##_t)product, product != (int##bits##_t)product);     \
        return (uint##bits##_t)product;                                                         \
    }                                                                                           \
    /* destination *= source (register or memory) */                                            \
    static void imul##bits##_two(struct vcpu *vcpu, const struct op *op)                        \
    {                                                                                           \
        uint##bits##_t value;                                                                   \
        if (!source##bits(vcpu, op, &value))                                                    \
            FAULT(vcpu, op);                                                                    \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                           \
        register_set##bits(vcpu, op->destination, imul_low##bits(vcpu, a, value));              \
        NEXT(vcpu, op);                                                                         \
    }                                                                                           \
    /* destination = source * immediate */                                                      \
    static void imul##bits##_three(struct vcpu *vcpu, const struct op *op)                      \
    {                                                                                           \
        uint##bits##_t value;                                                                   \
        if (!source##bits(vcpu, op, &value))                                                    \
            FAULT(vcpu, op);                                                                    \
        register_set##bits(vcpu, op->destination,                                               \
                           imul_low##bits(vcpu, value, (uint##bits##_t)op->immediate));         \
        NEXT(vcpu, op);                                                                         \
    }
DEFINE_IMUL_LOW(16, int32_t)
DEFINE_IMUL_LOW(32, int64_t)
DEFINE_IMUL_LOW(64, __int128)

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handlers[4];
} one_operand[] = {
    {ZYDIS_MNEMONIC_MUL, {mul8_handler, mul16_handler, mul32_handler, mul64_handler}},
    {ZYDIS_MNEMONIC_IMUL, {imul8_handler, imul16_handler, imul32_handler, imul64_handler}},
    {ZYDIS_MNEMONIC_DIV, {div8_handler, div16_handler, div32_handler, div64_handler}},
    {ZYDIS_MNEMONIC_IDIV, {idiv8_handler, idiv16_handler, idiv32_handler, idiv64_handler}},
};
static op_handler *const two_operands[4] = {NULL, imul16_two, imul32_two, imul64_two};
static op_handler *const three_operands[4] = {NULL, imul16_three, imul32_three, imul64_three};

op_handler *select_multiply(struct selection *selection)
{
    struct op *op = selection->op;
    for (unsigned i = 0; i < ARRAY_SIZE(one_operand); i++) {
        if (one_operand[i].mnemonic != selection->instruction.mnemonic)
            continue;
        unsigned count = selection->instruction.operand_count_visible;
        unsigned size = size_index(selection->operands[0].size / 8);
        selection_form(selection);
        op->condition = selection->memory_operand >= 0;
        if (count == 1) {
            op->source = op->destination;
            return one_operand[i].handlers[size];
        }
        if (count == 2)
            return two_operands[size];
        op->immediate = selection->operands[2].imm.value.u;
        return three_operands[size];
    }
    return NULL;
}
