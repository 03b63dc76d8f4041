/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MOVS, CMPS, STOS, LODS and SCAS of one element, upwards. Downwards they are the interpreter's.
 * The string functions of 32-bit kernels and of boot loaders are made of them.
 */
#include "cpu/translate/build.h"

/* Without the bit that says that elements are wider than a byte. */
enum string_opcode { MOVS = 0xa4, CMPS = 0xa6, STOS = 0xaa, LODS = 0xac, SCAS = 0xae };
enum byte_opcode { BYTE_STORE = 0x88, BYTE_LOAD = 0x8a, BYTE_COMPARE = 0x3a };

static unsigned element_size(const struct builder *builder)
{
    return builder->instruction->operands[0].size / 8u;
}

/* S0 := hva of the element that the register points at. */
static void access_element(struct builder *builder, unsigned pointer, enum mmu_access access)
{
    build_load_pointer(builder, S0, pointer);
    build_access(builder, access, element_size(builder));
}

static void advance(struct builder *builder, unsigned pointer)
{
    build_add_pointer(builder, pointer, pointer, (int32_t)element_size(builder));
}

/* op reg, [S0] or [S0], reg of an element's size; reg is RAX or S1. */
static void emit_element(struct builder *builder, enum byte_opcode opcode, unsigned reg)
{
    unsigned size = element_size(builder);
    const uint8_t rex = (uint8_t)(0x41 | (size == 8 ? 8 : 0) | (reg & 8 ? 4 : 0));
    if (size == 2)
        emit_byte(&builder->emitter, 0x66);
    const uint8_t bytes[] = {rex, (uint8_t)(opcode | (size > 1 ? 1 : 0)),
                             (uint8_t)((reg & 7) << 3 | (S0 & 7))};
    emit_bytes(&builder->emitter, bytes, sizeof(bytes));
}

/* S1 := the element that RSI points at; and S0 := hva of that at RDI. */
static void access_both(struct builder *builder, enum mmu_access access)
{
    static const uint8_t movzx_byte[] = {0x45, 0x0f, 0xb6, 0x3e}; /* movzx r15d, byte [r14] */
    static const uint8_t movzx_word[] = {0x45, 0x0f, 0xb7, 0x3e};
    struct emitter *emitter = &builder->emitter;
    access_element(builder, GPR_RSI, MMU_READ);
    if (element_size(builder) == 1)
        emit_bytes(emitter, movzx_byte, sizeof(movzx_byte));
    else if (element_size(builder) == 2)
        emit_bytes(emitter, movzx_word, sizeof(movzx_word));
    else
        emit_element(builder, BYTE_LOAD, S1);
    emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
    access_element(builder, GPR_RDI, access);
    emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU(translate.spill));
}

void build_element(struct builder *builder)
{
    enum string_opcode opcode = builder->instruction->decoded.opcode & 0xfe;
    bool compares = opcode == SCAS || opcode == CMPS, both = opcode == MOVS || opcode == CMPS;
    if (!compares)
        build_free_flags(builder, RFLAGS_ARITHMETIC);
    build_test_direction(builder, build_site(builder, SITE_INTERPRET));
    if (both)
        access_both(builder, opcode == MOVS ? MMU_WRITE : MMU_READ);
    else
        access_element(builder, opcode == LODS ? GPR_RSI : GPR_RDI,
                       opcode == STOS ? MMU_WRITE : MMU_READ);
    emit_element(builder,
                 compares         ? BYTE_COMPARE
                 : opcode == LODS ? BYTE_LOAD
                                  : BYTE_STORE,
                 both ? S1 : GPR_RAX);
    if (compares)
        builder->parked = false;
    if (both || opcode == LODS)
        advance(builder, GPR_RSI);
    if (opcode != LODS)
        advance(builder, GPR_RDI);
}
