/* SPDX-License-Identifier: Apache-2.0 */
/* Rates over simulated time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "base/rate_limit.h"

#include <errno.h>

#define START_NS (1000 * NANOSECONDS_PER_SECOND)

/* As many operations of that size as pass in the time, tried whenever the limit says. */
static uint64_t pass_in(struct rate_limit *limit, uint64_t from_ns, uint64_t to_ns, uint64_t bytes)
{
    uint64_t count = 0;
    for (uint64_t now = from_ns; now < to_ns;) {
        uint64_t wait = rate_limit_wait(limit, now);
        if (!wait) {
            rate_limit_charge(limit, bytes, now);
            count++;
        }
        now += wait;
    }
    return count;
}

static struct rate_limit make(struct rate_limit_config config)
{
    struct rate_limit limit;
    rate_limit_init(&limit, &config);
    return limit;
}

static void operations_keep_to_the_rate(void **state)
{
    struct rate_limit limit = make((struct rate_limit_config){.ops = 1000, .burst_ops = 50});
    uint64_t count = pass_in(&limit, START_NS, START_NS + 10 * NANOSECONDS_PER_SECOND, 1 << 20);
    assert_in_range(count, 10049, 10051);
}

static void bytes_keep_to_the_rate(void **state)
{
    struct rate_limit limit = make((struct rate_limit_config){.bytes = MIB(10)});
    uint64_t count = pass_in(&limit, START_NS, START_NS + 10 * NANOSECONDS_PER_SECOND, KIB(64));
    assert_in_range(count * KIB(64), MIB(100), MIB(101) + KIB(128));
}

/* An operation larger than the burst passes alone, and is paid for afterwards. */
static void a_large_operation_passes(void **state)
{
    struct rate_limit limit =
        make((struct rate_limit_config){.bytes = MIB(1), .burst_bytes = KIB(4)});
    assert_int_equal(rate_limit_wait(&limit, START_NS), 0);
    rate_limit_charge(&limit, MIB(2), START_NS);
    assert_in_range(rate_limit_wait(&limit, START_NS), NANOSECONDS_PER_SECOND * 199 / 100,
                    2 * NANOSECONDS_PER_SECOND);
    assert_int_equal(rate_limit_wait(&limit, START_NS + 2 * NANOSECONDS_PER_SECOND), 0);
}

static void rest_is_saved_up_to_the_burst(void **state)
{
    struct rate_limit limit = make((struct rate_limit_config){.ops = 10, .burst_ops = 5});
    assert_in_range(pass_in(&limit, START_NS, START_NS + 1, 1), 5, 6);
    uint64_t later = START_NS + 3600 * NANOSECONDS_PER_SECOND;
    assert_in_range(pass_in(&limit, later, later + 1, 1), 5, 6);
}

static void both_limits_hold(void **state)
{
    struct rate_limit limit = make((struct rate_limit_config){.ops = 100, .bytes = 1000});
    uint64_t few = pass_in(&limit, START_NS, START_NS + 100 * NANOSECONDS_PER_SECOND, 100);
    assert_in_range(few, 1000, 1003);
    limit = make((struct rate_limit_config){.ops = 100, .bytes = 1000});
    uint64_t many = pass_in(&limit, START_NS, START_NS + 100 * NANOSECONDS_PER_SECOND, 1);
    assert_in_range(many, 10000, 10012);
}

static void no_limit_is_none(void **state)
{
    struct rate_limit limit = make((struct rate_limit_config){0});
    rate_limit_charge(&limit, UINT64_MAX, START_NS);
    assert_int_equal(rate_limit_wait(&limit, START_NS), 0);
}

static void settings_are_checked(void **state)
{
    struct rate_limit_config config = {0};
    static const char *const bad[] = {"ops=", "ops=0", "bytes=x", "bytes=-1", "burst-ops=1025T"};
    struct error error = {0};
    assert_int_equal(rate_limit_setting(&config, "disk", "ops=200", &error), 1);
    assert_int_equal(rate_limit_setting(&config, "disk", "burst-bytes=4K", &error), 1);
    assert_int_equal(config.ops, 200);
    assert_int_equal(config.burst_bytes, 4096);
    assert_int_equal(rate_limit_setting(&config, "disk", "cache=none", &error), 0);
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(rate_limit_setting(&config, "disk", bad[i], &error), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_keep_to_the_rate),
        cmocka_unit_test(bytes_keep_to_the_rate),
        cmocka_unit_test(a_large_operation_passes),
        cmocka_unit_test(rest_is_saved_up_to_the_burst),
        cmocka_unit_test(both_limits_hold),
        cmocka_unit_test(no_limit_is_none),
        cmocka_unit_test(settings_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
