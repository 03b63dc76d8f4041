/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CLD, STD, and REP MOVS and REP STOS that stay within one page, forwards: the host's own, on host
 * addresses. All else (longer, across pages, backwards, MMIO) is the interpreter's handler's, which
 * works page by page.
 */
#include "cpu/translate/build.h"

static unsigned element_shift(const struct instruction *instruction)
{
    return (unsigned)__builtin_ctz(instruction->operands[0].size / 8u);
}

static void lea(struct emitter *emitter, bool wide, unsigned to, unsigned base, unsigned index,
                unsigned scale)
{
    const struct emit_address address = {(uint8_t)base, (uint8_t)index, (uint8_t)scale, 0};
    emit_memory(emitter, OPCODE_LEA, wide, to, &address);
}

/* S0 := hva of RCX elements at `pointer`, all in one page; else by `detour`. S1 is lost. */
static void check_range(struct builder *builder, unsigned pointer, enum mmu_access access,
                        struct site *site, unsigned shift)
{
    struct emitter *emitter = &builder->emitter;
    build_load_pointer(builder, S0, pointer);
    build_detour(builder, build_access_check(builder, access, 1), site, true);
    emit_move(emitter, S1, S0);
    emit_and_constant(emitter, S1, (uint32_t)PAGE_SIZE - 1);
    lea(emitter, true, S1, S1, GPR_RCX, shift);
    emit_compare_constant(emitter, S1, (int32_t)PAGE_SIZE);
    build_detour(builder, emit_jump_if(emitter, CONDITION_A), site, true);
}

/* CLD and STD: the flag is in vcpu->rflags alone, for C wants the host's clear. */
void build_direction(struct builder *builder)
{
    bool down = builder->instruction->decoded.mnemonic == ZYDIS_MNEMONIC_STD;
    build_free_flags(builder, builder->instruction->flags_live);
    emit_update_vcpu(&builder->emitter, down ? OPCODE_GROUP1_OR : OPCODE_GROUP1_AND, VCPU(rflags),
                     down ? (uint32_t)RFLAGS_DF : ~(uint32_t)RFLAGS_DF);
}

void build_test_direction(struct builder *builder, const struct site *site)
{
    static const uint8_t test_byte_vcpu[] = {0x65, 0xf6, 0x04, 0x25};
    struct emitter *emitter = &builder->emitter;
    emit_bytes(emitter, test_byte_vcpu, sizeof(test_byte_vcpu));
    emit_u32(emitter, (uint32_t)VCPU(rflags) + 1);
    emit_byte(emitter, RFLAGS_DF >> 8);
    build_detour(builder, emit_jump_if(emitter, CONDITION_NE), site, true);
}

static void emit_repeat(struct emitter *emitter, const struct instruction *instruction, bool move)
{
    unsigned shift = element_shift(instruction);
    if (shift == 1)
        emit_byte(emitter, 0x66);
    emit_byte(emitter, 0xf3);
    if (shift == 3)
        emit_byte(emitter, 0x48);
    emit_byte(emitter, (uint8_t)((move ? 0xa4 : 0xaa) | (shift ? 1 : 0)));
}

void build_string(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    const struct instruction *instruction = builder->instruction;
    unsigned shift = element_shift(instruction);
    bool move = (instruction->bytes[instruction->decoded.length - 1] & 0xfe) == 0xa4;
    build_free_flags(builder, RFLAGS_ARITHMETIC);
    struct site *site = build_operation_site(builder);
    build_test_direction(builder, site);
    emit_compare_constant(emitter, GPR_RCX, (int32_t)(PAGE_SIZE >> shift));
    build_detour(builder, emit_jump_if(emitter, CONDITION_A), site, true);
    if (move) {
        check_range(builder, GPR_RSI, MMU_READ, site, shift);
        emit_vcpu(emitter, OPCODE_STORE, true, S0, VCPU(translate.source));
    }
    check_range(builder, GPR_RDI, MMU_WRITE, site, shift);
    if (move) {
        emit_vcpu(emitter, OPCODE_STORE, true, GPR_RSI, VCPU(translate.spill2));
        emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RSI, VCPU(translate.source));
    }
    emit_move(emitter, S1, GPR_RDI);
    emit_move(emitter, GPR_RDI, S0);
    emit_move(emitter, S0, GPR_RCX);
    emit_repeat(emitter, instruction, move);
    lea(emitter, builder->wide, GPR_RDI, S1, S0, shift);
    if (move) {
        emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RSI, VCPU(translate.spill2));
        lea(emitter, builder->wide, GPR_RSI, GPR_RSI, S0, shift);
    }
    site->resume = builder->start + emitter->length;
}
