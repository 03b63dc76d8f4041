/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/scan.h"

#include "cpu/control.h"
#include "cpu/feature_bits.h"
#include "cpu/isa.h"
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

/* --- what may run as it is --- */

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

static bool is_plain_register(ZydisRegister name)
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
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && !is_plain_register(operand->reg.value))
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

static bool is_plain(const struct instruction *instruction, const struct cpu_model *model,
                     uint32_t mode)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    return computes_only(decoded, model) && !(decoded->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) &&
           !is_excluded(decoded->mnemonic) && !is_only_32bit(decoded) &&
           operands_are_plain(instruction) && encoding_is_plain(instruction, mode);
}

/* --- how each is translated --- */

static bool has_near_width(const struct instruction *instruction)
{
    return instruction->decoded.operand_width == native_width(instruction);
}

static bool is_far(const struct instruction *instruction)
{
    return instruction->decoded.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

/* Not a segment register. */
static bool is_general(const ZydisDecodedOperand *operand)
{
    if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    ZydisRegisterClass class = ZydisRegisterGetClass(operand->reg.value);
    return class == ZYDIS_REGCLASS_GPR64 || class == ZYDIS_REGCLASS_GPR32;
}

static enum method push_method(const struct instruction *instruction)
{
    return has_near_width(instruction) ? METHOD_PUSH : METHOD_OPERATION;
}

/* Saves or loads the vector registers, by a handler that works on vcpu->xsave. */
static bool is_vector_state(ZydisISASet isa_set)
{
    switch (isa_set) {
    case ZYDIS_ISA_SET_FXSAVE:
    case ZYDIS_ISA_SET_FXSAVE64:
    case ZYDIS_ISA_SET_XSAVE:
    case ZYDIS_ISA_SET_XSAVEC:
    case ZYDIS_ISA_SET_XSAVEOPT:
    case ZYDIS_ISA_SET_XSAVES:
        return true;
    default:
        return false;
    }
}

/* Near transfers, stack instructions and the like, which have methods of their own. */
static enum method special_method(const struct instruction *instruction)
{
    const ZydisDecodedOperand *first = &instruction->operands[0];
    switch (instruction->decoded.meta.category) {
    case ZYDIS_CATEGORY_COND_BR:
        switch (instruction->decoded.mnemonic) {
        case ZYDIS_MNEMONIC_LOOP:
        case ZYDIS_MNEMONIC_JRCXZ:
        case ZYDIS_MNEMONIC_JECXZ:
            return has_native_address(instruction) && has_near_width(instruction)
                       ? METHOD_LOOP
                       : METHOD_INTERPRET;
        case ZYDIS_MNEMONIC_LOOPE:
        case ZYDIS_MNEMONIC_LOOPNE:
        case ZYDIS_MNEMONIC_JCXZ:
            return METHOD_INTERPRET;
        default:
            return has_near_width(instruction) ? METHOD_BRANCH : METHOD_INTERPRET;
        }
    case ZYDIS_CATEGORY_UNCOND_BR:
        return is_far(instruction)           ? METHOD_OPERATION
               : has_near_width(instruction) ? METHOD_JUMP
                                             : METHOD_INTERPRET;
    case ZYDIS_CATEGORY_CALL:
        return is_far(instruction)           ? METHOD_OPERATION
               : has_near_width(instruction) ? METHOD_CALL
                                             : METHOD_INTERPRET;
    case ZYDIS_CATEGORY_RET:
        if (instruction->decoded.mnemonic != ZYDIS_MNEMONIC_RET || is_far(instruction))
            return METHOD_OPERATION;
        return has_near_width(instruction) ? METHOD_RETURN : METHOD_INTERPRET;
    case ZYDIS_CATEGORY_PUSH:
        return instruction->decoded.mnemonic == ZYDIS_MNEMONIC_PUSH ? push_method(instruction)
                                                                    : METHOD_OPERATION;
    case ZYDIS_CATEGORY_POP:
        return instruction->decoded.mnemonic == ZYDIS_MNEMONIC_POP && is_general(first) &&
                       has_near_width(instruction)
                   ? METHOD_POP
                   : METHOD_OPERATION;
    default:
        return METHOD_PLAIN;
    }
}

/* Kernel instructions that need no call. METHOD_PLAIN: it is none of them. */
static enum method privileged_method(const struct instruction *instruction,
                                     const struct cpu_model *model)
{
    switch (instruction->decoded.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
        return METHOD_CLI;
    case ZYDIS_MNEMONIC_STI:
        return METHOD_STI;
    case ZYDIS_MNEMONIC_SWAPGS:
        return METHOD_SWAPGS;
    case ZYDIS_MNEMONIC_STAC:
    case ZYDIS_MNEMONIC_CLAC:
        return model->leaf7_ebx & EBX7_SMAP ? METHOD_STAC_CLAC : METHOD_OPERATION;
    default:
        return METHOD_PLAIN;
    }
}

static bool is_segment_read(const struct instruction *instruction)
{
    return instruction->decoded.mnemonic == ZYDIS_MNEMONIC_MOV &&
           instruction->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           instruction->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
           ZydisRegisterGetClass(instruction->operands[1].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
           ZydisRegisterGetId(instruction->operands[0].reg.value) < 14;
}

static bool is_repeated(const ZydisDecodedInstruction *decoded)
{
    for (unsigned i = 0; i < decoded->raw.prefix_count; i++)
        if (decoded->raw.prefixes[i].value == 0xf2 || decoded->raw.prefixes[i].value == 0xf3)
            return true;
    return false;
}

static bool is_move_or_store(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ:
        return true;
    default:
        return false;
    }
}

static enum method string_method(const struct instruction *instruction)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    const uint64_t refused = ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS;
    if (decoded->attributes & refused || !has_native_address(instruction))
        return METHOD_OPERATION;
    if (!is_repeated(decoded))
        return METHOD_ELEMENT;
    return decoded->attributes & ZYDIS_ATTRIB_HAS_REP && is_move_or_store(decoded->mnemonic)
               ? METHOD_STRING
               : METHOD_OPERATION;
}

static bool is_bit_in_memory(const struct instruction *instruction)
{
    switch (instruction->decoded.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return instruction->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
               instruction->operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER;
    default:
        return false;
    }
}

static bool is_nothing(const struct instruction *instruction)
{
    switch (instruction->decoded.meta.category) {
    case ZYDIS_CATEGORY_NOP:
    case ZYDIS_CATEGORY_WIDENOP:
    case ZYDIS_CATEGORY_PREFETCH:
        return true;
    default:
        return instruction->decoded.mnemonic == ZYDIS_MNEMONIC_ENDBR64 ||
               instruction->decoded.mnemonic == ZYDIS_MNEMONIC_ENDBR32;
    }
}

/* A memory operand in FS or GS, which may have a limit or nothing behind it: 32-bit code alone. */
static bool has_checked_segment(const struct instruction *instruction, uint32_t mode)
{
    if (mode & CODE_MODE_LONG || instruction->memory < 0)
        return false;
    ZydisRegister segment = instruction->operands[instruction->memory].mem.segment;
    return (segment == ZYDIS_REGISTER_FS && !(mode & CODE_MODE_FS_OPEN)) ||
           (segment == ZYDIS_REGISTER_GS && !(mode & CODE_MODE_GS_OPEN));
}

/* Or a scatter. Their handlers touch vcpu->xsave alone, which an event has up to date. */
static bool is_gather(const ZydisDecodedInstruction *decoded)
{
    return decoded->meta.category == ZYDIS_CATEGORY_AVX2GATHER ||
           decoded->meta.category == ZYDIS_CATEGORY_GATHER ||
           decoded->meta.category == ZYDIS_CATEGORY_SCATTER;
}

static bool is_fence(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_MFENCE || mnemonic == ZYDIS_MNEMONIC_LFENCE ||
           mnemonic == ZYDIS_MNEMONIC_SFENCE || mnemonic == ZYDIS_MNEMONIC_PAUSE ||
           mnemonic == ZYDIS_MNEMONIC_EMMS;
}

static enum method method_of(const struct instruction *instruction, const struct cpu_model *model,
                             uint32_t mode)
{
    const ZydisDecodedInstruction *decoded = &instruction->decoded;
    bool vector = instruction->xmm || instruction->x87;
    if (vector && mode & CODE_MODE_NO_FPU)
        return METHOD_INTERPRET;
    if (is_nothing(instruction))
        return METHOD_NOTHING;
    if (is_fence(decoded->mnemonic))
        return METHOD_PLAIN;
    if (decoded->mnemonic == ZYDIS_MNEMONIC_LEA)
        return rewrite_lea_is_verbatim(instruction) || instruction->operands[0].size >= 32
                   ? METHOD_LEA
                   : METHOD_OPERATION;
    if (decoded->mnemonic == ZYDIS_MNEMONIC_LEAVE && has_near_width(instruction))
        return METHOD_LEAVE;
    if (has_checked_segment(instruction, mode))
        return vector ? METHOD_INTERPRET : METHOD_OPERATION;
    enum method method = special_method(instruction);
    bool pushes_flags =
        decoded->mnemonic == ZYDIS_MNEMONIC_PUSHFQ || decoded->mnemonic == ZYDIS_MNEMONIC_PUSHFD;
    if (pushes_flags && !(mode & CODE_MODE_USER))
        return METHOD_PUSHF;
    if (method != METHOD_PLAIN)
        return method;
    if (!(mode & CODE_MODE_USER))
        method = privileged_method(instruction, model);
    if (method != METHOD_PLAIN)
        return method;
    if (is_segment_read(instruction))
        return METHOD_READ_SEGMENT;
    if (decoded->meta.category == ZYDIS_CATEGORY_STRINGOP)
        return string_method(instruction);
    if (decoded->mnemonic == ZYDIS_MNEMONIC_CLD || decoded->mnemonic == ZYDIS_MNEMONIC_STD)
        return METHOD_DIRECTION;
    if (decoded->mnemonic == ZYDIS_MNEMONIC_FLDCW)
        return METHOD_LOAD_CONTROL;
    if (is_plain(instruction, model, mode))
        return is_bit_in_memory(instruction) ? METHOD_BIT : METHOD_PLAIN;
    if (is_gather(decoded) || instruction->vector_state)
        return METHOD_OPERATION;
    return vector || decoded->meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR ? METHOD_INTERPRET
                                                                     : METHOD_OPERATION;
}

/* Does the instruction always go elsewhere, or change what code after it means? */
static bool ends_run(const struct instruction *instruction)
{
    switch (instruction->method) {
    case METHOD_CALL:
    case METHOD_RETURN:
    case METHOD_JUMP:
    case METHOD_INTERPRET:
    case METHOD_STAC_CLAC:
        return true;
    case METHOD_OPERATION:
        break;
    default:
        return false;
    }
    switch (instruction->decoded.meta.category) {
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_SMAP:
        return true;
    default:
        break;
    }
    switch (instruction->decoded.mnemonic) {
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2:
    case ZYDIS_MNEMONIC_INVLPG:
    case ZYDIS_MNEMONIC_WRMSR:
        return true;
    case ZYDIS_MNEMONIC_MOV: /* to a control, debug or segment register */
        return instruction->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               !is_plain_register(instruction->operands[0].reg.value);
    default:
        return false;
    }
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
    instruction->vector_state = is_vector_state(decoded->meta.isa_set);
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
    instruction->method = method_of(instruction, model, mode);
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
        if (ends_run(instruction))
            break;
    }
    /* The shadow of STI lasts for one more instruction: that must be in the same translation. */
    if (scan->count && scan->instructions[scan->count - 1].method == METHOD_STI)
        scan->instructions[scan->count - 1].method = METHOD_OPERATION;
    note_liveness(scan);
    return scan->count > 0;
}
