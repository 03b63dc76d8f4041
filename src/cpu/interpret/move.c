/* SPDX-License-Identifier: Apache-2.0 */
/* MOV, MOVZX, MOVSX, MOVSXD, LEA, XCHG of registers, BSWAP, MOVBE, CMOVcc, SETcc, CBW and CWD
 * families. */
#include "cpu/interpret/operand.h"

#define DEFINE_MOVE(bits)                                                                         \
    static void mov##bits##_register_register(struct vcpu *vcpu, const struct op *op)             \
    {                                                                                             \
        register_set##bits(vcpu, op->destination, register_get##bits(vcpu, op->source));          \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static void mov##bits##_register_immediate(struct vcpu *vcpu, const struct op *op)            \
    {                                                                                             \
        register_set##bits(vcpu, op->destination, (uint##bits##_t)op->immediate);                 \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static void mov##bits##_register_memory(struct vcpu *vcpu, const struct op *op)               \
    {                                                                                             \
        uint##bits##_t value;                                                                     \
        if (unlikely(!operand_load##bits(vcpu, op, &value)))                                      \
            FAULT(vcpu, op);                                                                      \
        register_set##bits(vcpu, op->destination, value);                                         \
        NEXT(vcpu, op);                                                                           \
    }                                                                                             \
    static void mov##bits##_memory_register(struct vcpu *vcpu, const struct op *op)               \
    {                                                                                             \
        NEXT_AFTER_STORE(vcpu, op,                                                                \
                         operand_store##bits(vcpu, op, register_get##bits(vcpu, op->source)));    \
    }                                                                                             \
    static void mov##bits##_memory_immediate(struct vcpu *vcpu, const struct op *op)              \
    {                                                                                             \
        NEXT_AFTER_STORE(vcpu, op, operand_store##bits(vcpu, op, (uint##bits##_t)op->immediate)); \
    }                                                                                             \
    static void xchg##bits##_register_register(struct vcpu *vcpu, const struct op *op)            \
    {                                                                                             \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);                             \
        uint##bits##_t b = register_get##bits(vcpu, op->source);                                  \
        register_set##bits(vcpu, op->destination, b);                                             \
        register_set##bits(vcpu, op->source, a);                                                  \
        NEXT(vcpu, op);                                                                           \
    }

DEFINE_MOVE(8)
DEFINE_MOVE(16)
DEFINE_MOVE(32)
DEFINE_MOVE(64)

/* Zero- and sign-extending moves: `from` bits into a destination of `to` bits. */
#define DEFINE_EXTEND(name, from, to, from_type, to_type)                                 \
    static void name##_register(struct vcpu *vcpu, const struct op *op)                   \
    {                                                                                     \
        uint##from##_t value = register_get##from(vcpu, op->source);                      \
        register_set##to(vcpu, op->destination, (uint##to##_t)(to_type)(from_type)value); \
        NEXT(vcpu, op);                                                                   \
    }                                                                                     \
    static void name##_memory(struct vcpu *vcpu, const struct op *op)                     \
    {                                                                                     \
        uint##from##_t value;                                                             \
        if (unlikely(!operand_load##from(vcpu, op, &value)))                              \
            FAULT(vcpu, op);                                                              \
        register_set##to(vcpu, op->destination, (uint##to##_t)(to_type)(from_type)value); \
        NEXT(vcpu, op);                                                                   \
    }

DEFINE_EXTEND(zero_8_16, 8, 16, uint8_t, uint16_t)
DEFINE_EXTEND(zero_8_32, 8, 32, uint8_t, uint32_t)
DEFINE_EXTEND(zero_8_64, 8, 64, uint8_t, uint64_t)
DEFINE_EXTEND(zero_16_16, 16, 16, uint16_t, uint16_t)
DEFINE_EXTEND(zero_16_32, 16, 32, uint16_t, uint32_t)
DEFINE_EXTEND(zero_16_64, 16, 64, uint16_t, uint64_t)
DEFINE_EXTEND(sign_8_16, 8, 16, int8_t, int16_t)
DEFINE_EXTEND(sign_8_32, 8, 32, int8_t, int32_t)
DEFINE_EXTEND(sign_8_64, 8, 64, int8_t, int64_t)
DEFINE_EXTEND(sign_16_16, 16, 16, int16_t, int16_t)
DEFINE_EXTEND(sign_16_32, 16, 32, int16_t, int32_t)
DEFINE_EXTEND(sign_16_64, 16, 64, int16_t, int64_t)
DEFINE_EXTEND(sign_32_16, 32, 16, int32_t, int16_t)
DEFINE_EXTEND(sign_32_32, 32, 32, int32_t, int32_t)
DEFINE_EXTEND(sign_32_64, 32, 64, int32_t, int64_t)

/* By source size_index, destination size_index, register or memory source. */
static op_handler *const extend_zero[2][4][2] = {
    {[1] = {zero_8_16_register, zero_8_16_memory},
     [2] = {zero_8_32_register, zero_8_32_memory},
     [3] = {zero_8_64_register, zero_8_64_memory}},
    {[1] = {zero_16_16_register, zero_16_16_memory},
     [2] = {zero_16_32_register, zero_16_32_memory},
     [3] = {zero_16_64_register, zero_16_64_memory}},
};
static op_handler *const extend_sign[3][4][2] = {
    {[1] = {sign_8_16_register, sign_8_16_memory},
     [2] = {sign_8_32_register, sign_8_32_memory},
     [3] = {sign_8_64_register, sign_8_64_memory}},
    {[1] = {sign_16_16_register, sign_16_16_memory},
     [2] = {sign_16_32_register, sign_16_32_memory},
     [3] = {sign_16_64_register, sign_16_64_memory}},
    {[1] = {sign_32_16_register, sign_32_16_memory},
     [2] = {sign_32_32_register, sign_32_32_memory},
     [3] = {sign_32_64_register, sign_32_64_memory}},
};

static void lea16(struct vcpu *vcpu, const struct op *op)
{
    register_set16(vcpu, op->destination, (uint16_t)op_offset(vcpu, op));
    NEXT(vcpu, op);
}

static void lea32(struct vcpu *vcpu, const struct op *op)
{
    register_set32(vcpu, op->destination, (uint32_t)op_offset(vcpu, op));
    NEXT(vcpu, op);
}

static void lea64(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, op->destination, op_offset(vcpu, op));
    NEXT(vcpu, op);
}

static void bswap32(struct vcpu *vcpu, const struct op *op)
{
    register_set32(vcpu, op->destination, __builtin_bswap32(register_get32(vcpu, op->destination)));
    NEXT(vcpu, op);
}

static void bswap64(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, op->destination, __builtin_bswap64(register_get64(vcpu, op->destination)));
    NEXT(vcpu, op);
}

/* Undefined by the manuals; processors clear the register. */
static void bswap16(struct vcpu *vcpu, const struct op *op)
{
    register_set16(vcpu, op->destination, 0);
    NEXT(vcpu, op);
}

#define DEFINE_MOVBE(bits)                                                                  \
    static void movbe##bits##_load(struct vcpu *vcpu, const struct op *op)                  \
    {                                                                                       \
        uint##bits##_t value;                                                               \
        if (!operand_load##bits(vcpu, op, &value))                                          \
            FAULT(vcpu, op);                                                                \
        register_set##bits(vcpu, op->destination, __builtin_bswap##bits(value));            \
        NEXT(vcpu, op);                                                                     \
    }                                                                                       \
    static void movbe##bits##_store(struct vcpu *vcpu, const struct op *op)                 \
    {                                                                                       \
        uint##bits##_t value = __builtin_bswap##bits(register_get##bits(vcpu, op->source)); \
        NEXT_AFTER_STORE(vcpu, op, operand_store##bits(vcpu, op, value));                   \
    }

DEFINE_MOVBE(16)
DEFINE_MOVBE(32)
DEFINE_MOVBE(64)

/* A 32-bit CMOV clears the upper half of its destination even when the condition is false; a memory
 * source is always read. */
#define DEFINE_CMOV(bits)                                                                   \
    static void cmov##bits##_register(struct vcpu *vcpu, const struct op *op)               \
    {                                                                                       \
        uint8_t from = flags_condition(vcpu, op->condition) ? op->source : op->destination; \
        register_set##bits(vcpu, op->destination, register_get##bits(vcpu, from));          \
        NEXT(vcpu, op);                                                                     \
    }                                                                                       \
    static void cmov##bits##_memory(struct vcpu *vcpu, const struct op *op)                 \
    {                                                                                       \
        uint##bits##_t value;                                                               \
        if (unlikely(!operand_load##bits(vcpu, op, &value)))                                \
            FAULT(vcpu, op);                                                                \
        if (!flags_condition(vcpu, op->condition))                                          \
            value = register_get##bits(vcpu, op->destination);                              \
        register_set##bits(vcpu, op->destination, value);                                   \
        NEXT(vcpu, op);                                                                     \
    }

DEFINE_CMOV(16)
DEFINE_CMOV(32)
DEFINE_CMOV(64)

static void set_register(struct vcpu *vcpu, const struct op *op)
{
    register_set8(vcpu, op->destination, flags_condition(vcpu, op->condition));
    NEXT(vcpu, op);
}

static void set_memory(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(vcpu, op, operand_store8(vcpu, op, flags_condition(vcpu, op->condition)));
}

#define RAX_OFFSET 0
#define RDX_OFFSET (GPR_RDX * 8)

/* CBW, CWDE, CDQE: widen the accumulator; CWD, CDQ, CQO: its sign into rDX. */
static void cbw(struct vcpu *vcpu, const struct op *op)
{
    register_set16(vcpu, RAX_OFFSET, (uint16_t)(int8_t)register_get8(vcpu, RAX_OFFSET));
    NEXT(vcpu, op);
}

static void cwde(struct vcpu *vcpu, const struct op *op)
{
    register_set32(vcpu, RAX_OFFSET, (uint32_t)(int16_t)register_get16(vcpu, RAX_OFFSET));
    NEXT(vcpu, op);
}

static void cdqe(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, RAX_OFFSET, (uint64_t)(int32_t)register_get32(vcpu, RAX_OFFSET));
    NEXT(vcpu, op);
}

static void cwd(struct vcpu *vcpu, const struct op *op)
{
    register_set16(vcpu, RDX_OFFSET, (int16_t)register_get16(vcpu, RAX_OFFSET) < 0 ? 0xffff : 0);
    NEXT(vcpu, op);
}

static void cdq(struct vcpu *vcpu, const struct op *op)
{
    register_set32(vcpu, RDX_OFFSET, (int32_t)register_get32(vcpu, RAX_OFFSET) < 0 ? ~0u : 0);
    NEXT(vcpu, op);
}

static void cqo(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, RDX_OFFSET,
                   (int64_t)register_get64(vcpu, RAX_OFFSET) < 0 ? ~UINT64_C(0) : 0);
    NEXT(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
} implicit[] = {
    {ZYDIS_MNEMONIC_CBW, cbw}, {ZYDIS_MNEMONIC_CWDE, cwde}, {ZYDIS_MNEMONIC_CDQE, cdqe},
    {ZYDIS_MNEMONIC_CWD, cwd}, {ZYDIS_MNEMONIC_CDQ, cdq},   {ZYDIS_MNEMONIC_CQO, cqo},
};

#define FORM_ROW(name, form)                                              \
    {                                                                     \
        name##8_##form, name##16_##form, name##32_##form, name##64_##form \
    }
static op_handler *const moves[FORM_COUNT][4] = {
    [FORM_REGISTER_REGISTER] = FORM_ROW(mov, register_register),
    [FORM_REGISTER_IMMEDIATE] = FORM_ROW(mov, register_immediate),
    [FORM_REGISTER_MEMORY] = FORM_ROW(mov, register_memory),
    [FORM_MEMORY_REGISTER] = FORM_ROW(mov, memory_register),
    [FORM_MEMORY_IMMEDIATE] = FORM_ROW(mov, memory_immediate),
};
static op_handler *const exchanges[4] = FORM_ROW(xchg, register_register);
static op_handler *const leas[4] = {NULL, lea16, lea32, lea64};
static op_handler *const bswaps[4] = {NULL, bswap16, bswap32, bswap64};
static op_handler *const movbes[2][4] = {{NULL, movbe16_load, movbe32_load, movbe64_load},
                                         {NULL, movbe16_store, movbe32_store, movbe64_store}};
static op_handler *const cmovs[2][4] = {{NULL, cmov16_register, cmov32_register, cmov64_register},
                                        {NULL, cmov16_memory, cmov32_memory, cmov64_memory}};

static op_handler *select_extend(struct selection *selection, bool sign)
{
    enum operand_form form = selection_form(selection);
    unsigned from = size_index(selection->operands[1].size / 8);
    unsigned to = size_index(selection->operands[0].size / 8);
    bool memory = form == FORM_REGISTER_MEMORY;
    if ((form != FORM_REGISTER_REGISTER && !memory) || from > (sign ? 2u : 1u) || to > 3)
        return NULL;
    return sign ? extend_sign[from][to][memory] : extend_zero[from][to][memory];
}

static op_handler *select_conditional(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    if (instruction->opcode_map != ZYDIS_OPCODE_MAP_0F)
        return NULL;
    selection->op->condition = instruction->opcode & 0xf;
    enum operand_form form = selection_form(selection);
    if ((instruction->opcode & 0xf0) == 0x90)
        return form == FORM_REGISTER ? set_register : form == FORM_MEMORY ? set_memory : NULL;
    if ((instruction->opcode & 0xf0) != 0x40)
        return NULL;
    return cmovs[form == FORM_REGISTER_MEMORY][size_index(selection->operands[0].size / 8)];
}

op_handler *select_move(struct selection *selection)
{
    ZydisMnemonic mnemonic = selection->instruction.mnemonic;
    unsigned size = size_index(selection->operands[0].size ? selection->operands[0].size / 8 : 1);
    enum operand_form form;
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        form = selection_form(selection);
        return form == FORM_OTHER ? NULL : moves[form][size];
    case ZYDIS_MNEMONIC_MOVZX:
        return select_extend(selection, false);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD:
        return select_extend(selection, true);
    case ZYDIS_MNEMONIC_LEA:
        selection_form(selection);
        return leas[size];
    case ZYDIS_MNEMONIC_XCHG:
        form = selection_form(selection);
        return form == FORM_REGISTER_REGISTER ? exchanges[size] : NULL;
    case ZYDIS_MNEMONIC_BSWAP:
        selection_form(selection);
        return bswaps[size];
    case ZYDIS_MNEMONIC_MOVBE:
        form = selection_form(selection);
        return movbes[form == FORM_MEMORY_REGISTER][size];
    default:
        break;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(implicit); i++)
        if (implicit[i].mnemonic == mnemonic)
            return implicit[i].handler;
    return selection->instruction.meta.category == ZYDIS_CATEGORY_CMOV ||
                   selection->instruction.meta.category == ZYDIS_CATEGORY_SETCC
               ? select_conditional(selection)
               : NULL;
}
