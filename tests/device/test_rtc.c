/* SPDX-License-Identifier: Apache-2.0 */
/* The RTC by its two ports. The host's time is Saturday 2026-11-21, 08:00:00 UTC, at first. */
#include "board.h"

#include <errno.h>

enum { SECONDS_NOW, SECONDS_ALARM, MINUTES_NOW, MINUTES_ALARM, HOURS_NOW, HOURS_ALARM };
enum { WEEKDAY = 6, DAY, MONTH, YEAR, A, B, C, D, CENTURY = 0x32, RAM = 0x40 };
enum { UPDATING = 0x80 };
enum { SET = 0x80, PERIODIC = 0x40, ALARM = 0x20, UPDATE = 0x10, BINARY = 4, FULL_DAY = 2 };
enum { INTERRUPT = 0x80, ANY = 0xc0, LINE = 8, RATE_1024_HZ = 0x26, PM = 0x80 };

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    struct bus *bus = &((struct board *)*state)->bus;
    return rtc_create(bus, bus_gsi(bus, LINE), &error);
}

static uint8_t get(struct board *board, uint8_t index)
{
    board_out(board, 0x70, index);
    return board_in(board, 0x71);
}

static void put(struct board *board, uint8_t index, uint8_t value)
{
    board_out(board, 0x70, index);
    board_out(board, 0x71, value);
}

static void set_alarm(struct board *board, uint8_t hours, uint8_t minutes, uint8_t seconds)
{
    put(board, HOURS_ALARM, hours);
    put(board, MINUTES_ALARM, minutes);
    put(board, SECONDS_ALARM, seconds);
}

static bool up(const struct board *board)
{
    return board->levels >> LINE & 1;
}

static void test_date_in_bcd(void **state)
{
    struct board *board = *state;
    fake_time_advance(SECONDS(14 * 60 + 37));
    assert_int_equal(get(board, HOURS_NOW), 0x08);
    assert_int_equal(get(board, MINUTES_NOW), 0x14);
    assert_int_equal(get(board, SECONDS_NOW), 0x37);
    assert_int_equal(get(board, WEEKDAY), 7);
    assert_int_equal(get(board, DAY), 0x21);
    assert_int_equal(get(board, MONTH), 0x11);
    assert_int_equal(get(board, YEAR), 0x26);
    assert_int_equal(get(board, CENTURY), 0x20);
    assert_int_equal(get(board, D), 0x80); /* the battery is good */
}

static void test_date_in_binary(void **state)
{
    struct board *board = *state;
    put(board, B, BINARY | FULL_DAY);
    fake_time_advance(SECONDS(14 * 60 + 37));
    assert_int_equal(get(board, MINUTES_NOW), 14);
    assert_int_equal(get(board, SECONDS_NOW), 37);
    assert_int_equal(get(board, DAY), 21);
    assert_int_equal(get(board, YEAR), 26);
    assert_int_equal(get(board, CENTURY), 20);
}

static void test_twelve_hours(void **state)
{
    static const uint8_t hours[] = {0x08, 0x09, 0x10, 0x11, 0x12 | PM, 0x01 | PM};
    struct board *board = *state;
    put(board, B, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(hours); i++) {
        assert_int_equal(get(board, HOURS_NOW), hours[i]);
        fake_time_advance(SECONDS(3600));
    }
    fake_time_advance(SECONDS(10 * 3600)); /* midnight */
    assert_int_equal(get(board, HOURS_NOW), 0x12);
    put(board, B, BINARY);
    fake_time_advance(SECONDS(23 * 3600));
    assert_int_equal(get(board, HOURS_NOW), 11 | PM);
}

/* Set under SET, as kernels do; the clock goes on from there, across the end of a leap February. */
static void test_setting(void **state)
{
    struct board *board = *state;
    put(board, B, SET | FULL_DAY);
    put(board, YEAR, 0x28);
    put(board, MONTH, 0x02);
    put(board, DAY, 0x29);
    put(board, HOURS_NOW, 0x23);
    put(board, MINUTES_NOW, 0x59);
    put(board, SECONDS_NOW, 0x58);
    fake_time_advance(SECONDS(10)); /* it stands */
    assert_int_equal(get(board, SECONDS_NOW), 0x58);
    put(board, B, FULL_DAY);
    assert_int_equal(get(board, SECONDS_NOW), 0x58);
    fake_time_advance(SECONDS(3));
    assert_int_equal(get(board, SECONDS_NOW), 0x01);
    assert_int_equal(get(board, HOURS_NOW), 0);
    assert_int_equal(get(board, DAY), 0x01);
    assert_int_equal(get(board, MONTH), 0x03);
    assert_int_equal(get(board, WEEKDAY), 4); /* Wednesday */
}

static void test_setting_in_twelve_hours(void **state)
{
    struct board *board = *state;
    put(board, B, SET);
    put(board, HOURS_NOW, 0x12 | PM);
    put(board, B, FULL_DAY | SET);
    put(board, B, 0); /* the mode in which it was written counts */
    assert_int_equal(get(board, HOURS_NOW), 0x12 | PM);
    put(board, B, FULL_DAY);
    assert_int_equal(get(board, HOURS_NOW), 0x12);
}

/* No register may hold what breaks the clock. */
static void test_absurd_values(void **state)
{
    struct board *board = *state;
    put(board, B, SET | FULL_DAY);
    for (uint8_t i = 0; i <= YEAR; i++)
        put(board, i, 0xff);
    put(board, CENTURY, 0xff);
    put(board, B, FULL_DAY | ALARM);
    fake_time_advance(SECONDS(3));
    assert_in_range(get(board, SECONDS_NOW), 0, 0x59);
    assert_in_range(get(board, MONTH), 0x01, 0x12);
}

static void test_update_in_progress(void **state)
{
    struct board *board = *state;
    assert_int_equal(get(board, A) & UPDATING, 0);
    fake_time_advance(SECONDS(1) - MICROSECONDS(2229));
    assert_int_equal(get(board, A) & UPDATING, 0);
    fake_time_advance(MICROSECONDS(2));
    assert_int_equal(get(board, A) & UPDATING, UPDATING);
    fake_time_advance(MICROSECONDS(2227));
    assert_int_equal(get(board, A) & UPDATING, 0);
    assert_int_equal(get(board, SECONDS_NOW), 1);
    put(board, A, UPDATING | RATE_1024_HZ);
    assert_int_equal(get(board, A), RATE_1024_HZ); /* read only */
}

static void test_update_interrupt(void **state)
{
    struct board *board = *state;
    fake_time_advance(MILLISECONDS(300));
    get(board, C);
    put(board, B, FULL_DAY | UPDATE);
    fake_time_advance(MILLISECONDS(699));
    assert_false(up(board));
    fake_time_advance(MILLISECONDS(1));
    assert_true(up(board));
    fake_time_advance(SECONDS(5));
    assert_int_equal(board->rises[LINE], 1); /* until register C is read */
    assert_int_equal(get(board, C) & (INTERRUPT | UPDATE), INTERRUPT | UPDATE);
    assert_false(up(board));
    assert_int_equal(get(board, C) & ~PERIODIC, 0);
    fake_time_advance(SECONDS(1));
    assert_true(up(board));
}

/* A guest that reads the time must not miss updates by that. */
static void test_reading_hides_no_update(void **state)
{
    struct board *board = *state;
    put(board, B, FULL_DAY | UPDATE);
    fake_time_advance(MILLISECONDS(999));
    fake_time_stall(MILLISECONDS(2));
    assert_int_equal(get(board, SECONDS_NOW), 1);
    assert_true(up(board));
}

static void test_flags_without_interrupts(void **state)
{
    struct board *board = *state;
    get(board, C);
    fake_time_advance(SECONDS(2));
    assert_int_equal(fake_time_armed(), 0);
    assert_int_equal(get(board, C), PERIODIC | UPDATE);
    assert_int_equal(board->rises[LINE], 0);
}

static void test_alarm(void **state)
{
    struct board *board = *state;
    set_alarm(board, 0x08, 0x01, 0x30);
    put(board, B, FULL_DAY | ALARM);
    fake_time_advance(SECONDS(89));
    assert_false(up(board));
    fake_time_advance(SECONDS(1));
    assert_true(up(board));
    assert_int_equal(get(board, C) & (INTERRUPT | ALARM), INTERRUPT | ALARM);
    fake_time_advance(SECONDS(600));
    assert_int_equal(board->rises[LINE], 1);
    fake_time_stall(SECONDS(86400)); /* the host slept: the alarm was in that time */
    fake_time_advance(0);
    assert_true(up(board));
}

static void test_alarm_of_any_minute(void **state)
{
    struct board *board = *state;
    set_alarm(board, ANY, 0xff, 0x15);
    put(board, B, FULL_DAY | ALARM);
    for (unsigned i = 0; i < 3; i++) {
        fake_time_advance(SECONDS(60));
        assert_int_equal(get(board, C) & ALARM, ALARM);
    }
    assert_int_equal(board->rises[LINE], 3);
}

static void test_alarm_in_twelve_hours(void **state)
{
    struct board *board = *state;
    set_alarm(board, 0x01 | PM, 0x00, 0x00);
    put(board, B, ALARM);
    fake_time_advance(SECONDS(5 * 3600 - 1));
    assert_false(up(board));
    fake_time_advance(SECONDS(1));
    assert_true(up(board));
}

static void test_periodic(void **state)
{
    struct board *board = *state;
    unsigned taken = 0;
    put(board, A, RATE_1024_HZ);
    get(board, C);
    put(board, B, FULL_DAY | PERIODIC);
    for (unsigned i = 0; i < 10000; i++) {
        fake_time_advance(MICROSECONDS(100));
        if (!up(board))
            continue;
        taken++;
        assert_int_equal(get(board, C) & (INTERRUPT | PERIODIC), INTERRUPT | PERIODIC);
    }
    assert_in_range(taken, 1023, 1025);
    put(board, A, 0x20); /* rate 0: off */
    get(board, C);
    fake_time_advance(SECONDS(1));
    assert_false(up(board));
}

static void test_periodic_rates(void **state)
{
    static const struct {
        uint8_t rate;
        unsigned hertz;
    } rates[] = {{1, 256}, {2, 128}, {3, 8192}, {8, 256}, {15, 2}};
    struct board *board = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        put(board, A, 0x20 | rates[i].rate);
        get(board, C);
        put(board, B, FULL_DAY | PERIODIC);
        unsigned before = board->rises[LINE];
        fake_time_advance(SECONDS(1) / rates[i].hertz);
        assert_int_equal(board->rises[LINE] - before, 1);
        put(board, B, FULL_DAY);
    }
}

static void test_cmos_ram(void **state)
{
    struct board *board = *state;
    put(board, RAM, 0x5a);
    put(board, 0x7f, 0xa5);
    bus_reset_devices(&board->bus);
    assert_int_equal(get(board, RAM), 0x5a); /* there is a battery */
    assert_int_equal(get(board, 0x80 | RAM), 0x5a);
    assert_int_equal(get(board, 0x7f), 0xa5);
    put(board, D, 0);
    assert_int_equal(get(board, D), 0x80);
}

static void test_reset_disables_interrupts(void **state)
{
    struct board *board = *state;
    put(board, B, FULL_DAY | UPDATE | PERIODIC);
    fake_time_advance(SECONDS(1));
    assert_true(up(board));
    bus_reset_devices(&board->bus);
    assert_false(up(board));
    assert_int_equal(get(board, B), FULL_DAY);
    assert_int_equal(fake_time_armed(), 0);
}

static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(rtc_create(&other->bus, bus_gsi(&other->bus, LINE), &error), 0);
    put(board, YEAR, 0x30);
    set_alarm(board, 0x08, 0x00, 0x10);
    put(board, B, FULL_DAY | ALARM);
    uint8_t *saved = board_save(board, "rtc");
    fake_time_stall(SECONDS(5));
    assert_int_equal(board_load(other, "rtc", saved), 0);
    assert_int_equal(get(other, YEAR), 0x30);
    assert_int_equal(get(other, SECONDS_NOW), 0x05); /* time of day went on in between */
    fake_time_advance(SECONDS(5));
    assert_true(up(other));
    board_destroy(other);
}

static void test_damaged_state_is_refused(void **state)
{
    struct board *board = *state;
    uint8_t *saved = board_save(board, "rtc");
    memset(saved, 0x7f, state_size(board->bus.devices->state));
    assert_int_equal(board_load(board, "rtc", saved), -EINVAL);
    get(board, DAY);
}

#define RTC_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RTC_TEST(test_date_in_bcd),
        RTC_TEST(test_date_in_binary),
        RTC_TEST(test_twelve_hours),
        RTC_TEST(test_setting),
        RTC_TEST(test_setting_in_twelve_hours),
        RTC_TEST(test_absurd_values),
        RTC_TEST(test_update_in_progress),
        RTC_TEST(test_update_interrupt),
        RTC_TEST(test_reading_hides_no_update),
        RTC_TEST(test_flags_without_interrupts),
        RTC_TEST(test_alarm),
        RTC_TEST(test_alarm_of_any_minute),
        RTC_TEST(test_alarm_in_twelve_hours),
        RTC_TEST(test_periodic),
        RTC_TEST(test_periodic_rates),
        RTC_TEST(test_cmos_ram),
        RTC_TEST(test_reset_disables_interrupts),
        RTC_TEST(test_state_survives),
        RTC_TEST(test_damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
