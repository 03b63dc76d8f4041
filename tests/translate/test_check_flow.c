/* SPDX-License-Identifier: Apache-2.0 */
/* The ways through a translation and out of it, and the sites that say where they are. */
#include "draft.h"

static const struct instruction_case load_8 = CASE("mov rax, [r14]", 0x49, 0x8b, 0x06);
static const struct instruction_case store_8 = CASE("mov [r14], rax", 0x49, 0x89, 0x06);

static void jumps_lead_forward_to_instructions(void **state)
{
    static const struct {
        int32_t displacement;
        enum check_rule rule;
    } cases[] = {
        {0, CHECK_ACCEPTED}, {7, CHECK_ACCEPTED}, {1, CHECK_TARGET},    {8, CHECK_TARGET},
        {-6, CHECK_JUMP},    {-1, CHECK_JUMP},    {0x2000, CHECK_JUMP}, {INT32_MIN, CHECK_JUMP},
        {22, CHECK_JUMP},    {17, CHECK_TARGET}, /* the event's jump: in its sequence */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        uint32_t place = emit_jump_if(&draft.emitter, CONDITION_E);
        store_le(draft.code + place, (uint32_t)cases[i].displacement, 4);
        PUT(&draft, 0x48, 0xc7, 0xc0, 0x0f, 0x05, 0, 0); /* mov rax, 0x50f: a syscall inside */
        assert_rule(draft_finish(&draft), cases[i].rule);
    }
}

/* JRCXZ and JECXZ. */
static void short_jumps_lead_forward_to_instructions(void **state)
{
    static const struct {
        uint8_t displacement;
        enum check_rule rule;
    } cases[] = {{0, CHECK_ACCEPTED}, {7, CHECK_ACCEPTED}, {1, CHECK_TARGET},
                 {0x7f, CHECK_JUMP},  {0x80, CHECK_JUMP},  {0xf0, CHECK_JUMP}};
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        if (i & 1)
            PUT(&draft, 0x67);
        PUT(&draft, 0xe3, cases[i / 2].displacement);
        PUT(&draft, 0x48, 0xc7, 0xc0, 0x0f, 0x05, 0, 0); /* mov rax, 0x50f: a syscall inside */
        assert_rule(draft_finish(&draft), cases[i / 2].rule);
    }
}

static void nothing_jumps_behind_the_comparison(void **state)
{
    /* Offsets into the sequence of a look-up: at its instructions. */
    static const uint8_t offsets[] = {6, 15, 23, 32, 39, 45};
    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_address(&draft);
        uint32_t place = emit_jump_if(&draft.emitter, CONDITION_E);
        store_le(draft.code + place, offsets[i], 4);
        draft_access(&draft, MMU_USER, MMU_READ, 8);
        draft_put(&draft, load_8.bytes, load_8.length);
        assert_rule(draft_finish(&draft), CHECK_TARGET);
    }
}

static void events_are_of_the_translations_own_sites(void **state)
{
    static const int offsets[] = {-(int)sizeof(struct site), 1, 8, 2 * sizeof(struct site),
                                  1 << 20};
    for (unsigned i = 0; i < ARRAY_SIZE(offsets); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
        assert_rule(draft_verdict(&draft), CHECK_ACCEPTED);
        store_le(draft.code + MAIN + 2, (uintptr_t)draft.sites + (uintptr_t)(intptr_t)offsets[i],
                 8);
        assert_rule(draft_verdict(&draft), CHECK_SITE);
    }
}

static void events_go_to_the_two_stubs(void **state)
{
    const struct translator *translator = ((struct corpus *)*state)->translator;
    const uint32_t targets[] = {translator->enter,
                                translator->event_native + 1,
                                translator->event_parked - 1,
                                translator->stubs_end,
                                START + 0x100000,
                                0xfffffff0};
    for (unsigned i = 0; i < ARRAY_SIZE(targets); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
        store_le(draft.code + MAIN + 11, targets[i] - (START + MAIN + 15), 4);
        assert_rule(draft_verdict(&draft), CHECK_JUMP);
    }
    /* Without a site loaded, no stub. */
    struct draft draft;
    draft_begin(&draft, state);
    draft_jump_to(&draft, translator->event_parked);
    assert_rule(draft_verdict(&draft), CHECK_JUMP);
}

static void code_does_not_run_past_its_end(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    assert_rule(draft_verdict(&draft), CHECK_JUMP); /* the main line is missing */
    PUT(&draft, 0x48, 0x01, 0xd8);
    assert_rule(draft_verdict(&draft), CHECK_END);
    PUT(&draft, 0x48, 0xb8, 1, 2); /* half an instruction */
    assert_rule(draft_verdict(&draft), CHECK_INSTRUCTION);
    draft.emitter.length = 0;
    assert_rule(draft_verdict(&draft), CHECK_LENGTH);
}

static void entries_are_instructions(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    PUT(&draft, 0x48, 0x01, 0xd8);
    assert_rule(draft_finish(&draft), CHECK_ACCEPTED);
    uint32_t *entries[] = {&draft.translation.native, &draft.translation.parked,
                           &draft.translation.body};
    for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
        *entries[i] = START + 1;
        assert_rule(draft_verdict(&draft), CHECK_TARGET);
        *entries[i] = START + 0x1000;
        assert_rule(draft_verdict(&draft), CHECK_JUMP);
        *entries[i] = 0;
        assert_rule(draft_verdict(&draft), CHECK_JUMP);
        *entries[i] = START;
    }
}

static void sites_say_what_the_code_does(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    unsigned site = draft_user_access(&draft, MMU_WRITE, 8);
    draft_put(&draft, store_8.bytes, store_8.length);
    assert_rule(draft_finish(&draft), CHECK_ACCEPTED);
    struct site good = draft.sites[site], *changed = &draft.sites[site];
    changed->size = 4; /* C would look up less than is accessed */
    assert_rule(draft_verdict(&draft), CHECK_SIZE);
    *changed = good;
    changed->kind = SITE_READ;
    assert_rule(draft_verdict(&draft), CHECK_STORE);
    *changed = good;
    changed->kind = SITE_KIND_COUNT;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    *changed = good;
    changed->translation = NULL;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    *changed = good;
    changed->resume++;
    assert_rule(draft_verdict(&draft), CHECK_TARGET);
    changed->resume = START - 1;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    changed->resume = draft.translation.end;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    *changed = good;
    assert_rule(draft_verdict(&draft), CHECK_ACCEPTED);
}

static void branches_change_where_their_site_says(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    unsigned site = draft_site(&draft, SITE_JUMP);
    uint32_t place = emit_jump_if_aligned(&draft.emitter, CONDITION_E);
    draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
    emit_land(&draft.emitter, place);
    uint32_t stub = draft.emitter.length;
    draft_event(&draft, site);
    struct site good = draft.sites[site], *changed = &draft.sites[site];
    good.patch = START + place;
    good.stub = START + stub;
    *changed = good;
    assert_rule(draft_verdict(&draft), CHECK_ACCEPTED);
    for (unsigned i = 1; i < 8; i++) {
        changed->patch = good.patch + i;
        assert_rule(draft_verdict(&draft), CHECK_SITE);
    }
    *changed = good;
    changed->stub -= 15; /* another site's event */
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    changed->stub = good.stub + 2;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    changed->stub = draft.translation.start;
    assert_rule(draft_verdict(&draft), CHECK_SITE);
    *changed = good;
    draft.translation.start += 1; /* then the displacement is not aligned */
    assert_true(draft_verdict(&draft) != CHECK_ACCEPTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(jumps_lead_forward_to_instructions),
        TEST(short_jumps_lead_forward_to_instructions),
        TEST(nothing_jumps_behind_the_comparison),
        TEST(events_are_of_the_translations_own_sites),
        TEST(events_go_to_the_two_stubs),
        TEST(code_does_not_run_past_its_end),
        TEST(entries_are_instructions),
        TEST(sites_say_what_the_code_does),
        TEST(branches_change_where_their_site_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
