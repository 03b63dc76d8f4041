/* SPDX-License-Identifier: Apache-2.0 */
/* Effective addresses, computed with LEA and MOV alone so that the flags survive. */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

static unsigned segment_of(ZydisRegister segment)
{
    return segment == ZYDIS_REGISTER_FS   ? SEG_FS
           : segment == ZYDIS_REGISTER_GS ? SEG_GS
                                          : SEG_COUNT;
}

void build_code_address(struct builder *builder, unsigned reg, int64_t offset)
{
    emit_vcpu(&builder->emitter, OPCODE_LOAD, true, reg, VCPU(translate.rip_page));
    /* The sum of a 32-bit displacement and a page offset may need two steps. */
    for (unsigned step = 0; step < 2 && offset; step++) {
        int32_t part = offset > INT32_MAX   ? INT32_MAX
                       : offset < INT32_MIN ? INT32_MIN
                                            : (int32_t)offset;
        build_add_pointer(builder, reg, reg, part);
        offset -= part;
    }
}

void build_load_pointer(struct builder *builder, unsigned reg, unsigned guest)
{
    if (is_stolen(guest))
        emit_vcpu(&builder->emitter, OPCODE_LOAD, true, reg, VCPU_REGISTER(guest));
    else if (builder->wide)
        emit_move(&builder->emitter, reg, guest);
    else
        emit_move_narrow(&builder->emitter, reg, guest);
}

void build_add_pointer(struct builder *builder, unsigned to, unsigned from, int32_t displacement)
{
    const struct emit_address address = {(uint8_t)from, NO_REGISTER, 0, displacement};
    emit_memory(&builder->emitter, OPCODE_LEA, builder->wide, to, &address);
}

/* Registers of the operand as host registers; stolen ones are loaded first. */
static uint8_t address_register(struct builder *builder, ZydisRegister name, unsigned scratch)
{
    unsigned number = guest_register(name);
    if (!is_stolen(number))
        return (uint8_t)number;
    emit_vcpu(&builder->emitter, OPCODE_LOAD, true, scratch, VCPU_REGISTER(number));
    return (uint8_t)scratch;
}

void build_address(struct builder *builder, const ZydisDecodedOperand *operand)
{
    static const uint8_t movzx_s0_s0[] = {0x45, 0x0f, 0xb7, 0xf6}; /* from 16 to 32 bits */
    struct emitter *emitter = &builder->emitter;
    const struct instruction *instruction = builder->instruction;
    unsigned segment = segment_of(operand->mem.segment);
    unsigned width = instruction->decoded.address_width;
    bool wide = width == 64;
    int64_t displacement = operand_displacement(operand);
    if (operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_EIP) {
        build_code_address(builder, S0, instruction_end(instruction) + displacement);
        if (!wide) {
            const struct emit_address self = {S0, NO_REGISTER, 0, 0};
            emit_memory(emitter, OPCODE_LEA, false, S0, &self);
        }
    } else {
        struct emit_address address = {
            .base = address_register(builder, operand->mem.base, S0),
            .index = address_register(builder, operand->mem.index, S1),
            .scale = operand->mem.scale > 1 ? (uint8_t)__builtin_ctz(operand->mem.scale) : 0,
            .displacement = (int32_t)displacement,
        };
        if (address.base != NO_REGISTER && address.base != S0 && address.index == NO_REGISTER &&
            !address.displacement && wide)
            emit_move(emitter, S0, address.base);
        else if (address.base != S0 || address.index != NO_REGISTER || address.displacement ||
                 !wide)
            emit_memory(emitter, OPCODE_LEA, wide, S0, &address);
        if (width == 16)
            emit_bytes(emitter, movzx_s0_s0, sizeof(movzx_s0_s0));
    }
    if (segment != SEG_COUNT) {
        emit_vcpu(emitter, OPCODE_LOAD, true, S1,
                  VCPU(segment_bases) + (int32_t)segment * (int32_t)sizeof(uint64_t));
        const struct emit_address sum = {S0, S1, 0, 0};
        emit_memory(emitter, OPCODE_LEA, builder->wide, S0, &sum);
    }
}
