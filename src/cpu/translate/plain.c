/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/plain.h"

#include "cpu/isa.h"
#include "cpu/translate/rewrite.h"

/* Instruction sets every model has. */
static const bool plain_isa_sets[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_I86] = true,          [ZYDIS_ISA_SET_I186] = true,
    [ZYDIS_ISA_SET_I386] = true,         [ZYDIS_ISA_SET_I486] = true,
    [ZYDIS_ISA_SET_I486REAL] = true,     [ZYDIS_ISA_SET_PENTIUMREAL] = true,
    [ZYDIS_ISA_SET_PPRO] = true,         [ZYDIS_ISA_SET_CMOV] = true,
    [ZYDIS_ISA_SET_FCMOV] = true,        [ZYDIS_ISA_SET_LONGMODE] = true,
    [ZYDIS_ISA_SET_LAHF] = true,         [ZYDIS_ISA_SET_FAT_NOP] = true,
    [ZYDIS_ISA_SET_PENTIUMMMX] = true,   [ZYDIS_ISA_SET_X87] = true,
    [ZYDIS_ISA_SET_SSE] = true,          [ZYDIS_ISA_SET_SSE2] = true,
    [ZYDIS_ISA_SET_SSE2MMX] = true,      [ZYDIS_ISA_SET_SSE_PREFETCH] = true,
    [ZYDIS_ISA_SET_PREFETCH_NOP] = true, [ZYDIS_ISA_SET_CMPXCHG16B] = true,
    [ZYDIS_ISA_SET_PAUSE] = true,        [ZYDIS_ISA_SET_SSEMXCSR] = true,
};

/* What of them only computes. */
static const bool plain_categories[ZYDIS_CATEGORY_MAX_VALUE + 1] = {
    [ZYDIS_CATEGORY_BINARY] = true,   [ZYDIS_CATEGORY_LOGICAL] = true,
    [ZYDIS_CATEGORY_BITBYTE] = true,  [ZYDIS_CATEGORY_SHIFT] = true,
    [ZYDIS_CATEGORY_ROTATE] = true,   [ZYDIS_CATEGORY_CMOV] = true,
    [ZYDIS_CATEGORY_SETCC] = true,    [ZYDIS_CATEGORY_CONVERT] = true,
    [ZYDIS_CATEGORY_DATAXFER] = true, [ZYDIS_CATEGORY_SEMAPHORE] = true,
    [ZYDIS_CATEGORY_FLAGOP] = true,   [ZYDIS_CATEGORY_X87_ALU] = true,
    [ZYDIS_CATEGORY_FCMOV] = true,    [ZYDIS_CATEGORY_MMX] = true,
    [ZYDIS_CATEGORY_SSE] = true,      [ZYDIS_CATEGORY_LOGICAL_FP] = true,
    [ZYDIS_CATEGORY_AES] = true,      [ZYDIS_CATEGORY_PCLMULQDQ] = true,
    [ZYDIS_CATEGORY_STTNI] = true,
};

/* Of those, what touches more than its operands. */
static bool is_excluded(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_FLDCW: /* may unmask exceptions */
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSTENV: /* would show host addresses */
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
        return true;
    default:
        return false;
    }
}

/* What a model may lack, only computes. */
static bool computes_only(const ZydisDecodedInstruction *decoded, const struct cpu_model *model)
{
    return isa_set_available(model, decoded->meta.isa_set) ||
           (plain_isa_sets[decoded->meta.isa_set] && plain_categories[decoded->meta.category]);
}

/* The encodings of AVX are there when the guest has enabled its registers. */
static bool encoding_is_plain(const struct instruction *instruction, uint32_t mode)
{
    switch (instruction->decoded.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_LEGACY:
        return true;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
        break;
    default:
        return false;
    }
    uint32_t needed = instruction->needs_avx512 ? CODE_MODE_AVX512
                      : instruction->ymm        ? CODE_MODE_AVX
                                                : 0;
    return !instruction->differs && (mode & needed) == needed;
}

bool plain_register(ZydisRegister name)
{
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
    case ZYDIS_REGCLASS_MASK:
    case ZYDIS_REGCLASS_FLAGS:
        return true;
    default:
        return name == ZYDIS_REGISTER_X87CONTROL || name == ZYDIS_REGISTER_X87STATUS ||
               name == ZYDIS_REGISTER_X87TAG || name == ZYDIS_REGISTER_MXCSR;
    }
}

static bool operands_are_plain(const struct instruction *instruction)
{
    for (unsigned i = 0; i < instruction->decoded.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        bool visible = i < instruction->decoded.operand_count_visible;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && !plain_register(operand->reg.value))
            return false;
        if (operand->type == ZYDIS_OPERAND_TYPE_POINTER)
            return false;
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (!visible || operand->mem.type != ZYDIS_MEMOP_TYPE_MEM || operand->size > 512 ||
             operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM))
            return false;
    }
    return true;
}

/* 32-bit encodings that 64-bit mode does not have. What else there is of them has no plain
 * category, or was given another encoding. */
static bool is_only_32bit(const ZydisDecodedInstruction *decoded)
{
    return decoded->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 &&
           decoded->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           (decoded->opcode == 0x82 || decoded->mnemonic == ZYDIS_MNEMONIC_SALC);
}

bool plain_instruction(const struct instruction *instruction, const struct cpu_model *model,
                       uint32_t mode)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    return computes_only(decoded, model) && !(decoded->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) &&
           !is_excluded(decoded->mnemonic) && !is_only_32bit(decoded) &&
           operands_are_plain(instruction) && encoding_is_plain(instruction, mode) &&
           rewrite_is_possible(instruction);
}
