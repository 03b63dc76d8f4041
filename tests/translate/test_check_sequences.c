/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences that do more than look up one operand: runs of accesses, strings, what kernels do in
 * place, and the entry that is changed when a translation dies. */
#include "draft.h"

static void runs_stay_within_what_was_looked_up(void **state)
{
    static const struct {
        struct instruction_case instruction;
        enum check_rule rule;
    } cases[] = {
        {CASE("mov rax, [r14+8]", 0x49, 0x8b, 0x46, 0x08), CHECK_ACCEPTED},
        {CASE("mov rax, [r14+9]", 0x49, 0x8b, 0x46, 0x09), CHECK_SIZE},
        {CASE("mov rax, [r14-1]", 0x49, 0x8b, 0x46, 0xff), CHECK_SIZE},
        {CASE("mov rax, [r14-8], 32 bits", 0x49, 0x8b, 0x86, 0xf8, 0xff, 0xff, 0xff), CHECK_SIZE},
        {CASE("mov rax, [r14+0x7fffffff]", 0x49, 0x8b, 0x86, 0xff, 0xff, 0xff, 0x7f), CHECK_SIZE},
        {CASE("xadd [r14+8], rax", 0x49, 0x0f, 0xc1, 0x46, 0x08), CHECK_STORE},
        {CASE("xadd [r14+12], rax", 0x49, 0x0f, 0xc1, 0x46, 0x0c), CHECK_SIZE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        assert_rule(draft_accessed(state, MMU_READ, 16, &cases[i].instruction), cases[i].rule);
}

/* --- strings --- */

/* Of an element's size: quadwords, and in 32-bit code doublewords. */
enum { NARROW_SHIFT = 2, SHIFT = 3 };

/* What a planted mistake leaves out, or does between the steps. */
struct string_case {
    const char *name;
    bool narrow, no_bound, no_range, no_source_range, read_only;
    uint8_t bound_shift, range_shift;
    uint8_t between[8]; /* bound and look-up, range and string instruction */
    uint8_t behind[8];
    uint8_t between_length, behind_length;
};

/* A look-up after whose miss C does all of the instruction. */
static void put_look_up(struct draft *draft, unsigned pointer, enum mmu_access access, bool narrow)
{
    if (narrow)
        emit_move_narrow(&draft->emitter, S0, pointer);
    else
        emit_move(&draft->emitter, S0, pointer);
    unsigned site = draft_access(draft, MMU_USER, access, 1);
    draft->sites[site].kind = SITE_INTERPRET;
}

static uint32_t put_bound(struct draft *draft, unsigned shift)
{
    emit_compare_constant(&draft->emitter, GPR_RCX, (int32_t)(PAGE_SIZE >> shift));
    return emit_jump_if(&draft->emitter, CONDITION_A);
}

static uint32_t put_range(struct draft *draft, unsigned shift)
{
    const struct emit_address end = {S1, GPR_RCX, (uint8_t)shift, 0};
    emit_move(&draft->emitter, S1, S0);
    emit_and_constant(&draft->emitter, S1, PAGE_SIZE - 1);
    emit_memory(&draft->emitter, OPCODE_LEA, true, S1, &end);
    emit_compare_constant(&draft->emitter, S1, PAGE_SIZE);
    return emit_jump_if(&draft->emitter, CONDITION_A);
}

/* rep stosq or rep movsq, with host addresses in RDI and RSI meanwhile; narrow: as 32-bit code has
 * them, for doublewords. */
static void put_string(struct draft *draft, bool move, bool narrow)
{
    struct emitter *emitter = &draft->emitter;
    const uint8_t shift = narrow ? NARROW_SHIFT : SHIFT;
    const struct emit_address to = {S1, S0, shift, 0}, from = {GPR_RSI, S0, shift, 0};
    if (move) {
        emit_vcpu(emitter, OPCODE_STORE, true, GPR_RSI, VCPU(translate.spill2));
        emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RSI, VCPU(translate.source));
    }
    emit_move(emitter, S1, GPR_RDI);
    emit_move(emitter, GPR_RDI, S0);
    emit_move(emitter, S0, GPR_RCX);
    PUT(draft, 0xf3);
    if (!narrow)
        PUT(draft, 0x48);
    PUT(draft, move ? 0xa5 : 0xab);
    emit_memory(emitter, OPCODE_LEA, !narrow, GPR_RDI, &to);
    if (move) {
        emit_vcpu(emitter, OPCODE_LOAD, true, GPR_RSI, VCPU(translate.spill2));
        emit_memory(emitter, OPCODE_LEA, !narrow, GPR_RSI, &from);
    }
}

static enum check_rule string(void **state, const struct string_case *mistake, bool move)
{
    struct draft draft;
    uint32_t places[3] = {0};
    bool narrow = mistake->narrow;
    const unsigned shift = narrow ? NARROW_SHIFT : SHIFT;
    draft_begin(&draft, state);
    if (!mistake->no_bound)
        places[0] = put_bound(&draft, mistake->bound_shift ? mistake->bound_shift : shift);
    draft_put(&draft, mistake->between, mistake->between_length);
    if (move) {
        put_look_up(&draft, GPR_RSI, MMU_READ, narrow);
        if (!mistake->no_source_range)
            places[1] = put_range(&draft, shift);
        emit_vcpu(&draft.emitter, OPCODE_STORE, true, S0, VCPU(translate.source));
    }
    put_look_up(&draft, GPR_RDI, mistake->read_only ? MMU_READ : MMU_WRITE, narrow);
    if (!mistake->no_range)
        places[2] = put_range(&draft, mistake->range_shift ? mistake->range_shift : shift);
    draft_put(&draft, mistake->behind, mistake->behind_length);
    put_string(&draft, move, narrow);
    uint32_t over = emit_jump(&draft.emitter);
    for (unsigned i = 0; i < ARRAY_SIZE(places); i++)
        if (places[i])
            emit_land(&draft.emitter, places[i]);
    draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
    emit_land(&draft.emitter, over);
    return draft_finish(&draft);
}

static void strings_stay_within_their_pages(void **state)
{
    static const struct string_case good = {.name = "as it is"};
    static const struct string_case mistakes[] = {
        {.name = "RCX not bounded", .no_bound = true},
        {.name = "RCX bounded for smaller elements", .bound_shift = 1},
        {.name = "elements not counted", .no_range = true},
        {.name = "smaller elements counted", .range_shift = 2},
        {.name = "looked up for reading", .read_only = true},
        {.name = "RCX changed: mov ecx, -1",
         .between = {0xb9, 0xff, 0xff, 0xff, 0xff},
         .between_length = 5},
        {.name = "RCX changed behind: mov ecx, -1",
         .behind = {0xb9, 0xff, 0xff, 0xff, 0xff},
         .behind_length = 5},
        {.name = "another address: mov r14, rdi", .behind = {0x49, 0x89, 0xfe}, .behind_length = 3},
        {.name = "another address: mov r14, rax", .behind = {0x49, 0x89, 0xc6}, .behind_length = 3},
        {.name = "its own jump", .behind = {0x0f, 0x84, 3, 0, 0, 0}, .behind_length = 6},
    };
    assert_rule(string(state, &good, false), CHECK_ACCEPTED);
    assert_rule(string(state, &good, true), CHECK_ACCEPTED);
    static const struct string_case narrow = {.name = "in 32-bit code", .narrow = true};
    assert_rule(string(state, &narrow, false), CHECK_ACCEPTED);
    assert_rule(string(state, &narrow, true), CHECK_ACCEPTED);
    for (unsigned i = 0; i < 4 * ARRAY_SIZE(mistakes); i++) {
        struct string_case mistake = mistakes[i / 4];
        mistake.narrow = i & 2;
        if (mistake.narrow && mistake.range_shift == NARROW_SHIFT)
            mistake.range_shift--;
        if (string(state, &mistake, i & 1) == CHECK_ACCEPTED)
            fail_msg("%s: accepted", mistake.name);
    }
    static const struct string_case source = {.name = "source", .no_source_range = true};
    assert_true(string(state, &source, true) != CHECK_ACCEPTED);
}

/* The address is changed by what is no guest instruction. */
static void loaded_addresses_are_none_for_strings(void **state)
{
    static const int32_t fields[] = {VCPU(translate.spill), VCPU_REGISTER(GPR_R14),
                                     VCPU(translate.rip_page)};
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        uint32_t bound = put_bound(&draft, SHIFT);
        put_look_up(&draft, GPR_RDI, MMU_WRITE, false);
        uint32_t range = put_range(&draft, SHIFT);
        emit_vcpu(&draft.emitter, OPCODE_LOAD, true, S0, fields[i]);
        put_string(&draft, false, false);
        uint32_t over = emit_jump(&draft.emitter);
        emit_land(&draft.emitter, bound);
        emit_land(&draft.emitter, range);
        draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
        emit_land(&draft.emitter, over);
        assert_rule(draft_finish(&draft), CHECK_SIZE);
    }
}

/* --- what kernels do in place --- */

#define GS_DWORD(operation, field, value)                                                      \
    0x65, 0x81, (operation) << 3 | 4, 0x25, (uint8_t)VCPU(field), (uint8_t)(VCPU(field) >> 8), \
        (uint8_t)(VCPU(field) >> 16), (uint8_t)(VCPU(field) >> 24), (uint8_t)(value),          \
        (uint8_t)((value) >> 8), (uint8_t)((value) >> 16), (uint8_t)((value) >> 24)

static enum check_rule in_kernel(void **state, bool user, const uint8_t *bytes, unsigned length)
{
    struct draft draft;
    draft_begin(&draft, state);
    if (!user)
        draft.translation.mode &= ~(uint32_t)CODE_MODE_USER;
    draft_put(&draft, bytes, length);
    return draft_finish(&draft);
}

static void only_kernels_change_flags_of_the_vcpu(void **state)
{
    static const uint8_t cli[] = {GS_DWORD(4, rflags, ~(uint32_t)RFLAGS_IF)};
    static const uint8_t sti[] = {GS_DWORD(1, rflags, (uint32_t)RFLAGS_IF)};
    static const uint8_t cld[] = {GS_DWORD(4, rflags, ~(uint32_t)RFLAGS_DF)};
    static const uint8_t std[] = {GS_DWORD(1, rflags, (uint32_t)RFLAGS_DF)};
    static const uint8_t iopl[] = {GS_DWORD(1, rflags, (uint32_t)RFLAGS_IOPL)};
    static const uint8_t cpl[] = {GS_DWORD(4, cpl, 0u)};
    assert_rule(in_kernel(state, false, cli, sizeof(cli)), CHECK_ACCEPTED);
    assert_rule(in_kernel(state, false, sti, sizeof(sti)), CHECK_ACCEPTED);
    assert_true(in_kernel(state, true, cli, sizeof(cli)) != CHECK_ACCEPTED);
    assert_true(in_kernel(state, true, sti, sizeof(sti)) != CHECK_ACCEPTED);
    assert_rule(in_kernel(state, true, cld, sizeof(cld)), CHECK_ACCEPTED);
    assert_rule(in_kernel(state, true, std, sizeof(std)), CHECK_ACCEPTED);
    assert_true(in_kernel(state, false, iopl, sizeof(iopl)) != CHECK_ACCEPTED);
    assert_true(in_kernel(state, false, cpl, sizeof(cpl)) != CHECK_ACCEPTED);
}

/* STAC, as the translator has it. */
static void put_stac(struct draft *draft)
{
    static const uint8_t set_mode[] = {0x65, 0xc6, 0x04, 0x25};
    PUT(draft, GS_DWORD(1, rflags, (uint32_t)RFLAGS_AC));
    draft_put(draft, set_mode, sizeof(set_mode));
    emit_u32(&draft->emitter, (uint32_t)VCPU(mmu_mode));
    emit_byte(&draft->emitter, MMU_SUPERVISOR_AC);
    PUT(draft, GS_DWORD(6, code_mode, (uint32_t)CODE_MODE_AC));
    PUT(draft, GS_DWORD(6, translate.jump_context, (uint32_t)CONTEXT_AC));
}

/* A jump that may be linked, to code of that mode. */
static void put_link(struct draft *draft, uint32_t mode)
{
    unsigned site = draft_site(draft, SITE_JUMP);
    uint32_t place = emit_jump_aligned(&draft->emitter);
    emit_land(&draft->emitter, place);
    draft->sites[site].mode = mode;
    draft->sites[site].patch = START + place;
    draft->sites[site].stub = START + draft->emitter.length;
    draft_event(draft, site);
}

static void begin_stac(struct draft *draft, void **state)
{
    draft_begin(draft, state);
    draft->translation.mode &= ~(uint32_t)CODE_MODE_USER;
    put_stac(draft);
}

static void another_mode_is_another_translation(void **state)
{
    struct draft draft;
    begin_stac(&draft, state);
    put_link(&draft, draft.translation.mode | CODE_MODE_AC);
    assert_rule(draft_verdict(&draft), CHECK_ACCEPTED);

    begin_stac(&draft, state); /* the link is for the mode before */
    put_link(&draft, draft.translation.mode);
    assert_rule(draft_verdict(&draft), CHECK_SITE);

    begin_stac(&draft, state);
    draft_address(&draft);
    draft_access(&draft, MMU_SUPERVISOR, MMU_READ, 8);
    assert_rule(draft_finish(&draft), CHECK_FIELD);

    begin_stac(&draft, state);
    unsigned site = draft_site(&draft, SITE_OPERATION);
    draft_event(&draft, site);
    draft.sites[site].resume = START + draft.emitter.length;
    assert_rule(draft_finish(&draft), CHECK_SITE);

    begin_stac(&draft, state);
    put_stac(&draft);
    assert_rule(draft_finish(&draft), CHECK_FIELD);
}

/* --- the x87's control word --- */

struct control_case {
    const char *name;
    uint32_t mask, wanted;
    int32_t loaded;
    bool dead; /* the x87's registers are not the guest's */
};

static enum check_rule control(void **state, const struct control_case *mistake)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft.translation.x87 = true;
    emit_test_byte(&draft.emitter,
                   mistake->dead ? VCPU(translate.xmm_live) : VCPU(translate.x87_live));
    uint32_t missing = emit_jump_if(&draft.emitter, CONDITION_E);
    draft_user_access(&draft, MMU_READ, 2);
    PUT(&draft, 0x45, 0x0f, 0xb7, 0x3e); /* movzx r15d, word [r14] */
    emit_vcpu(&draft.emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
    emit_and_constant(&draft.emitter, S1, mistake->mask);
    emit_compare_constant(&draft.emitter, S1, (int32_t)mistake->wanted);
    uint32_t unmasked = emit_jump_if(&draft.emitter, CONDITION_NE);
    PUT(&draft, 0x65, 0xd9, 0x2c, 0x25); /* fldcw gs:[...] */
    emit_u32(&draft.emitter, (uint32_t)mistake->loaded);
    emit_land(&draft.emitter, missing);
    emit_land(&draft.emitter, unmasked);
    return draft_finish(&draft);
}

static void control_words_mask_all_exceptions(void **state)
{
    const int32_t spill = VCPU(translate.spill);
    const struct control_case good = {"as it is", 0x3f, 0x3f, spill, false};
    const struct control_case mistakes[] = {
        {"one mask is not looked at", 0x3e, 0x3e, spill, false},
        {"one mask may be clear", 0x3f, 0x3e, spill, false},
        {"another word is loaded", 0x3f, 0x3f, VCPU(translate.spill2), false},
        {"the x87 is the host's", 0x3f, 0x3f, spill, true},
    };
    static const struct instruction_case guests = CASE("fldcw [r14]", 0x41, 0xd9, 0x2e);
    assert_rule(control(state, &good), CHECK_ACCEPTED);
    for (unsigned i = 0; i < ARRAY_SIZE(mistakes); i++)
        if (control(state, &mistakes[i]) == CHECK_ACCEPTED)
            fail_msg("%s: accepted", mistakes[i].name);
    assert_rule(draft_accessed(state, MMU_READ, 2, &guests), CHECK_INSTRUCTION);
}

/* --- the entry --- */

static void dead_translations_jump_to_their_first_site(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    while ((START + draft.emitter.length) % ENTRY_ALIGNMENT)
        PUT(&draft, 0x90);
    uint32_t aligned = START + draft.emitter.length;
    assert_rule(draft_finish(&draft), CHECK_ACCEPTED);
    const struct site good = draft.sites[0];
    draft.sites[0].kind = SITE_INTERPRET;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    draft.sites[0] = good;
    draft.sites[0].stub++;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    draft.sites[0].stub = START + MAIN; /* another event, or none */
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    draft.sites[0] = good;
    draft.translation.parked = START + MAIN; /* the store would not be one */
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    draft.translation.parked = aligned; /* it would change several instructions */
    assert_rule(draft_verdict(&draft), CHECK_SITE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(runs_stay_within_what_was_looked_up),
        TEST(strings_stay_within_their_pages),
        TEST(loaded_addresses_are_none_for_strings),
        TEST(only_kernels_change_flags_of_the_vcpu),
        TEST(another_mode_is_another_translation),
        TEST(control_words_mask_all_exceptions),
        TEST(dead_translations_jump_to_their_first_site),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
