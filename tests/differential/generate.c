/* SPDX-License-Identifier: Apache-2.0 */
/* The code of a case: mode, place of the memory operands, one instruction or a sequence. */
#include "differential/catalogue.h"

#include <stdio.h>

uint64_t random_next(struct random *random)
{
    random->state ^= random->state << 13; /* xorshift64 */
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state * UINT64_C(0x2545f4914f6cdd1d);
}

unsigned pick(struct random *random, unsigned count)
{
    return (unsigned)((random_next(random) >> 33) % count);
}

/* Ways to make a case, beside the groups of the catalogue. Negative: at random. */
static const struct style {
    const char *name, *help;
    int mode;
    bool sequence, fault;
} styles[] = {
    {"sequence", "runs of 2 to 32 instructions of all groups", -1, true, false},
    {"code32", "one instruction in 32-bit code", MODE_32, false, false},
    {"code16", "one instruction in 16-bit code", MODE_16, false, false},
    {"fault", "operands that cross into pages without access, or lie there", -1, false, true},
};

static const struct style *find_style(const char *name)
{
    for (unsigned i = 0; name && i < ARRAY_SIZE(styles); i++)
        if (!strcmp(styles[i].name, name))
            return &styles[i];
    return NULL;
}

bool group_exists(const char *group)
{
    return find_style(group) || catalogue_has(group);
}

void groups_print(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(styles); i++)
        printf("%-10s %s\n", styles[i].name, styles[i].help);
    catalogue_print();
}

static enum code_mode pick_mode(struct random *random, int wanted)
{
    if (wanted >= 0)
        return (enum code_mode)wanted;
    unsigned number = pick(random, 8);
    return number < 6 ? MODE_64 : number < 7 ? MODE_32 : MODE_16;
}

/* A part of a stored image that is cleared, so that memory compares. */
struct field {
    uint8_t offset, size;
};

/* Where the last x87 instruction was, which processors keep or not, and in FXSAVE's image the MXCSR
 * bits the processor has, which the model has not. */
static const struct field image_fields[] = {{6, 2}, {8, 4}, {12, 4}, {16, 4}, {20, 4}, {28, 4}};
static const struct field environment_fields[] = {{12, 4}, {16, 4}, {20, 4}, {24, 4}};

/* MOV memory, 0 at an offset from the operand that the instruction at `end` of the code had. */
static void clear_field(struct builder *builder, const ZydisDecodedOperand *image, unsigned end,
                        const struct field *field)
{
    struct test_case *test = builder->test;
    ZydisEncoderRequest request = request_of(test->mode, ZYDIS_MNEMONIC_MOV);
    ZydisEncoderOperand *memory = &request.operands[request.operand_count++];
    memory->type = ZYDIS_OPERAND_TYPE_MEMORY;
    memory->mem.base = image->mem.base;
    memory->mem.index = image->mem.index;
    memory->mem.scale = image->mem.scale;
    memory->mem.displacement = image->mem.disp.value + field->offset;
    memory->mem.size = field->size;
    if (image->mem.segment == ZYDIS_REGISTER_FS)
        request.prefixes = ZYDIS_ATTRIB_HAS_SEGMENT_FS;
    if (image->mem.segment == ZYDIS_REGISTER_GS)
        request.prefixes = ZYDIS_ATTRIB_HAS_SEGMENT_GS;
    add_immediate(&request, 0);
    if (memory->mem.base != ZYDIS_REGISTER_RIP) {
        builder_encode(builder, &request);
        return;
    }
    memory->mem.displacement += (int64_t)(test->address + end);
    builder_encode_absolute(builder, &request);
}

static void add_cleaning(struct builder *builder, const struct entry *entry)
{
    bool environment =
        entry->mnemonic == ZYDIS_MNEMONIC_FNSTENV || entry->mnemonic == ZYDIS_MNEMONIC_FNSAVE;
    struct test_case *test = builder->test;
    ZydisDecoder decoder = decoder_of(test->mode);
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    if (entry->setup != SETUP_XSTATE && !environment)
        return;
    if (!ZYAN_SUCCESS(
            ZydisDecoderDecodeFull(&decoder, test->code, test->length, &instruction, operands)) ||
        !(operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
        return;
    const struct field *fields = environment ? environment_fields : image_fields;
    unsigned count = environment ? ARRAY_SIZE(environment_fields) : ARRAY_SIZE(image_fields);
    unsigned end = test->length;
    for (unsigned i = 0; i < count; i++)
        clear_field(builder, &operands[0], end, &fields[i]);
}

/* Implicit operands. */
static void note_setup(struct test_case *test, enum setup setup)
{
    test->setup = setup;
    if (setup == SETUP_STRING)
        test->pointers |= (uint32_t)(BIT(GPR_RSI) | BIT(GPR_RDI));
    if (setup == SETUP_SELECTOR || setup == SETUP_FAR || setup == SETUP_FAR_RETURN ||
        setup == SETUP_INTERRUPT_RETURN)
        test->pointers |= (uint32_t)BIT(GPR_RSP);
    if (setup == SETUP_STACK || setup == SETUP_FLAGS || setup == SETUP_RETURN ||
        setup == SETUP_FRAME || setup == SETUP_BRANCH || setup == SETUP_TARGET)
        test->pointers |= (uint32_t)BIT(GPR_RSP);
    if (setup == SETUP_FRAME)
        test->pointers |= (uint32_t)BIT(GPR_RBP);
    if (setup == SETUP_DI)
        test->pointers |= (uint32_t)BIT(GPR_RDI);
    if (setup == SETUP_BX)
        test->pointers |= (uint32_t)BIT(GPR_RBX);
}

static bool is_integer(const struct entry *entry)
{
    static const char *const groups[] = {"alu", "shift", "bit", "move", "atomic"};
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        if (!strcmp(groups[i], entry->group))
            return true;
    return false;
}

static bool generate_single(struct builder *builder, const char *group, uint64_t features)
{
    struct test_case *test = builder->test;
    const struct entry *entry = catalogue_pick(builder->random, group, test, features);
    if (!entry)
        return false;
    builder_note(builder, 0);
    if (!builder_add(builder, entry))
        return false;
    test->feature = entry->feature;
    test->alignment_checks = test->mode == MODE_64 && test->place == PLACE_SCRATCH &&
                             entry->setup == SETUP_NONE && entry->size <= 8 && is_integer(entry);
    test->many_accesses = entry->setup == SETUP_XSTATE || entry->mnemonic == ZYDIS_MNEMONIC_PUSHA ||
                          entry->mnemonic == ZYDIS_MNEMONIC_PUSHAD ||
                          entry->mnemonic == ZYDIS_MNEMONIC_ENTER ||
                          (entry->size > 16 && entry->encoding == ZYDIS_ENCODABLE_ENCODING_LEGACY);
    builder_note(builder, entry->undefined);
    note_setup(test, entry->setup);
    ZydisDecoder decoder = decoder_of(test->mode);
    ZydisDecodedInstruction instruction;
    if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, ZYAN_NULL, test->code, test->length,
                                                   &instruction)))
        test->far_size = instruction.operand_width / 8;
    add_cleaning(builder, entry);
    return true;
}

void generate(struct random *random, const char *group, uint64_t features, uint64_t address,
              struct test_case *test)
{
    struct builder builder = {.random = random, .test = test};
    do {
        const struct style *style = find_style(group);
        *test = (struct test_case){.address = address};
        if (!group && one_in(random, 4))
            style = &styles[pick(random, ARRAY_SIZE(styles))];
        test->mode = pick_mode(random, style ? style->mode : -1);
        if (style && style->fault)
            test->place = (enum place)(1 + pick(random, 3));
        test->sequence = style && style->sequence;
        if (test->sequence)
            generate_sequence(&builder, features);
        else if (!generate_single(&builder, find_style(group) ? NULL : group, features))
            test->length = 0;
    } while (!test->length);
}
