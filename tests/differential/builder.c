/* SPDX-License-Identifier: Apache-2.0 */
/* Putting a case's code together, instruction by instruction. */
#include "differential/catalogue.h"

static const ZydisMachineMode machine_modes[MODE_COUNT] = {ZYDIS_MACHINE_MODE_LONG_64,
                                                           ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                                           ZYDIS_MACHINE_MODE_LONG_COMPAT_16};

ZydisEncoderRequest request_of(enum code_mode mode, ZydisMnemonic mnemonic)
{
    return (ZydisEncoderRequest){.machine_mode = machine_modes[mode],
                                 .allowed_encodings = ZYDIS_ENCODABLE_ENCODING_LEGACY,
                                 .mnemonic = mnemonic};
}

ZydisDecoder decoder_of(enum code_mode mode)
{
    static const ZydisStackWidth widths[MODE_COUNT] = {ZYDIS_STACK_WIDTH_64, ZYDIS_STACK_WIDTH_32,
                                                       ZYDIS_STACK_WIDTH_16};
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, machine_modes[mode], widths[mode]);
    return decoder;
}

void add_register(ZydisEncoderRequest *request, ZydisRegister name)
{
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    operand->type = ZYDIS_OPERAND_TYPE_REGISTER;
    operand->reg.value = name;
}

void add_immediate(ZydisEncoderRequest *request, int64_t value)
{
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    operand->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
    operand->imm.s = value;
}

ZydisRegister general_register(unsigned number, unsigned size)
{
    static const ZydisRegister bases[] = {ZYDIS_REGISTER_AL, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_EAX,
                                          ZYDIS_REGISTER_RAX};
    static const ZydisRegister bytes[16] = {
        ZYDIS_REGISTER_AL,   ZYDIS_REGISTER_CL,   ZYDIS_REGISTER_DL,   ZYDIS_REGISTER_BL,
        ZYDIS_REGISTER_SPL,  ZYDIS_REGISTER_BPL,  ZYDIS_REGISTER_SIL,  ZYDIS_REGISTER_DIL,
        ZYDIS_REGISTER_R8B,  ZYDIS_REGISTER_R9B,  ZYDIS_REGISTER_R10B, ZYDIS_REGISTER_R11B,
        ZYDIS_REGISTER_R12B, ZYDIS_REGISTER_R13B, ZYDIS_REGISTER_R14B, ZYDIS_REGISTER_R15B};
    if (size == 1)
        return bytes[number];
    return bases[__builtin_ctz(size)] + (ZydisRegister)number;
}

/* In 32-bit code the bit of VEX says nothing that extends ModRM.rm in 64-bit code. */
static void spoil_vex(struct builder *builder, uint8_t *bytes)
{
    while (*bytes == 0x67 || *bytes == 0x64 || *bytes == 0x65)
        bytes++;
    if (builder->test->mode != MODE_64 && *bytes == 0xc4 && one_in(builder->random, 4))
        bytes[1] ^= 0x20;
}

bool builder_encode(struct builder *builder, ZydisEncoderRequest *request)
{
    struct test_case *test = builder->test;
    ZyanUSize length = ZYDIS_MAX_INSTRUCTION_LENGTH;
    if (test->length + ZYDIS_MAX_INSTRUCTION_LENGTH > CODE_MAX ||
        !ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(request, test->code + test->length, &length)))
        return false;
    spoil_vex(builder, test->code + test->length);
    test->length += (unsigned)length;
    return true;
}

bool builder_encode_absolute(struct builder *builder, ZydisEncoderRequest *request)
{
    struct test_case *test = builder->test;
    ZyanUSize length = ZYDIS_MAX_INSTRUCTION_LENGTH;
    if (test->length + ZYDIS_MAX_INSTRUCTION_LENGTH > CODE_MAX ||
        !ZYAN_SUCCESS(ZydisEncoderEncodeInstructionAbsolute(request, test->code + test->length,
                                                            &length, test->address + test->length)))
        return false;
    test->length += (unsigned)length;
    return true;
}

/* mnemonic register, register */
bool builder_rr(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister a, ZydisRegister b)
{
    ZydisEncoderRequest request = request_of(builder->test->mode, mnemonic);
    add_register(&request, a);
    add_register(&request, b);
    return builder_encode(builder, &request);
}

/* mnemonic register, immediate */
bool builder_ri(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister name, int64_t value)
{
    ZydisEncoderRequest request = request_of(builder->test->mode, mnemonic);
    add_register(&request, name);
    add_immediate(&request, value);
    return builder_encode(builder, &request);
}

/* mnemonic register */
bool builder_r(struct builder *builder, ZydisMnemonic mnemonic, ZydisRegister name)
{
    ZydisEncoderRequest request = request_of(builder->test->mode, mnemonic);
    add_register(&request, name);
    return builder_encode(builder, &request);
}

bool builder_plain(struct builder *builder, ZydisMnemonic mnemonic)
{
    ZydisEncoderRequest request = request_of(builder->test->mode, mnemonic);
    return builder_encode(builder, &request);
}

void builder_note(struct builder *builder, uint64_t undefined)
{
    struct test_case *test = builder->test;
    if (test->boundary_count < BOUNDARIES_MAX)
        test->boundaries[test->boundary_count++] =
            (struct boundary){(uint16_t)test->length, undefined};
}
