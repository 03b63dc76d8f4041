/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest instruction may become: the list, in the terms of Zydis. It is a list of its own,
 * and not that of the scanner, which says what a model of CPU has and how it is translated.
 */
#include "cpu/translate/check_decode.h"

#include "base/bits.h"
#include "cpu/registers.h"

/* Instruction sets that only compute. */
static const bool allowed_sets[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
    [ZYDIS_ISA_SET_I86] = true,
    [ZYDIS_ISA_SET_I186] = true,
    [ZYDIS_ISA_SET_I386] = true,
    [ZYDIS_ISA_SET_I486] = true,
    [ZYDIS_ISA_SET_I486REAL] = true,
    [ZYDIS_ISA_SET_PENTIUMREAL] = true,
    [ZYDIS_ISA_SET_PPRO] = true,
    [ZYDIS_ISA_SET_CMOV] = true,
    [ZYDIS_ISA_SET_FCMOV] = true,
    [ZYDIS_ISA_SET_LONGMODE] = true,
    [ZYDIS_ISA_SET_LAHF] = true,
    [ZYDIS_ISA_SET_PENTIUMMMX] = true,
    [ZYDIS_ISA_SET_X87] = true,
    [ZYDIS_ISA_SET_SSE] = true,
    [ZYDIS_ISA_SET_SSE2] = true,
    [ZYDIS_ISA_SET_SSE2MMX] = true,
    [ZYDIS_ISA_SET_SSEMXCSR] = true,
    [ZYDIS_ISA_SET_CMPXCHG16B] = true,
    [ZYDIS_ISA_SET_SSE3] = true,
    [ZYDIS_ISA_SET_SSE3X87] = true,
    [ZYDIS_ISA_SET_PCLMULQDQ] = true,
    [ZYDIS_ISA_SET_SSSE3] = true,
    [ZYDIS_ISA_SET_SSSE3MMX] = true,
    [ZYDIS_ISA_SET_SSE4] = true,
    [ZYDIS_ISA_SET_SSE42] = true,
    [ZYDIS_ISA_SET_MOVBE] = true,
    [ZYDIS_ISA_SET_POPCNT] = true,
    [ZYDIS_ISA_SET_AES] = true,
    [ZYDIS_ISA_SET_PAUSE] = true,
    [ZYDIS_ISA_SET_LZCNT] = true,
    [ZYDIS_ISA_SET_BMI1] = true,
    [ZYDIS_ISA_SET_BMI2] = true,
    [ZYDIS_ISA_SET_ADOX_ADCX] = true,
    [ZYDIS_ISA_SET_SHA] = true,
    [ZYDIS_ISA_SET_GFNI] = true,
    [ZYDIS_ISA_SET_AVX] = true,
    [ZYDIS_ISA_SET_AVXAES] = true,
    [ZYDIS_ISA_SET_AVX2] = true,
    [ZYDIS_ISA_SET_F16C] = true,
    [ZYDIS_ISA_SET_FMA] = true,
    [ZYDIS_ISA_SET_AVX_GFNI] = true,
    [ZYDIS_ISA_SET_VAES] = true,
    [ZYDIS_ISA_SET_VPCLMULQDQ] = true,
    /* AVX-512, of each set from the first to the last of its vector lengths */
    [ZYDIS_ISA_SET_AVX512BW_128... ZYDIS_ISA_SET_AVX512BW_KOP] = true,
    [ZYDIS_ISA_SET_AVX512CD_128... ZYDIS_ISA_SET_AVX512CD_512] = true,
    [ZYDIS_ISA_SET_AVX512DQ_128... ZYDIS_ISA_SET_AVX512DQ_SCALAR] = true,
    [ZYDIS_ISA_SET_AVX512F_128... ZYDIS_ISA_SET_AVX512F_SCALAR] = true,
    [ZYDIS_ISA_SET_AVX512_BITALG_128... ZYDIS_ISA_SET_AVX512_BITALG_512] = true,
    [ZYDIS_ISA_SET_AVX512_GFNI_128... ZYDIS_ISA_SET_AVX512_GFNI_512] = true,
    [ZYDIS_ISA_SET_AVX512_IFMA_128... ZYDIS_ISA_SET_AVX512_IFMA_512] = true,
    [ZYDIS_ISA_SET_AVX512_VAES_128... ZYDIS_ISA_SET_AVX512_VAES_512] = true,
    [ZYDIS_ISA_SET_AVX512_VBMI2_128... ZYDIS_ISA_SET_AVX512_VBMI2_512] = true,
    [ZYDIS_ISA_SET_AVX512_VBMI_128... ZYDIS_ISA_SET_AVX512_VBMI_512] = true,
    [ZYDIS_ISA_SET_AVX512_VNNI_128... ZYDIS_ISA_SET_AVX512_VNNI_512] = true,
    [ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_128... ZYDIS_ISA_SET_AVX512_VPCLMULQDQ_512] = true,
    [ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_128... ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512] = true,
};

static const bool allowed_categories[ZYDIS_CATEGORY_MAX_VALUE + 1] = {
    [ZYDIS_CATEGORY_BINARY] = true,        [ZYDIS_CATEGORY_LOGICAL] = true,
    [ZYDIS_CATEGORY_BITBYTE] = true,       [ZYDIS_CATEGORY_SHIFT] = true,
    [ZYDIS_CATEGORY_ROTATE] = true,        [ZYDIS_CATEGORY_CMOV] = true,
    [ZYDIS_CATEGORY_SETCC] = true,         [ZYDIS_CATEGORY_CONVERT] = true,
    [ZYDIS_CATEGORY_DATAXFER] = true,      [ZYDIS_CATEGORY_SEMAPHORE] = true,
    [ZYDIS_CATEGORY_FLAGOP] = true,        [ZYDIS_CATEGORY_X87_ALU] = true,
    [ZYDIS_CATEGORY_FCMOV] = true,         [ZYDIS_CATEGORY_MMX] = true,
    [ZYDIS_CATEGORY_SSE] = true,           [ZYDIS_CATEGORY_LOGICAL_FP] = true,
    [ZYDIS_CATEGORY_AES] = true,           [ZYDIS_CATEGORY_PCLMULQDQ] = true,
    [ZYDIS_CATEGORY_STTNI] = true,         [ZYDIS_CATEGORY_BMI1] = true,
    [ZYDIS_CATEGORY_BMI2] = true,          [ZYDIS_CATEGORY_LZCNT] = true,
    [ZYDIS_CATEGORY_SHA] = true,           [ZYDIS_CATEGORY_ADOX_ADCX] = true,
    [ZYDIS_CATEGORY_GFNI] = true,          [ZYDIS_CATEGORY_AVX] = true,
    [ZYDIS_CATEGORY_AVX2] = true,          [ZYDIS_CATEGORY_BROADCAST] = true,
    [ZYDIS_CATEGORY_VFMA] = true,          [ZYDIS_CATEGORY_VAES] = true,
    [ZYDIS_CATEGORY_KMASK] = true,         [ZYDIS_CATEGORY_VPCLMULQDQ] = true,
    [ZYDIS_CATEGORY_AVX512] = true,        [ZYDIS_CATEGORY_BLEND] = true,
    [ZYDIS_CATEGORY_COMPRESS] = true,      [ZYDIS_CATEGORY_CONFLICT] = true,
    [ZYDIS_CATEGORY_EXPAND] = true,        [ZYDIS_CATEGORY_IFMA] = true,
    [ZYDIS_CATEGORY_VBMI2] = true,         [ZYDIS_CATEGORY_AVX512_VBMI] = true,
    [ZYDIS_CATEGORY_AVX512_BITALG] = true,
};

/* Whatever its category. */
static bool is_allowed_anyway(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_LEA:
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_SFENCE:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_EMMS:
        return true;
    default:
        return false;
    }
}

/* Whatever its category: flags that C needs clear, controls that would unmask exceptions, and the
 * x87's environment, in which host addresses stand. */
static bool is_forbidden_anyway(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
    case ZYDIS_MNEMONIC_STI:
    case ZYDIS_MNEMONIC_CLD:
    case ZYDIS_MNEMONIC_STD:
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
        return true;
    default:
        return false;
    }
}

static bool is_listed(const ZydisDecodedInstruction *decoded)
{
    if ((decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
         decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
         decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX) ||
        decoded->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED || is_forbidden_anyway(decoded->mnemonic))
        return false;
    return is_allowed_anyway(decoded->mnemonic) ||
           (allowed_categories[decoded->meta.category] && allowed_sets[decoded->meta.isa_set]);
}

/* 0 to 15, or FACTS_NO_REGISTER. */
static unsigned general_number(ZydisRegister name)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, name);
    return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15
               ? (unsigned)(whole - ZYDIS_REGISTER_RAX)
               : FACTS_NO_REGISTER;
}

static void note_read(struct host_facts *facts, ZydisRegister name)
{
    unsigned number = general_number(name);
    if (number != FACTS_NO_REGISTER)
        facts->reads |= (uint16_t)(1u << number & FACTS_TRACKED);
}

/* BSF and BSR keep their result where there is no bit to find. */
static bool keeps_result(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_BSF || mnemonic == ZYDIS_MNEMONIC_BSR;
}

/* False: a register that is not the guest's to use: of segments, control, debugging ... */
static bool note_register(struct host_facts *facts, const ZydisDecodedOperand *operand,
                          ZydisMnemonic mnemonic)
{
    ZydisRegister name = operand->reg.value;
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        break;
    case ZYDIS_REGCLASS_XMM:
        facts->live |= LIVE_XMM;
        return true;
    case ZYDIS_REGCLASS_YMM:
        facts->live |= LIVE_YMM;
        return true;
    case ZYDIS_REGCLASS_ZMM:
    case ZYDIS_REGCLASS_MASK:
        facts->live |= LIVE_ZMM;
        return true;
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_X87:
        facts->live |= LIVE_X87;
        return true;
    case ZYDIS_REGCLASS_FLAGS:
        return true;
    default:
        facts->live |= name == ZYDIS_REGISTER_MXCSR ? LIVE_XMM : LIVE_X87;
        return name == ZYDIS_REGISTER_X87CONTROL || name == ZYDIS_REGISTER_X87STATUS ||
               name == ZYDIS_REGISTER_X87TAG || name == ZYDIS_REGISTER_MXCSR;
    }
    bool whole = operand->size >= 32 && !keeps_result(mnemonic) &&
                 !(operand->actions & ZYDIS_OPERAND_ACTION_CONDWRITE);
    bool writes = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ || (writes && !whole))
        note_read(facts, name);
    if (writes && general_number(name) != FACTS_NO_REGISTER)
        facts->writes |= (uint16_t)(1u << general_number(name) & FACTS_TRACKED);
    return true;
}

/* False: not [RDI] or [R14], or one that the instruction does not say. */
static bool note_memory(struct host_facts *facts, const ZydisDecodedInstruction *decoded,
                        const ZydisDecodedOperand *operand)
{
    if (operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN) {
        note_read(facts, operand->mem.base);
        note_read(facts, operand->mem.index);
        /* An address relative to the host's RIP is a host pointer. */
        return operand->mem.base != ZYDIS_REGISTER_RIP && operand->mem.base != ZYDIS_REGISTER_EIP;
    }
    if (operand->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
        operand->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM ||
        operand->mem.index != ZYDIS_REGISTER_NONE || facts->base != FACTS_NO_REGISTER ||
        decoded->address_width != 64 || (operand->mem.segment != ZYDIS_REGISTER_DS) ||
        (operand->mem.base != ZYDIS_REGISTER_RDI && operand->mem.base != ZYDIS_REGISTER_R14))
        return false;
    facts->base = (uint8_t)general_number(operand->mem.base);
    facts->size = operand->size / 8u;
    facts->displacement = (int32_t)operand->mem.disp.value;
    facts->stores = operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    return true;
}

static bool is_bit_string(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_BT || mnemonic == ZYDIS_MNEMONIC_BTS ||
           mnemonic == ZYDIS_MNEMONIC_BTR || mnemonic == ZYDIS_MNEMONIC_BTC;
}

static bool is_division(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_DIV || mnemonic == ZYDIS_MNEMONIC_IDIV;
}

/* What VEX and EVEX write of a register, they write as far as it goes. */
static void note_encoding(struct host_facts *facts, const ZydisDecodedInstruction *decoded)
{
    bool clears = decoded->mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
                  decoded->mnemonic == ZYDIS_MNEMONIC_VZEROALL;
    if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
        facts->live |= LIVE_ZMM;
    if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && (facts->live & LIVE_XMM || clears))
        facts->live |= LIVE_YMM;
}

enum decode_result host_decode_any(const ZydisDecoder *decoder, const uint8_t *bytes,
                                   size_t available, struct host_facts *facts)
{
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    *facts = (struct host_facts){.base = FACTS_NO_REGISTER, .bit_register = FACTS_NO_REGISTER};
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, available, &decoded, operands)) ||
        !is_listed(&decoded))
        return DECODE_UNKNOWN;
    for (unsigned i = 0; i < decoded.operand_count; i++) {
        const ZydisDecodedOperand *operand = &operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_POINTER)
            return DECODE_UNKNOWN;
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && !note_memory(facts, &decoded, operand))
            return DECODE_BAD_MEMORY;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            !note_register(facts, operand, decoded.mnemonic))
            return DECODE_UNKNOWN;
    }
    /* x87 control instructions that say nothing of their registers. */
    if (decoded.meta.isa_set == ZYDIS_ISA_SET_X87 || decoded.mnemonic == ZYDIS_MNEMONIC_EMMS)
        facts->live |= LIVE_X87;
    /* Conversions between memory and general or MMX registers: MXCSR all the same. */
    bool converts =
        decoded.meta.category == ZYDIS_CATEGORY_CONVERT &&
        (decoded.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
         decoded.meta.isa_set == ZYDIS_ISA_SET_SSE || decoded.meta.isa_set == ZYDIS_ISA_SET_SSE2);
    if (decoded.mnemonic == ZYDIS_MNEMONIC_STMXCSR || converts)
        facts->live |= LIVE_XMM;
    note_encoding(facts, &decoded);
    if (facts->base != FACTS_NO_REGISTER && is_bit_string(decoded.mnemonic) &&
        operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
        facts->bit_register = (uint8_t)general_number(operands[1].reg.value);
    if (decoded.raw.imm[0].size == 64)
        facts->constant = decoded.raw.imm[0].value.u;
    facts->may_fault = is_division(decoded.mnemonic);
    facts->length = decoded.length;
    return DECODE_ALLOWED;
}

enum decode_result host_decode(const ZydisDecoder *decoder, const uint8_t *bytes, size_t available,
                               struct host_facts *facts)
{
    if (host_decode_common(bytes, available, facts) == DECODE_ALLOWED)
        return DECODE_ALLOWED;
    return host_decode_any(decoder, bytes, available, facts);
}
