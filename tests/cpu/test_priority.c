/* SPDX-License-Identifier: Apache-2.0 */
/* Which of several events at one instruction boundary comes first, and what stops where:
 * breakpoints, single steps, NMI, interrupts, faults. APM vol. 2 §8.5, §13.1. */
#include "code.h"

#include "cpu/apic.h"

enum { DATA = 0x20000, INTERRUPT = 0x31, APIC_SPURIOUS = 0xf0 };

/* DR7: breakpoint 0 on execution, writes, a port, or any access, of one byte. */
enum { STOP_EXECUTE = 0x01, STOP_WRITE = 0x10001, STOP_PORT = 0x20001, STOP_ACCESS = 0x30001 };

static void stop_at(struct vcpu *vcpu, uint64_t address, uint32_t dr7)
{
    assert_true(control_write_dr(vcpu, 0, address));
    assert_true(control_write_dr(vcpu, 7, dr7));
}

static void interrupt(struct vcpu *vcpu)
{
    apic_write(vcpu->apic, APIC_SPURIOUS, 0x1ff);
    apic_inject(vcpu->apic, INTERRUPT, false);
}

static void single_step(struct vcpu *vcpu)
{
    control_write_rflags(vcpu, RFLAGS_TF, RFLAGS_TF);
}

/* RFLAGS that the first POPF takes. */
static void push_flags(struct bare *bare, uint64_t flags)
{
    bare->vcpu->registers[GPR_RSP] = STACK - 8;
    bare_store(bare, STACK - 8, RFLAGS_FIXED | flags, 8);
}

static void assert_debug(struct vcpu *vcpu, uint64_t bits)
{
    assert_int_equal(vcpu->dr[6], DR6_FIXED | bits);
    vcpu->dr[6] = DR6_FIXED;
}

static void test_step_before_interrupt(void **state)
{
    struct bare *bare = *state;
    interrupt(bare->vcpu);
    single_step(bare->vcpu);
    push_flags(bare, RFLAGS_TF | RFLAGS_IF);
    assert_int_equal(CODE_RUN(bare, 0x9d), VECTOR_DB); /* popf */
    assert_debug(bare->vcpu, DR6_BS);
    assert_int_equal(code_stack(bare, 0, 8), CODE + 1);
    assert_true(apic_has_interrupt(bare->vcpu->apic));
}

static void test_nmi_before_interrupt(void **state)
{
    struct bare *bare = *state;
    interrupt(bare->vcpu);
    bare->vcpu->rflags |= RFLAGS_IF;
    vcpu_request(bare->vcpu, VCPU_REQUEST_NMI);
    assert_int_equal(CODE_RUN(bare, 0x90), VECTOR_NMI);
    assert_true(apic_has_interrupt(bare->vcpu->apic));
}

static void test_interrupt_before_breakpoint(void **state)
{
    struct bare *bare = *state;
    interrupt(bare->vcpu);
    stop_at(bare->vcpu, CODE + 1, STOP_EXECUTE);
    push_flags(bare, RFLAGS_IF);
    assert_int_equal(CODE_RUN(bare, 0x9d, 0x90), INTERRUPT); /* popf; nop */
    assert_debug(bare->vcpu, 0);
}

/* A breakpoint on an instruction comes before its fetch, and before the segment's limit. */
static void test_breakpoint_before_fetch(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    assert_int_equal(CODE_RUN(bare, 0xff, 0xe3), VECTOR_PF); /* jmp rbx, to GIB(8) */
    stop_at(vcpu, GIB(8), STOP_EXECUTE);
    assert_int_equal(CODE_RUN(bare, 0xff, 0xe3), VECTOR_DB);
    assert_debug(vcpu, BIT(0));
}

static int setup_fetch(void **state)
{
    if (code_setup_long(state))
        return -1;
    ((struct bare *)*state)->vcpu->registers[GPR_RBX] = GIB(8);
    return 0;
}

/* Level 0 with a code segment that ends at an offset. */
static void limit_code(struct bare *bare, uint32_t limit)
{
    assert_true(far_jump(bare->vcpu, SELECTOR_CODE, CODE, 4, 0));
    bare->vcpu->segments[SEG_CS].limit = limit;
    vcpu_update_mode(bare->vcpu);
}

/* Also in the midst of what was decoded together, and of an instruction. */
static void test_code_limit(void **state)
{
    struct bare *bare = *state;
    for (unsigned i = 1; i < 3; i++) {
        limit_code(bare, CODE + i);
        assert_int_equal(CODE_RUN(bare, 0x90, 0x90, 0x89, 0xc0), VECTOR_GP); /* ... mov eax, eax */
        assert_int_equal(code_stack(bare, 1, 4), CODE + 2);
    }
    limit_code(bare, CODE + 4);
    assert_int_equal(CODE_RUN(bare, 0x90, 0x90, 0x89, 0xc0), CODE_END);
}

static void test_breakpoint_before_limit(void **state)
{
    struct bare *bare = *state;
    limit_code(bare, CODE);
    stop_at(bare->vcpu, CODE + 1, STOP_EXECUTE);
    assert_int_equal(CODE_RUN(bare, 0x90, 0x90), VECTOR_DB);
    assert_debug(bare->vcpu, BIT(0));
}

/* Both are told at once. */
static void test_step_and_data(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->registers[GPR_RBX] = DATA;
    single_step(bare->vcpu);
    stop_at(bare->vcpu, DATA, STOP_WRITE);
    assert_int_equal(CODE_RUN(bare, 0x88, 0x03), VECTOR_DB); /* mov [rbx], al */
    assert_debug(bare->vcpu, DR6_BS | BIT(0));
    assert_int_equal(code_stack(bare, 0, 8), CODE + 2);
}

/* Nothing comes between a load of SS and the next instruction, and what the load met waits. */
static void test_stack_load(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    vcpu->registers[GPR_RAX] = SELECTOR_DATA;
    stop_at(vcpu, CODE + 2, STOP_EXECUTE);
    assert_int_equal(CODE_RUN(bare, 0x8e, 0xd0, 0x90), CODE_END); /* mov ss, ax; nop */
    vcpu->registers[GPR_RBX] = DATA;
    bare_store(bare, DATA, SELECTOR_DATA, 2);
    stop_at(vcpu, DATA, STOP_ACCESS);
    assert_int_equal(CODE_RUN(bare, 0x8e, 0x13, 0x90, 0x90), VECTOR_DB); /* mov ss, [rbx] */
    assert_debug(vcpu, BIT(0));
    assert_int_equal(code_stack(bare, 0, 8), CODE + 3);
    assert_true(control_write_dr(vcpu, 7, 0));
    single_step(vcpu);
    assert_int_equal(CODE_RUN(bare, 0x8e, 0xd0, 0x90, 0x90), VECTOR_DB);
    assert_int_equal(code_stack(bare, 0, 8), CODE + 3);
}

/* A breakpoint stops before a repeated instruction once, not before each round. */
static void test_repeat(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    vcpu->registers[GPR_RCX] = 3;
    vcpu->registers[GPR_RDI] = DATA;
    stop_at(vcpu, CODE, STOP_EXECUTE);
    vcpu->rflags |= RFLAGS_RF;                              /* as its handler returns */
    assert_int_equal(CODE_RUN(bare, 0xf3, 0xaa), CODE_END); /* rep stosb */
    assert_int_equal(vcpu->registers[GPR_RCX], 0);
    /* A write of each round is a stop of its own, with RF for the rest. */
    vcpu->registers[GPR_RCX] = 3;
    vcpu->registers[GPR_RDI] = DATA;
    stop_at(vcpu, DATA, STOP_WRITE);
    assert_int_equal(CODE_RUN(bare, 0xf3, 0xaa), VECTOR_DB);
    assert_int_equal(vcpu->registers[GPR_RCX], 2);
    assert_int_equal(code_stack(bare, 0, 8), CODE);
    assert_true(code_stack(bare, 2, 8) & RFLAGS_RF);
}

static void test_port(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    stop_at(vcpu, 0x80, STOP_PORT);
    assert_int_equal(CODE_RUN(bare, 0xe4, 0x80), CODE_END); /* in al, 0x80, without CR4.DE */
    assert_true(control_write_cr4(vcpu, vcpu->cr4 | CR4_DE));
    assert_int_equal(CODE_RUN(bare, 0xe4, 0x81), CODE_END);
    assert_int_equal(CODE_RUN(bare, 0xe4, 0x80), VECTOR_DB);
    assert_debug(vcpu, BIT(0));
    assert_int_equal(code_stack(bare, 0, 8), CODE + 2);
    assert_int_equal(CODE_RUN(bare, 0xe7, 0x7f), VECTOR_DB); /* out 0x7f, eax */
}

static void test_step_ends_halt(void **state)
{
    struct bare *bare = *state;
    single_step(bare->vcpu);
    assert_int_equal(CODE_RUN(bare, 0xf4), VECTOR_DB); /* hlt */
    assert_int_equal(code_stack(bare, 0, 8), CODE + 1);
}

/* CR2 names the second of two page faults that make a double fault. */
static void test_double_fault_address(void **state)
{
    struct bare *bare = *state;
    bare_set_gate(bare, VECTOR_DF, SELECTOR_LONG_CODE, HANDLER + VECTOR_DF * 16,
                  ACCESS_INTERRUPT_GATE, 1);
    bare->vcpu->registers[GPR_RBX] = GIB(9);
    bare->vcpu->registers[GPR_RSP] = GIB(8);
    assert_int_equal(CODE_RUN(bare, 0x8b, 0x03), VECTOR_DF); /* mov eax, [rbx] */
    assert_int_equal(bare->vcpu->cr2, GIB(8) - 6 * 8);
}

/* A stack that is too small is named when it is not yet the one in SS. */
static void test_inner_stack_limit(void **state)
{
    struct bare *bare = *state;
    bare_set_descriptor(bare, SELECTOR_FREE, bare_descriptor(0, 0xfff, ACCESS_DATA, 0x4));
    bare_store(bare, TSS + 8, SELECTOR_FREE, 2);
    bare_set_gate(bare, 0x21, SELECTOR_CODE, HANDLER, ACCESS_INTERRUPT_GATE | 0x60, 0);
    bare_enter_user(bare);
    assert_false(interrupt_deliver(bare->vcpu, 0x21, INTERRUPT_SOFTWARE));
    assert_raised(bare->vcpu, VECTOR_SS, SELECTOR_FREE);
}

int main(void)
{
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_step_before_interrupt, code_setup_long),
        TEST(test_nmi_before_interrupt, code_setup_long),
        TEST(test_interrupt_before_breakpoint, code_setup_long),
        TEST(test_breakpoint_before_fetch, setup_fetch),
        TEST(test_code_limit, code_setup_protected),
        TEST(test_breakpoint_before_limit, code_setup_protected),
        TEST(test_step_and_data, code_setup_long),
        TEST(test_stack_load, code_setup_long),
        TEST(test_repeat, code_setup_long),
        TEST(test_port, code_setup_long),
        TEST(test_step_ends_halt, code_setup_long),
        TEST(test_double_fault_address, code_setup_long),
        TEST(test_inner_stack_limit, code_setup_protected),
    };
    return cmocka_run_group_tests_name("priority", tests, NULL, NULL);
}
