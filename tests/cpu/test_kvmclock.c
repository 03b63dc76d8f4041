/* SPDX-License-Identifier: Apache-2.0 */
/* kvmclock: the time that a guest computes from what it finds in its memory. Linux
 * Documentation/virt/kvm/x86/msr.rst. */
#include "bare.h"
#include "cpu/paravirtual.h"
#include "fake_time.h"

enum { PAGE = 0x20000, ENABLE = 1, STABLE = 1, CLOCK_SIZE = 32 };
enum { WALL_CLOCK = 0x4b564d00, SYSTEM_TIME = 0x4b564d01 };

/* struct pvclock_vcpu_time_info, by offset. */
enum { VERSION = 0, TIMESTAMP = 8, SYSTEM = 16, MULTIPLIER = 24, SHIFT = 28, FLAGS = 29 };

static int setup(void **state)
{
    fake_time_reset();
    return bare_setup_two(state);
}

/* The guest's arithmetic: how it reads the clock of a page. */
static uint64_t guest_clock(struct bare *bare, struct vcpu *vcpu, uint64_t page)
{
    uint64_t ticks = tsc_read(vcpu) - bare_load(bare, page + TIMESTAMP, 8);
    int8_t shift = (int8_t)bare_load(bare, page + SHIFT, 1);
    ticks = shift < 0 ? ticks >> -shift : ticks << shift;
    uint64_t scaled = (uint64_t)((__uint128_t)ticks * bare_load(bare, page + MULTIPLIER, 4) >> 32);
    return bare_load(bare, page + SYSTEM, 8) + scaled;
}

static void test_clock_goes_with_the_host(void **state)
{
    struct bare *bare = *state;
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE | ENABLE));
    assert_int_equal(bare_load(bare, PAGE + VERSION, 4) % 2, 0); /* odd: being written */
    assert_int_not_equal(bare_load(bare, PAGE + VERSION, 4), 0);
    assert_int_equal(bare_load(bare, PAGE + FLAGS, 1), STABLE);
    uint64_t first = guest_clock(bare, bare->vcpu, PAGE);
    fake_time_advance(SECONDS(3) + 123456789);
    assert_int_equal(guest_clock(bare, bare->vcpu, PAGE) - first, SECONDS(3) + 123456789);
    fake_time_advance(SECONDS(3600 * 24 * 30));
    assert_int_equal(guest_clock(bare, bare->vcpu, PAGE) - first,
                     SECONDS(3600 * 24 * 30 + 3) + 123456789);
}

/* Enabled at other times, the clocks of two processors agree: that is what STABLE says. */
static void test_processors_agree(void **state)
{
    struct bare *bare = *state;
    struct vcpu *other = bare->group.vcpus[1];
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE | ENABLE));
    fake_time_advance(MILLISECONDS(77));
    assert_true(msr_write(other, SYSTEM_TIME, (PAGE + 64) | ENABLE));
    fake_time_advance(MILLISECONDS(5));
    assert_int_equal(guest_clock(bare, bare->vcpu, PAGE), guest_clock(bare, other, PAGE + 64));
}

static void test_version_moves_on(void **state)
{
    struct bare *bare = *state;
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE | ENABLE));
    uint64_t first = bare_load(bare, PAGE + VERSION, 4);
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE | ENABLE));
    uint64_t second = bare_load(bare, PAGE + VERSION, 4);
    assert_int_not_equal(first, second);
    assert_int_equal(second % 2, 0);
}

static void test_disabled_clock_is_not_written(void **state)
{
    struct bare *bare = *state;
    uint64_t value;
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE));
    for (unsigned i = 0; i < CLOCK_SIZE; i += 8)
        assert_int_equal(bare_load(bare, PAGE + i, 8), 0);
    assert_true(msr_read(bare->vcpu, SYSTEM_TIME, &value));
    assert_int_equal(value, PAGE);
}

/* Wall clock at the guest's start, plus the clock, is the time of day. */
static void test_time_of_day(void **state)
{
    struct bare *bare = *state;
    fake_time_advance(SECONDS(90) + 5);
    assert_true(msr_write(bare->vcpu, WALL_CLOCK, PAGE));
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, (PAGE + 64) | ENABLE));
    uint64_t boot = bare_load(bare, PAGE + 4, 4) * SECONDS(1) + bare_load(bare, PAGE + 8, 4);
    assert_int_equal(bare_load(bare, PAGE, 4) % 2, 0);
    assert_int_equal(boot + guest_clock(bare, bare->vcpu, PAGE + 64),
                     SECONDS(FAKE_REALTIME_S + 90) + 5);
}

/* Pages that are not RAM: the guest's loss, not ours. */
static void test_page_outside_ram(void **state)
{
    struct bare *bare = *state;
    msr_write(bare->vcpu, SYSTEM_TIME, UINT64_C(0xfffffffffffffffc) | ENABLE);
    msr_write(bare->vcpu, WALL_CLOCK, UINT64_C(0xfffffffffffffff8));
    bare->vcpu->exception.pending = false;
    assert_true(msr_write(bare->vcpu, SYSTEM_TIME, PAGE | ENABLE));
    assert_int_not_equal(bare_load(bare, PAGE + VERSION, 4), 0);
}

#define CLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOCK_TEST(test_clock_goes_with_the_host),
        CLOCK_TEST(test_processors_agree),
        CLOCK_TEST(test_version_moves_on),
        CLOCK_TEST(test_disabled_clock_is_not_written),
        CLOCK_TEST(test_time_of_day),
        CLOCK_TEST(test_page_outside_ram),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
