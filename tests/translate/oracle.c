/* SPDX-License-Identifier: Apache-2.0 */
#include "oracle.h"

#include "cpu/translate/emit.h"

#include <Zydis/Zydis.h>

/* Categories of which no instruction is ever emitted. */
static bool is_forbidden(const ZydisDecodedInstruction *decoded)
{
    if (decoded->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)
        return true;
    switch (decoded->meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT:
    case ZYDIS_CATEGORY_PKU:
    case ZYDIS_CATEGORY_RDWRFSGS:
    case ZYDIS_CATEGORY_VTX:
        return true;
    default:
        return false;
    }
}

static bool is_segment(ZydisRegister name)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(name);
    return class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_CONTROL ||
           class == ZYDIS_REGCLASS_DEBUG;
}

/* A field of the vcpu by its offset: nothing past the struct, and no store outside of what is the
 * translator's or R14's and R15's. */
static bool field_is_good(const ZydisDecodedOperand *operand)
{
    int64_t offset = operand->mem.disp.value;
    int64_t past = offset + operand->size / 8;
    if (offset < 0 || past > (int64_t)sizeof(struct vcpu) ||
        operand->mem.index != ZYDIS_REGISTER_NONE)
        return false;
    if (operand->mem.base == ZYDIS_REGISTER_R15)
        return !(operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) &&
               offset >= VCPU(translate.jumps);
    if (operand->mem.base != ZYDIS_REGISTER_NONE)
        return false;
    if (!(operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
        return true;
    static const int32_t written[] = {
        VCPU_REGISTER(GPR_R14),
        VCPU_REGISTER(GPR_R15),
        VCPU(translate.parked_flags),
        VCPU(translate.target),
        VCPU(translate.spill),
        VCPU(translate.rip_page),
        VCPU(translate.source),
        VCPU(translate.spill2),
        VCPU(translate.jump_context),
        VCPU(rflags),
        VCPU(mmu_mode),
        VCPU(code_mode),
        VCPU(segment_bases[SEG_GS]),
        VCPU(kernel_gs_base),
        VCPU(segments[SEG_GS].base),
    };
    int64_t window = offset - VCPU(translate.windows);
    if (window >= 0 && window < 8 * TRANSLATE_WINDOWS && !(window % 8))
        return true;
    for (unsigned i = 0; i < ARRAY_SIZE(written); i++)
        if (offset == written[i])
            return true;
    return false;
}

/* REP MOVS and REP STOS. */
static bool is_bulk_string(const ZydisDecodedInstruction *decoded)
{
    switch (decoded->mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return decoded->attributes & ZYDIS_ATTRIB_HAS_REP;
    default:
        return false;
    }
}

static const char *operand_complaint(const ZydisDecodedOperand *operand)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_POINTER)
        return "far pointer";
    if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && is_segment(operand->reg.value))
        return "segment, control or debug register";
    if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
        return NULL;
    if (operand->mem.segment == ZYDIS_REGISTER_GS)
        return field_is_good(operand) ? NULL : "field of the vcpu";
    bool plain = operand->mem.segment != ZYDIS_REGISTER_FS &&
                 operand->mem.index == ZYDIS_REGISTER_NONE &&
                 ((operand->mem.base == ZYDIS_REGISTER_R14 && operand->mem.disp.value >= 0 &&
                   operand->mem.disp.value < (int64_t)PAGE_SIZE) ||
                  (operand->mem.base == ZYDIS_REGISTER_RDI && operand->mem.disp.value >= 0 &&
                   operand->mem.disp.value < (int64_t)PAGE_SIZE));
    return plain ? NULL : "memory operand";
}

static const char *jump_complaint(const struct translator *translator,
                                  const struct translation *translation, uint32_t end,
                                  const ZydisDecodedOperand *operand)
{
    if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY)
        return operand->mem.segment == ZYDIS_REGISTER_GS &&
                       operand->mem.base == ZYDIS_REGISTER_R15 &&
                       operand->mem.disp.value == VCPU(translate.jumps[0].parked)
                   ? NULL
                   : "indirect jump";
    if (operand->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return "jump through a register";
    int64_t target = (int64_t)translation->start + end + operand->imm.value.s;
    bool inside = target >= translation->start && target < translation->end;
    return inside || target == translator->event_native || target == translator->event_parked
               ? NULL
               : "jump out of the translation";
}

static const char *instruction_complaint(const struct translator *translator,
                                         const struct translation *translation, uint32_t end,
                                         const ZydisDecodedInstruction *decoded,
                                         const ZydisDecodedOperand *operands)
{
    if (is_forbidden(decoded))
        return "forbidden instruction";
    if (decoded->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return is_bulk_string(decoded) ? NULL : "string instruction";
    if (decoded->meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
        decoded->meta.category == ZYDIS_CATEGORY_COND_BR)
        return jump_complaint(translator, translation, end, &operands[0]);
    if (decoded->meta.category == ZYDIS_CATEGORY_NOP ||
        decoded->meta.category == ZYDIS_CATEGORY_WIDENOP)
        return NULL; /* its operand is not accessed */
    for (unsigned i = 0; i < decoded->operand_count; i++) {
        const char *complaint = operand_complaint(&operands[i]);
        if (complaint)
            return complaint;
    }
    return NULL;
}

const char *oracle_complaint(const struct translator *translator,
                             const struct translation *translation, const uint8_t *code,
                             uint32_t *offset)
{
    uint32_t length = translation->end - translation->start;
    ZydisDecoder decoder;
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (*offset = 0; *offset < length; *offset += decoded.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code + *offset, length - *offset,
                                                 &decoded, operands)))
            return "no instruction";
        const char *complaint = instruction_complaint(translator, translation,
                                                      *offset + decoded.length, &decoded, operands);
        if (complaint)
            return complaint;
    }
    return NULL;
}
