/* SPDX-License-Identifier: Apache-2.0 */
/* What the checker lets translations reach of guest memory. */
#include "draft.h"

static const struct instruction_case load_8 = CASE("mov rax, [r14]", 0x49, 0x8b, 0x06);
static const struct instruction_case store_8 = CASE("mov [r14], rax", 0x49, 0x89, 0x06);
static const struct instruction_case update_4 = CASE("add [r14], eax", 0x41, 0x01, 0x06);

static void looked_up_memory_is_accessible(void **state)
{
    assert_rule(draft_accessed(state, MMU_READ, 8, &load_8), CHECK_ACCEPTED);
    assert_rule(draft_accessed(state, MMU_WRITE, 8, &load_8), CHECK_ACCEPTED);
    assert_rule(draft_accessed(state, MMU_WRITE, 8, &store_8), CHECK_ACCEPTED);
    assert_rule(draft_accessed(state, MMU_WRITE, 16, &update_4), CHECK_ACCEPTED);
}

static void memory_is_accessed_as_far_as_it_was_looked_up(void **state)
{
    static const struct instruction_case displaced =
        CASE("mov rax, [r14+1]", 0x49, 0x8b, 0x46, 0x01);
    static const struct instruction_case indexed =
        CASE("mov rax, [r14+rax]", 0x49, 0x8b, 0x04, 0x06);
    static const struct instruction_case bit = CASE("bt [r14], eax", 0x41, 0x0f, 0xa3, 0x06);
    assert_rule(draft_accessed(state, MMU_READ, 7, &load_8), CHECK_SIZE);
    assert_rule(draft_accessed(state, MMU_WRITE, 2, &update_4), CHECK_SIZE);
    assert_true(draft_accessed(state, MMU_READ, 8, &displaced) != CHECK_ACCEPTED);
    assert_rule(draft_accessed(state, MMU_READ, 16, &indexed), CHECK_MEMORY);
    assert_rule(draft_accessed(state, MMU_WRITE, 16, &bit), CHECK_SIZE);
}

static void stores_need_a_look_up_for_writing(void **state)
{
    assert_rule(draft_accessed(state, MMU_READ, 8, &store_8), CHECK_STORE);
    assert_rule(draft_accessed(state, MMU_READ, 8, &update_4), CHECK_STORE);
}

static void another_levels_table_is_refused(void **state)
{
    for (unsigned mode = MMU_SUPERVISOR; mode < MMU_CACHED_MODES; mode++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_address(&draft);
        draft_access(&draft, mode, MMU_READ, 8);
        assert_rule(draft_finish(&draft), CHECK_MEMORY);
    }
}

static void the_address_must_stay(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    PUT(&draft, 0x4d, 0x8d, 0x76, 0x08); /* lea r14, [r14+8] */
    assert_rule(draft_finish(&draft), CHECK_POINTER);

    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    draft_address(&draft);
    draft_put(&draft, load_8.bytes, load_8.length);
    assert_rule(draft_finish(&draft), CHECK_MEMORY);
}

static void an_address_ends_where_c_may_come_back(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    unsigned site = draft_site(&draft, SITE_OPERATION);
    draft_event(&draft, site);
    draft.sites[site].resume = START + draft.emitter.length;
    draft_put(&draft, load_8.bytes, load_8.length);
    assert_rule(draft_finish(&draft), CHECK_MEMORY);
}

static void bits_in_memory_need_a_bounded_number(void **state)
{
    static const struct {
        uint8_t mask, rex;
        enum check_rule rule;
    } cases[] = {
        {63, 0x4d, CHECK_ACCEPTED}, {31, 0x4d, CHECK_ACCEPTED}, {31, 0x45, CHECK_ACCEPTED},
        {63, 0x45, CHECK_SIZE},     {127, 0x4d, CHECK_SIZE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_user_access(&draft, MMU_WRITE, 8);
        emit_move(&draft.emitter, S1, GPR_RAX);
        emit_and_constant(&draft.emitter, S1, cases[i].mask);
        emit_vcpu(&draft.emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
        emit_unpark_flags(&draft.emitter);
        emit_vcpu(&draft.emitter, OPCODE_LOAD, true, S1, VCPU(translate.spill));
        PUT(&draft, cases[i].rex, 0x0f, 0xab, 0x3e); /* bts [r14], r15 */
        assert_rule(draft_finish(&draft), cases[i].rule);
    }
}

/* mov gs:[windows + 8 * index], r14 and back. */
static void keep_window(struct draft *draft, unsigned index)
{
    emit_vcpu(&draft->emitter, OPCODE_STORE, true, S0,
              VCPU(translate.windows) + (int32_t)index * 8);
}

static void use_window(struct draft *draft, unsigned index)
{
    emit_vcpu(&draft->emitter, OPCODE_LOAD, true, S0, VCPU(translate.windows) + (int32_t)index * 8);
}

static void a_window_is_what_was_looked_up(void **state)
{
    static const struct {
        enum mmu_access access;
        unsigned size;
        const struct instruction_case *instruction;
        enum check_rule rule;
    } cases[] = {
        {MMU_READ, 8, &load_8, CHECK_ACCEPTED},   {MMU_READ, 7, &load_8, CHECK_SIZE},
        {MMU_WRITE, 8, &store_8, CHECK_ACCEPTED}, {MMU_WRITE, 4096, &store_8, CHECK_ACCEPTED},
        {MMU_READ, 8, &store_8, CHECK_STORE},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_user_access(&draft, cases[i].access, cases[i].size);
        keep_window(&draft, 3);
        draft_address(&draft);
        use_window(&draft, 3);
        draft_put(&draft, cases[i].instruction->bytes, cases[i].instruction->length);
        assert_rule(draft_finish(&draft), cases[i].rule);
    }
}

static void a_window_must_have_been_opened(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    use_window(&draft, 0);
    assert_rule(draft_finish(&draft), CHECK_MEMORY);

    draft_begin(&draft, state);
    draft_address(&draft);
    keep_window(&draft, 0); /* any address the guest likes */
    assert_rule(draft_finish(&draft), CHECK_POINTER);

    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    keep_window(&draft, 0);
    use_window(&draft, 1);
    assert_rule(draft_finish(&draft), CHECK_MEMORY);

    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    use_window(&draft, TRANSLATE_WINDOWS); /* what lies behind them */
    assert_rule(draft_finish(&draft), CHECK_FIELD);
}

static void a_window_ends_where_c_may_change_things(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    keep_window(&draft, 0);
    unsigned site = draft_site(&draft, SITE_OPERATION);
    draft_event(&draft, site);
    draft.sites[site].resume = START + draft.emitter.length;
    use_window(&draft, 0);
    assert_rule(draft_finish(&draft), CHECK_MEMORY);
}

/* C resumes behind a look-up whatever led to its event: also where no window was open. */
static void a_window_must_be_open_where_the_event_was(void **state)
{
    for (unsigned open = 0; open < 2; open++) {
        struct draft draft;
        draft_begin(&draft, state);
        draft_user_access(&draft, MMU_READ, 8);
        unsigned stranger = draft_site(&draft, SITE_READ);
        draft.sites[stranger].size = 8;
        if (open)
            keep_window(&draft, 0);
        uint32_t over = emit_jump_if(&draft.emitter, CONDITION_E);
        draft_address(&draft);
        draft_event(&draft, stranger);
        emit_land(&draft.emitter, over);
        if (!open)
            keep_window(&draft, 0);
        draft_address(&draft);
        unsigned second = draft_access(&draft, MMU_USER, MMU_READ, 8);
        draft.sites[stranger].resume = draft.sites[second].resume;
        use_window(&draft, 0);
        assert_rule(draft_finish(&draft), open ? CHECK_ACCEPTED : CHECK_RESUME);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(looked_up_memory_is_accessible),
        TEST(memory_is_accessed_as_far_as_it_was_looked_up),
        TEST(stores_need_a_look_up_for_writing),
        TEST(another_levels_table_is_refused),
        TEST(the_address_must_stay),
        TEST(an_address_ends_where_c_may_come_back),
        TEST(bits_in_memory_need_a_bounded_number),
        TEST(a_window_is_what_was_looked_up),
        TEST(a_window_must_have_been_opened),
        TEST(a_window_ends_where_c_may_change_things),
        TEST(a_window_must_be_open_where_the_event_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
