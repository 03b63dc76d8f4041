/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery of interrupts and exceptions in every mode, double and triple faults, IRET. APM vol. 2
 * §8. */
#include "bare.h"

#include "cpu/engine.h"

static void raise_and_deliver(struct vcpu *vcpu, unsigned vector, uint32_t error_code)
{
    raise_error(vcpu, vector, error_code);
    assert_true(exception_deliver(vcpu));
    assert_false(vcpu->exception.pending);
}

static void assert_handler(struct vcpu *vcpu, unsigned vector)
{
    assert_int_equal(vcpu->rip, HANDLER + vector * 16);
}

static void test_real_mode(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    vcpu->idtr = (struct descriptor_table){0, 0x3ff};
    bare_store(bare, 0x21 * 4, UINT64_C(0x00500010), 4);
    segment_set_real(vcpu, SEG_CS, 0x100);
    segment_set_real(vcpu, SEG_SS, 0);
    vcpu->rip = 0x234;
    vcpu->registers[GPR_RSP] = STACK;
    vcpu->rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF | RFLAGS_TF;
    assert_true(interrupt_deliver(vcpu, 0x21, INTERRUPT_SOFTWARE));
    assert_int_equal(vcpu->rip, 0x10);
    assert_int_equal(vcpu->segments[SEG_CS].base, 0x500);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
    const uint64_t frame[] = {0x234, 0x100, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF | RFLAGS_TF};
    assert_stack(bare, 2, 3, frame);
    assert_true(interrupt_return(vcpu, 2));
    assert_int_equal(vcpu->rip, 0x234);
    assert_int_equal(vcpu->segments[SEG_CS].selector, 0x100);
    assert_int_equal(vcpu->rflags, frame[2]);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK);
}

static void test_same_level(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    vcpu->rflags |= RFLAGS_IF | RFLAGS_NT;
    raise_and_deliver(vcpu, VECTOR_GP, 0x1234);
    assert_handler(vcpu, VECTOR_GP);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED);
    const uint64_t frame[] = {0x1234, CODE, SELECTOR_CODE,
                              RFLAGS_FIXED | RFLAGS_IF | RFLAGS_NT | RFLAGS_RF};
    assert_int_equal(vcpu->registers[GPR_RSP], STACK - 16);
    assert_stack(bare, 4, 4, frame);
}

static void test_trap_gate_keeps_if(void **state)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    bare_set_gate(bare, 0x20, SELECTOR_CODE, HANDLER, ACCESS_TRAP_GATE, 0);
    bare->vcpu->rflags |= RFLAGS_IF | RFLAGS_TF;
    assert_true(interrupt_deliver(bare->vcpu, 0x20, INTERRUPT_EXTERNAL));
    assert_int_equal(bare->vcpu->rflags, RFLAGS_FIXED | RFLAGS_IF);
}

static void test_inner_level(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    bare_enter_user(bare);
    assert_true(interrupt_deliver(vcpu, 0x20, INTERRUPT_EXTERNAL));
    assert_handler(vcpu, 0x20);
    assert_int_equal(vcpu->cpl, 0);
    assert_int_equal(vcpu->segments[SEG_SS].selector, SELECTOR_DATA);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK_INNER - 20);
    const uint64_t frame[] = {CODE, SELECTOR_USER_CODE, RFLAGS_FIXED | RFLAGS_IF, STACK,
                              SELECTOR_USER_DATA};
    assert_stack(bare, 4, 5, frame);
    /* And back: data segments of level 0 do not go along. */
    assert_true(segment_load(vcpu, SEG_DS, SELECTOR_DATA));
    assert_true(segment_load(vcpu, SEG_ES, SELECTOR_USER_DATA));
    assert_true(interrupt_return(vcpu, 4));
    assert_int_equal(vcpu->cpl, 3);
    assert_int_equal(vcpu->segments[SEG_DS].selector, 0);
    assert_int_equal(vcpu->segments[SEG_ES].selector, SELECTOR_USER_DATA);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK);
}

static void test_gate_privilege(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    bare_enter_user(bare);
    assert_false(interrupt_deliver(vcpu, 0x20, INTERRUPT_SOFTWARE));
    assert_raised(vcpu, VECTOR_GP, 0x20 * 8 + 2);
    assert_int_equal(vcpu->cpl, 3);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK);
    bare_set_gate(bare, 0x20, SELECTOR_CODE, HANDLER, ACCESS_INTERRUPT_GATE | 0x60, 0);
    assert_true(interrupt_deliver(vcpu, 0x20, INTERRUPT_SOFTWARE));
    assert_int_equal(vcpu->cpl, 0);
}

static void test_external_bit(void **state)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    bare_set_gate(bare, 0x20, SELECTOR_CODE, HANDLER, 0x0e, 0); /* not present */
    assert_true(interrupt_deliver(bare->vcpu, 0x20, INTERRUPT_EXTERNAL));
    assert_handler(bare->vcpu, VECTOR_NP);
    assert_int_equal(bare_load(bare, bare->vcpu->registers[GPR_RSP], 4), 0x20 * 8 + 2 + 1);
}

/* first meets a fault because its gate is not present. */
static void check_nested(void **state, unsigned first, unsigned delivered)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    bare_set_gate(bare, first, SELECTOR_CODE, HANDLER, 0x0e, 0);
    raise_and_deliver(bare->vcpu, first, 0);
    assert_handler(bare->vcpu, delivered);
}

static void test_contributory_twice(void **state)
{
    check_nested(state, VECTOR_GP, VECTOR_DF);
}

static void test_fault_in_page_fault(void **state)
{
    check_nested(state, VECTOR_PF, VECTOR_DF);
}

static void test_fault_in_benign(void **state)
{
    check_nested(state, VECTOR_UD, VECTOR_NP);
}

static void test_triple_fault(void **state)
{
    struct bare *bare = *state;
    bare_enter_protected(bare);
    bare->vcpu->idtr.limit = 0;
    raise_exception(bare->vcpu, VECTOR_UD);
    assert_false(exception_deliver(bare->vcpu));
    assert_false(bare->vcpu->exception.pending);
}

static void test_page_fault_address(void **state)
{
    struct bare *bare = *state;
    bare_enter_long(bare);
    raise_page_fault(bare->vcpu, 0x123456789, PAGE_FAULT_WRITE);
    assert_int_equal(bare->vcpu->cr2, 0); /* not before it is delivered */
    assert_true(exception_deliver(bare->vcpu));
    assert_int_equal(bare->vcpu->cr2, 0x123456789);
    assert_int_equal(bare_load(bare, bare->vcpu->registers[GPR_RSP], 8), PAGE_FAULT_WRITE);
}

static void test_long_alignment(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_long(bare);
    vcpu->registers[GPR_RSP] = STACK - 5;
    assert_true(interrupt_deliver(vcpu, 0x80, INTERRUPT_EXTERNAL));
    assert_int_equal(vcpu->registers[GPR_RSP], STACK - 16 - 40);
    const uint64_t frame[] = {CODE, SELECTOR_LONG_CODE, RFLAGS_FIXED, STACK - 5, SELECTOR_DATA};
    assert_stack(bare, 8, 5, frame);
    assert_true(interrupt_return(vcpu, 8));
    assert_int_equal(vcpu->registers[GPR_RSP], STACK - 5);
    assert_int_equal(vcpu->segments[SEG_SS].selector, SELECTOR_DATA);
}

static void test_long_stacks(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_long(bare);
    bare_enter_user(bare);
    assert_true(interrupt_deliver(vcpu, 0x80, INTERRUPT_EXTERNAL));
    assert_int_equal(vcpu->registers[GPR_RSP], STACK_INNER - 40);
    assert_int_equal(vcpu->segments[SEG_SS].selector, 0); /* null: the level is in RPL */
    bare_set_gate(bare, 0x81, SELECTOR_LONG_CODE, HANDLER, ACCESS_INTERRUPT_GATE, 1);
    assert_true(interrupt_deliver(vcpu, 0x81, INTERRUPT_EXTERNAL));
    assert_int_equal(vcpu->registers[GPR_RSP], STACK_INTERRUPT - 40);
}

static void test_long_refuses_legacy_gates(void **state)
{
    static const uint8_t kinds[] = {ACCESS_INTERRUPT_GATE16, ACCESS_TASK_GATE};
    struct bare *bare = *state;
    bare_enter_long(bare);
    for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
        bare_set_gate(bare, 0x80, SELECTOR_LONG_CODE, HANDLER, kinds[i], 0);
        assert_false(interrupt_deliver(bare->vcpu, 0x80, INTERRUPT_SOFTWARE));
        assert_raised(bare->vcpu, VECTOR_GP, 0x80 * 8 + 2);
    }
    /* A handler must be 64-bit code. */
    bare_set_gate(bare, 0x80, SELECTOR_CODE, HANDLER, ACCESS_INTERRUPT_GATE, 0);
    assert_false(interrupt_deliver(bare->vcpu, 0x80, INTERRUPT_SOFTWARE));
    assert_raised(bare->vcpu, VECTOR_GP, SELECTOR_CODE);
}

static void test_virtual_8086(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    const uint64_t frame[] = {0x100,  0x600,  RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IF,
                              0xff0,  0x700,  0x1111,
                              0x2222, 0x3333, 0x4444};
    bare_enter_protected(bare);
    vcpu->registers[GPR_RSP] = STACK - sizeof(frame) / 2;
    for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
        bare_store(bare, vcpu->registers[GPR_RSP] + i * 4, frame[i], 4);
    assert_true(interrupt_return(vcpu, 4));
    assert_true(vcpu_v86(vcpu));
    assert_int_equal(vcpu->cpl, 3);
    assert_int_equal(vcpu->segments[SEG_CS].base, 0x6000);
    assert_int_equal(vcpu->segments[SEG_GS].base, 0x44440);
    assert_true(interrupt_deliver(vcpu, 0x20, INTERRUPT_EXTERNAL));
    assert_false(vcpu_v86(vcpu));
    assert_int_equal(vcpu->cpl, 0);
    assert_int_equal(vcpu->segments[SEG_GS].selector, 0);
    assert_int_equal(vcpu->registers[GPR_RSP], STACK_INNER - sizeof(frame) / 2);
    assert_stack(bare, 4, ARRAY_SIZE(frame), frame);
}

static void test_user_cannot_change_iopl(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_protected(bare);
    bare_enter_user(bare);
    const uint64_t frame[] = {CODE, SELECTOR_USER_CODE, RFLAGS_IOPL | RFLAGS_CF};
    vcpu->registers[GPR_RSP] = STACK - 12;
    for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
        bare_store(bare, STACK - 12 + i * 4, frame[i], 4);
    assert_true(interrupt_return(vcpu, 4));
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF);
}

static void test_nmi_blocks_until_iret(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bool stop;
    bare_enter_long(bare);
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_NMI);
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_handler(vcpu, VECTOR_NMI);
    vcpu->rip = HANDLER + 1;
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_NMI);
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_int_equal(vcpu->rip, HANDLER + 1);
    assert_true(interrupt_return(vcpu, 8));
    assert_true(atomic_load(&vcpu->requests) & VCPU_REQUEST_NMI);
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_handler(vcpu, VECTOR_NMI);
}

static void test_shadow_delays_nmi(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bool stop;
    bare_enter_long(bare);
    vcpu->interrupt_shadow = true;
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_NMI);
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_int_equal(vcpu->rip, CODE);
    vcpu->interrupt_shadow = false;
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_handler(vcpu, VECTOR_NMI);
}

/* What comes while an exception waits is taken in the exception's handler, not in its place. */
static void test_exception_before_interrupt(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    struct error error = {0};
    vcpu->engine = &engine_interpret;
    assert_int_equal(vcpu->engine->create(vcpu, &error), 0);
    bare_enter_long(bare);
    raise_error(vcpu, VECTOR_UD, 0);
    atomic_fetch_or(&vcpu->requests, VCPU_REQUEST_NMI | VCPU_REQUEST_STOP);
    assert_int_equal(vcpu->engine->run(vcpu), VCPU_EXIT_NONE);
    assert_false(vcpu->exception.pending);
    assert_handler(vcpu, VECTOR_NMI);
    assert_int_equal(bare_load(bare, vcpu->registers[GPR_RSP], 8), HANDLER + VECTOR_UD * 16);
    assert_true(interrupt_return(vcpu, 8));
    assert_int_equal(bare_load(bare, vcpu->registers[GPR_RSP], 8), CODE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_real_mode),
        TEST(test_same_level),
        TEST(test_trap_gate_keeps_if),
        TEST(test_inner_level),
        TEST(test_gate_privilege),
        TEST(test_external_bit),
        TEST(test_contributory_twice),
        TEST(test_fault_in_page_fault),
        TEST(test_fault_in_benign),
        TEST(test_triple_fault),
        TEST(test_page_fault_address),
        TEST(test_long_alignment),
        TEST(test_long_stacks),
        TEST(test_long_refuses_legacy_gates),
        TEST(test_virtual_8086),
        TEST(test_user_cannot_change_iopl),
        TEST(test_nmi_blocks_until_iret),
        TEST(test_shadow_delays_nmi),
        TEST(test_exception_before_interrupt),
    };
    return cmocka_run_group_tests_name("delivery", tests, NULL, NULL);
}
