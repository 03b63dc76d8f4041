/* SPDX-License-Identifier: Apache-2.0 */
/* Segment loads, limit checks, LAR/LSL/VERR/VERW, port permissions. APM vol. 2 §4; vol. 3. */
#include "bare.h"

#define DATA_LIMIT 0xfff

static void test_load_refused(void **state)
{
    static const struct {
        uint8_t segment, access;
        uint16_t selector;
        uint8_t vector;
    } cases[] = {
        {SEG_DS, 0x13, SELECTOR_FREE, VECTOR_NP},            /* not present */
        {SEG_SS, 0x13, SELECTOR_FREE, VECTOR_SS},            /* ... of a stack */
        {SEG_DS, 0x99, SELECTOR_FREE, VECTOR_GP},            /* execute-only code */
        {SEG_DS, ACCESS_TSS, SELECTOR_FREE, VECTOR_GP},      /* a system segment */
        {SEG_SS, 0x91, SELECTOR_FREE, VECTOR_GP},            /* read-only stack */
        {SEG_SS, 0xf3, SELECTOR_FREE, VECTOR_GP},            /* stack of another level */
        {SEG_DS, ACCESS_DATA, SELECTOR_FREE | 3, VECTOR_GP}, /* RPL above DPL */
        {SEG_DS, ACCESS_DATA, GDT_LIMIT + 1, VECTOR_GP},     /* beyond the table */
        {SEG_DS, ACCESS_DATA, SELECTOR_FREE | 4, VECTOR_GP}, /* no LDT */
    };
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    assert_true(segment_load_ldtr(vcpu, 0));
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct segment before = vcpu->segments[cases[i].segment];
        bare_set_descriptor(bare, SELECTOR_FREE,
                            bare_descriptor(0, DATA_LIMIT, cases[i].access, 4));
        assert_false(segment_load(vcpu, cases[i].segment, cases[i].selector));
        assert_raised(vcpu, cases[i].vector, cases[i].selector & 0xfffc);
        assert_memory_equal(&vcpu->segments[cases[i].segment], &before, sizeof(before));
    }
}

static void test_load_sets_accessed(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0x12345678, 0xabcde, 0x92, 0xc));
    assert_true(segment_load(vcpu, SEG_FS, SELECTOR_FREE));
    assert_int_equal(bare_load(bare, GDT + SELECTOR_FREE + 5, 1), 0x93);
    assert_int_equal(vcpu->segments[SEG_FS].base, 0x12345678);
    assert_int_equal(vcpu->segments[SEG_FS].limit, 0xabcdefff);
    assert_int_equal(vcpu->segment_bases[SEG_FS], 0x12345678);
}

static void test_null_selectors(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    uint64_t linear;
    bare_enter_protected(bare);
    assert_false(segment_load(vcpu, SEG_SS, 0));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_true(segment_load(vcpu, SEG_DS, 3));
    assert_int_equal(vcpu->segments[SEG_DS].selector, 3);
    assert_false(segment_linear(vcpu, SEG_DS, 0, 1, false, &linear));
    assert_raised(vcpu, VECTOR_GP, 0);
    /* Back in real mode a load makes it usable again. */
    assert_true(control_write_cr0(vcpu, CR0_ET));
    assert_true(segment_load(vcpu, SEG_DS, 0x1234));
    assert_true(segment_linear(vcpu, SEG_DS, 0xffff, 1, true, &linear));
    assert_int_equal(linear, 0x12340 + 0xffff);
}

static void test_null_stack_of_long_mode(void **state)
{
    struct bare *bare = *state;
    bare_enter_long(bare);
    assert_true(segment_load(bare->vcpu, SEG_SS, 0));
    assert_false(segment_load(bare->vcpu, SEG_SS, 3));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
    bare_enter_user(bare);
    assert_false(segment_load(bare->vcpu, SEG_SS, 3));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
}

static void test_limits(void **state)
{
    static const struct {
        uint8_t access, flags;
        uint32_t offset;
        unsigned size;
        bool write, allowed;
    } cases[] = {
        {0x93, 4, 0xffc, 4, true, true},      {0x93, 4, 0xffd, 4, true, false},
        {0x91, 4, 0, 4, false, true},         {0x91, 4, 0, 4, true, false},
        {0x9b, 4, 0, 4, false, true},         {0x9b, 4, 0, 4, true, false},
        {0x97, 4, 0xfff, 1, true, false},     {0x97, 4, 0x1000, 4, true, true},
        {0x97, 4, 0xfffffffc, 4, true, true}, {0x97, 4, 0xfffffffd, 4, true, false},
        {0x97, 0, 0xfffc, 4, true, true}, /* expand down, 16 bits: up to 64 KiB */
        {0x97, 0, 0xfffd, 4, true, false},
    };
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    uint64_t linear;
    bare_enter_protected(bare);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        bare_set_descriptor(bare, SELECTOR_FREE,
                            bare_descriptor(0x100, DATA_LIMIT, cases[i].access, cases[i].flags));
        assert_true(segment_load(vcpu, SEG_ES, SELECTOR_FREE));
        bool allowed =
            segment_linear(vcpu, SEG_ES, cases[i].offset, cases[i].size, cases[i].write, &linear);
        assert_int_equal(allowed, cases[i].allowed);
        if (allowed)
            assert_int_equal(linear, (uint32_t)(cases[i].offset + 0x100));
        else
            assert_raised(vcpu, VECTOR_GP, 0);
    }
    /* On the stack segment the same is #SS. */
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0, DATA_LIMIT, 0x93, 4));
    assert_true(segment_load(vcpu, SEG_SS, SELECTOR_FREE));
    assert_false(segment_linear(vcpu, SEG_SS, 0xffd, 4, true, &linear));
    assert_raised(vcpu, VECTOR_SS, 0);
}

static void test_queries(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    uint32_t value = 0;
    bool ok;
    bare_enter_protected(bare);
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0, 0x12345, 0x91, 0xc));
    assert_true(segment_query_limit(vcpu, SELECTOR_FREE, &value, &ok) && ok);
    assert_int_equal(value, 0x12345fff);
    assert_true(segment_query_rights(vcpu, SELECTOR_FREE, &value, &ok) && ok);
    assert_int_equal(value, 0x00c19100); /* bits 19:16 of the limit too */
    assert_true(segment_verify(vcpu, SELECTOR_FREE, false, &ok) && ok);
    assert_true(segment_verify(vcpu, SELECTOR_FREE, true, &ok) && !ok);
    /* What they cannot see clears ZF and raises nothing. */
    assert_true(segment_query_limit(vcpu, GDT_LIMIT + 1, &value, &ok) && !ok);
    assert_true(segment_query_limit(vcpu, 0, &value, &ok) && !ok);
    assert_true(segment_query_limit(vcpu, SELECTOR_FREE | 3, &value, &ok) && !ok);
    /* LSL of a gate means nothing; LAR of a call gate does. */
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0, 0, ACCESS_CALL_GATE, 0));
    assert_true(segment_query_limit(vcpu, SELECTOR_FREE, &value, &ok) && !ok);
    assert_true(segment_query_rights(vcpu, SELECTOR_FREE, &value, &ok) && ok);
    assert_false(vcpu->exception.pending);
}

static void test_ports(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    bare_set_descriptor(bare, SELECTOR_OTHER,
                        bare_descriptor(TSS_OTHER, 0x68 + 0x10, ACCESS_TSS, 0));
    assert_true(segment_load_tr(vcpu, SELECTOR_OTHER));
    bare_store(bare, TSS_OTHER + 4, STACK_INNER, 4);
    bare_store(bare, TSS_OTHER + 8, SELECTOR_DATA, 2);
    bare_store(bare, TSS_OTHER + 0x66, 0x68, 2);
    bare_store(bare, TSS_OTHER + 0x68 + 8, 0x80, 1); /* port 0x47 is denied */
    bare_enter_user(bare);
    assert_true(port_allowed(vcpu, 0x46, 1));
    assert_false(port_allowed(vcpu, 0x47, 1));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_false(port_allowed(vcpu, 0x46, 2));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_true(port_allowed(vcpu, 0x48, 4));
    assert_false(port_allowed(vcpu, 0x80, 1)); /* its bits lie beyond the TSS */
    assert_raised(vcpu, VECTOR_GP, 0);
    vcpu->rflags |= RFLAGS_IOPL;
    assert_true(port_allowed(vcpu, 0x47, 1));
}

static void test_task_register(void **state)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    assert_int_equal(bare_load(bare, GDT + SELECTOR_TSS + 5, 1), 0x8b); /* busy */
    assert_false(segment_load_tr(bare->vcpu, SELECTOR_TSS));
    assert_raised(bare->vcpu, VECTOR_GP, SELECTOR_TSS);
    assert_false(segment_load_tr(bare->vcpu, 0));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_load_refused),   TEST(test_load_sets_accessed),
        TEST(test_null_selectors), TEST(test_null_stack_of_long_mode),
        TEST(test_limits),         TEST(test_queries),
        TEST(test_ports),          TEST(test_task_register),
    };
    return cmocka_run_group_tests_name("segment", tests, NULL, NULL);
}
