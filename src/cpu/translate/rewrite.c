/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 §2.1 to §2.3. Only the prefixes and the operand bytes change; the opcode and the
 * immediates are the guest's own. */
#include "cpu/translate/rewrite.h"

#include "cpu/translate/rewrite_vex.h"

#define REX_W 8
#define REX_R 4
#define REX_B 1

unsigned guest_register(ZydisRegister name)
{
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_GPR8:
        if (name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH)
            return name - ZYDIS_REGISTER_AH;
        return name < ZYDIS_REGISTER_AH ? name - ZYDIS_REGISTER_AL
                                        : name - ZYDIS_REGISTER_SPL + GPR_RSP;
    case ZYDIS_REGCLASS_GPR16:
        return name - ZYDIS_REGISTER_AX;
    case ZYDIS_REGCLASS_GPR32:
        return name - ZYDIS_REGISTER_EAX;
    case ZYDIS_REGCLASS_GPR64:
        return name - ZYDIS_REGISTER_RAX;
    default:
        return NO_REGISTER;
    }
}

static bool is_high_byte(ZydisRegister name)
{
    return name >= ZYDIS_REGISTER_AH && name <= ZYDIS_REGISTER_BH;
}

/* Where each stolen register of the instruction goes. */
struct plan {
    struct {
        uint8_t scratch;
        bool used, read, written;
    } stolen[2]; /* R14, R15 */
    bool high_byte;
};

/* BSF and BSR leave their result alone when there is no bit to find. */
static bool keeps_result(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_BSF || mnemonic == ZYDIS_MNEMONIC_BSR;
}

static void plan_operand(struct plan *plan, const ZydisDecodedOperand *operand,
                         ZydisMnemonic mnemonic)
{
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return;
    plan->high_byte |= is_high_byte(operand->reg.value);
    unsigned number = guest_register(operand->reg.value);
    if (!is_stolen(number))
        return;
    unsigned which = number - S0;
    plan->stolen[which].used = true;
    plan->stolen[which].read |= operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
    plan->stolen[which].written |= operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    /* A narrow or conditional write keeps the rest of the register. */
    if (operand->size < 32 || operand->actions & ZYDIS_OPERAND_ACTION_CONDWRITE ||
        keeps_result(mnemonic))
        plan->stolen[which].read = true;
}

/* S1 for the first, S0 for the other; with a memory operand S0 is free only for a result. False:
 * two scratch registers are not enough. */
static bool plan_scratch(struct plan *plan, bool memory)
{
    bool both = plan->stolen[0].used && plan->stolen[1].used;
    plan->stolen[0].scratch = plan->stolen[1].scratch = S1;
    if (!both)
        return true;
    unsigned result = plan->stolen[0].read ? 1 : 0;
    plan->stolen[result].scratch = S0;
    return !memory || !plan->stolen[result].read;
}

static unsigned planned_register(const struct plan *plan, ZydisRegister name)
{
    unsigned number = guest_register(name);
    return is_stolen(number) ? plan->stolen[number - S0].scratch : number;
}

/* Which operand, if any, is encoded in a certain place. */
static const ZydisDecodedOperand *operand_at(const struct instruction *instruction,
                                             ZydisOperandEncoding encoding)
{
    for (unsigned i = 0; i < instruction->decoded.operand_count; i++)
        if (instruction->operands[i].encoding == encoding)
            return &instruction->operands[i];
    return NULL;
}

/* The register bits for an operand: what the plan says for general registers, else as they were. */
static unsigned operand_number(const struct plan *plan, const ZydisDecodedOperand *operand,
                               unsigned original)
{
    if (!operand || operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return original;
    unsigned number = planned_register(plan, operand->reg.value);
    /* AH to BH are encoded as 4 to 7 without REX: leave those bits alone. */
    return number == NO_REGISTER || is_high_byte(operand->reg.value) ? original : number;
}

bool rewrite_is_prefix(uint8_t byte)
{
    switch (byte) {
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64:
    case 0x65:
    case 0x66:
    case 0x67:
    case 0xf0:
    case 0xf2:
    case 0xf3:
        return true;
    default:
        return false;
    }
}

static bool is_rex(uint8_t byte)
{
    return (byte & 0xf0) == 0x40;
}

/* A REX byte counts only right before the opcode: one with another prefix behind it says nothing,
 * and must not be kept, for the register bits would be lost in its place. */
static bool is_dead_rex(const uint8_t *bytes)
{
    return is_rex(bytes[0]) && (rewrite_is_prefix(bytes[1]) || is_rex(bytes[1]));
}

/* The host would take BSF and BSR with a REP prefix for TZCNT and LZCNT. */
static bool is_kept_prefix(uint8_t byte, ZydisMnemonic mnemonic)
{
    return byte == 0x66 || byte == 0xf0 || byte == 0xf2 ||
           (byte == 0xf3 && !keeps_result(mnemonic));
}

void rewrite_operands(struct emitter *emitter, const struct instruction *instruction, unsigned reg,
                      unsigned rm, int32_t displacement)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    bool memory = decoded->raw.modrm.mod != 3;
    bool narrow = displacement == (int8_t)displacement &&
                  decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX;
    unsigned mod = !memory ? 3 : !displacement ? 0 : narrow ? 1 : 2;
    emit_byte(emitter, (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7)));
    if (mod == 1)
        emit_byte(emitter, (uint8_t)displacement);
    else if (mod == 2)
        emit_u32(emitter, (uint32_t)displacement);
    if (decoded->raw.imm[0].size)
        emit_bytes(emitter, instruction->bytes + decoded->raw.imm[0].offset,
                   decoded->length - decoded->raw.imm[0].offset);
}

/* Legacy and REX encoding: prefixes, REX, opcode, ModRM with [address] or a register, immediate. */
static void emit_legacy(struct emitter *emitter, const struct instruction *instruction,
                        const struct plan *plan, unsigned address, int32_t displacement)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    const uint8_t *bytes = instruction->bytes;
    unsigned at = 0;
    uint8_t old_rex = 0;
    for (; rewrite_is_prefix(bytes[at]) || is_dead_rex(bytes + at); at++)
        if (is_kept_prefix(bytes[at], decoded->mnemonic))
            emit_byte(emitter, bytes[at]);
    if (is_rex(bytes[at]))
        old_rex = bytes[at++];
    bool has_modrm = decoded->attributes & ZYDIS_ATTRIB_HAS_MODRM;
    unsigned reg = 0, rm = 0;
    uint8_t rex = old_rex & (0x40 | REX_W);
    if (has_modrm) {
        reg = decoded->raw.modrm.reg | (old_rex & REX_R ? 8 : 0);
        rm = decoded->raw.modrm.rm | (old_rex & REX_B ? 8 : 0);
        reg = operand_number(plan, operand_at(instruction, ZYDIS_OPERAND_ENCODING_MODRM_REG), reg);
        rm = decoded->raw.modrm.mod != 3
                 ? address
                 : operand_number(plan, operand_at(instruction, ZYDIS_OPERAND_ENCODING_MODRM_RM),
                                  rm);
    } else {
        const ZydisDecodedOperand *operand = operand_at(instruction, ZYDIS_OPERAND_ENCODING_OPCODE);
        rm = operand_number(plan, operand, old_rex & REX_B ? 8 : 0);
        if (!operand)
            rex |= old_rex & REX_B;
    }
    rex |= (uint8_t)((reg & 8 ? 0x40 | REX_R : 0) | (rm & 8 ? 0x40 | REX_B : 0));
    if (rex)
        emit_byte(emitter, rex);
    if (!has_modrm) {
        unsigned opcode_end =
            decoded->raw.imm[0].size ? decoded->raw.imm[0].offset : decoded->length;
        bool in_opcode = operand_at(instruction, ZYDIS_OPERAND_ENCODING_OPCODE);
        emit_bytes(emitter, bytes + at, opcode_end - at - 1);
        uint8_t last = bytes[opcode_end - 1];
        emit_byte(emitter, in_opcode ? (uint8_t)((last & 0xf8) | (rm & 7)) : last);
        emit_bytes(emitter, bytes + opcode_end, decoded->length - opcode_end);
        return;
    }
    emit_bytes(emitter, bytes + at, decoded->raw.modrm.offset - at);
    rewrite_operands(emitter, instruction, reg, rm, displacement);
}

/* What a register of the instruction becomes, or NO_REGISTER when it stays. */
static uint8_t replacement_at(const struct plan *plan, const struct instruction *instruction,
                              ZydisOperandEncoding encoding)
{
    return (uint8_t)operand_number(plan, operand_at(instruction, encoding), NO_REGISTER);
}

static void emit_instruction(struct emitter *emitter, const struct instruction *instruction,
                             const struct plan *plan, unsigned address, int32_t displacement)
{
    if (instruction->decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
        emit_legacy(emitter, instruction, plan, address, displacement);
        return;
    }
    const struct vex_registers registers = {
        .reg = replacement_at(plan, instruction, ZYDIS_OPERAND_ENCODING_MODRM_REG),
        .vvvv = replacement_at(plan, instruction, ZYDIS_OPERAND_ENCODING_NDSNDD),
        .rm = instruction->memory >= 0
                  ? (uint8_t)address
                  : replacement_at(plan, instruction, ZYDIS_OPERAND_ENCODING_MODRM_RM),
    };
    rewrite_vex(emitter, instruction, &registers, displacement);
}

static void load_stolen(struct emitter *emitter, const struct plan *plan)
{
    for (unsigned i = 0; i < 2; i++)
        if (plan->stolen[i].used && plan->stolen[i].read)
            emit_vcpu(emitter, OPCODE_LOAD, true, plan->stolen[i].scratch, VCPU_REGISTER(S0 + i));
}

static void store_stolen(struct emitter *emitter, const struct plan *plan)
{
    for (unsigned i = 0; i < 2; i++)
        if (plan->stolen[i].used && plan->stolen[i].written)
            emit_vcpu(emitter, OPCODE_STORE, true, plan->stolen[i].scratch, VCPU_REGISTER(S0 + i));
}

static struct plan plan_registers(const struct instruction *instruction)
{
    struct plan plan = {0};
    for (unsigned i = 0; i < instruction->decoded.operand_count; i++)
        plan_operand(&plan, &instruction->operands[i], instruction->decoded.mnemonic);
    return plan;
}

bool rewrite_is_possible(const struct instruction *instruction)
{
    struct plan plan = plan_registers(instruction);
    return plan_scratch(&plan, instruction->memory >= 0);
}

bool rewrite_is_awkward(const struct instruction *instruction)
{
    struct plan plan = plan_registers(instruction);
    return plan.stolen[0].used || plan.stolen[1].used || plan.high_byte;
}

void rewrite_emit(struct emitter *emitter, const struct instruction *instruction,
                  int32_t displacement)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    bool memory = instruction->memory >= 0;
    struct plan plan = plan_registers(instruction);
    plan_scratch(&plan, memory);
    bool stolen = plan.stolen[0].used || plan.stolen[1].used;
    if (!memory && !stolen && !keeps_result(decoded->mnemonic)) {
        emit_bytes(emitter, instruction->bytes, decoded->length);
        return;
    }
    load_stolen(emitter, &plan);
    if (memory && plan.high_byte) {
        /* With AH to BH there can be no REX, so the address must be in one of the first eight
         * registers: RDI is none of the operands. */
        emit_vcpu(emitter, OPCODE_STORE, true, GPR_RDI, VCPU(translate.spill));
        emit_move(emitter, GPR_RDI, S0);
        emit_legacy(emitter, instruction, &plan, GPR_RDI, displacement);
        emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RDI, VCPU(translate.spill));
    } else {
        emit_instruction(emitter, instruction, &plan, S0, displacement);
    }
    store_stolen(emitter, &plan);
}

bool rewrite_lea_is_verbatim(const struct instruction *instruction)
{
    const ZydisDecodedOperand *operand = &instruction->operands[1];
    unsigned to = guest_register(instruction->operands[0].reg.value);
    unsigned base = guest_register(operand->mem.base), index = guest_register(operand->mem.index);
    bool relative =
        operand->mem.base == ZYDIS_REGISTER_RIP || operand->mem.base == ZYDIS_REGISTER_EIP;
    /* 32-bit code has other forms for absolute and for 16-bit addresses. */
    bool same = native_width(instruction) == 64 || (instruction->decoded.address_width == 32 &&
                                                    (base != NO_REGISTER || index != NO_REGISTER));
    return same && !relative && !is_stolen(base) && !is_stolen(index) && !is_stolen(to);
}
