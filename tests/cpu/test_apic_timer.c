/* SPDX-License-Identifier: Apache-2.0 */
/* The local APIC's timer, with the host's time in the test's hand. It counts nanoseconds, divided.
 */
#include "bare.h"
#include "cpu/apic_private.h"
#include "fake_time.h"

enum { VECTOR = 0x41, DIVIDE_BY_1 = 0xb };

static int setup(void **state)
{
    fake_time_reset();
    return bare_setup(state);
}

static struct local_apic *start(void **state, uint32_t mode)
{
    struct local_apic *apic = ((struct bare *)*state)->vcpu->apic;
    apic_write(apic, REGISTER_SPURIOUS, SPURIOUS_ENABLE | 0xff);
    apic_write(apic, REGISTER_DIVIDE, DIVIDE_BY_1);
    apic_write(apic, REGISTER_LVT_TIMER, mode | VECTOR);
    return apic;
}

/* Takes and ends the timer's interrupt, if it waits. */
static bool take(struct local_apic *apic)
{
    if (apic_take_interrupt(apic) != VECTOR)
        return false;
    apic_write(apic, REGISTER_EOI, 0);
    return true;
}

static void test_one_shot(void **state)
{
    struct local_apic *apic = start(state, 0);
    apic_write(apic, REGISTER_INITIAL_COUNT, 1000);
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 1000);
    fake_time_advance(400);
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 600);
    fake_time_advance(599);
    assert_false(take(apic));
    fake_time_advance(1);
    assert_true(take(apic));
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 0);
    assert_int_equal(apic_read(apic, REGISTER_INITIAL_COUNT), 1000);
    fake_time_advance(SECONDS(1));
    assert_false(take(apic));
}

static void test_divisors(void **state)
{
    static const struct {
        uint8_t code, divisor;
    } divisors[] = {{0, 2}, {1, 4}, {2, 8}, {3, 16}, {8, 32}, {9, 64}, {10, 128}, {11, 1}};
    struct local_apic *apic = start(state, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(divisors); i++) {
        apic_write(apic, REGISTER_DIVIDE, divisors[i].code);
        apic_write(apic, REGISTER_INITIAL_COUNT, 1000);
        fake_time_advance(1000u * divisors[i].divisor - 1);
        assert_false(take(apic));
        fake_time_advance(1);
        assert_true(take(apic));
    }
}

static void test_periodic(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_PERIODIC);
    apic_write(apic, REGISTER_INITIAL_COUNT, 100000);
    for (unsigned i = 0; i < 5; i++) {
        fake_time_advance(99999);
        assert_false(take(apic));
        fake_time_advance(1);
        assert_true(take(apic));
    }
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 100000);
    apic_write(apic, REGISTER_INITIAL_COUNT, 0); /* stops it */
    fake_time_advance(SECONDS(1));
    assert_false(take(apic));
    assert_int_equal(fake_time_armed(), 0);
}

/* Periods that the host missed merge, and the next comes where it should. */
static void test_missed_periods_merge(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_PERIODIC);
    apic_write(apic, REGISTER_INITIAL_COUNT, 100000);
    fake_time_stall(750000);
    fake_time_advance(0);
    assert_true(take(apic));
    fake_time_advance(49999);
    assert_false(take(apic));
    fake_time_advance(1);
    assert_true(take(apic));
}

static void test_masked_timer_counts(void **state)
{
    struct local_apic *apic = start(state, LVT_MASKED);
    apic_write(apic, REGISTER_INITIAL_COUNT, 1000);
    fake_time_advance(500);
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 500);
    fake_time_advance(1000);
    assert_false(take(apic));
    apic_write(apic, REGISTER_LVT_TIMER, VECTOR); /* it is over: nothing comes late */
    fake_time_advance(1000);
    assert_false(take(apic));
}

static void test_tsc_deadline(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_TSC_DEADLINE);
    uint64_t value, deadline = tsc_read(apic->vcpu) + 5000;
    assert_true(apic_msr_write(apic, MSR_TSC_DEADLINE, deadline));
    assert_true(apic_msr_read(apic, MSR_TSC_DEADLINE, &value));
    assert_int_equal(value, deadline);
    apic_write(apic, REGISTER_INITIAL_COUNT, 10); /* means nothing in this mode */
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 0);
    fake_time_advance(4999);
    assert_false(take(apic));
    fake_time_advance(1);
    assert_true(take(apic));
    assert_true(apic_msr_read(apic, MSR_TSC_DEADLINE, &value));
    assert_int_equal(value, 0); /* it fires once */
}

static void test_tsc_deadline_withdrawn_and_past(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_TSC_DEADLINE);
    apic_msr_write(apic, MSR_TSC_DEADLINE, tsc_read(apic->vcpu) + 5000);
    apic_msr_write(apic, MSR_TSC_DEADLINE, 0);
    fake_time_advance(SECONDS(1));
    assert_false(take(apic));
    apic_msr_write(apic, MSR_TSC_DEADLINE, tsc_read(apic->vcpu) - 1);
    fake_time_advance(0);
    assert_true(take(apic)); /* at once */
}

static void test_tsc_deadline_follows_the_guests_tsc(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_TSC_DEADLINE);
    assert_true(msr_write(apic->vcpu, MSR_TSC, 1000000));
    apic_msr_write(apic, MSR_TSC_DEADLINE, 1002000);
    fake_time_advance(1999);
    assert_false(take(apic));
    fake_time_advance(1);
    assert_true(take(apic));
}

static void test_deadline_outside_its_mode(void **state)
{
    struct local_apic *apic = start(state, 0);
    uint64_t value;
    assert_true(apic_msr_write(apic, MSR_TSC_DEADLINE, tsc_read(apic->vcpu) + 100));
    assert_true(apic_msr_read(apic, MSR_TSC_DEADLINE, &value));
    assert_int_equal(value, 0);
    assert_int_equal(fake_time_armed(), 0);
}

static void test_changing_the_mode_stops(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_PERIODIC);
    apic_write(apic, REGISTER_INITIAL_COUNT, 1000);
    apic_write(apic, REGISTER_LVT_TIMER, LVT_TIMER_TSC_DEADLINE | VECTOR);
    assert_int_equal(fake_time_armed(), 0);
    fake_time_advance(SECONDS(1));
    assert_false(take(apic));
}

static void test_reset_stops(void **state)
{
    struct local_apic *apic = start(state, LVT_TIMER_PERIODIC);
    apic_write(apic, REGISTER_INITIAL_COUNT, 1000);
    apic_reset(apic, false);
    assert_int_equal(fake_time_armed(), 0);
    assert_int_equal(apic_read(apic, REGISTER_CURRENT_COUNT), 0);
}

#define TIMER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TIMER_TEST(test_one_shot),
        TIMER_TEST(test_divisors),
        TIMER_TEST(test_periodic),
        TIMER_TEST(test_missed_periods_merge),
        TIMER_TEST(test_masked_timer_counts),
        TIMER_TEST(test_tsc_deadline),
        TIMER_TEST(test_tsc_deadline_withdrawn_and_past),
        TIMER_TEST(test_tsc_deadline_follows_the_guests_tsc),
        TIMER_TEST(test_deadline_outside_its_mode),
        TIMER_TEST(test_changing_the_mode_stops),
        TIMER_TEST(test_reset_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
