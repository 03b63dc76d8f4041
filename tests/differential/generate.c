/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions that are compared, by group, and the values they meet. */
#include "differential/differential.h"

#define CF  RFLAGS_CF
#define PF  RFLAGS_PF
#define AF  RFLAGS_AF
#define ZF  RFLAGS_ZF
#define SF  RFLAGS_SF
#define OF  RFLAGS_OF
#define ALL RFLAGS_ARITHMETIC

/* Shapes of operands: registers and memory of the same size, immediates, XMM registers. */
enum form {
    RR = 1 << 0,
    RM = 1 << 1,
    MR = 1 << 2,
    RI = 1 << 3,
    MI = 1 << 4,
    R = 1 << 5,
    M = 1 << 6,
    NONE = 1 << 7,
    XX = 1 << 8,
    XM = 1 << 9,
    XXI = 1 << 10,
    RR_FROM8 = 1 << 11,
    RR_FROM16 = 1 << 12,
    R8_ONLY = 1 << 13,
    M8_ONLY = 1 << 14,
    RI8 = 1 << 15,
    MI8 = 1 << 16,
    RCL = 1 << 17,
    MCL = 1 << 18,
    STRING = 1 << 25,
    LOCKED = 1 << 19,
    RRI = 1 << 20,
    RX = 1 << 21,
    XR = 1 << 22,
    RRI8 = 1 << 23,
    M128 = 1 << 24,
};
#define ALU   (RR | RM | MR | RI | MI)
#define SHIFT (RI8 | MI8 | RCL | MCL)

#define I(name) ZYDIS_MNEMONIC_##name
static const struct instruction {
    const char *group;
    ZydisMnemonic mnemonic;
    uint32_t forms;
    uint64_t undefined;
} instructions[] = {
    {"alu", I(ADD), ALU, 0},
    {"alu", I(ADC), ALU, 0},
    {"alu", I(SUB), ALU, 0},
    {"alu", I(SBB), ALU, 0},
    {"alu", I(CMP), ALU, 0},
    {"alu", I(AND), ALU, AF},
    {"alu", I(OR), ALU, AF},
    {"alu", I(XOR), ALU, AF},
    {"alu", I(TEST), RR | MR | RI | MI, AF},
    {"alu", I(INC), R | M, 0},
    {"alu", I(DEC), R | M, 0},
    {"alu", I(NEG), R | M, 0},
    {"alu", I(NOT), R | M, 0},
    {"shift", I(SHL), SHIFT, AF | OF | CF},
    {"shift", I(SHR), SHIFT, AF | OF | CF},
    {"shift", I(SAR), SHIFT, AF | OF},
    {"shift", I(ROL), SHIFT, OF},
    {"shift", I(ROR), SHIFT, OF},
    {"shift", I(RCL), SHIFT, OF},
    {"shift", I(RCR), SHIFT, OF},
    {"shift", I(SHLD), RRI8, AF | OF | CF},
    {"shift", I(SHRD), RRI8, AF | OF | CF},
    {"multiply", I(MUL), R | M, SF | ZF | AF | PF},
    {"multiply", I(IMUL), R | M | RR | RM | RRI, SF | ZF | AF | PF},
    {"multiply", I(DIV), R | M, ALL},
    {"multiply", I(IDIV), R | M, ALL},
    {"bit", I(BT), RR | RI8 | MI8, OF | SF | AF | PF},
    {"bit", I(BTS), RR | RI8 | MI8, OF | SF | AF | PF},
    {"bit", I(BTR), RR | RI8 | MI8, OF | SF | AF | PF},
    {"bit", I(BTC), RR | RI8 | MI8, OF | SF | AF | PF},
    {"bit", I(BSF), RR | RM, ALL & ~ZF},
    {"bit", I(BSR), RR | RM, ALL & ~ZF},
    {"bit", I(POPCNT), RR | RM, 0},
    {"move", I(MOV), ALU, 0},
    {"move", I(MOVZX), RR_FROM8 | RR_FROM16, 0},
    {"move", I(MOVSX), RR_FROM8 | RR_FROM16, 0},
    {"move", I(BSWAP), R, 0},
    {"move", I(MOVBE), RM | MR, 0},
    {"move", I(XCHG), RR | MR, 0},
    {"move", I(LEA), RM, 0},
    {"move", I(CBW), NONE, 0},
    {"move", I(CWDE), NONE, 0},
    {"move", I(CDQE), NONE, 0},
    {"move", I(CWD), NONE, 0},
    {"move", I(CDQ), NONE, 0},
    {"move", I(CQO), NONE, 0},
    {"move", I(CMOVZ), RR | RM, 0},
    {"move", I(CMOVNBE), RR | RM, 0},
    {"move", I(CMOVL), RR | RM, 0},
    {"move", I(CMOVP), RR | RM, 0},
    {"move", I(CMOVNO), RR | RM, 0},
    {"move", I(CMOVS), RR | RM, 0},
    {"move", I(SETB), R8_ONLY | M8_ONLY, 0},
    {"move", I(SETNLE), R8_ONLY | M8_ONLY, 0},
    {"move", I(SETNP), R8_ONLY | M8_ONLY, 0},
    {"move", I(SETO), R8_ONLY, 0},
    {"move", I(SETNB), R8_ONLY, 0},
    {"flags", I(CLC), NONE, 0},
    {"flags", I(STC), NONE, 0},
    {"flags", I(CMC), NONE, 0},
    {"flags", I(LAHF), NONE, 0},
    {"flags", I(SAHF), NONE, 0},
    {"atomic", I(XADD), RR | MR | LOCKED, 0},
    {"atomic", I(CMPXCHG), RR | MR | LOCKED, 0},
    {"atomic", I(ADD), MR | MI | LOCKED, 0},
    {"atomic", I(SBB), MR | MI | LOCKED, 0},
    {"atomic", I(ADC), MR | MI | LOCKED, 0},
    {"atomic", I(SUB), MR | MI | LOCKED, 0},
    {"atomic", I(AND), MR | MI | LOCKED, AF},
    {"atomic", I(XOR), MR | LOCKED, AF},
    {"atomic", I(INC), M | LOCKED, 0},
    {"atomic", I(DEC), M | LOCKED, 0},
    {"atomic", I(NEG), M | LOCKED, 0},
    {"atomic", I(NOT), M | LOCKED, 0},
    {"atomic", I(BTS), MI8 | LOCKED, OF | SF | AF | PF},
    {"string", I(MOVSB), STRING, 0},
    {"string", I(MOVSW), STRING, 0},
    {"string", I(MOVSD), STRING, 0},
    {"string", I(MOVSQ), STRING, 0},
    {"string", I(STOSB), STRING, 0},
    {"string", I(STOSW), STRING, 0},
    {"string", I(STOSD), STRING, 0},
    {"string", I(STOSQ), STRING, 0},
    {"string", I(LODSB), STRING, 0},
    {"string", I(LODSW), STRING, 0},
    {"string", I(LODSD), STRING, 0},
    {"string", I(LODSQ), STRING, 0},
    {"string", I(CMPSB), STRING, 0},
    {"string", I(CMPSW), STRING, 0},
    {"string", I(CMPSD), STRING, 0},
    {"string", I(CMPSQ), STRING, 0},
    {"string", I(SCASB), STRING, 0},
    {"string", I(SCASW), STRING, 0},
    {"string", I(SCASD), STRING, 0},
    {"string", I(SCASQ), STRING, 0},
    {"sse", I(PADDB), XX | XM, 0},
    {"sse", I(PADDQ), XX | XM, 0},
    {"sse", I(PSUBW), XX | XM, 0},
    {"sse", I(PMULUDQ), XX | XM, 0},
    {"sse", I(PMADDWD), XX | XM, 0},
    {"sse", I(PAND), XX | XM, 0},
    {"sse", I(PANDN), XX, 0},
    {"sse", I(PXOR), XX | XM, 0},
    {"sse", I(PCMPEQB), XX | XM, 0},
    {"sse", I(PCMPGTD), XX, 0},
    {"sse", I(PUNPCKLBW), XX | XM, 0},
    {"sse", I(PACKUSWB), XX | XM, 0},
    {"sse", I(PSHUFD), XXI, 0},
    {"sse", I(SHUFPS), XXI, 0},
    {"sse", I(PALIGNR), XXI, 0},
    {"sse", I(PSHUFB), XX | XM, 0},
    {"sse", I(PABSD), XX | XM, 0},
    {"sse", I(PMULLD), XX | XM, 0},
    {"sse", I(PMINUD), XX, 0},
    {"sse", I(PBLENDW), XXI, 0},
    {"sse", I(PTEST), XX | XM, 0},
    {"sse", I(PCMPGTQ), XX, 0},
    {"sse", I(PCMPISTRI), XXI, 0},
    {"sse", I(PCMPISTRM), XXI, 0},
    {"sse", I(PCMPESTRI), XXI, 0},
    {"sse", I(AESENC), XX | XM, 0},
    {"sse", I(AESDECLAST), XX, 0},
    {"sse", I(AESKEYGENASSIST), XXI, 0},
    {"sse", I(PCLMULQDQ), XXI, 0},
    {"sse", I(MOVDQA), XX | XM, 0},
    {"sse", I(MOVUPS), XX | XM, 0},
    {"sse", I(MOVHLPS), XX, 0},
    {"sse", I(MOVDDUP), XX, 0},
    {"sse", I(ADDPS), XX | XM, 0},
    {"sse", I(SUBPD), XX | XM, 0},
    {"sse", I(MULSD), XX, 0},
    {"sse", I(DIVPS), XX | XM, 0},
    {"sse", I(SQRTPD), XX | XM, 0},
    {"sse", I(MINPS), XX, 0},
    {"sse", I(MAXSD), XX, 0},
    {"sse", I(CMPPS), XXI, 0},
    {"sse", I(UCOMISD), XX, 0},
    {"sse", I(COMISS), XX, 0},
    {"sse", I(CVTTPS2DQ), XX | XM, 0},
    {"sse", I(CVTDQ2PS), XX | XM, 0},
    {"sse", I(CVTSD2SS), XX, 0},
    {"sse", I(ROUNDPD), XXI, 0},
    {"sse", I(DPPS), XXI, 0},
    {"sse", I(HADDPS), XX | XM, 0},
    {"sse", I(PMOVMSKB), RX, 0},
    {"sse", I(MOVMSKPS), RX, 0},
    {"sse", I(CVTTSD2SI), RX, 0},
    {"sse", I(CVTSI2SD), XR, 0},
    {"sse", I(MOVQ), XR | RX, 0},
};

uint64_t random_next(struct random *random)
{
    random->state ^= random->state << 13; /* xorshift64 */
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned pick(struct random *random, unsigned count)
{
    return (unsigned)((random_next(random) >> 33) % count);
}

/* Every general register but rSP and rBX, which is the base of memory operands. */
static ZydisRegister pick_register(struct random *random, unsigned size)
{
    static const ZydisRegister bases[] = {ZYDIS_REGISTER_AL, ZYDIS_REGISTER_AX, ZYDIS_REGISTER_EAX,
                                          ZYDIS_REGISTER_RAX};
    unsigned number;
    do
        number = pick(random, 16);
    while (number == GPR_RSP || number == GPR_RBX);
    if (size == 1) {
        static const ZydisRegister bytes[16] = {
            ZYDIS_REGISTER_AL,  ZYDIS_REGISTER_CL,   ZYDIS_REGISTER_DL,   ZYDIS_REGISTER_AH,
            ZYDIS_REGISTER_CH,  ZYDIS_REGISTER_DH,   ZYDIS_REGISTER_SIL,  ZYDIS_REGISTER_DIL,
            ZYDIS_REGISTER_R8B, ZYDIS_REGISTER_R9B,  ZYDIS_REGISTER_R10B, ZYDIS_REGISTER_R11B,
            ZYDIS_REGISTER_BPL, ZYDIS_REGISTER_R13B, ZYDIS_REGISTER_R14B, ZYDIS_REGISTER_R15B};
        return bytes[number];
    }
    return bases[__builtin_ctz(size)] + (ZydisRegister)number;
}

static void add_register(ZydisEncoderRequest *request, ZydisRegister name)
{
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    operand->type = ZYDIS_OPERAND_TYPE_REGISTER;
    operand->reg.value = name;
}

static void add_xmm(ZydisEncoderRequest *request, struct random *random)
{
    add_register(request, ZYDIS_REGISTER_XMM0 + (ZydisRegister)pick(random, 16));
}

/* [rBX + displacement]; aligned for 16-byte operands. */
static void add_memory(ZydisEncoderRequest *request, struct random *random, unsigned size)
{
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    int displacement = (int)pick(random, 400) - 200;
    operand->type = ZYDIS_OPERAND_TYPE_MEMORY;
    operand->mem.base = ZYDIS_REGISTER_RBX;
    operand->mem.displacement = size == 16 ? displacement & ~15 : displacement;
    operand->mem.size = (ZyanU16)size;
}

static void add_immediate(ZydisEncoderRequest *request, struct random *random, unsigned size)
{
    static const int64_t edges[] = {0, 1, -1, 2, 127, -128, 0x7fff, INT32_MAX, INT32_MIN, 0x55};
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    int64_t value =
        pick(random, 2) ? edges[pick(random, ARRAY_SIZE(edges))] : (int32_t)random_next(random);
    unsigned shift = 64 - 8 * (size > 4 ? 4 : size);
    operand->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
    operand->imm.s = (int64_t)((uint64_t)value << shift) >> shift;
}

static void add_byte(ZydisEncoderRequest *request, struct random *random)
{
    ZydisEncoderOperand *operand = &request->operands[request->operand_count++];
    operand->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
    operand->imm.u = pick(random, 4) ? pick(random, 70) : pick(random, 256);
}

static void add_operands(ZydisEncoderRequest *request, struct random *random, uint32_t form,
                         unsigned size)
{
    const uint32_t register_first =
        RR | RM | RI | R | RI8 | RCL | RRI | RRI8 | RR_FROM8 | RR_FROM16;
    const uint32_t memory_first = MR | MI | M | MI8 | MCL;
    if (form & register_first)
        add_register(request, pick_register(random, size));
    if (form & memory_first)
        add_memory(request, random, size);
    if (form & (R8_ONLY | RX))
        add_register(request, pick_register(random, form & RX ? size : 1));
    if (form & M8_ONLY)
        add_memory(request, random, 1);
    if (form & (XX | XM | XXI | XR | RX))
        add_xmm(request, random);
    if (form & (XX | XXI))
        add_xmm(request, random);
    if (form & XM)
        add_memory(request, random, 16);
    if (form & (RR | MR | RRI | RRI8 | XR))
        add_register(request, pick_register(random, size));
    if (form & RM)
        add_memory(request, random, size);
    if (form & RR_FROM8)
        add_register(request, pick_register(random, 1));
    if (form & RR_FROM16)
        add_register(request, pick_register(random, 2));
    if (form & (RI | MI | RRI))
        add_immediate(request, random, size);
    if (form & (RI8 | MI8 | XXI | RRI8))
        add_byte(request, random);
    /* 16-bit double shifts by more than 16 are undefined, and processors disagree. */
    if (form & RRI8 && size == 2)
        request->operands[2].imm.u &= 15;
    if (form & (RCL | MCL))
        add_register(request, ZYDIS_REGISTER_CL);
}

static uint32_t pick_form(struct random *random, uint32_t forms)
{
    unsigned count = (unsigned)__builtin_popcount(forms & ~(uint32_t)LOCKED);
    unsigned which = pick(random, count);
    for (uint32_t form = 1;; form <<= 1)
        if (forms & form && form != LOCKED && !which--)
            return form;
}

/* What undefined_flags() must know of a shift: its operand's width, and where its count is. */
static void note_shift(struct test_case *test, const ZydisEncoderRequest *request, uint32_t form,
                       unsigned size)
{
    const ZydisEncoderOperand *last = &request->operands[request->operand_count - 1];
    test->shift_bits = size * 8;
    test->shift_by_cl = form & (RCL | MCL);
    test->shift_count = test->shift_by_cl ? 0 : (unsigned)last->imm.u;
}

uint64_t undefined_flags(const struct test_case *test, const struct machine_state *before)
{
    if (!test->shift_bits)
        return test->undefined_flags;
    uint64_t count = test->shift_by_cl ? before->registers[GPR_RCX] : test->shift_count;
    count &= test->shift_bits == 64 ? 63 : 31;
    if (!count)
        return 0;
    uint64_t defined = count == 1 ? RFLAGS_OF : 0;
    if (count < test->shift_bits)
        defined |= RFLAGS_CF;
    return test->undefined_flags & ~defined;
}

bool group_exists(const char *group)
{
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++)
        if (!strcmp(instructions[i].group, group))
            return true;
    return false;
}

bool generate(struct random *random, const char *group, struct test_case *test)
{
    const struct instruction *chosen = &instructions[pick(random, ARRAY_SIZE(instructions))];
    if (group && strcmp(group, chosen->group))
        return false;
    uint32_t form = pick_form(random, chosen->forms);
    ZydisEncoderRequest request = {.machine_mode = ZYDIS_MACHINE_MODE_LONG_64,
                                   .allowed_encodings = ZYDIS_ENCODABLE_ENCODING_LEGACY,
                                   .mnemonic = chosen->mnemonic};
    if (chosen->forms & LOCKED && form & (MR | MI | M | MI8) && pick(random, 2))
        request.prefixes = ZYDIS_ATTRIB_HAS_LOCK;
    /* What a mnemonic does not take is not encodable, and the caller tries again. */
    static const ZyanU64 repeats[] = {0, ZYDIS_ATTRIB_HAS_REP, ZYDIS_ATTRIB_HAS_REPE,
                                      ZYDIS_ATTRIB_HAS_REPNE};
    if (form == STRING)
        request.prefixes = repeats[pick(random, ARRAY_SIZE(repeats))];
    unsigned size = 1u << pick(random, 4);
    add_operands(&request, random, form, size);
    test->shift_bits = 0;
    if (!strcmp(chosen->group, "shift"))
        note_shift(test, &request, form, size);
    test->string = form == STRING;
    test->mnemonic = chosen->mnemonic;
    test->undefined_flags = chosen->undefined;
    test->length = sizeof(test->code);
    return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, test->code, &test->length));
}

static uint64_t edge_value(struct random *random)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x7fff,
                                     0x8000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     UINT64_C(0x7fffffffffffffff),
                                     UINT64_C(0x8000000000000000),
                                     ~UINT64_C(0),
                                     10,
                                     63,
                                     64,
                                     UINT64_C(0x3ff0000000000000),
                                     UINT64_C(0x7ff0000000000000),
                                     UINT64_C(0x7ff8000000000001),
                                     UINT64_C(0x3f8000007f800000),
                                     UINT64_C(0xff8000017fc00000),
                                     UINT64_C(0x0000000100000001)};
    return pick(random, 3) ? edges[pick(random, ARRAY_SIZE(edges))] : random_next(random);
}

/* Short runs in either direction that stay inside the scratch area; they may overlap. */
static void string_inputs(struct random *random, struct machine_state *state)
{
    state->registers[GPR_RSI] = SCRATCH_ADDRESS + 300 + pick(random, 400);
    state->registers[GPR_RDI] = SCRATCH_ADDRESS + 300 + pick(random, 400);
    state->registers[GPR_RCX] = pick(random, 30);
    if (pick(random, 4) == 0)
        state->rflags |= RFLAGS_DF;
}

void generate_inputs(struct random *random, const struct test_case *test,
                     struct machine_state *state)
{
    for (unsigned i = 0; i < 16; i++)
        state->registers[i] = edge_value(random);
    state->registers[GPR_RBX] = SCRATCH_ADDRESS + OPERAND_OFFSET;
    state->registers[GPR_RSP] = 0;
    state->rflags = (random_next(random) & RFLAGS_ARITHMETIC) | RFLAGS_FIXED | RFLAGS_IF;
    for (unsigned i = 0; i < 16; i++) {
        store_le(state->xmm[i], edge_value(random), 8);
        store_le(state->xmm[i] + 8, edge_value(random), 8);
    }
    for (unsigned i = 0; i < SCRATCH_SIZE; i += 8)
        store_le(state->scratch + i, edge_value(random), 8);
    state->faulted = false;
    if (test->string)
        string_inputs(random, state);
}
