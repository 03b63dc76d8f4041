/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass from the first byte to the last. At each instruction the checker knows what the two
 * scratch registers may hold. Jumps inside a translation lead forward only, so when the pass comes
 * to a place, it has seen all that lead there: jumps, and what was noted before the pass, the
 * entries and the places where C resumes. A fixed sequence is one step; a place inside it is never
 * come to, and the count at the end shows it.
 */
#include "cpu/translate/check.h"

#include "cpu/translate/check_state.h"

#include <stdlib.h>
#include <string.h>

static const char *const rule_texts[CHECK_RULE_COUNT] = {
    [CHECK_ACCEPTED] = "accepted",
    [CHECK_LENGTH] = "no length a translation can have",
    [CHECK_INSTRUCTION] = "an instruction that is not on the list",
    [CHECK_MEMORY] = "a memory operand that was not looked up",
    [CHECK_SIZE] = "more bytes than were looked up",
    [CHECK_STORE] = "a store to what was looked up for reading",
    [CHECK_FIELD] = "a field of the vcpu that it may not touch",
    [CHECK_POINTER] = "a host pointer for the guest to see",
    [CHECK_VECTOR] = "vector registers that are not the guest's",
    [CHECK_JUMP] = "a jump out of the translation",
    [CHECK_TARGET] = "a jump into an instruction",
    [CHECK_SITE] = "a wrong site",
    [CHECK_RESUME] = "code behind an event that counts on more than holds there",
    [CHECK_END] = "code that runs past its end",
    [CHECK_CROWDED] = "too many jumps",
};

const char *check_rule_text(enum check_rule rule)
{
    return rule_texts[rule];
}

struct checker *checker_create(void)
{
    struct checker *checker = calloc(1, sizeof(*checker));
    if (!checker)
        return NULL;
    ZydisDecoderInit(&checker->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    sequences_compile(checker);
    return checker;
}

void checker_destroy(struct checker *checker)
{
    free(checker);
}

/* --- places --- */

static uint8_t value_meet(uint8_t a, uint8_t b)
{
    if (a == b)
        return a;
    if (a == VALUE_HVA || b == VALUE_HVA)
        return VALUE_SECRET;
    if ((a == VALUE_INDEX || b == VALUE_INDEX) && value_is_public(a) && value_is_public(b))
        return VALUE_PUBLIC; /* an index of the table's is not one of 0 to 63 */
    return a > b ? a : b;
}

static void state_meet(struct check_state *state, const struct check_state *other)
{
    if (state->address == VALUE_HVA && other->address == VALUE_HVA) {
        state->size = state->size < other->size ? state->size : other->size;
        state->writable &= other->writable;
    }
    state->address = value_meet(state->address, other->address);
    state->index = value_meet(state->index, other->index);
    state->spill = value_meet(state->spill, other->spill);
    state->live &= other->live;
    state->switched |= other->switched;
    state->bounded = state->bounded == other->bounded ? state->bounded : 0;
    state->ranged = state->ranged == other->ranged ? state->ranged : 0;
    state->source = state->source == other->source ? state->source : 0;
    for (unsigned i = 0; i < TRANSLATE_WINDOWS; i++)
        state->windows[i] = window_meet(state->windows[i], other->windows[i]);
}

bool check_note_join(struct checker *checker, int64_t offset, const struct check_state *state,
                     bool resumed)
{
    if (offset < checker->at || offset >= (int64_t)checker->length)
        return check_refuse(checker, CHECK_JUMP);
    uint16_t *note = &checker->notes[offset];
    if (*note & NOTE_JUMP)
        return check_refuse(checker, CHECK_TARGET);
    if (*note) {
        struct check_join *join = &checker->joins[*note];
        state_meet(&join->state, state);
        join->resumed |= resumed;
        return true;
    }
    if (checker->join_count + 1 == CHECK_PLACES_MAX)
        return check_refuse(checker, CHECK_CROWDED);
    *note = (uint16_t)++checker->join_count;
    checker->joins[*note] = (struct check_join){
        .offset = (uint32_t)offset, .state = *state, .resumed = resumed, .event = -1};
    return true;
}

bool check_note_jump(struct checker *checker, uint32_t place, const struct check_state *state)
{
    int32_t displacement;
    memcpy(&displacement, checker->code + place, sizeof(displacement));
    int64_t target = (int64_t)place + 4 + displacement;
    if (target < (int64_t)place + 4)
        return check_refuse(checker, CHECK_JUMP);
    if (checker->notes[place])
        return check_refuse(checker, CHECK_TARGET);
    if (checker->jump_count == CHECK_PLACES_MAX)
        return check_refuse(checker, CHECK_CROWDED);
    checker->notes[place] = (uint16_t)(NOTE_JUMP + checker->jump_count);
    checker->jumps[checker->jump_count++] =
        (struct check_jump){.place = place, .target = (uint32_t)target};
    return check_note_join(checker, target, state, false);
}

/* Joins what leads to the present place, if anything does, with what falls into it. */
static void arrive(struct checker *checker)
{
    uint16_t note = checker->notes[checker->at];
    if (!note || note & NOTE_JUMP) {
        /* A displacement is never at the start of an instruction: seen at the end. Where nothing
         * leads to, the code must obey all the same, as if something did. */
        checker->dead = false;
        return;
    }
    struct check_join *join = &checker->joins[note];
    if (checker->dead) {
        /* C resumes only after an event here: what was live then, still is. That it was what is
         * taken for granted here is compared at the end. */
        uint8_t live = join->state.live & checker->state.live;
        checker->state = join->state;
        checker->state.live = join->resumed ? live : join->state.live;
        for (unsigned i = 0; i < TRANSLATE_WINDOWS; i++)
            if (checker->state.windows[i] == WINDOW_ANY)
                checker->state.windows[i] = 0;
    } else {
        state_meet(&checker->state, &join->state);
    }
    checker->dead = false;
    join->state = checker->state;
    join->reached = true;
    checker->joins_passed++;
}

/* Nothing is known of the registers where code is entered; what is dead still must obey. */
static struct check_state unknown_state(uint8_t live)
{
    return (struct check_state){
        .address = VALUE_SECRET, .index = VALUE_SECRET, .spill = VALUE_PUBLIC, .live = live};
}

static void die(struct checker *checker)
{
    checker->dead = true;
    checker->state = unknown_state(checker->state.live);
}

/* --- one instruction --- */

/* Jumps inside the translation: JMP and Jcc with 32-bit displacements, JRCXZ, JECXZ. */
static unsigned jump_check(struct checker *checker)
{
    const uint8_t *bytes = checker->code + checker->at;
    uint32_t left = checker->length - checker->at;
    if (bytes[0] == 0xe9 && left >= 5) {
        if (!check_note_jump(checker, checker->at + 1, &checker->state))
            return 0;
        die(checker);
        return 5;
    }
    if (bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80 && left >= 6)
        return check_note_jump(checker, checker->at + 2, &checker->state) ? 6 : 0;
    unsigned length = bytes[0] == 0x67 ? 3 : 2; /* JECXZ, JRCXZ */
    if (bytes[length - 2] != 0xe3 || left < length)
        return 0;
    if (bytes[length - 1] & 0x80) {
        check_refuse(checker, CHECK_JUMP);
        return 0;
    }
    int64_t target = (int64_t)checker->at + length + bytes[length - 1];
    return check_note_join(checker, target, &checker->state, false) ? length : 0;
}

/* What stands in front of a jump that may be changed, to align it. */
static unsigned padding_check(const struct checker *checker)
{
    const uint8_t *bytes = checker->code + checker->at;
    if (bytes[0] == 0x90)
        return 1;
    if (bytes[0] == 0x66 && bytes[1] == 0x90)
        return 2;
    return bytes[0] == 0x0f && bytes[1] == 0x1f && bytes[2] == 0 ? 3 : 0;
}

/* The memory operand must be the address that was looked up. */
static bool memory_check(struct checker *checker, const struct host_facts *facts, unsigned base)
{
    const struct check_state *state = &checker->state;
    if (facts->base == FACTS_NO_REGISTER)
        return true;
    if (facts->base != base || state->address != VALUE_HVA)
        return check_refuse(checker, CHECK_MEMORY);
    if (!facts->size || facts->displacement < 0 ||
        facts->displacement + (int64_t)facts->size > state->size)
        return check_refuse(checker, CHECK_SIZE);
    if (facts->stores && !state->writable)
        return check_refuse(checker, CHECK_STORE);
    if (facts->bit_register == FACTS_NO_REGISTER)
        return true;
    /* BT and its kin reach as far as the number of the bit says. */
    bool bounded = state->index == VALUE_BIT_31 || (state->index == VALUE_BIT_63);
    unsigned bits = state->index == VALUE_BIT_31 ? 32 : 64;
    return (facts->bit_register == GPR_R15 && bounded && bits <= facts->size * 8u) ||
           check_refuse(checker, CHECK_SIZE);
}

static bool is_site_pointer(const struct checker *checker, uint64_t value)
{
    const struct translation *translation = checker->translation;
    return value - (uintptr_t)translation->sites <
           translation->site_count * sizeof(translation->sites[0]);
}

/* What a guest instruction became, with its memory operand at [base]. */
static bool facts_check(struct checker *checker, const struct host_facts *facts, unsigned base)
{
    struct check_state *state = &checker->state;
    if (!memory_check(checker, facts, base))
        return false;
    if (facts->live & ~state->live)
        return check_refuse(checker, CHECK_VECTOR);
    if ((facts->reads & BIT(GPR_R14) && !value_is_public(state->address)) ||
        (facts->reads & BIT(GPR_R15) && !value_is_public(state->index)) ||
        (facts->constant && is_site_pointer(checker, facts->constant)))
        return check_refuse(checker, CHECK_POINTER);
    if (facts->writes & BIT(GPR_R14))
        state->address = VALUE_PUBLIC;
    if (facts->writes & BIT(GPR_R15))
        state->index = VALUE_PUBLIC;
    return true;
}

static bool decode(struct checker *checker, uint32_t at, struct host_facts *facts)
{
    static const enum check_rule rules[] = {
        [DECODE_UNKNOWN] = CHECK_INSTRUCTION,
        [DECODE_BAD_MEMORY] = CHECK_MEMORY,
    };
    enum decode_result result =
        host_decode(&checker->decoder, checker->code + at, checker->length - at, facts);
    return result == DECODE_ALLOWED || check_refuse(checker, rules[result]);
}

static unsigned guest_check(struct checker *checker)
{
    struct host_facts facts;
    if (!decode(checker, checker->at, &facts) || !facts_check(checker, &facts, GPR_R14))
        return 0;
    check_forget_range(&checker->state); /* it may have changed RCX */
    return facts.length;
}

/*
 * An instruction with AH to BH and memory has its address in RDI meanwhile:
 *     mov gs:[spill], rdi; mov rdi, r14; INSTRUCTION [rdi]; mov rdi, gs:[spill]
 * One step, so that nothing else sees RDI. A host fault in between must be one of memory: it never
 * comes for an address that was looked up.
 */
unsigned check_high_byte(struct checker *checker, unsigned head, const uint8_t *tail,
                         unsigned tail_length)
{
    struct host_facts facts;
    const uint16_t scratch = 1u << GPR_RDI | 1u << GPR_R14 | 1u << GPR_R15;
    if (!decode(checker, checker->at + head, &facts))
        return 0;
    if (facts.base != GPR_RDI || facts.may_fault || facts.live) {
        check_refuse(checker, CHECK_MEMORY);
        return 0;
    }
    if ((facts.reads | facts.writes) & scratch) {
        check_refuse(checker, CHECK_POINTER);
        return 0;
    }
    unsigned length = head + facts.length + tail_length;
    if (!facts_check(checker, &facts, GPR_RDI))
        return 0;
    if (checker->at + length > checker->length ||
        memcmp(checker->code + checker->at + head + facts.length, tail, tail_length) != 0) {
        check_refuse(checker, CHECK_POINTER);
        return 0;
    }
    checker->state.spill = VALUE_PUBLIC;
    check_forget_range(&checker->state);
    return length;
}

static unsigned step(struct checker *checker)
{
    unsigned length = sequence_check(checker);
    if (!length && checker->rule == CHECK_ACCEPTED)
        length = jump_check(checker);
    if (!length && checker->rule == CHECK_ACCEPTED)
        length = field_check(checker);
    if (!length && checker->rule == CHECK_ACCEPTED)
        length = padding_check(checker);
    if (!length && checker->rule == CHECK_ACCEPTED)
        length = guest_check(checker);
    return length;
}

/* --- before and after the pass --- */

static bool note_entries(struct checker *checker)
{
    const struct translation *translation = checker->translation;
    const struct check_state state = unknown_state(0);
    if (!check_note_join(checker, (int64_t)translation->native - translation->start, &state,
                         false) ||
        !check_note_join(checker, (int64_t)translation->parked - translation->start, &state, false))
        return false;
    /* Code that needs vector registers is never entered behind its checks: site_link(). */
    return translation->xmm || translation->x87 ||
           check_note_join(checker, (int64_t)translation->body - translation->start, &state, false);
}

static bool is_access(const struct site *site)
{
    return site->kind == SITE_READ || site->kind == SITE_WRITE;
}

static bool is_resumed(const struct site *site)
{
    return is_access(site) || site->kind == SITE_OPERATION || site->kind == SITE_WINDOW;
}

static bool note_resumes(struct checker *checker)
{
    const struct translation *translation = checker->translation;
    for (unsigned i = 0; i < translation->site_count; i++) {
        const struct site *site = &translation->sites[i];
        if (site->kind >= SITE_KIND_COUNT || site->translation != translation)
            return check_refuse(checker, CHECK_SITE);
        if (!is_resumed(site))
            continue;
        struct check_state state = unknown_state(LIVE_ALL);
        if (is_access(site)) {
            state.address = VALUE_HVA;
            state.size = site->size;
            state.writable = site->kind == SITE_WRITE;
            memset(state.windows, 0xff, sizeof(state.windows)); /* WINDOW_ANY */
        }
        if (!check_note_join(checker, (int64_t)site->resume - translation->start, &state, true))
            return check_refuse(checker, CHECK_SITE);
    }
    return true;
}

static const struct check_join *join_at(const struct checker *checker, uint32_t place)
{
    uint32_t offset = place - checker->translation->start;
    uint16_t note = offset < checker->length ? checker->notes[offset] : 0;
    return note && !(note & NOTE_JUMP) ? &checker->joins[note] : NULL;
}

/* The branch leads to its own event now, and will again when what it is linked to goes. */
static bool branch_site_check(const struct checker *checker, const struct site *site)
{
    uint32_t offset = site->patch - checker->translation->start;
    if (site->patch % 4 || offset >= checker->length || !(checker->notes[offset] & NOTE_JUMP))
        return false;
    const struct check_jump *jump = &checker->jumps[checker->notes[offset] - NOTE_JUMP];
    const struct check_join *stub = join_at(checker, site->stub);
    return stub && stub->offset == jump->target &&
           stub->event == site - checker->translation->sites;
}

/* The jump of a window's event may come to lead elsewhere, and leads to its stub again. */
static bool window_site_check(const struct checker *checker, unsigned index)
{
    const struct site *site = &checker->translation->sites[index];
    uint32_t place = checker->events_jump[index];
    return is_access(site) && place && site->patch % 4 == 0 &&
           site->patch == checker->translation->start + place &&
           site->stub == checker->translator->event_parked;
}

/* The entry of a dead translation becomes a jump to the event of its first site, in one store over
 * the first instruction of the test for requests: cache.c. */
static bool burial_check(const struct checker *checker)
{
    const struct translation *translation = checker->translation;
    if (!translation->site_count || translation->sites[0].kind != SITE_REQUESTS ||
        translation->parked % ENTRY_ALIGNMENT ||
        !sequence_is_entry(checker, translation->parked - translation->start))
        return false;
    const struct check_join *stub = join_at(checker, translation->sites[0].stub);
    return stub && stub->event == 0;
}

/* Does what is counted on behind an event hold where the event is? */
static bool resume_check(const struct checker *checker, unsigned index)
{
    const struct check_join *join = join_at(checker, checker->translation->sites[index].resume);
    if (!join || join->state.live & ~checker->events_live[index])
        return false;
    for (unsigned i = 0; i < TRANSLATE_WINDOWS; i++)
        if (window_meet(join->state.windows[i], checker->events_windows[index][i]) !=
            join->state.windows[i])
            return false;
    return true;
}

static bool sites_check(struct checker *checker)
{
    const struct translation *translation = checker->translation;
    if (!burial_check(checker))
        return check_refuse(checker, CHECK_SITE);
    for (unsigned i = 0; i < translation->site_count; i++) {
        const struct site *site = &translation->sites[i];
        if ((site->kind == SITE_JUMP && !branch_site_check(checker, site)) ||
            (site->run && !window_site_check(checker, i)))
            return check_refuse(checker, CHECK_SITE);
        if (is_resumed(site) && !resume_check(checker, i))
            return check_refuse(checker, CHECK_RESUME);
    }
    return true;
}

static bool places_check(struct checker *checker)
{
    for (unsigned i = 1; i <= checker->join_count; i++) {
        if (!checker->joins[i].reached) {
            checker->at = checker->joins[i].offset;
            return check_refuse(checker, CHECK_TARGET);
        }
    }
    return true;
}

static bool pass(struct checker *checker)
{
    while (checker->at < checker->length) {
        arrive(checker);
        unsigned length = step(checker);
        if (!length)
            return false;
        checker->at += length;
        if (checker->at > checker->length)
            return check_refuse(checker, CHECK_END);
    }
    return checker->dead || check_refuse(checker, CHECK_END);
}

static bool check_all(struct checker *checker)
{
    return note_entries(checker) && note_resumes(checker) && pass(checker) &&
           (checker->joins_passed == checker->join_count || places_check(checker)) &&
           sites_check(checker);
}

/* Data accesses of code of this mode, as vcpu_update_mode() has it. */
static unsigned mode_of_accesses(uint32_t mode)
{
    return mode & CODE_MODE_USER ? MMU_USER
           : mode & CODE_MODE_AC ? MMU_SUPERVISOR_AC
                                 : MMU_SUPERVISOR;
}

bool check_translation(struct checker *checker, const struct translator *translator,
                       const struct translation *translation, const uint8_t *code,
                       struct check_refusal *refusal)
{
    checker->translator = translator;
    checker->translation = translation;
    checker->length = translation->end - translation->start;
    checker->mmu_mode = mode_of_accesses(translation->mode);
    checker->at = 0;
    checker->rule = CHECK_ACCEPTED;
    checker->join_count = checker->joins_passed = checker->jump_count = 0;
    checker->state = unknown_state(0);
    checker->dead = true;
    *refusal = (struct check_refusal){CHECK_LENGTH, 0, {0}};
    if (!checker->length || checker->length > SCAN_CODE_MAX ||
        translation->site_count > CHECK_SITES_MAX)
        return false;
    memcpy(checker->code, code, checker->length);
    memset(checker->code + checker->length, 0, sizeof(checker->code) - SCAN_CODE_MAX);
    memset(checker->notes, 0, checker->length * sizeof(checker->notes[0]));
    memset(checker->events_live, 0xff, translation->site_count);
    memset(checker->events_jump, 0, translation->site_count * sizeof(checker->events_jump[0]));
    memset(checker->events_windows, 0xff,
           translation->site_count * sizeof(checker->events_windows[0]));
    if (check_all(checker))
        return true;
    refusal->rule = checker->rule;
    refusal->offset = checker->at;
    memcpy(refusal->bytes, checker->code + (checker->at < checker->length ? checker->at : 0),
           sizeof(refusal->bytes));
    return false;
}
