/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction with random operands of every kind; addresses are in address.c. */
#include "differential/draft.h"

/* A register that may be written. ESP's upper half means nothing on a 16-bit stack. */
static unsigned pick_number(const struct builder *builder)
{
    for (;;) {
        unsigned number = pick(builder->random, draft_register_count(builder));
        if (builder->frozen & BIT(number) || (number == GPR_RSP && builder->test->mode == MODE_16))
            continue;
        return number;
    }
}

static ZydisRegister pick_register(const struct builder *builder, unsigned size)
{
    unsigned number = pick_number(builder);
    bool high = size == 1 && number < 4 && one_in(builder->random, 3);
    if (high)
        return ZYDIS_REGISTER_AH + (ZydisRegister)number;
    return general_register(number, size);
}

static ZydisRegister pick_vector(const struct builder *builder, const struct entry *entry,
                                 ZydisRegister first)
{
    unsigned count = builder->test->mode != MODE_64 ? 8 : 16;
    if (count == 16 && entry->encoding == ZYDIS_ENCODABLE_ENCODING_EVEX)
        count = 32;
    return first + (ZydisRegister)pick(builder->random, count);
}

/* Double shifts of 16 bits by more than 16 are undefined, and processors disagree. */
static bool is_open_shift(const struct entry *entry)
{
    return (entry->mnemonic == ZYDIS_MNEMONIC_SHLD || entry->mnemonic == ZYDIS_MNEMONIC_SHRD) &&
           entry->size == 2;
}

static void add_any_immediate(struct draft *draft, unsigned size)
{
    static const int64_t edges[] = {0, 1, -1, 2, 127, -128, 0x7fff, INT32_MAX, INT32_MIN, 0x55};
    struct random *random = draft->builder->random;
    int64_t value =
        one_in(random, 2) ? (int32_t)random_next(random) : edges[pick(random, ARRAY_SIZE(edges))];
    unsigned shift = 64 - 8 * (size > 4 ? 4 : size);
    add_immediate(&draft->request, (int64_t)((uint64_t)value << shift) >> shift);
}

static void add_byte(struct draft *draft)
{
    struct random *random = draft->builder->random;
    int64_t value = one_in(random, 4) ? pick(random, 256) : pick(random, 70);
    if (is_open_shift(draft->entry))
        value &= 15;
    add_immediate(&draft->request, value);
}

/* A branch to somewhere in the slot but not into the case's own code. */
static void add_branch(struct draft *draft)
{
    struct random *random = draft->builder->random;
    bool narrow = one_in(random, 2);
    int64_t distance = narrow ? 100 : CODE_START - 16;
    int64_t value = pick(random, 2) ? 1 + pick(random, (unsigned)distance)
                                    : -16 - (int64_t)pick(random, (unsigned)distance - 16);
    draft->request.branch_width = narrow                                  ? ZYDIS_BRANCH_WIDTH_8
                                  : draft->builder->test->mode == MODE_16 ? ZYDIS_BRANCH_WIDTH_16
                                                                          : ZYDIS_BRANCH_WIDTH_32;
    add_immediate(&draft->request, value);
}

/* SS is left out: from a 16-bit stack, Linux does not bring back all of rSP. */
static void add_segment(struct draft *draft)
{
    static const ZydisRegister names[] = {ZYDIS_REGISTER_DS, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_FS,
                                          ZYDIS_REGISTER_GS};
    add_register(&draft->request, names[pick(draft->builder->random, ARRAY_SIZE(names))]);
}

static void add_word(struct draft *draft)
{
    unsigned number = pick_number(draft->builder);
    if (draft->entry->setup == SETUP_SELECTOR)
        draft->builder->test->chosen |= (uint32_t)BIT(number);
    add_register(&draft->request, general_register(number, 2));
}

/* A vector for INT: not that of Linux's system calls. */
static void add_vector(struct draft *draft)
{
    static const uint8_t vectors[] = {0, 1, 3, 4, 13, 14, 32, 0x7f, 0x81, 255};
    add_immediate(&draft->request, vectors[pick(draft->builder->random, ARRAY_SIZE(vectors))]);
}

static void add_target(struct draft *draft)
{
    static const uint8_t sizes[MODE_COUNT] = {8, 4, 2};
    struct test_case *test = draft->builder->test;
    unsigned number;
    do
        number = pick_number(draft->builder);
    while (number == GPR_RSP);
    test->targets |= (uint32_t)BIT(number);
    add_register(&draft->request, general_register(number, sizes[test->mode]));
}

static bool add_operand(struct draft *draft, char letter)
{
    const struct entry *entry = draft->entry;
    struct builder *builder = draft->builder;
    ZydisEncoderRequest *request = &draft->request;
    switch (letter) {
    case 'r':
        if (entry->size > 8)
            return false;
        add_register(request, pick_register(builder, entry->size));
        return true;
    case 'l':
        add_register(request, pick_register(builder, 1));
        return true;
    case 'w':
        add_word(draft);
        return true;
    case 'd':
        add_register(request, pick_register(builder, 4));
        return true;
    case 'q':
        add_register(request, pick_register(builder, 8));
        return true;
    case 'm':
        draft_add_memory(draft, entry->size);
        return true;
    case 'o':
        draft_add_memory(draft, 1);
        return true;
    case 'h':
        draft_add_memory(draft, 2);
        return true;
    case 'i':
        if (entry->size > 8)
            return false;
        add_any_immediate(draft, entry->size);
        return true;
    case 'b':
        add_byte(draft);
        return true;
    case 'e':
        add_immediate(request, pick(builder->random, 32) * 8);
        return true;
    case 'n':
        add_immediate(request, pick(builder->random, 4));
        return true;
    case 'c':
        add_register(request, ZYDIS_REGISTER_CL);
        return !is_open_shift(entry);
    case 'A':
        add_register(request, ZYDIS_REGISTER_AX);
        return true;
    case 'X':
        add_register(request, ZYDIS_REGISTER_XMM0);
        return true;
    case '0':
        add_register(request, ZYDIS_REGISTER_ST0);
        return true;
    case 'x':
        add_register(request, pick_vector(builder, entry, ZYDIS_REGISTER_XMM0));
        return true;
    case 'y':
        add_register(request, pick_vector(builder, entry, ZYDIS_REGISTER_YMM0));
        return true;
    case 'z':
        add_register(request, pick_vector(builder, entry, ZYDIS_REGISTER_ZMM0));
        return true;
    case 'k':
        add_register(request, ZYDIS_REGISTER_K0 + (ZydisRegister)pick(builder->random, 8));
        return true;
    case 'p':
        add_register(request, ZYDIS_REGISTER_MM0 + (ZydisRegister)pick(builder->random, 8));
        return true;
    case 's':
        add_register(request, ZYDIS_REGISTER_ST0 + (ZydisRegister)pick(builder->random, 8));
        return true;
    case 'S':
        add_segment(draft);
        return true;
    case 'f':
        if (entry->size > 4) /* AMD has no 64-bit offsets there */
            return false;
        if (entry->setup == SETUP_FAR)
            request->branch_type = ZYDIS_BRANCH_TYPE_FAR;
        draft_add_memory(draft, entry->size + 2);
        return true;
    case 'v':
        add_vector(draft);
        return true;
    case 'j':
        add_branch(draft);
        return true;
    case 't':
        add_target(draft);
        return true;
    default:
        return false;
    }
}

static void add_prefixes(struct draft *draft)
{
    static const ZyanU64 repeats[] = {0, ZYDIS_ATTRIB_HAS_REP, ZYDIS_ATTRIB_HAS_REPE,
                                      ZYDIS_ATTRIB_HAS_REPNE};
    struct random *random = draft->builder->random;
    struct test_case *test = draft->builder->test;
    const struct entry *entry = draft->entry;
    if (entry->setup == SETUP_FAR_RETURN) {
        draft->request.branch_type = ZYDIS_BRANCH_TYPE_FAR;
        draft->request.operand_size_hint =
            (ZydisOperandSizeHint)(ZYDIS_OPERAND_SIZE_HINT_16 + pick(random, 3));
    }
    if (entry->lockable && strchr(entry->shape, 'm') && one_in(random, 2))
        draft->request.prefixes |= ZYDIS_ATTRIB_HAS_LOCK;
    if (!entry->repeatable)
        return;
    draft->request.prefixes |= repeats[pick(random, ARRAY_SIZE(repeats))];
    if (test->mode == MODE_64 && one_in(random, 6)) {
        draft->request.address_size_hint = ZYDIS_ADDRESS_SIZE_HINT_32;
        if (!draft->builder->plain)
            test->wide |= (uint32_t)(BIT(GPR_RSI) | BIT(GPR_RDI));
    }
}

/* What undefined_flags() must know of a shift: its operand's width, and where its count is. */
static void note_shift(struct draft *draft)
{
    struct test_case *test = draft->builder->test;
    const ZydisEncoderOperand *last = &draft->request.operands[draft->request.operand_count - 1];
    test->shift_bits = draft->entry->size * 8u;
    test->shift_by_cl = last->type == ZYDIS_OPERAND_TYPE_REGISTER;
    test->shift_count = test->shift_by_cl ? 0 : (unsigned)last->imm.u;
}

static void choose_evex(struct draft *draft)
{
    struct random *random = draft->builder->random;
    if (one_in(random, 4))
        draft->request.evex.zeroing_mask = ZYAN_TRUE;
    if (one_in(random, 8))
        draft->request.evex.sae = ZYAN_TRUE;
    if (one_in(random, 8))
        draft->request.evex.rounding = (ZydisRoundingMode)(1 + pick(random, 4));
}

bool builder_add(struct builder *builder, const struct entry *entry)
{
    struct draft draft = {.builder = builder, .entry = entry};
    struct test_case saved = {.pointers = builder->test->pointers,
                              .indexes = builder->test->indexes,
                              .targets = builder->test->targets,
                              .wide = builder->test->wide};
    draft.request = request_of(builder->test->mode, entry->mnemonic);
    draft.request.allowed_encodings = entry->encoding;
    bool good = true;
    for (const char *letter = entry->shape; *letter && good; letter++)
        good = add_operand(&draft, *letter);
    add_prefixes(&draft);
    if (entry->encoding == ZYDIS_ENCODABLE_ENCODING_EVEX && one_in(builder->random, 2))
        choose_evex(&draft);
    if (good && (draft.absolute ? builder_encode_absolute(builder, &draft.request)
                                : builder_encode(builder, &draft.request))) {
        if (!strcmp(entry->group, "shift"))
            note_shift(&draft);
        builder->test->chained |=
            entry->mnemonic == ZYDIS_MNEMONIC_DPPS || entry->mnemonic == ZYDIS_MNEMONIC_DPPD ||
            entry->mnemonic == ZYDIS_MNEMONIC_VDPPS || entry->mnemonic == ZYDIS_MNEMONIC_VDPPD;
        builder->test->aligned |= draft_is_aligned(&draft);
        return true;
    }
    builder->test->pointers = saved.pointers;
    builder->test->indexes = saved.indexes;
    builder->test->targets = saved.targets;
    builder->test->wide = saved.wide;
    return false;
}
