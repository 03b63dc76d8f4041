/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches, call gates and far returns. APM vol. 2 §4.9, §12. */
#include "bare.h"

/* Offsets in a 32-bit TSS. APM vol. 2 figure 12-6 */
enum {
    TSS_LINK = 0,
    TSS_EIP = 32,
    TSS_EFLAGS = 36,
    TSS_EAX = 40,
    TSS_ESP = 56,
    TSS_ES = 72,
    TSS_CS = 76,
    TSS_SS = 80,
    TSS_TRAP = 100,
    NEXT_EIP = CODE + 7, /* behind the instruction that switches */
    OTHER_EIP = 0x6800,
    OTHER_STACK = 0xa000,
    BUSY = 0x8b,
};

static void prepare_other(struct bare *bare)
{
    bare_enter_protected(bare);
    bare_store(bare, TSS_OTHER + TSS_EIP, OTHER_EIP, 4);
    bare_store(bare, TSS_OTHER + TSS_EFLAGS, RFLAGS_FIXED | RFLAGS_ZF, 4);
    bare_store(bare, TSS_OTHER + TSS_EAX, 0x11223344, 4);
    bare_store(bare, TSS_OTHER + TSS_ESP, OTHER_STACK, 4);
    for (unsigned i = 0; i < SEG_COUNT; i++)
        bare_store(bare, TSS_OTHER + TSS_ES + i * 4, SELECTOR_DATA, 2);
    bare_store(bare, TSS_OTHER + TSS_CS, SELECTOR_CODE, 2);
    bare->vcpu->registers[GPR_RAX] = 0x55667788;
}

static uint8_t access_of(struct bare *bare, uint16_t selector)
{
    return (uint8_t)bare_load(bare, GDT + selector + 5, 1);
}

static void assert_other_runs(struct bare *bare)
{
    assert_int_equal(bare->vcpu->rip, OTHER_EIP);
    assert_int_equal(bare->vcpu->registers[GPR_RAX], 0x11223344);
    assert_int_equal(bare->vcpu->tr.selector, SELECTOR_OTHER);
    assert_true(bare->vcpu->cr0 & CR0_TS);
    assert_int_equal(access_of(bare, SELECTOR_OTHER), BUSY);
}

static void test_call_and_return(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    prepare_other(bare);
    assert_true(far_call(vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_false(vcpu->exception.pending);
    assert_other_runs(bare);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED | RFLAGS_ZF | RFLAGS_NT);
    assert_int_equal(bare_load(bare, TSS_OTHER + TSS_LINK, 2), SELECTOR_TSS);
    assert_int_equal(access_of(bare, SELECTOR_TSS), BUSY); /* it is only nested */
    assert_int_equal(bare_load(bare, TSS + TSS_EIP, 4), NEXT_EIP);
    assert_int_equal(bare_load(bare, TSS + TSS_EAX, 4), 0x55667788);

    vcpu->rip = OTHER_EIP + 1;
    assert_true(interrupt_return(vcpu, 4));
    assert_int_equal(vcpu->rip, NEXT_EIP);
    assert_int_equal(vcpu->registers[GPR_RAX], 0x55667788);
    assert_int_equal(vcpu->tr.selector, SELECTOR_TSS);
    assert_false(vcpu->rflags & RFLAGS_NT);
    assert_int_equal(access_of(bare, SELECTOR_OTHER), ACCESS_TSS);
    assert_int_equal(bare_load(bare, TSS_OTHER + TSS_EIP, 4), OTHER_EIP + 1);
}

static void test_jump(void **state)
{
    struct bare *bare = *state;
    prepare_other(bare);
    assert_true(far_jump(bare->vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_other_runs(bare);
    assert_false(bare->vcpu->rflags & RFLAGS_NT);
    assert_int_equal(access_of(bare, SELECTOR_TSS), ACCESS_TSS);
}

static void test_refused_before_the_switch(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    prepare_other(bare);
    assert_false(far_jump(vcpu, SELECTOR_TSS, 0, 4, NEXT_EIP)); /* busy: it runs */
    assert_raised(vcpu, VECTOR_GP, SELECTOR_TSS);
    bare_set_descriptor(bare, SELECTOR_OTHER, bare_descriptor(TSS_OTHER, 0x66, ACCESS_TSS, 0));
    assert_false(far_jump(vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_TS, SELECTOR_OTHER);
    bare_set_descriptor(bare, SELECTOR_OTHER, bare_descriptor(TSS_OTHER, 0x67, 0x09, 0));
    assert_false(far_jump(vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_NP, SELECTOR_OTHER);
    assert_int_equal(vcpu->tr.selector, SELECTOR_TSS);
    assert_int_equal(vcpu->rip, CODE);
}

/* A bad segment of the incoming task is that task's fault, at its own EIP. */
static void test_fault_of_the_new_task(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    prepare_other(bare);
    bare_store(bare, TSS_OTHER + TSS_SS, SELECTOR_CODE, 2);
    assert_true(far_jump(vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_other_runs(bare);
    assert_raised(vcpu, VECTOR_TS, SELECTOR_CODE);
}

static void test_trap_bit(void **state)
{
    struct bare *bare = *state;
    prepare_other(bare);
    bare_store(bare, TSS_OTHER + TSS_TRAP, 1, 2);
    assert_true(far_jump(bare->vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_other_runs(bare);
    assert_int_equal(bare->vcpu->exception.address, DR6_BT);
    assert_raised(bare->vcpu, VECTOR_DB, 0);
}

static void test_reserved_flags(void **state)
{
    struct bare *bare = *state;
    prepare_other(bare);
    bare_store(bare, TSS_OTHER + TSS_EFLAGS, 0xffc08028 | RFLAGS_CF, 4);
    assert_true(far_jump(bare->vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_int_equal(bare->vcpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
}

static void test_exception_through_task_gate(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    prepare_other(bare);
    bare_set_gate(bare, VECTOR_GP, SELECTOR_OTHER, 0, ACCESS_TASK_GATE, 0);
    raise_error(vcpu, VECTOR_GP, 0x1230);
    assert_true(exception_deliver(vcpu));
    assert_other_runs(bare);
    assert_int_equal(vcpu->registers[GPR_RSP], OTHER_STACK - 4);
    assert_int_equal(bare_load(bare, OTHER_STACK - 4, 4), 0x1230);
    assert_int_equal(bare_load(bare, TSS + TSS_EIP, 4), CODE);
}

/* A handler's task that cannot run turns a contributory fault into a double fault. */
static void test_broken_task_of_a_handler(void **state)
{
    struct bare *bare = *state;
    prepare_other(bare);
    bare_store(bare, TSS_OTHER + TSS_ES, 0x7f0, 2);
    bare_set_gate(bare, VECTOR_GP, SELECTOR_OTHER, 0, ACCESS_TASK_GATE, 0);
    raise_error(bare->vcpu, VECTOR_GP, 0);
    assert_true(exception_deliver(bare->vcpu));
    assert_false(bare->vcpu->exception.pending);
    assert_int_equal(bare->vcpu->rip, HANDLER + VECTOR_DF * 16);
}

static void test_16_bit_task(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    static const uint16_t image[22] = {
        [7] = OTHER_EIP,      [8] = RFLAGS_FIXED,   [9] = 0x1234,         [13] = OTHER_STACK,
        [17] = SELECTOR_DATA, [18] = SELECTOR_CODE, [19] = SELECTOR_DATA, [20] = SELECTOR_DATA};
    prepare_other(bare);
    assert_int_equal(memory_write(bare->memory, TSS_OTHER, image, sizeof(image)), 0);
    bare_set_descriptor(bare, SELECTOR_OTHER, bare_descriptor(TSS_OTHER, 43, ACCESS_TSS16, 0));
    assert_true(far_jump(vcpu, SELECTOR_OTHER, 0, 4, NEXT_EIP));
    assert_false(vcpu->exception.pending);
    assert_int_equal(vcpu->rip, OTHER_EIP);
    assert_int_equal(vcpu->registers[GPR_RAX] & 0xffff, 0x1234);
    assert_int_equal(vcpu->segments[SEG_FS].attributes, 0); /* a 16-bit TSS has no FS */
}

/* Three parameters go along to the inner stack, and RET releases them from both. */
static void test_call_gate(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    uint64_t gate = (uint64_t)(ACCESS_CALL_GATE | 0x60) << 40 | UINT64_C(3) << 32 |
                    (uint64_t)SELECTOR_CODE << 16 | HANDLER;
    bare_set_descriptor(bare, SELECTOR_FREE, gate);
    bare_enter_user(bare);
    vcpu->registers[GPR_RSP] = STACK - 12;
    for (unsigned i = 0; i < 3; i++)
        bare_store(bare, STACK - 12 + i * 4, 0xa0 + i, 4);
    assert_true(far_call(vcpu, SELECTOR_FREE | 3, 0, 4, NEXT_EIP));
    assert_int_equal(vcpu->cpl, 0);
    assert_int_equal(vcpu->rip, HANDLER);
    const uint64_t frame[] = {NEXT_EIP,   SELECTOR_USER_CODE, 0xa0, 0xa1, 0xa2,
                              STACK - 12, SELECTOR_USER_DATA};
    assert_int_equal(vcpu->registers[GPR_RSP], STACK_INNER - sizeof(frame) / 2);
    assert_stack(bare, 4, ARRAY_SIZE(frame), frame);
    assert_true(far_return(vcpu, 4, 12));
    assert_int_equal(vcpu->cpl, 3);
    assert_int_equal(vcpu->rip, NEXT_EIP);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK);
}

/* A gate without parameters does not look at the caller's stack, wherever it points. */
static void test_call_gate_ignores_outer_stack(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    uint64_t gate =
        (uint64_t)(ACCESS_CALL_GATE | 0x60) << 40 | (uint64_t)SELECTOR_CODE << 16 | HANDLER;
    bare_set_descriptor(bare, SELECTOR_FREE, gate);
    bare_enter_user(bare);
    bare_set_descriptor(bare, SELECTOR_USER_DATA, bare_descriptor(0, 0xfff, ACCESS_USER_DATA, 4));
    assert_true(segment_load(vcpu, SEG_SS, SELECTOR_USER_DATA));
    assert_true(far_call(vcpu, SELECTOR_FREE | 3, 0, 4, NEXT_EIP));
    assert_int_equal(vcpu->cpl, 0);
}

static void test_far_jump_refused(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    assert_false(far_jump(vcpu, 0, CODE, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_false(far_jump(vcpu, SELECTOR_DATA, CODE, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_GP, SELECTOR_DATA);
    assert_false(far_jump(vcpu, SELECTOR_USER_CODE, CODE, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_GP, SELECTOR_USER_CODE & ~3);
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0, 0xfff, ACCESS_CODE, 4));
    assert_false(far_jump(vcpu, SELECTOR_FREE, 0x1000, 4, NEXT_EIP));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_int_equal(vcpu->rip, CODE);
    assert_int_equal(vcpu->segments[SEG_CS].selector, SELECTOR_CODE);
}

static void test_return_to_inner_level(void **state)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    bare_enter_user(bare);
    bare->vcpu->registers[GPR_RSP] = STACK - 8;
    bare_store(bare, STACK - 8, CODE, 4);
    bare_store(bare, STACK - 4, SELECTOR_CODE, 4);
    assert_false(far_return(bare->vcpu, 4, 0));
    assert_raised(bare->vcpu, VECTOR_GP, SELECTOR_CODE);
    assert_int_equal(bare->vcpu->cpl, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_call_and_return),
        TEST(test_jump),
        TEST(test_refused_before_the_switch),
        TEST(test_fault_of_the_new_task),
        TEST(test_trap_bit),
        TEST(test_reserved_flags),
        TEST(test_exception_through_task_gate),
        TEST(test_broken_task_of_a_handler),
        TEST(test_16_bit_task),
        TEST(test_call_gate),
        TEST(test_call_gate_ignores_outer_stack),
        TEST(test_far_jump_refused),
        TEST(test_return_to_inner_level),
    };
    return cmocka_run_group_tests_name("task", tests, NULL, NULL);
}
