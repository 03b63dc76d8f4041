/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/scan.h"

#include "cpu/isa.h"
#include "cpu/translate/method.h"
#include "cpu/translate/rewrite.h"

#include <stdlib.h>

static void decoder_init(ZydisDecoder *decoder, ZydisMachineMode mode, ZydisStackWidth width,
                         const struct cpu_model *model)
{
    ZydisDecoderInit(decoder, mode, width);
    /* Without them, TZCNT and LZCNT are BSF and BSR with a prefix that means nothing. */
    ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_TZCNT,
                           isa_set_available(model, ZYDIS_ISA_SET_BMI1));
    ZydisDecoderEnableMode(decoder, ZYDIS_DECODER_MODE_LZCNT,
                           isa_set_available(model, ZYDIS_ISA_SET_LZCNT));
}

struct scan *scan_create(const struct cpu_model *model)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    if (!scan)
        return NULL;
    decoder_init(&scan->decoder64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, model);
    decoder_init(&scan->decoder32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, model);
    return scan;
}

void scan_destroy(struct scan *scan)
{
    free(scan);
}

/* --- flags --- */

static bool is_shift(ZydisInstructionCategory category)
{
    return category == ZYDIS_CATEGORY_SHIFT || category == ZYDIS_CATEGORY_ROTATE;
}

/* A shift by zero leaves the flags alone, and by CL it may be zero. */
static bool may_shift_nothing(const struct instruction *instruction)
{
    if (!is_shift(instruction->decoded.meta.category))
        return false;
    const ZydisDecodedOperand *count =
        &instruction->operands[instruction->decoded.operand_count_visible - 1];
    if (count->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
        return true;
    unsigned mask = instruction->operands[0].size == 64 ? 63 : 31;
    return !(count->imm.value.u & mask);
}

static void note_flags(struct instruction *instruction)
{
    switch (instruction->method) {
    case METHOD_BRANCH:
    case METHOD_LOOP:
    case METHOD_PUSHF:
    case METHOD_STRING: /* which may leave to a handler */
    case METHOD_LOAD_CONTROL:
    case METHOD_OPERATION:
    case METHOD_INTERPRET:
        instruction->flags_read = RFLAGS_ARITHMETIC; /* what follows elsewhere may want any */
        return;
    case METHOD_BIT: /* CF alone is defined; the rest stays or is the host's own choice */
    case METHOD_PLAIN:
    case METHOD_ELEMENT:
        break;
    default:
        return;
    }
    const ZydisAccessedFlags *flags = instruction->decoded.cpu_flags;
    if (!flags)
        return;
    uint32_t written = flags->modified | flags->set_0 | flags->set_1 | flags->undefined;
    instruction->flags_read = flags->tested & RFLAGS_ARITHMETIC;
    /* A division's fault shows the flags before it. */
    bool faults = instruction->decoded.mnemonic == ZYDIS_MNEMONIC_DIV ||
                  instruction->decoded.mnemonic == ZYDIS_MNEMONIC_IDIV;
    if (faults || (instruction->method == METHOD_ELEMENT && !written))
        instruction->flags_read = RFLAGS_ARITHMETIC; /* downwards: as METHOD_INTERPRET */
    else if (may_shift_nothing(instruction))
        instruction->flags_read |= written & RFLAGS_ARITHMETIC;
    else
        instruction->flags_written = written & RFLAGS_ARITHMETIC;
}

static void note_liveness(struct scan *scan)
{
    uint32_t live = RFLAGS_ARITHMETIC;
    for (unsigned i = scan->count; i-- > 0;) {
        struct instruction *instruction = &scan->instructions[i];
        instruction->flags_live = live;
        live = flags_wanted(instruction);
    }
    scan->flags_live = live;
}

/* --- the run --- */

static bool is_sse_conversion(const ZydisDecodedInstruction *decoded)
{
    return decoded->meta.category == ZYDIS_CATEGORY_CONVERT &&
           (decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
            decoded->meta.isa_set == ZYDIS_ISA_SET_SSE ||
            decoded->meta.isa_set == ZYDIS_ISA_SET_SSE2);
}

static void note_register(struct instruction *instruction, ZydisRegister name)
{
    switch (ZydisRegisterGetClass(name)) {
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
    case ZYDIS_REGCLASS_MASK:
        instruction->xmm = true;
        break;
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_X87:
        instruction->x87 = true;
        break;
    default:
        break;
    }
}

/* VEX and EVEX make zero what they do not write of a register, however long it is. */
static void note_width(struct instruction *instruction, uint32_t mode)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    instruction->xmm |= decoded->mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
                        decoded->mnemonic == ZYDIS_MNEMONIC_VZEROALL ||
                        decoded->mnemonic == ZYDIS_MNEMONIC_VSTMXCSR ||
                        decoded->mnemonic == ZYDIS_MNEMONIC_VLDMXCSR;
    instruction->needs_avx512 = decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
                                decoded->meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX;
    instruction->ymm = instruction->xmm && decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY;
    instruction->zmm = instruction->ymm && mode & CODE_MODE_AVX512;
}

/* Does a mask say which parts of the memory operand are touched? */
static bool has_masked_memory(const struct instruction *instruction)
{
    if (instruction->memory < 0)
        return false;
    switch (instruction->decoded.mnemonic) {
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        return true;
    default:
        return instruction->decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX &&
               instruction->decoded.avx.mask.reg != ZYDIS_REGISTER_K0;
    }
}

static void note_operands(struct instruction *instruction, uint32_t mode)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    instruction->memory = -1;
    instruction->vector_state = method_saves_vectors(decoded->meta.isa_set);
    /* Conversions round as MXCSR says, and note what they met there, even without an XMM register.
     */
    instruction->xmm = decoded->mnemonic == ZYDIS_MNEMONIC_STMXCSR || is_sse_conversion(decoded);
    instruction->x87 = decoded->meta.isa_set == ZYDIS_ISA_SET_X87 ||
                       decoded->meta.isa_set == ZYDIS_ISA_SET_FCMOV ||
                       decoded->meta.isa_set == ZYDIS_ISA_SET_SSE3X87 ||
                       decoded->mnemonic == ZYDIS_MNEMONIC_EMMS;
    for (unsigned i = 0; i < decoded->operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && i < decoded->operand_count_visible &&
            instruction->memory < 0)
            instruction->memory = (int8_t)i;
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER)
            note_register(instruction, operand->reg.value);
    }
    note_width(instruction, mode);
    instruction->masked = has_masked_memory(instruction);
}

static bool is_same_operand(const ZydisDecodedOperand *one, const ZydisDecodedOperand *other)
{
    return one->type == other->type && one->size == other->size &&
           (one->type != ZYDIS_OPERAND_TYPE_REGISTER || one->reg.value == other->reg.value);
}

/* VPCMPESTRI has lengths in RDX and RAX then, of which Zydis says nothing. */
static bool may_widen(const struct instruction *instruction)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    bool evex = decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    if (!(evex ? decoded->raw.evex.W : decoded->raw.vex.W))
        return false;
    for (unsigned i = 0; i < decoded->operand_count; i++)
        if (instruction->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            guest_register(instruction->operands[i].reg.value) != NO_REGISTER)
            return true;
    return false;
}

/* VEX and EVEX have bits that 32-bit code may set as it likes, and 64-bit mode looks at; VZEROUPPER
 * and VZEROALL spare registers that only 64-bit code has. */
static bool differs_in_64bit(const struct scan *scan, const struct instruction *instruction)
{
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (instruction->decoded.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&scan->decoder64, instruction->bytes,
                                             instruction->length, &decoded, operands)) ||
        decoded.mnemonic != instruction->decoded.mnemonic ||
        decoded.operand_count_visible != instruction->decoded.operand_count_visible ||
        may_widen(instruction) || decoded.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ||
        decoded.mnemonic == ZYDIS_MNEMONIC_VZEROALL)
        return true;
    for (unsigned i = 0; i < decoded.operand_count_visible; i++)
        if (!is_same_operand(&operands[i], &instruction->operands[i]))
            return true;
    return false;
}

static ZyanStatus decode_bytes(const struct scan *scan, struct instruction *instruction,
                               uint32_t mode, unsigned available)
{
    bool wide = mode & CODE_MODE_LONG;
    ZyanStatus status =
        ZydisDecoderDecodeFull(wide ? &scan->decoder64 : &scan->decoder32, instruction->bytes,
                               available, &instruction->decoded, instruction->operands);
    if (!ZYAN_SUCCESS(status))
        return status;
    instruction->length = instruction->decoded.length;
    instruction->differs = !wide && differs_in_64bit(scan, instruction);
    if (wide)
        return status;
    unsigned length = recode(&instruction->decoded, instruction->operands, instruction->recoded);
    if (!length)
        return status;
    instruction->bytes = instruction->recoded;
    return ZydisDecoderDecodeFull(&scan->decoder64, instruction->bytes, length,
                                  &instruction->decoded, instruction->operands);
}

/* False: it runs past the bytes there are. */
static bool decode(struct scan *scan, const struct cpu_model *model, uint32_t mode, unsigned offset,
                   unsigned available)
{
    struct instruction *instruction = &scan->instructions[scan->count];
    instruction->bytes = scan->bytes + offset;
    instruction->offset = (uint16_t)offset;
    instruction->flags_read = instruction->flags_written = 0;
    ZyanStatus status = decode_bytes(scan, instruction, mode, available);
    if (status == ZYDIS_STATUS_NO_MORE_DATA && available < INSTRUCTION_MAX)
        return false;
    if (!ZYAN_SUCCESS(status)) {
        instruction->length = 1;
        instruction->method = METHOD_INTERPRET; /* which will say #UD */
        instruction->flags_read = RFLAGS_ARITHMETIC;
        instruction->xmm = instruction->ymm = instruction->zmm = instruction->x87 = false;
        instruction->memory = -1;
        return true;
    }
    note_operands(instruction, mode);
    instruction->method = method_choose(instruction, model, mode);
    note_flags(instruction);
    return true;
}

bool scan_run(struct scan *scan, const struct cpu_model *model, uint32_t mode, unsigned offset,
              unsigned available, unsigned limit)
{
    scan->count = 0;
    scan->xmm = scan->ymm = scan->zmm = scan->x87 = scan->crosses = false;
    while (scan->count < limit && offset < PAGE_SIZE) {
        if (!decode(scan, model, mode, offset, available)) {
            scan->crosses = true;
            break;
        }
        struct instruction *instruction = &scan->instructions[scan->count++];
        unsigned length = instruction->length;
        bool native =
            instruction->method == METHOD_PLAIN || instruction->method == METHOD_LOAD_CONTROL;
        scan->xmm |= native && instruction->xmm;
        scan->ymm |= native && instruction->ymm;
        scan->zmm |= native && instruction->zmm;
        scan->x87 |= native && instruction->x87;
        offset += length;
        available -= length;
        if (method_ends_run(instruction))
            break;
    }
    /* The shadow of STI lasts for one more instruction: that must be in the same translation. */
    if (scan->count && scan->instructions[scan->count - 1].method == METHOD_STI)
        scan->instructions[scan->count - 1].method = METHOD_OPERATION;
    note_liveness(scan);
    return scan->count > 0;
}
