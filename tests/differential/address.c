/* SPDX-License-Identifier: Apache-2.0 */
/* Memory operands: every form of address, and displacements that keep it where the case wants it.
 */
#include "differential/draft.h"

static bool is_far(const struct entry *entry)
{
    return entry->setup == SETUP_FAR || entry->setup == SETUP_FAR_DATA;
}

bool draft_is_aligned(const struct draft *draft)
{
    return draft->entry->size >= 16 || draft->entry->setup == SETUP_XSTATE ||
           draft->entry->setup == SETUP_CONTROL || is_far(draft->entry);
}

static int64_t pick_displacement(const struct draft *draft)
{
    struct random *random = draft->builder->random;
    unsigned size = draft->entry->size;
    if (draft->entry->setup == SETUP_CONTROL)
        return 4 * (int64_t)pick(random, 64);
    if (is_far(draft->entry))
        return 8 * (int64_t)pick(random, 32);
    if (draft->builder->test->place != PLACE_SCRATCH)
        return 0;
    if (!draft_is_aligned(draft))
        return one_in(random, 4) ? 0 : (int64_t)pick(random, 400) - 200;
    int64_t aligned = ((int64_t)pick(random, 6) - 3) * 64;
    if (size == 16 && !one_in(random, 16))
        return aligned + 16 * pick(random, 4);
    return one_in(random, 16) ? aligned + pick(random, 64) : aligned;
}

/* XSAVE's mask of components is in the way of a pointer. */
static bool is_taken(const struct draft *draft, unsigned number)
{
    return draft->entry->setup == SETUP_XSTATE && (number == GPR_RAX || number == GPR_RDX);
}

/* One that already points somewhere, or any when this instruction is all there is. */
static unsigned pick_pointer(const struct draft *draft)
{
    const struct builder *builder = draft->builder;
    struct test_case *test = builder->test;
    for (;;) {
        unsigned number = pick(builder->random, draft_register_count(builder));
        if (builder->plain &&
            (!(test->pointers & BIT(number)) || (number == GPR_RSP && draft_is_aligned(draft))))
            continue;
        if ((number == GPR_RSP && test->mode == MODE_16) || is_taken(draft, number))
            continue;
        test->pointers |= (uint32_t)BIT(number);
        return number;
    }
}

/* A small index, or ZYDIS_REGISTER_NONE's number, 16. */
static unsigned pick_index(const struct draft *draft, unsigned base)
{
    const struct builder *builder = draft->builder;
    struct test_case *test = builder->test;
    if (one_in(builder->random, 2))
        return 16;
    for (unsigned i = 0; i < 8; i++) {
        unsigned number = pick(builder->random, draft_register_count(builder));
        if (number == base || number == GPR_RSP || is_taken(draft, number) ||
            (builder->plain && !(test->indexes & BIT(number))))
            continue;
        test->indexes |= (uint32_t)BIT(number);
        return number;
    }
    return 16;
}

/* BX, BP, SI, DI and their four sums. APM vol. 3 table A-33 */
static void add_address16(struct draft *draft, ZydisEncoderOperand *operand)
{
    static const uint8_t bases[] = {GPR_RBX, GPR_RBP, GPR_RSI, GPR_RDI};
    const struct builder *builder = draft->builder;
    struct test_case *test = builder->test;
    unsigned base;
    do
        base = bases[pick(builder->random, 4)];
    while (builder->plain && !(test->pointers & BIT(base)));
    test->pointers |= (uint32_t)BIT(base);
    operand->mem.base = general_register(base, 2);
    unsigned index = one_in(builder->random, 2) ? GPR_RSI : GPR_RDI;
    if ((base == GPR_RBX || base == GPR_RBP) && !builder->plain && one_in(builder->random, 2)) {
        operand->mem.index = general_register(index, 2);
        operand->mem.scale = 1;
        test->indexes |= (uint32_t)BIT(index);
    }
    operand->mem.displacement = pick_displacement(draft);
}

static void add_based_address(struct draft *draft, ZydisEncoderOperand *operand, unsigned width)
{
    struct test_case *test = draft->builder->test;
    unsigned base = pick_pointer(draft), index = pick_index(draft, base);
    operand->mem.base = general_register(base, width);
    if (index < 16) {
        operand->mem.index = general_register(index, width);
        operand->mem.scale = (ZyanU8)(1u << pick(draft->builder->random, 4));
    }
    operand->mem.displacement = pick_displacement(draft);
    /* The upper halves do not matter then. */
    if (width == 4 && test->mode == MODE_64 && !draft->builder->plain)
        test->wide |= (uint32_t)(BIT(base) | (index < 16 ? BIT(index) : 0));
}

/* Address size of the memory operand, bytes. */
static unsigned pick_address_size(const struct builder *builder)
{
    static const uint8_t usual[MODE_COUNT] = {8, 4, 2}, other[MODE_COUNT] = {4, 2, 4};
    const struct test_case *test = builder->test;
    /* In a flat segment, 16 bits reach nothing of ours; and the pointers of a sequence are of one
     * size. */
    bool can_change = test->mode == MODE_64 || (test->mode == MODE_16 && !builder->plain);
    return can_change && one_in(builder->random, 8) ? other[test->mode] : usual[test->mode];
}

void draft_add_memory(struct draft *draft, unsigned size)
{
    struct random *random = draft->builder->random;
    const struct test_case *test = draft->builder->test;
    ZydisEncoderOperand *operand = &draft->request.operands[draft->request.operand_count++];
    operand->type = ZYDIS_OPERAND_TYPE_MEMORY;
    operand->mem.size = (ZyanU16)size;
    /* Is an offset that is not canonical itself, with a base that makes it so? Processors
     * disagree. */
    if (test->place != PLACE_NOWHERE && one_in(random, 8))
        draft->request.prefixes |=
            one_in(random, 2) ? ZYDIS_ATTRIB_HAS_SEGMENT_FS : ZYDIS_ATTRIB_HAS_SEGMENT_GS;
    unsigned width = pick_address_size(draft->builder);
    if (test->mode != MODE_16 && test->place == PLACE_SCRATCH && one_in(random, 8)) {
        /* Without a base, or relative to RIP. */
        operand->mem.displacement = (int64_t)SCRATCH_MIDDLE + pick_displacement(draft);
        if (test->mode == MODE_64 && !one_in(random, 3))
            operand->mem.base = ZYDIS_REGISTER_RIP;
        draft->absolute = operand->mem.base == ZYDIS_REGISTER_RIP;
        return;
    }
    if (width == 2) {
        if (draft->request.prefixes) /* their segments are flat */
            draft->request.prefixes &= ~(ZYDIS_ATTRIB_HAS_SEGMENT_FS | ZYDIS_ATTRIB_HAS_SEGMENT_GS);
        add_address16(draft, operand);
    } else {
        add_based_address(draft, operand, width);
    }
}
