/* SPDX-License-Identifier: Apache-2.0 */
/* What is the host's: the checker keeps it from translations. */
#include "draft.h"

static void host_pointers_stay_hidden(void **state)
{
    static const struct instruction_case cases[] = {
        CASE("mov rax, r14", 0x4c, 0x89, 0xf0),
        CASE("mov rdi, r14", 0x4c, 0x89, 0xf7),
        CASE("add rax, r14", 0x4c, 0x01, 0xf0),
        CASE("cmp rax, r14", 0x4c, 0x39, 0xf0),
        CASE("xchg rax, r14", 0x49, 0x96),
        CASE("mov al, r14b", 0x44, 0x88, 0xf0),
        CASE("lea rax, [r14]", 0x49, 0x8d, 0x06),
        CASE("cmovz r14, rax", 0x4c, 0x0f, 0x44, 0xf0),
        CASE("mov [r14], r14", 0x4d, 0x89, 0x36),
        CASE("movq xmm0, r14", 0x66, 0x49, 0x0f, 0x6e, 0xc6),
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (draft_accessed(state, MMU_WRITE, 8, &cases[i]) == CHECK_ACCEPTED)
            fail_msg("%s is accepted", cases[i].name);
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_READ, 8);
    emit_vcpu(&draft.emitter, OPCODE_STORE, true, S0, VCPU_REGISTER(GPR_R14));
    assert_rule(draft_finish(&draft), CHECK_POINTER);

    draft_begin(&draft, state);
    emit_constant(&draft.emitter, GPR_RAX, (uintptr_t)draft.sites);
    assert_rule(draft_finish(&draft), CHECK_POINTER);

    draft_begin(&draft, state); /* R15 as C leaves it */
    emit_vcpu(&draft.emitter, OPCODE_STORE, true, S1, VCPU_REGISTER(GPR_R15));
    assert_rule(draft_finish(&draft), CHECK_POINTER);
}

static void other_fields_of_the_vcpu_are_out_of_reach(void **state)
{
    static const struct {
        int32_t field;
        bool load, store;
    } cases[] = {
        {VCPU_REGISTER(GPR_R14), true, true},
        {VCPU_REGISTER(GPR_R15), true, true},
        {VCPU_REGISTER(GPR_RAX), false, false},
        {VCPU(rip), false, false},
        {VCPU(rflags), false, false},
        {VCPU(cpl), false, false},
        {VCPU(cr3), false, false},
        {VCPU(translate.spill), true, true},
        {VCPU(translate.rip_page), true, false},
        {VCPU(translate.target), false, false}, /* but in the look-up of a branch */
        {VCPU(translate.self), false, false},
        {VCPU(translate.host_rsp), false, false},
        {VCPU(translate.address), false, false},
        {VCPU(translate.jump_context), false, false},
        {VCPU(translate.jumps[0].parked), false, false},
        {VCPU(tlbs[0].entries), false, false},
        {VCPU(tlb_entries[0][0].page), false, false},
        {VCPU(engine), false, false},
        {VCPU(segment_bases[SEG_FS]), true, false},
        {VCPU(segment_bases[SEG_GS]), true, false},
        {VCPU(segment_bases[SEG_CS]), false, false},
    };
    for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        bool store = i & 1;
        struct draft draft;
        draft_begin(&draft, state);
        draft_address(&draft);
        emit_vcpu(&draft.emitter, store ? OPCODE_STORE : OPCODE_LOAD, true, S0, cases[i / 2].field);
        bool allowed = store ? cases[i / 2].store : cases[i / 2].load;
        if ((draft_finish(&draft) == CHECK_ACCEPTED) != allowed)
            fail_msg("field at %#x, %s", (unsigned)cases[i / 2].field, store ? "store" : "load");
    }
}

static void vector_registers_are_loaded_first(void **state)
{
    struct draft draft;
    draft_begin(&draft, state);
    PUT(&draft, 0x0f, 0x28, 0xc1); /* movaps xmm0, xmm1 */
    assert_rule(draft_finish(&draft), CHECK_VECTOR);

    draft_begin(&draft, state);
    draft.translation.xmm = true;
    unsigned site = draft_site(&draft, SITE_LOAD_VECTORS);
    emit_test_byte(&draft.emitter, VCPU(translate.xmm_live));
    uint32_t missing = emit_jump_if(&draft.emitter, CONDITION_E);
    PUT(&draft, 0x0f, 0x28, 0xc1);
    draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
    emit_land(&draft.emitter, missing);
    draft_event(&draft, site);
    assert_rule(draft_verdict(&draft), CHECK_ACCEPTED);

    uint8_t *displacement =
        draft.code + MAIN + 4; /* of the test: x87_live, which says nothing here */
    store_le(displacement, VCPU(translate.x87_live), 4);
    assert_rule(draft_verdict(&draft), CHECK_VECTOR);
    store_le(displacement, VCPU(translate.xmm_live), 4);
    draft.translation.xmm = false; /* then code may be entered behind the test */
    draft.translation.body = START + missing + 4;
    assert_rule(draft_verdict(&draft), CHECK_VECTOR);
}

/* An instruction behind the test of a vector flag. */
static enum check_rule behind_test(void **state, int32_t flag, const struct instruction_case *code)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft.translation.xmm = true;
    unsigned site = draft_site(&draft, SITE_LOAD_VECTORS);
    emit_test_byte(&draft.emitter, flag);
    uint32_t missing = emit_jump_if(&draft.emitter, CONDITION_E);
    draft_put(&draft, code->bytes, code->length);
    draft_event(&draft, draft_site(&draft, SITE_INTERPRET));
    emit_land(&draft.emitter, missing);
    draft_event(&draft, site);
    return draft_verdict(&draft);
}

/* Each set of vector registers has a flag of its own; the wider implies the narrower. */
static void wider_registers_have_their_own_test(void **state)
{
    const int32_t flags[] = {VCPU(translate.xmm_live), VCPU(translate.ymm_live),
                             VCPU(translate.zmm_live)};
    static const struct {
        struct instruction_case code;
        unsigned level; /* index of the first flag that is enough */
    } cases[] = {
        {CASE("paddd xmm0, xmm1", 0x66, 0x0f, 0xfe, 0xc1), 0},
        {CASE("sha1msg1 xmm0, xmm1", 0x0f, 0x38, 0xc9, 0xc1), 0},
        {CASE("vpaddd xmm0, xmm0, xmm1", 0xc5, 0xf9, 0xfe, 0xc1), 1},
        {CASE("vpaddd ymm0, ymm0, ymm1", 0xc5, 0xfd, 0xfe, 0xc1), 1},
        {CASE("vzeroupper", 0xc5, 0xf8, 0x77), 1},
        {CASE("vcvtsd2si eax, xmm0", 0xc5, 0xfb, 0x2d, 0xc0), 1},
        {CASE("vpaddd xmm0, xmm0, xmm1 (EVEX)", 0x62, 0xf1, 0x7d, 0x08, 0xfe, 0xc1), 2},
        {CASE("vpaddd zmm0, zmm0, zmm1", 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0xc1), 2},
        {CASE("kmovq k1, rax", 0xc4, 0xe1, 0xfb, 0x92, 0xc8), 2},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        for (unsigned j = 0; j < ARRAY_SIZE(flags); j++) {
            enum check_rule expected = j < cases[i].level ? CHECK_VECTOR : CHECK_ACCEPTED;
            if (behind_test(state, flags[j], &cases[i].code) != expected)
                fail_msg("%s behind test %u", cases[i].code.name, j);
        }
}

/* AH to BH with memory: the address is in RDI for one instruction. */
static enum check_rule high_byte(void **state, const struct instruction_case *middle, int32_t spill)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, MMU_WRITE, 8);
    emit_vcpu(&draft.emitter, OPCODE_STORE, true, GPR_RDI, VCPU(translate.spill));
    emit_move(&draft.emitter, GPR_RDI, S0);
    draft_put(&draft, middle->bytes, middle->length);
    emit_vcpu(&draft.emitter, OPCODE_LOAD, true, GPR_RDI, spill);
    return draft_finish(&draft);
}

static void rdi_is_an_address_for_one_instruction(void **state)
{
    static const struct instruction_case good = CASE("add [rdi], ah", 0x00, 0x27);
    static const struct instruction_case cases[] = {
        CASE("two instructions", 0x00, 0x27, 0x00, 0x27),
        CASE("none", 0x90),
        CASE("add [rdi], edi", 0x01, 0x3f),
        CASE("mov rax, rdi", 0x48, 0x89, 0xf8),
        CASE("div byte [rdi]", 0xf6, 0x37),
        CASE("add [r14], al", 0x41, 0x00, 0x06),
        CASE("jump", 0xe9, 0, 0, 0, 0),
    };
    const int32_t spill = VCPU(translate.spill);
    assert_rule(high_byte(state, &good, spill), CHECK_ACCEPTED);
    assert_true(high_byte(state, &good, VCPU_REGISTER(GPR_RDI)) != CHECK_ACCEPTED);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++)
        if (high_byte(state, &cases[i], spill) == CHECK_ACCEPTED)
            fail_msg("%s is accepted", cases[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(host_pointers_stay_hidden),
        TEST(other_fields_of_the_vcpu_are_out_of_reach),
        TEST(vector_registers_are_loaded_first),
        TEST(wider_registers_have_their_own_test),
        TEST(rdi_is_an_address_for_one_instruction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
