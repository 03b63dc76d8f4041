/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory accesses near each other: fields of one structure, slots of one stack frame, an unrolled
 * copy. When several in a row use the same base register, one check serves them all, and what lies
 * between them may be any instruction that leaves the base register alone.
 */
#include "cpu/translate/build.h"
#include "cpu/translate/rewrite.h"

#define RUN_MAX   16
#define RANGE_MAX 128 /* bytes: the wider, the more often it meets a page's end */

/* The accesses of a run. */
struct run {
    unsigned base;     /* guest register */
    unsigned count;    /* instructions */
    unsigned accesses; /* of these, with a memory operand */
    bool writes;
    int64_t low, high; /* displacements of the first byte, and behind the last */
};

static const ZydisDecodedOperand *memory_operand(const struct instruction *instruction)
{
    return &instruction->operands[instruction->memory];
}

static bool is_plain_access(const struct instruction *instruction)
{
    if (instruction->method != METHOD_PLAIN || instruction->memory < 0 || instruction->masked)
        return false;
    const ZydisDecodedOperand *operand = memory_operand(instruction);
    unsigned base = guest_register(operand->mem.base);
    return operand->mem.index == ZYDIS_REGISTER_NONE && base != NO_REGISTER && !is_stolen(base) &&
           operand->mem.segment != ZYDIS_REGISTER_FS && operand->mem.segment != ZYDIS_REGISTER_GS &&
           has_native_address(instruction);
}

static bool writes_register(const struct instruction *instruction, unsigned number)
{
    for (unsigned i = 0; i < instruction->decoded.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
            guest_register(operand->reg.value) == number)
            return true;
    }
    return false;
}

/* Does the run stay one when this access joins it? */
static bool widen(struct run *run, const struct instruction *instruction)
{
    const ZydisDecodedOperand *operand = memory_operand(instruction);
    int64_t low = operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
    int64_t high = low + operand->size / 8;
    low = low < run->low ? low : run->low;
    high = high > run->high ? high : run->high;
    if (high - low > RANGE_MAX)
        return false;
    run->low = low;
    run->high = high;
    run->writes |= operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    run->accesses++;
    return true;
}

static bool may_join(const struct run *run, const struct instruction *instruction)
{
    if (instruction->method == METHOD_NOTHING)
        return true;
    if (instruction->method != METHOD_PLAIN || rewrite_is_awkward(instruction))
        return false;
    return instruction->memory < 0 ||
           (is_plain_access(instruction) &&
            guest_register(memory_operand(instruction)->mem.base) == run->base);
}

static struct run find_run(const struct builder *builder)
{
    const struct instruction *first = builder->instruction;
    const struct instruction *end = builder->scan->instructions + builder->scan->count;
    struct run run = {.low = INT64_MAX, .high = INT64_MIN};
    if (!is_plain_access(first) || rewrite_is_awkward(first))
        return run;
    run.base = guest_register(memory_operand(first)->mem.base);
    for (const struct instruction *at = first; at < end && at - first < RUN_MAX; at++) {
        if (!may_join(&run, at) ||
            (at->memory >= 0 && at->method == METHOD_PLAIN && !widen(&run, at)))
            break;
        if (at->memory >= 0 && at->method == METHOD_PLAIN)
            run.count = (unsigned)(at - first) + 1; /* a run ends with an access */
        if (writes_register(at, run.base))
            break;
    }
    return run;
}

unsigned build_access_run(struct builder *builder)
{
    struct run run = find_run(builder);
    if (run.accesses < 2)
        return 0;
    struct emitter *emitter = &builder->emitter;
    const struct instruction *first = builder->instruction;
    uint32_t host = emitter->length;
    build_free_flags(builder, first->flags_read | (first->flags_live & ~first->flags_written));
    if (run.low)
        build_add_pointer(builder, S0, run.base, (int32_t)run.low);
    else
        build_load_pointer(builder, S0, run.base);
    build_run_access(builder, run.writes ? MMU_WRITE : MMU_READ, (unsigned)(run.high - run.low));
    for (unsigned i = 0; i < run.count; i++) {
        builder->instruction = first + i;
        if (builder->instruction->method == METHOD_PLAIN) {
            int64_t displacement = 0;
            if (builder->instruction->memory >= 0) {
                const ZydisDecodedOperand *operand = memory_operand(builder->instruction);
                displacement = operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
                displacement -= run.low;
            }
            build_plain_at(builder, (int32_t)displacement);
        }
        build_mark(builder, host);
        host = emitter->length;
    }
    return run.count;
}
