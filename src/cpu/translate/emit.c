/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 §2.1, §2.2: prefixes, ModRM, SIB. */
#include "cpu/translate/emit.h"

#define PREFIX_GS 0x65
#define REX       0x40
#define REX_W     8
#define REX_R     4
#define REX_X     2
#define REX_B     1

#define MODRM(mod, reg, rm) ((uint8_t)((mod) << 6 | ((reg)&7) << 3 | ((rm)&7)))
#define RM_SIB              4
#define SIB_ABSOLUTE        0x25 /* no base, no index, 32-bit displacement */

void emit_bytes(struct emitter *emitter, const void *bytes, unsigned count)
{
    if (emitter->length + count > emitter->capacity) {
        emitter->overflow = true;
        return;
    }
    memcpy(emitter->bytes + emitter->length, bytes, count);
    emitter->length += count;
}

void emit_byte(struct emitter *emitter, uint8_t byte)
{
    emit_bytes(emitter, &byte, 1);
}

void emit_u32(struct emitter *emitter, uint32_t value)
{
    emit_bytes(emitter, &value, sizeof(value));
}

void emit_u64(struct emitter *emitter, uint64_t value)
{
    emit_bytes(emitter, &value, sizeof(value));
}

static void emit_rex(struct emitter *emitter, bool wide, unsigned reg, unsigned index,
                     unsigned base)
{
    uint8_t rex = (uint8_t)((wide ? REX_W : 0) | (reg & 8 ? REX_R : 0) | (index & 8 ? REX_X : 0) |
                            (base & 8 ? REX_B : 0));
    if (rex)
        emit_byte(emitter, REX | rex);
}

void emit_memory(struct emitter *emitter, enum emit_opcode opcode, bool wide, unsigned reg,
                 const struct emit_address *address)
{
    bool has_base = address->base != NO_REGISTER, has_index = address->index != NO_REGISTER;
    unsigned base = has_base ? address->base : 0, index = has_index ? address->index : 0;
    emit_rex(emitter, wide, reg, index, base);
    emit_byte(emitter, (uint8_t)opcode);
    if (!has_base) {
        emit_byte(emitter, MODRM(0, reg, RM_SIB));
        emit_byte(emitter, has_index ? MODRM(address->scale, index, 5) : SIB_ABSOLUTE);
        emit_u32(emitter, (uint32_t)address->displacement);
        return;
    }
    int32_t displacement = address->displacement;
    /* RBP and R13 as a base have no form without a displacement. */
    unsigned mod = !displacement && (base & 7) != 5              ? 0
                   : displacement >= -128 && displacement <= 127 ? 1
                                                                 : 2;
    if (has_index || (base & 7) == 4) {
        emit_byte(emitter, MODRM(mod, reg, RM_SIB));
        emit_byte(emitter, MODRM(address->scale, has_index ? index : 4, base));
    } else {
        emit_byte(emitter, MODRM(mod, reg, base));
    }
    if (mod == 1)
        emit_byte(emitter, (uint8_t)displacement);
    else if (mod == 2)
        emit_u32(emitter, (uint32_t)displacement);
}

void emit_vcpu(struct emitter *emitter, enum emit_opcode opcode, bool wide, unsigned reg,
               int32_t displacement)
{
    emit_byte(emitter, PREFIX_GS);
    const struct emit_address address = {NO_REGISTER, NO_REGISTER, 0, displacement};
    emit_memory(emitter, opcode, wide, reg, &address);
}

void emit_vcpu_indexed(struct emitter *emitter, enum emit_opcode opcode, unsigned reg,
                       unsigned base, int32_t displacement)
{
    emit_byte(emitter, PREFIX_GS);
    const struct emit_address address = {(uint8_t)base, NO_REGISTER, 0, displacement};
    emit_memory(emitter, opcode, true, reg, &address);
}

static void emit_register_move(struct emitter *emitter, bool wide, unsigned to, unsigned from)
{
    emit_rex(emitter, wide, from, 0, to);
    emit_byte(emitter, OPCODE_STORE);
    emit_byte(emitter, MODRM(3, from, to));
}

void emit_move(struct emitter *emitter, unsigned to, unsigned from)
{
    emit_register_move(emitter, true, to, from);
}

void emit_move_narrow(struct emitter *emitter, unsigned to, unsigned from)
{
    emit_register_move(emitter, false, to, from);
}

void emit_xor(struct emitter *emitter, unsigned to, unsigned from)
{
    emit_rex(emitter, true, to, 0, from);
    emit_byte(emitter, OPCODE_XOR);
    emit_byte(emitter, MODRM(3, to, from));
}

void emit_constant(struct emitter *emitter, unsigned reg, uint64_t value)
{
    emit_rex(emitter, value > UINT32_MAX, 0, 0, reg);
    if ((uint64_t)(int32_t)value == value && value > UINT32_MAX) {
        emit_byte(emitter, 0xc7); /* mov r64, sign-extended imm32 */
        emit_byte(emitter, MODRM(3, 0, reg));
        emit_u32(emitter, (uint32_t)value);
        return;
    }
    emit_byte(emitter, (uint8_t)(0xb8 | (reg & 7)));
    if (value > UINT32_MAX)
        emit_u64(emitter, value);
    else
        emit_u32(emitter, (uint32_t)value);
}

void emit_rorx(struct emitter *emitter, unsigned to, unsigned from, unsigned count)
{
    /* VEX.LZ.F2.0F3A.W1 F0 /r ib */
    emit_byte(emitter, 0xc4);
    emit_byte(emitter, (uint8_t)((to & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 3));
    emit_byte(emitter, 0xfb);
    emit_byte(emitter, 0xf0);
    emit_byte(emitter, MODRM(3, to, from));
    emit_byte(emitter, (uint8_t)count);
}

static void emit_group1(struct emitter *emitter, bool wide, unsigned operation, unsigned reg,
                        uint32_t value)
{
    emit_rex(emitter, wide, 0, 0, reg);
    emit_byte(emitter, 0x81);
    emit_byte(emitter, MODRM(3, operation, reg));
    emit_u32(emitter, value);
}

void emit_and_constant(struct emitter *emitter, unsigned reg, uint32_t value)
{
    emit_group1(emitter, false, 4, reg, value);
}

void emit_and_sign_extended(struct emitter *emitter, unsigned reg, int32_t value)
{
    emit_group1(emitter, true, 4, reg, (uint32_t)value);
}

void emit_compare_constant(struct emitter *emitter, unsigned reg, int32_t value)
{
    emit_group1(emitter, true, 7, reg, (uint32_t)value);
}

void emit_update_vcpu(struct emitter *emitter, enum emit_group1 operation, int32_t displacement,
                      uint32_t value)
{
    const uint8_t bytes[] = {PREFIX_GS, 0x81, MODRM(0, operation, RM_SIB), SIB_ABSOLUTE};
    emit_bytes(emitter, bytes, sizeof(bytes));
    emit_u32(emitter, (uint32_t)displacement);
    emit_u32(emitter, value);
}

static void emit_compare_zero(struct emitter *emitter, uint8_t opcode, int32_t displacement)
{
    const uint8_t bytes[] = {PREFIX_GS, opcode, MODRM(0, 7, RM_SIB), SIB_ABSOLUTE};
    emit_bytes(emitter, bytes, sizeof(bytes));
    emit_u32(emitter, (uint32_t)displacement);
    emit_byte(emitter, 0);
}

void emit_test_byte(struct emitter *emitter, int32_t displacement)
{
    emit_compare_zero(emitter, 0x80, displacement);
}

void emit_test_dword(struct emitter *emitter, int32_t displacement)
{
    emit_compare_zero(emitter, 0x83, displacement);
}

#define GROUP5_JUMP 4

void emit_jump_vcpu(struct emitter *emitter, int32_t displacement)
{
    const uint8_t bytes[] = {PREFIX_GS, 0xff, MODRM(0, GROUP5_JUMP, RM_SIB), SIB_ABSOLUTE};
    emit_bytes(emitter, bytes, sizeof(bytes));
    emit_u32(emitter, (uint32_t)displacement);
}

void emit_jump_vcpu_indexed(struct emitter *emitter, unsigned base, int32_t displacement)
{
    emit_byte(emitter, PREFIX_GS);
    emit_rex(emitter, false, 0, 0, base);
    emit_byte(emitter, 0xff);
    emit_byte(emitter, MODRM(2, GROUP5_JUMP, base));
    emit_u32(emitter, (uint32_t)displacement);
}

uint32_t emit_jump(struct emitter *emitter)
{
    emit_byte(emitter, 0xe9);
    emit_u32(emitter, 0);
    return emitter->length - 4;
}

uint32_t emit_jump_if(struct emitter *emitter, unsigned condition)
{
    emit_byte(emitter, 0x0f);
    emit_byte(emitter, (uint8_t)(0x80 | condition));
    emit_u32(emitter, 0);
    return emitter->length - 4;
}

static void emit_nops(struct emitter *emitter, unsigned count)
{
    static const uint8_t nops[][3] = {{0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
    for (; count >= 3; count -= 3)
        emit_bytes(emitter, nops[2], 3);
    if (count)
        emit_bytes(emitter, nops[count - 1], count);
}

void emit_align(struct emitter *emitter, unsigned alignment)
{
    emit_nops(emitter, -emitter->length & (alignment - 1));
}

void emit_padding(struct emitter *emitter, unsigned bytes)
{
    emit_nops(emitter, -(emitter->length + bytes) & 3);
}

uint32_t emit_jump_aligned(struct emitter *emitter)
{
    emit_padding(emitter, 1);
    return emit_jump(emitter);
}

uint32_t emit_jump_if_aligned(struct emitter *emitter, unsigned condition)
{
    emit_padding(emitter, 2);
    return emit_jump_if(emitter, condition);
}

void emit_land_at(struct emitter *emitter, uint32_t place, uint32_t target)
{
    if (!emitter->overflow)
        store_le(emitter->bytes + place, target - (place + 4), 4);
}

void emit_land(struct emitter *emitter, uint32_t place)
{
    emit_land_at(emitter, place, emitter->length);
}

/* LAHF leaves OF out; SETO AL keeps it. An addition of 0x7f sets OF again exactly when AL is 1. */
void emit_park_flags(struct emitter *emitter)
{
    static const uint8_t lahf_seto[] = {0x9f, 0x0f, 0x90, 0xc0};
    emit_move(emitter, S1, GPR_RAX);
    emit_bytes(emitter, lahf_seto, sizeof(lahf_seto));
    const uint8_t store[] = {0x66, PREFIX_GS, OPCODE_STORE, MODRM(0, GPR_RAX, RM_SIB),
                             SIB_ABSOLUTE};
    emit_bytes(emitter, store, sizeof(store));
    emit_u32(emitter, (uint32_t)VCPU(translate.parked_flags));
    emit_move(emitter, GPR_RAX, S1);
}

void emit_unpark_flags(struct emitter *emitter)
{
    static const uint8_t add_sahf[] = {0x04, 0x7f, 0x9e};
    emit_move(emitter, S1, GPR_RAX);
    const uint8_t load[] = {PREFIX_GS, 0x0f, 0xb7, MODRM(0, GPR_RAX, RM_SIB), SIB_ABSOLUTE};
    emit_bytes(emitter, load, sizeof(load));
    emit_u32(emitter, (uint32_t)VCPU(translate.parked_flags));
    emit_bytes(emitter, add_sahf, sizeof(add_sahf));
    emit_move(emitter, GPR_RAX, S1);
}
