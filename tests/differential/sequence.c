/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs of instructions: what one leaves is what the next one finds, flags, partial registers and
 * memory included. Some registers keep pointers into the scratch area all the time; flags that the
 * manuals leave open are made anew before an instruction that reads them.
 */
#include "differential/catalogue.h"

/* A sequence on its way. */
struct sequence {
    struct builder *builder;
    uint64_t features, undefined; /* flags open now */
    unsigned conditional;         /* > 0: what comes may be skipped */
    bool called;                  /* in a routine: the return address lies on the stack */
};

static unsigned native_size(const struct builder *builder)
{
    static const uint8_t sizes[MODE_COUNT] = {8, 4, 2};
    return sizes[builder->test->mode];
}

/* A relative branch whose displacement is not known yet. Returns where it ends, 0: not encoded. */
static unsigned emit_branch(struct sequence *sequence, ZydisMnemonic mnemonic, bool narrow)
{
    struct test_case *test = sequence->builder->test;
    ZydisEncoderRequest request = request_of(test->mode, mnemonic);
    request.branch_width = narrow                  ? ZYDIS_BRANCH_WIDTH_8
                           : test->mode == MODE_16 ? ZYDIS_BRANCH_WIDTH_16
                                                   : ZYDIS_BRANCH_WIDTH_32;
    add_immediate(&request, 0);
    return builder_encode(sequence->builder, &request) ? test->length : 0;
}

static void set_branch(struct sequence *sequence, unsigned end, bool narrow, unsigned target)
{
    struct test_case *test = sequence->builder->test;
    unsigned size = narrow ? 1 : test->mode == MODE_16 ? 2 : 4;
    store_le(test->code + end - size, (uint64_t)((int64_t)target - (int64_t)end), size);
}

static void note(struct sequence *sequence)
{
    builder_note(sequence->builder, sequence->undefined);
}

/* CMP: defines every flag. */
static void define_flags(struct sequence *sequence)
{
    unsigned number = pick(sequence->builder->random, 4);
    if (!builder_ri(sequence->builder, ZYDIS_MNEMONIC_CMP, general_register(number, 4),
                    (int8_t)random_next(sequence->builder->random)))
        return;
    sequence->undefined = 0;
    note(sequence);
}

/* Does the instruction write a register that is to keep its value, by name or without? The stack
 * pointer moves by small steps, and may. */
static bool writes_frozen(const struct sequence *sequence,
                          const ZydisDecodedInstruction *instruction,
                          const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < instruction->operand_count; i++) {
        if (operands[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
            !(operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
            continue;
        ZydisRegister whole =
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operands[i].reg.value);
        if (whole < ZYDIS_REGISTER_RAX || whole > ZYDIS_REGISTER_R15 || whole == ZYDIS_REGISTER_RSP)
            continue;
        if (sequence->builder->frozen & BIT(whole - ZYDIS_REGISTER_RAX))
            return true;
    }
    return false;
}

/* What an instruction does to the flags that are open. False: it reads one of them. */
static bool follow_flags(struct sequence *sequence, const struct entry *entry,
                         const ZydisAccessedFlags *flags)
{
    if (!flags)
        return true;
    if (flags->tested & sequence->undefined)
        return false;
    /* A shift by 0 and a REP of 0 leave the flags as they are. */
    bool certain = !sequence->conditional && !entry->repeatable && strcmp(entry->group, "shift");
    if (certain)
        sequence->undefined &= ~(uint64_t)(flags->modified | flags->set_0 | flags->set_1);
    sequence->undefined |= entry->undefined;
    return true;
}

/* Appends the entry where it fits what is around it. */
static bool add_fitting(struct sequence *sequence, const struct entry *entry)
{
    struct test_case *test = sequence->builder->test;
    unsigned start = test->length;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (!builder_add(sequence->builder, entry))
        return false;
    ZydisDecoder decoder = decoder_of(test->mode);
    bool good = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, test->code + start,
                                                    test->length - start, &instruction, operands));
    if (good && !entry->repeatable && writes_frozen(sequence, &instruction, operands))
        good = false;
    if (good && !follow_flags(sequence, entry, instruction.cpu_flags)) {
        test->length = start;
        define_flags(sequence);
        return false;
    }
    if (!good)
        test->length = start;
    return good;
}

static bool fits_sequence(const struct entry *entry)
{
    if (!strcmp(entry->group, "misc") || entry->mnemonic == ZYDIS_MNEMONIC_PUSH)
        return entry->mnemonic != ZYDIS_MNEMONIC_UD2 && entry->mnemonic != ZYDIS_MNEMONIC_HLT &&
               entry->mnemonic != ZYDIS_MNEMONIC_CLI && entry->mnemonic != ZYDIS_MNEMONIC_INT &&
               entry->mnemonic != ZYDIS_MNEMONIC_INTO;
    /* They store where the last x87 instruction was. */
    if (entry->mnemonic == ZYDIS_MNEMONIC_FNSTENV || entry->mnemonic == ZYDIS_MNEMONIC_FNSAVE)
        return false;
    return entry->setup == SETUP_NONE || entry->setup == SETUP_STACK;
}

/* Any instruction that needs no preparation. */
static void add_ordinary(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    struct test_case *test = builder->test;
    for (unsigned i = 0; i < 20; i++) {
        const struct entry *entry = catalogue_pick(builder->random, NULL, test, sequence->features);
        if (!entry || !fits_sequence(entry) || (sequence->called && entry->setup == SETUP_STACK) ||
            !add_fitting(sequence, entry))
            continue;
        if (entry->feature > test->feature)
            test->feature = entry->feature;
        note(sequence);
        return;
    }
}

static void add_some(struct sequence *sequence, unsigned most)
{
    for (unsigned count = 1 + pick(sequence->builder->random, most); count > 0; count--)
        add_ordinary(sequence);
}

static ZydisMnemonic pick_condition(struct sequence *sequence)
{
    static const ZydisMnemonic conditions[] = {
        ZYDIS_MNEMONIC_JO, ZYDIS_MNEMONIC_JNO, ZYDIS_MNEMONIC_JB,  ZYDIS_MNEMONIC_JNB,
        ZYDIS_MNEMONIC_JZ, ZYDIS_MNEMONIC_JNZ, ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE,
        ZYDIS_MNEMONIC_JS, ZYDIS_MNEMONIC_JNS, ZYDIS_MNEMONIC_JP,  ZYDIS_MNEMONIC_JNP,
        ZYDIS_MNEMONIC_JL, ZYDIS_MNEMONIC_JNL, ZYDIS_MNEMONIC_JLE, ZYDIS_MNEMONIC_JNLE};
    return conditions[pick(sequence->builder->random, ARRAY_SIZE(conditions))];
}

/* Jcc over a few instructions. */
static void add_skip(struct sequence *sequence)
{
    if (sequence->undefined)
        define_flags(sequence);
    unsigned end = emit_branch(sequence, pick_condition(sequence), false);
    if (!end)
        return;
    note(sequence);
    sequence->conditional++;
    add_some(sequence, 3);
    sequence->conditional--;
    set_branch(sequence, end, false, sequence->builder->test->length);
}

/* A body that runs a few times, counted in rCX. */
static void add_loop(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    uint32_t frozen = builder->frozen;
    unsigned size = native_size(builder);
    if (frozen & BIT(GPR_RCX) || sequence->conditional ||
        !builder_ri(sequence->builder, ZYDIS_MNEMONIC_MOV, general_register(GPR_RCX, size),
                    1 + (int64_t)pick(builder->random, 4)))
        return;
    if (sequence->undefined) /* the body begins with what its end leaves */
        define_flags(sequence);
    note(sequence);
    unsigned start = builder->test->length;
    builder->frozen |= BIT(GPR_RCX);
    define_flags(sequence);
    add_some(sequence, 4);
    unsigned end;
    if (one_in(builder->random, 2)) {
        end = emit_branch(sequence, ZYDIS_MNEMONIC_LOOP, true);
        if (end && end - start > 120) { /* too far for LOOP: once is enough */
            set_branch(sequence, end, true, end);
            end = 0;
        }
        if (end)
            set_branch(sequence, end, true, start);
    } else if (builder_r(sequence->builder, ZYDIS_MNEMONIC_DEC, general_register(GPR_RCX, size))) {
        sequence->undefined &= RFLAGS_CF;
        note(sequence);
        end = emit_branch(sequence, ZYDIS_MNEMONIC_JNZ, false);
        if (end)
            set_branch(sequence, end, false, start);
    }
    note(sequence);
    builder->frozen = frozen;
}

/* CALL of a routine that lies behind a jump over it. */
static void add_call(struct sequence *sequence)
{
    unsigned call = emit_branch(sequence, ZYDIS_MNEMONIC_CALL, false);
    if (!call)
        return;
    note(sequence);
    unsigned jump = emit_branch(sequence, ZYDIS_MNEMONIC_JMP, false);
    if (!jump) { /* no room: the call goes to what follows */
        set_branch(sequence, call, false, call);
        return;
    }
    note(sequence);
    set_branch(sequence, call, false, jump);
    struct test_case *test = sequence->builder->test;
    sequence->called = true;
    test->pointers &= ~(uint32_t)BIT(GPR_RSP);
    add_some(sequence, 2);
    test->pointers |= (uint32_t)BIT(GPR_RSP);
    sequence->called = false;
    bool returns = builder_plain(sequence->builder, ZYDIS_MNEMONIC_RET);
    set_branch(sequence, jump, false, sequence->builder->test->length);
    if (returns)
        note(sequence);
}

/* A jump through a register to what follows. */
static void add_indirect(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    struct test_case *test = builder->test;
    unsigned size = native_size(builder), number;
    do
        number = pick(builder->random, 8);
    while (builder->frozen & BIT(number) || number == GPR_RSP);
    ZydisRegister name = general_register(number, size);
    unsigned start = test->length;
    /* Of a full-size immediate, so that its length is known before its value. */
    if (!builder_ri(sequence->builder, ZYDIS_MNEMONIC_MOV, name,
                    size == 8 ? INT64_C(0x1234567812345678) : 0x1234))
        return;
    unsigned end = test->length;
    if (!builder_r(sequence->builder, ZYDIS_MNEMONIC_JMP, name)) {
        test->length = start;
        return;
    }
    uint64_t target = test->address + test->length - (test->mode == MODE_16 ? CODE_ADDRESS : 0);
    store_le(test->code + end - size, target, size);
    note(sequence);
}

/* A string instruction with its registers made ready. */
static void add_string(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    struct test_case *test = builder->test;
    const uint32_t used = (uint32_t)(BIT(GPR_RSI) | BIT(GPR_RDI) | BIT(GPR_RCX));
    const struct entry *entry = catalogue_pick(builder->random, "string", test, sequence->features);
    if (!entry || builder->frozen & used)
        return;
    unsigned size = native_size(builder);
    int64_t middle =
        (int64_t)(test->mode == MODE_16 ? SCRATCH_MIDDLE - DATA_ADDRESS : SCRATCH_MIDDLE);
    static const uint8_t numbers[] = {GPR_RSI, GPR_RDI};
    for (unsigned i = 0; i < ARRAY_SIZE(numbers); i++)
        if (!builder_ri(sequence->builder, ZYDIS_MNEMONIC_MOV, general_register(numbers[i], size),
                        middle + pick(builder->random, 200) - 100))
            return;
    if (!builder_ri(sequence->builder, ZYDIS_MNEMONIC_MOV, general_register(GPR_RCX, size),
                    pick(builder->random, 20)))
        return;
    note(sequence);
    add_fitting(sequence, entry);
    note(sequence);
}

/* A division that does not fault. */
static void add_divide(struct sequence *sequence)
{
    struct random *random = sequence->builder->random;
    const uint32_t used = (uint32_t)(BIT(GPR_RAX) | BIT(GPR_RDX) | BIT(GPR_RCX));
    unsigned size = 1u << (1 + pick(random, sequence->builder->test->mode == MODE_64 ? 3 : 2));
    if (sequence->builder->frozen & used ||
        !builder_ri(sequence->builder, ZYDIS_MNEMONIC_OR, general_register(GPR_RCX, size), 1) ||
        !builder_rr(sequence->builder, ZYDIS_MNEMONIC_XOR, general_register(GPR_RDX, size),
                    general_register(GPR_RDX, size)))
        return;
    sequence->undefined = sequence->conditional ? sequence->undefined | RFLAGS_AF : RFLAGS_AF;
    note(sequence);
    if (builder_r(sequence->builder, ZYDIS_MNEMONIC_DIV, general_register(GPR_RCX, size)))
        sequence->undefined |= RFLAGS_ARITHMETIC;
    note(sequence);
}

/* PUSHF and POPF, with something between them. */
static void add_saved_flags(struct sequence *sequence)
{
    static const ZydisMnemonic push[] = {ZYDIS_MNEMONIC_PUSHFQ, ZYDIS_MNEMONIC_PUSHFD,
                                         ZYDIS_MNEMONIC_PUSHF};
    static const ZydisMnemonic pop[] = {ZYDIS_MNEMONIC_POPFQ, ZYDIS_MNEMONIC_POPFD,
                                        ZYDIS_MNEMONIC_POPF};
    enum code_mode mode = sequence->builder->test->mode;
    if (sequence->undefined)
        define_flags(sequence);
    if (sequence->undefined || !builder_plain(sequence->builder, push[mode]))
        return;
    note(sequence);
    if (builder_plain(sequence->builder, pop[mode]))
        note(sequence);
}

/* ENTER and LEAVE around a body. */
static void add_frame(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    uint32_t frozen = builder->frozen;
    ZydisEncoderRequest request = request_of(builder->test->mode, ZYDIS_MNEMONIC_ENTER);
    add_immediate(&request, pick(builder->random, 8) * 8);
    add_immediate(&request, 0);
    if (frozen & BIT(GPR_RBP) || !builder_encode(builder, &request))
        return;
    builder->frozen |= BIT(GPR_RBP);
    note(sequence);
    add_some(sequence, 3);
    if (builder_plain(sequence->builder, ZYDIS_MNEMONIC_LEAVE))
        note(sequence);
    builder->frozen = frozen;
}

/* A store into the immediate of the instruction behind it: that has to run as changed. */
static void add_patch(struct sequence *sequence)
{
    struct builder *builder = sequence->builder;
    struct test_case *test = builder->test;
    ZydisEncoderRequest request = request_of(test->mode, ZYDIS_MNEMONIC_ADD);
    ZydisEncoderOperand *memory = &request.operands[request.operand_count++];
    unsigned start = test->length, number = pick(builder->random, 8), length;
    if (test->mode == MODE_16 || builder->frozen & BIT(number))
        return;
    memory->type = ZYDIS_OPERAND_TYPE_MEMORY;
    memory->mem.base = test->mode == MODE_64 ? ZYDIS_REGISTER_RIP : ZYDIS_REGISTER_NONE;
    memory->mem.displacement = (int64_t)test->address;
    memory->mem.size = 1;
    add_immediate(&request, (int8_t)random_next(builder->random));
    ZydisEncoderRequest trial = request;
    if (!builder_encode_absolute(builder, &trial))
        return;
    length = test->length - start;
    test->length = start;
    memory->mem.displacement = (int64_t)(test->address + start + length + 1);
    sequence->undefined = sequence->conditional ? sequence->undefined : 0;
    if (builder_encode_absolute(builder, &request))
        note(sequence);
    /* B8+r, the value from the second byte on. */
    if (builder_ri(builder, ZYDIS_MNEMONIC_MOV, general_register(number, 4), 0x12345678))
        note(sequence);
    test->patched = true;
}

static void choose_pointers(struct builder *builder)
{
    /* Nothing writes these but what names them. */
    static const uint8_t wide[] = {GPR_RBX, GPR_RBP, GPR_R8,  GPR_R9,  GPR_R10,
                                   GPR_R11, GPR_R12, GPR_R13, GPR_R14, GPR_R15};
    static const uint8_t narrow[] = {GPR_RBX, GPR_RBP, GPR_RSI};
    bool many = builder->test->mode == MODE_64;
    const uint8_t *pool = many ? wide : narrow;
    unsigned count = many ? ARRAY_SIZE(wide) : ARRAY_SIZE(narrow);
    struct test_case *test = builder->test;
    test->pointers = BIT(GPR_RSP);
    for (unsigned i = 0; i < (many ? 3 : 1); i++)
        test->pointers |= (uint32_t)BIT(pool[pick(builder->random, count)]);
    for (unsigned i = 0; i < 8 && !test->indexes; i++)
        test->indexes = (uint32_t)BIT(pool[pick(builder->random, count)]) & ~test->pointers;
    builder->frozen = test->pointers | test->indexes;
}

void generate_sequence(struct builder *builder, uint64_t features)
{
    typedef void construct(struct sequence * sequence);
    static construct *const constructs[] = {add_skip,     add_skip,   add_loop,        add_call,
                                            add_string,   add_divide, add_saved_flags, add_frame,
                                            add_indirect, add_patch};
    struct sequence sequence = {.builder = builder, .features = features};
    struct test_case *test = builder->test;
    builder->plain = true;
    choose_pointers(builder);
    note(&sequence);
    for (unsigned count = 2 + pick(builder->random, 31); count > 0; count--) {
        if (test->length > CODE_MAX - 160)
            break;
        if (one_in(builder->random, 5))
            constructs[pick(builder->random, ARRAY_SIZE(constructs))](&sequence);
        else
            add_ordinary(&sequence);
    }
    test->setup = SETUP_NONE;
}
