/* SPDX-License-Identifier: Apache-2.0 */
/* Near control transfers. */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

void build_load_operand(struct builder *builder)
{
    const struct emit_address address = {S0, NO_REGISTER, 0, build_operand_access(builder)};
    emit_memory(&builder->emitter, OPCODE_LOAD, builder->wide, S0, &address);
}

#define SLOT_SHIFT 4 /* sizeof(struct jump_slot) is 16 */
_Static_assert(sizeof(struct jump_slot) == 1 << SLOT_SHIFT, "the index is made by one rotate");

/* To the gva in S0, through the jump slots. */
void build_indirect(struct builder *builder, int32_t undo)
{
    struct emitter *emitter = &builder->emitter;
    build_free_flags(builder, RFLAGS_ARITHMETIC);
    /* As jump_index() does it, times the size of a slot. */
    emit_rorx(emitter, S1, S0, PAGE_SHIFT);
    emit_xor(emitter, S1, S0);
    emit_rorx(emitter, S1, S1, 64 - SLOT_SHIFT);
    emit_and_constant(emitter, S1, (JUMP_SLOTS - 1) << SLOT_SHIFT);
    emit_vcpu(emitter, OPCODE_XOR, true, S0, VCPU(translate.jump_context));
    emit_vcpu_indexed(emitter, OPCODE_CMP, S0, S1, VCPU(translate.jumps[0].tag));
    uint32_t miss = emit_jump_if(emitter, CONDITION_NE);
    /* The context lies below the page's address. */
    emit_and_sign_extended(emitter, S0, (int32_t)PAGE_MASK);
    emit_vcpu(emitter, OPCODE_STORE, true, S0, VCPU(translate.rip_page));
    emit_jump_vcpu_indexed(emitter, S1, VCPU(translate.jumps[0].parked));
    struct site *site = build_site(builder, SITE_LOOKUP);
    site->target = -undo;
    site->executed++;
    build_detour(builder, miss, site, true);
}

void build_far_goto(struct builder *builder, int64_t offset)
{
    build_code_address(builder, S0, offset);
    build_indirect(builder, 0);
}

void build_goto(struct builder *builder, int64_t offset)
{
    if (offset < 0 || offset >= (int64_t)PAGE_SIZE) {
        build_far_goto(builder, offset);
        return;
    }
    struct site *site = build_site(builder, SITE_JUMP);
    site->executed++;
    site->target = (int32_t)offset;
    site->parked = builder->parked;
    uint32_t jump = emit_jump_aligned(&builder->emitter);
    site->patch = builder->start + jump;
    build_detour(builder, jump, site, builder->parked);
}

static int64_t direct_target(const struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    return instruction_end(instruction) + instruction->operands[0].imm.value.s;
}

static bool is_direct(const struct builder *builder)
{
    return builder->instruction->operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/* S0 := target of an indirect JMP or CALL. */
static void load_target(struct builder *builder)
{
    if (builder->instruction->memory >= 0)
        build_load_operand(builder);
    else
        build_load_pointer(builder, S0,
                           guest_register(builder->instruction->operands[0].reg.value));
}

void build_call(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    bool direct = is_direct(builder);
    if (!direct) {
        load_target(builder);
        emit_vcpu(emitter, OPCODE_STORE, true, S0, VCPU(translate.spill));
    }
    build_push_return(builder);
    if (direct) {
        build_goto(builder, direct_target(builder));
        return;
    }
    emit_vcpu(emitter, OPCODE_LOAD, true, S0, VCPU(translate.spill));
    build_indirect(builder, -build_slot_size(builder));
}

void build_jump(struct builder *builder)
{
    if (is_direct(builder)) {
        build_goto(builder, direct_target(builder));
        return;
    }
    load_target(builder);
    build_indirect(builder, 0);
}

static unsigned branch_condition(const struct instruction *instruction)
{
    unsigned at = 0; /* the opcode is 7x, or 0F 8x, behind prefixes */
    while ((instruction->bytes[at] & 0xf0) != 0x70 && (instruction->bytes[at] & 0xf0) != 0x80)
        at++;
    return instruction->bytes[at] & 15;
}

void build_branch(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    unsigned condition = branch_condition(builder->instruction);
    int64_t target = direct_target(builder);
    build_claim_flags(builder);
    if (target >= 0 && target < (int64_t)PAGE_SIZE) {
        struct site *site = build_site(builder, SITE_JUMP);
        site->executed++;
        site->target = (int32_t)target;
        site->parked = false;
        uint32_t jump = emit_jump_if_aligned(emitter, condition);
        site->patch = builder->start + jump;
        build_detour(builder, jump, site, false);
        return;
    }
    uint32_t over = emit_jump_if(emitter, condition ^ 1);
    build_goto(builder, target);
    builder->parked = false; /* on the way that did not branch */
    emit_land(emitter, over);
}

/* LOOP, JRCXZ and JECXZ leave the flags alone, and so do the host's own. */
void build_loop(struct builder *builder)
{
    static const uint8_t jecxz_over_jump[] = {0x67, 0xe3, 0x05}; /* the jump has five bytes */
    struct emitter *emitter = &builder->emitter;
    bool parked = builder->parked,
         loop = builder->instruction->decoded.mnemonic == ZYDIS_MNEMONIC_LOOP;
    if (loop)
        build_add_pointer(builder, GPR_RCX, GPR_RCX, -1);
    unsigned prefix = builder->wide ? 1 : 0;
    emit_bytes(emitter, jecxz_over_jump + prefix, sizeof(jecxz_over_jump) - prefix);
    uint32_t not_zero = emit_jump(emitter);
    if (loop) {
        uint32_t done = emit_jump(emitter); /* RCX is zero: go on behind */
        emit_land(emitter, not_zero);
        build_goto(builder, direct_target(builder));
        builder->parked = parked;
        emit_land(emitter, done);
        return;
    }
    build_goto(builder, direct_target(builder));
    builder->parked = parked;
    emit_land(emitter, not_zero);
}
