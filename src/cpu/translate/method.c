/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/method.h"

#include "cpu/control.h"
#include "cpu/feature_bits.h"
#include "cpu/translate/plain.h"
#include "cpu/translate/rewrite.h"

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

bool method_saves_vectors(ZydisISASet isa_set)
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

enum method method_choose(const struct instruction *instruction, const struct cpu_model *model,
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
    if (plain_instruction(instruction, model, mode))
        return is_bit_in_memory(instruction) ? METHOD_BIT : METHOD_PLAIN;
    if (is_gather(decoded) || instruction->vector_state)
        return METHOD_OPERATION;
    return vector || decoded->meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR ? METHOD_INTERPRET
                                                                     : METHOD_OPERATION;
}

bool method_ends_run(const struct instruction *instruction)
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
               !plain_register(instruction->operands[0].reg.value);
    default:
        return false;
    }
}
