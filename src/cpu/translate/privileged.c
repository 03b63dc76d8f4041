/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel instructions that only move bits of struct vcpu, done in place: a call for each would be
 * most of a system call's time. AMD APM vol. 3: CLI, STI, PUSHF, SWAPGS, STAC, CLAC.
 */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

/* mov byte gs:[displacement], imm8. */
static void set_byte(struct emitter *emitter, int32_t displacement, uint8_t value)
{
    const uint8_t bytes[] = {0x65, 0xc6, 0x04, 0x25};
    emit_bytes(emitter, bytes, sizeof(bytes));
    emit_u32(emitter, (uint32_t)displacement);
    emit_byte(emitter, value);
}

/* movzx reg32, word or byte gs:[displacement]. */
static void load_narrow(struct emitter *emitter, unsigned reg, int32_t displacement, bool word)
{
    emit_byte(emitter, 0x65);
    if (reg & 8)
        emit_byte(emitter, 0x44);
    const uint8_t bytes[] = {0x0f, word ? 0xb7 : 0xb6, (uint8_t)((reg & 7) << 3 | 4), 0x25};
    emit_bytes(emitter, bytes, sizeof(bytes));
    emit_u32(emitter, (uint32_t)displacement);
}

void build_cli(struct builder *builder)
{
    build_free_flags(builder, builder->instruction->flags_live);
    emit_update_vcpu(&builder->emitter, OPCODE_GROUP1_AND, VCPU(rflags), ~(uint32_t)RFLAGS_IF);
}

void build_sti(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    build_free_flags(builder, builder->instruction->flags_live);
    emit_update_vcpu(emitter, OPCODE_GROUP1_OR, VCPU(rflags), RFLAGS_IF);
    emit_test_byte(emitter, VCPU(interrupt_window));
    uint32_t waiting = emit_jump_if(emitter, CONDITION_NE);
    struct site *site = build_site(builder, SITE_WINDOW);
    site->target = instruction_end(builder->instruction);
    site->resume = builder->start + emitter->length;
    build_detour(builder, waiting, site, true);
}

void build_pushf(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    const uint32_t kept = (uint32_t) ~(RFLAGS_ARITHMETIC | RFLAGS_RF | RFLAGS_VM);
    static const uint8_t shift_of[] = {0x41, 0xc1, 0xe6, 0x0b}; /* shl r14d, 11 */
    static const uint8_t or_s1_s0[] = {0x45, 0x09, 0xf7};       /* or r15d, r14d */
    build_free_flags(builder, RFLAGS_ARITHMETIC);
    load_narrow(emitter, S1, VCPU(translate.parked_flags) + 1, false);
    load_narrow(emitter, S0, VCPU(translate.parked_flags), false);
    emit_bytes(emitter, shift_of, sizeof(shift_of));
    emit_bytes(emitter, or_s1_s0, sizeof(or_s1_s0));
    emit_vcpu(emitter, OPCODE_LOAD, false, S0, VCPU(rflags));
    emit_and_constant(emitter, S0, kept);
    emit_bytes(emitter, or_s1_s0, sizeof(or_s1_s0));
    emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
    build_push_spill(builder);
}

void build_swapgs(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    emit_vcpu(emitter, OPCODE_LOAD, true, S0, VCPU(segment_bases[SEG_GS]));
    emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU(kernel_gs_base));
    emit_vcpu(emitter, OPCODE_STORE, true, S0, VCPU(kernel_gs_base));
    emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(segment_bases[SEG_GS]));
    emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(segments[SEG_GS].base));
}

/* What vcpu_update_mode() does for a change of AC, and the other half of the pair of contexts. */
void build_stac_clac(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    const struct instruction *instruction = builder->instruction;
    bool set = instruction->decoded.mnemonic == ZYDIS_MNEMONIC_STAC;
    uint32_t old_mode = builder->mode;
    if (set != !!(old_mode & CODE_MODE_AC)) {
        build_free_flags(builder, instruction->flags_live);
        emit_update_vcpu(emitter, set ? OPCODE_GROUP1_OR : OPCODE_GROUP1_AND, VCPU(rflags),
                         set ? (uint32_t)RFLAGS_AC : ~(uint32_t)RFLAGS_AC);
        set_byte(emitter, VCPU(mmu_mode), set ? MMU_SUPERVISOR_AC : MMU_SUPERVISOR);
        emit_update_vcpu(emitter, OPCODE_GROUP1_XOR, VCPU(code_mode), CODE_MODE_AC);
        emit_update_vcpu(emitter, OPCODE_GROUP1_XOR, VCPU(translate.jump_context), CONTEXT_AC);
        builder->mode ^= CODE_MODE_AC;
    }
    build_goto(builder, instruction_end(instruction));
    builder->mode = old_mode;
}

static int32_t selector_displacement(ZydisRegister segment)
{
    unsigned number = (unsigned)(segment - ZYDIS_REGISTER_ES);
    return VCPU(segments[0].selector) + (int32_t)(number * sizeof(struct segment));
}

void build_load_selector(struct builder *builder, unsigned reg, ZydisRegister segment)
{
    load_narrow(&builder->emitter, reg, selector_displacement(segment), true);
}

void build_read_segment(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    const ZydisDecodedOperand *operands = builder->instruction->operands;
    unsigned to = guest_register(operands[0].reg.value);
    if (operands[0].size > 16) {
        build_load_selector(builder, to, operands[1].reg.value);
        return;
    }
    emit_byte(emitter, 0x66); /* mov reg16, gs:[...] keeps the rest */
    emit_vcpu(emitter, OPCODE_LOAD, false, to, selector_displacement(operands[1].reg.value));
}
