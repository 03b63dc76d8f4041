/* SPDX-License-Identifier: Apache-2.0 */
/* CR4.VME and CR4.PVI: VIF in IF's place, and interrupts that a virtual-8086 task gets through its
 * own vector table. APM vol. 2 §8.10; Intel SDM vol. 3 §20.3. */
#include "code.h"

#define V86 (RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IF)

enum { TSS_BITMAP = 0x68, TSS_IO = TSS_BITMAP + 32, TSS_LIMIT = TSS_IO + 8, TASK_HANDLER = 0x4000 };

static int setup(void **state)
{
    if (code_setup_protected(state))
        return -1;
    struct bare *bare = *state;
    bare_set_descriptor(bare, SELECTOR_TSS, bare_descriptor(TSS, TSS_LIMIT, ACCESS_TSS, 0));
    assert_true(segment_load_tr(bare->vcpu, SELECTOR_TSS));
    bare_store(bare, TSS + 0x66, TSS_IO, 2);
    assert_true(control_write_cr4(bare->vcpu, CR4_VME));
    return 0;
}

/* Goes on as a virtual-8086 task whose segments all start at 0. */
static void enter_v86(struct bare *bare, uint64_t flags)
{
    struct vcpu *vcpu = bare->vcpu;
    vcpu->rflags = flags;
    vcpu->cpl = 3;
    for (unsigned segment = 0; segment < SEG_COUNT; segment++)
        segment_set_real(vcpu, segment, 0);
    vcpu->registers[GPR_RSP] = STACK;
}

/* The task's flags in the frame of the fault that ended it. */
static uint64_t flags_after(struct bare *bare)
{
    return code_stack(bare, 3, 4) & ~RFLAGS_RF;
}

static void test_flag_instructions(void **state)
{
    enum { ENDS = CODE_END, FAULTS = VECTOR_GP };
    static const struct {
        uint8_t code[4];
        uint64_t before, after; /* beside V86 */
        int result;
    } cases[] = {
        {{0xfa, 0x90, 0x90, 0x90}, RFLAGS_VIF, 0, ENDS}, /* cli */
        {{0xfa, 0x90, 0x90, 0x90}, 0, 0, ENDS},
        {{0xfb, 0x90, 0x90, 0x90}, 0, RFLAGS_VIF, ENDS}, /* sti */
        {{0xfb, 0x90, 0x90, 0x90}, RFLAGS_VIP, RFLAGS_VIP, FAULTS},
        /* push 0x202; popf (in one word: 68 02 02 9d) */
        {{0x68, 0x02, 0x02, 0x9d}, 0, RFLAGS_VIF, ENDS},
        {{0x68, 0x02, 0x02, 0x9d}, RFLAGS_VIP, RFLAGS_VIP, FAULTS},
        {{0x68, 0x02, 0x00, 0x9d}, RFLAGS_VIF | RFLAGS_VIP, RFLAGS_VIP, ENDS},
        {{0x68, 0x02, 0x03, 0x9d}, 0, 0, FAULTS}, /* TF */
        {{0x68, 0x03, 0x30, 0x9d}, 0, RFLAGS_CF, ENDS},
        /* 32-bit images are never virtual: pushfd, popfd, iretd */
        {{0x66, 0x9c, 0x90, 0x90}, 0, 0, FAULTS},
        {{0x66, 0x9d, 0x90, 0x90}, 0, 0, FAULTS},
        {{0x66, 0xcf, 0x90, 0x90}, 0, 0, FAULTS},
        /* With IOPL 3 it is IF itself, and VIF stays. */
        {{0xfb, 0x90, 0x90, 0x90}, RFLAGS_IOPL, RFLAGS_IOPL, ENDS},
        {{0x68, 0x02, 0x02, 0x9d}, RFLAGS_IOPL | RFLAGS_VIP, RFLAGS_IOPL | RFLAGS_VIP, ENDS},
    };
    struct bare *bare = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        enter_v86(bare, V86 | cases[i].before);
        assert_int_equal(code_run(bare, cases[i].code, 4), cases[i].result);
        assert_int_equal(flags_after(bare), V86 | cases[i].after);
    }
}

static void test_without_vme(void **state)
{
    static const uint8_t refused[][2] = {{0xfa, 0x90}, {0xfb, 0x90}, {0x9c, 0x90},
                                         {0x9d, 0x90}, {0xcf, 0x90}, {0xcd, 0x21}};
    struct bare *bare = *state;
    assert_true(control_write_cr4(bare->vcpu, 0));
    for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
        enter_v86(bare, V86);
        assert_int_equal(code_run(bare, refused[i], 2), VECTOR_GP);
        assert_int_equal(code_stack(bare, 0, 4), 0);
    }
}

/* PUSHF shows VIF as IF, and IOPL 3. */
static void test_pushed_image(void **state)
{
    struct bare *bare = *state;
    enter_v86(bare, V86 | RFLAGS_VIF | RFLAGS_ZF);
    assert_int_equal(CODE_RUN(bare, 0x9c, 0x58), CODE_END); /* pushf; pop ax */
    assert_int_equal(bare->vcpu->registers[GPR_RAX] & 0xffff,
                     RFLAGS_FIXED | RFLAGS_IOPL | RFLAGS_IF | RFLAGS_ZF);
    enter_v86(bare, V86);
    assert_int_equal(CODE_RUN(bare, 0x9c, 0x58), CODE_END);
    assert_int_equal(bare->vcpu->registers[GPR_RAX] & 0xffff, RFLAGS_FIXED | RFLAGS_IOPL);
}

/* An IRET of the task itself: flags with IF, CS 0 and the place behind the IRET. */
static void test_iret(void **state)
{
    struct bare *bare = *state;
    enter_v86(bare, V86);
    bare_store(bare, STACK - 6, CODE + 1, 2);
    bare_store(bare, STACK - 4, 0, 2);
    bare_store(bare, STACK - 2, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_SF, 2);
    bare->vcpu->registers[GPR_RSP] = STACK - 6;
    assert_int_equal(CODE_RUN(bare, 0xcf), CODE_END);
    assert_int_equal(flags_after(bare), V86 | RFLAGS_VIF | RFLAGS_SF);
    enter_v86(bare, V86 | RFLAGS_VIP);
    bare->vcpu->registers[GPR_RSP] = STACK - 6;
    assert_int_equal(CODE_RUN(bare, 0xcf), VECTOR_GP);
    assert_int_equal(code_stack(bare, 1, 4), CODE);
    assert_int_equal(code_stack(bare, 4, 4), STACK - 6); /* ESP as it was */
}

static void test_redirection(void **state)
{
    struct bare *bare = *state;
    const uint8_t halt = 0xf4;
    bare_store(bare, 0x21 * 4, TASK_HANDLER, 4);
    memory_write(bare->memory, TASK_HANDLER, &halt, 1);
    static const struct {
        uint64_t before, pushed, after;
    } cases[] = {
        {RFLAGS_VIF, RFLAGS_IF | RFLAGS_IOPL, RFLAGS_IF},
        {0, RFLAGS_IOPL, RFLAGS_IF},
        {RFLAGS_IOPL | RFLAGS_VIF, RFLAGS_IOPL | RFLAGS_IF, RFLAGS_IOPL | RFLAGS_VIF},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        enter_v86(bare, V86 | cases[i].before);
        assert_int_equal(CODE_RUN(bare, 0xcd, 0x21), VECTOR_GP); /* at the handler's HLT */
        assert_int_equal(code_stack(bare, 1, 4), TASK_HANDLER);
        assert_int_equal(flags_after(bare), RFLAGS_FIXED | RFLAGS_VM | cases[i].after);
        assert_int_equal(bare_load(bare, STACK - 6, 2), CODE + 2);
        assert_int_equal(bare_load(bare, STACK - 4, 2), 0);
        assert_int_equal(bare_load(bare, STACK - 2, 2), RFLAGS_FIXED | cases[i].pushed);
    }
    /* The bit sends it to the monitor: by #GP, or through the IDT with IOPL 3. */
    bare_store(bare, TSS + TSS_BITMAP + 0x21 / 8, 1 << (0x21 % 8), 1);
    enter_v86(bare, V86);
    assert_int_equal(CODE_RUN(bare, 0xcd, 0x21), VECTOR_GP);
    assert_int_equal(code_stack(bare, 1, 4), CODE);
    assert_int_equal(code_stack(bare, 0, 4), 0);
    bare_set_gate(bare, 0x21, SELECTOR_CODE, HANDLER + 0x21 * 16, ACCESS_INTERRUPT_GATE | 0x60, 0);
    enter_v86(bare, V86 | RFLAGS_IOPL);
    assert_int_equal(CODE_RUN(bare, 0xcd, 0x21), 0x21);
    assert_int_equal(code_stack(bare, 2, 4), V86 | RFLAGS_IOPL);
    /* INT3 is never redirected. */
    bare_set_gate(bare, VECTOR_BP, SELECTOR_CODE, HANDLER + VECTOR_BP * 16,
                  ACCESS_INTERRUPT_GATE | 0x60, 0);
    enter_v86(bare, V86);
    assert_int_equal(CODE_RUN(bare, 0xcc), VECTOR_BP);
}

/* A bitmap past the end of the TSS. */
static void test_redirection_outside(void **state)
{
    struct bare *bare = *state;
    bare_store(bare, TSS + 0x66, TSS_LIMIT + 40, 2);
    enter_v86(bare, V86);
    assert_int_equal(CODE_RUN(bare, 0xcd, 0x21), VECTOR_GP);
    assert_int_equal(code_stack(bare, 1, 4), CODE);
}

static void test_protected_mode(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_user(bare);
    assert_int_equal(CODE_RUN(bare, 0xfb), VECTOR_GP); /* VME is for virtual-8086 tasks */
    assert_true(control_write_cr4(vcpu, CR4_PVI));
    bare_enter_user(bare);
    assert_int_equal(CODE_RUN(bare, 0xfb), CODE_END);
    assert_int_equal(flags_after(bare), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_VIF);
    bare_enter_user(bare);
    vcpu->rflags |= RFLAGS_VIF;
    assert_int_equal(CODE_RUN(bare, 0xfa), CODE_END);
    assert_int_equal(flags_after(bare), RFLAGS_FIXED | RFLAGS_IF);
    bare_enter_user(bare);
    vcpu->rflags |= RFLAGS_VIP;
    assert_int_equal(CODE_RUN(bare, 0xfb), VECTOR_GP);
    /* POPF knows nothing of it: IF and VIF stay. */
    bare_enter_user(bare);
    assert_int_equal(CODE_RUN(bare, 0x6a, 0x00, 0x9d), CODE_END); /* push 0; popf */
    assert_int_equal(flags_after(bare), RFLAGS_FIXED | RFLAGS_IF);
}

/* The monitor's IRET sets VIF and VIP. */
static void test_monitor_sets_vip(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    const uint64_t flags = V86 | RFLAGS_VIP | RFLAGS_VIF;
    const uint64_t frame[] = {CODE, 0, flags, STACK, 0, 0, 0, 0, 0};
    for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
        bare_store(bare, STACK_INNER - sizeof(frame) / 2 + i * 4, frame[i], 4);
    vcpu->registers[GPR_RSP] = STACK_INNER - sizeof(frame) / 2;
    assert_true(interrupt_return(vcpu, 4));
    assert_int_equal(vcpu->rflags, flags);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_flag_instructions), TEST(test_without_vme),
        TEST(test_pushed_image),      TEST(test_iret),
        TEST(test_redirection),       TEST(test_redirection_outside),
        TEST(test_protected_mode),    TEST(test_monitor_sets_vip),
    };
    return cmocka_run_group_tests_name("virtual-interrupt", tests, NULL, NULL);
}
