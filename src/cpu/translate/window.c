/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/window.h"

#include "cpu/translate/rewrite.h"

#define WINDOW_BYTES 256 /* the wider, the more often one meets a page's end */
#define GROUPS_MAX   (SCAN_INSTRUCTIONS_MAX * WINDOW_ACCESSES)

/* What is known of a register: an unknown value, which has a number, plus a constant. */
struct value {
    unsigned number;
    int64_t added;
};

/* The general registers, the instruction pointer, and zero (for addresses without a base). */
enum { BASE_RIP = 16, BASE_NONE, BASE_COUNT };

/* Accesses relative to one unknown value. */
struct group {
    unsigned number;
    int64_t low, high;
    unsigned accesses;
    bool writes;
};

struct planner {
    struct window_plan *plan;
    const struct scan *scan;
    struct value values[BASE_COUNT];
    unsigned numbers; /* given out */
    unsigned count;
    struct group groups[GROUPS_MAX];
    uint8_t group_of[SCAN_INSTRUCTIONS_MAX][WINDOW_ACCESSES]; /* 1 + index; 0: none */
};

/* --- what registers hold --- */

static void value_forget(struct planner *planner, unsigned number)
{
    planner->values[number] = (struct value){planner->numbers++, 0};
}

static void values_forget_all(struct planner *planner)
{
    for (unsigned i = 0; i < BASE_COUNT; i++)
        value_forget(planner, i);
    planner->values[BASE_RIP].added = 0;
}

static bool is_native_register(const struct instruction *instruction, unsigned index)
{
    const ZydisDecodedOperand *operand = &instruction->operands[index];
    return operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
           operand->size == native_width(instruction) &&
           guest_register(operand->reg.value) != NO_REGISTER;
}

static unsigned register_of(const struct instruction *instruction, unsigned index)
{
    return guest_register(instruction->operands[index].reg.value);
}

static unsigned base_of(const struct instruction *instruction, const ZydisDecodedOperand *operand)
{
    if (operand->mem.base == ZYDIS_REGISTER_NONE)
        return BASE_NONE;
    if (operand->mem.base == ZYDIS_REGISTER_RIP)
        return BASE_RIP;
    return has_native_address(instruction) ? guest_register(operand->mem.base) : NO_REGISTER;
}

/* The address [base + constant] in *value; false: it is none, or has a segment's base. */
static bool address_value(const struct planner *planner, const struct instruction *instruction,
                          const ZydisDecodedOperand *operand, struct value *value)
{
    unsigned base = base_of(instruction, operand);
    if (base == NO_REGISTER || operand->mem.index != ZYDIS_REGISTER_NONE ||
        operand->mem.segment == ZYDIS_REGISTER_FS || operand->mem.segment == ZYDIS_REGISTER_GS ||
        !has_native_address(instruction))
        return false;
    *value = planner->values[base];
    value->added += operand_displacement(operand);
    if (base == BASE_RIP)
        value->added += instruction_end(instruction);
    return true;
}

/* What a copy, or the sum with a constant, puts into the first operand; false: it is none. */
static bool result_value(const struct planner *planner, const struct instruction *instruction,
                         struct value *value)
{
    if (!is_native_register(instruction, 0))
        return false;
    const ZydisDecodedOperand *second = &instruction->operands[1];
    *value = planner->values[register_of(instruction, 0)];
    switch (instruction->decoded.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        if (!is_native_register(instruction, 1))
            return false;
        *value = planner->values[register_of(instruction, 1)];
        return true;
    case ZYDIS_MNEMONIC_LEA:
        return address_value(planner, instruction, second, value);
    case ZYDIS_MNEMONIC_ADD:
        value->added += second->imm.value.s;
        return second->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_SUB:
        value->added -= second->imm.value.s;
        return second->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_INC:
        value->added++;
        return true;
    case ZYDIS_MNEMONIC_DEC:
        value->added--;
        return true;
    default:
        return false;
    }
}

static void note_written(struct planner *planner, const struct instruction *instruction)
{
    for (unsigned i = 0; i < instruction->decoded.operand_count; i++) {
        const ZydisDecodedOperand *operand = &instruction->operands[i];
        unsigned number = operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
                                  operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE
                              ? guest_register(operand->reg.value)
                              : NO_REGISTER;
        if (number != NO_REGISTER)
            value_forget(planner, number);
    }
}

/* --- groups --- */

static void group_widen(struct group *group, int64_t low, int64_t high, bool write)
{
    group->low = low < group->low ? low : group->low;
    group->high = high > group->high ? high : group->high;
    group->writes |= write;
    group->accesses++;
}

static bool group_has_room(const struct group *group, int64_t low, int64_t high)
{
    return (high > group->high ? high : group->high) - (low < group->low ? low : group->low) <=
           WINDOW_BYTES;
}

static void note_access(struct planner *planner, unsigned index, enum window_access kind,
                        struct value address, unsigned size, bool write)
{
    int64_t high = address.added + size;
    unsigned i = planner->count;
    while (i-- > 0)
        if (planner->groups[i].number == address.number &&
            group_has_room(&planner->groups[i], address.added, high))
            break;
    if (i == ~0u) {
        i = planner->count++;
        planner->groups[i] = (struct group){address.number, address.added, high, 0, false};
    }
    group_widen(&planner->groups[i], address.added, high, write);
    planner->group_of[index][kind] = (uint8_t)(i + 1);
    planner->plan->reaches[index][kind].place = address.added;
}

static void note_operand(struct planner *planner, unsigned index)
{
    const struct instruction *instruction = &planner->scan->instructions[index];
    if (instruction->memory < 0 || instruction->masked)
        return;
    const ZydisDecodedOperand *operand = &instruction->operands[instruction->memory];
    struct value address;
    if (operand->size >= 8 && address_value(planner, instruction, operand, &address))
        note_access(planner, index, WINDOW_OPERAND, address, operand->size / 8u,
                    operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
}

static void note_stack(struct planner *planner, unsigned index, unsigned base, int64_t offset)
{
    unsigned slot = native_width(&planner->scan->instructions[index]) / 8;
    struct value address = planner->values[base];
    address.added += offset;
    note_access(planner, index, WINDOW_STACK, address, slot, offset < 0);
}

/* Goes through one instruction: its accesses, then what it does to the registers. */
static void note_instruction(struct planner *planner, unsigned index)
{
    const struct instruction *instruction = &planner->scan->instructions[index];
    int64_t slot = native_width(instruction) / 8;
    struct value result;
    switch ((enum method)instruction->method) {
    case METHOD_PLAIN:
        note_operand(planner, index);
        __attribute__((fallthrough));
    case METHOD_LEA:
        if (result_value(planner, instruction, &result))
            planner->values[register_of(instruction, 0)] = result;
        else
            note_written(planner, instruction);
        break;
    case METHOD_PUSH:
    case METHOD_CALL:
        note_operand(planner, index);
        note_stack(planner, index, GPR_RSP, -slot);
        planner->values[GPR_RSP].added -= slot;
        break;
    case METHOD_POP:
    case METHOD_RETURN:
        note_stack(planner, index, GPR_RSP, 0);
        result = planner->values[GPR_RSP];
        note_written(planner, instruction);
        planner->values[GPR_RSP] = (struct value){result.number, result.added + slot};
        if (instruction->method == METHOD_POP && register_of(instruction, 0) == GPR_RSP)
            value_forget(planner, GPR_RSP);
        break;
    case METHOD_LEAVE:
        note_stack(planner, index, GPR_RBP, 0);
        result = planner->values[GPR_RBP];
        planner->values[GPR_RSP] = (struct value){result.number, result.added + slot};
        value_forget(planner, GPR_RBP);
        break;
    case METHOD_JUMP:
        note_operand(planner, index);
        break;
    case METHOD_NOTHING:
    case METHOD_BRANCH:
        break;
    case METHOD_LOOP:
    case METHOD_READ_SEGMENT:
        note_written(planner, instruction);
        break;
    default: /* C may do anything meanwhile */
        values_forget_all(planner);
        break;
    }
}

/* --- the plan --- */

/* Does S0 keep a window's host address while the instruction runs? */
static bool keeps_address(const struct instruction *instruction)
{
    switch ((enum method)instruction->method) {
    case METHOD_NOTHING:
    case METHOD_BRANCH:
        return true;
    case METHOD_PLAIN:
        return !rewrite_is_awkward(instruction);
    case METHOD_LEA:
        return rewrite_lea_is_verbatim(instruction);
    case METHOD_PUSH:
        return instruction->memory < 0;
    case METHOD_POP:
        return true;
    default:
        return false;
    }
}

/* Is S0 needed for an operand before the stack slot is accessed? */
static bool uses_address_first(const struct instruction *instruction)
{
    return instruction->memory >= 0 ||
           (instruction->method == METHOD_CALL &&
            instruction->operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER);
}

/* Gives windows to the groups that have more than one access, as long as there are windows. */
static void name_windows(struct planner *planner, int window_of[GROUPS_MAX])
{
    struct window_plan *plan = planner->plan;
    for (unsigned i = 0; i < planner->count; i++) {
        const struct group *group = &planner->groups[i];
        window_of[i] = -1;
        if (group->accesses < 2 || plan->count == TRANSLATE_WINDOWS)
            continue;
        window_of[i] = (int)plan->count;
        plan->windows[plan->count++] = (struct window){
            .low = group->low,
            .size = (unsigned)(group->high - group->low),
            .writes = group->writes,
        };
    }
}

/* Follows S0 through the run: who looks up, who finds the address there, who must load it. */
static void follow_address(struct planner *planner)
{
    int window_of[GROUPS_MAX];
    bool open[TRANSLATE_WINDOWS] = {false};
    int held = -1;
    name_windows(planner, window_of);
    for (unsigned i = 0; i < planner->scan->count; i++) {
        const struct instruction *instruction = &planner->scan->instructions[i];
        for (unsigned kind = 0; kind < WINDOW_ACCESSES; kind++) {
            struct window_reach *reach = &planner->plan->reaches[i][kind];
            unsigned group = planner->group_of[i][kind];
            reach->window = group ? window_of[group - 1] : -1;
            if (kind == WINDOW_STACK && uses_address_first(instruction))
                held = -1;
            if (reach->window < 0)
                continue;
            reach->first = !open[reach->window];
            reach->reload = !reach->first && held != reach->window;
            planner->plan->windows[reach->window].kept |= reach->reload;
            open[reach->window] = true;
            held = reach->window;
        }
        bool looks_up = instruction->memory >= 0 && instruction->method == METHOD_PLAIN &&
                        planner->plan->reaches[i][WINDOW_OPERAND].window < 0;
        bool pushes = (instruction->method == METHOD_PUSH || instruction->method == METHOD_POP) &&
                      planner->plan->reaches[i][WINDOW_STACK].window < 0;
        if (looks_up || pushes || !keeps_address(instruction))
            held = -1;
    }
}

void window_plan(struct window_plan *plan, const struct scan *scan)
{
    struct planner planner = {.plan = plan, .scan = scan};
    *plan = (struct window_plan){.count = 0};
    values_forget_all(&planner);
    for (unsigned i = 0; i < scan->count; i++)
        note_instruction(&planner, i);
    follow_address(&planner);
}

void window_plan_none(struct window_plan *plan)
{
    *plan = (struct window_plan){.count = 0};
    for (unsigned i = 0; i < SCAN_INSTRUCTIONS_MAX; i++)
        for (unsigned kind = 0; kind < WINDOW_ACCESSES; kind++)
            plan->reaches[i][kind].window = -1;
}
