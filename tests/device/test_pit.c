/* SPDX-License-Identifier: Apache-2.0 */
/* The 8254 by its ports: modes, gate, latches, state. A tick takes 838.1 ns. */
#include "board.h"

#include <errno.h>

enum { CHANNEL_0 = 0x40, CHANNEL_2 = 0x42, CONTROL = 0x43, SPEAKER = 0x61 };
enum { LOW = 1, HIGH = 2, BOTH = 3 };
enum { SELECT_0 = 0x00, SELECT_1 = 0x40, SELECT_2 = 0x80, READ_BACK = 0xc0 };
enum { OUTPUT = 0x80, NULL_COUNT = 0x40 };

#define PIT_HZ         1193182
#define TICKS(n)       ((uint64_t)(n)*1000000000 / PIT_HZ + 1) /* by then n have passed */
#define MODE(n)        ((n) << 1)
#define ACCESS(bytes)  ((bytes) << 4)
#define CONTROL_2(n)   (SELECT_2 | ACCESS(BOTH) | MODE(n))
#define SPEAKER_OUTPUT 0x20

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    struct bus *bus = &((struct board *)*state)->bus;
    return pit_create(bus, bus_gsi(bus, 0), &error);
}

static void load(struct board *board, uint16_t port, unsigned count)
{
    board_out(board, port, (uint8_t)count);
    board_out(board, port, (uint8_t)(count >> 8));
}

static unsigned count(struct board *board, uint16_t port)
{
    board_out(board, CONTROL, (uint8_t)((port - CHANNEL_0) << 6)); /* latch */
    unsigned low = board_in(board, port);
    return low | (unsigned)board_in(board, port) << 8;
}

static bool output_2(struct board *board)
{
    return board_in(board, SPEAKER) & SPEAKER_OUTPUT;
}

static void gate_2(struct board *board, bool gate)
{
    board_out(board, SPEAKER, gate);
}

static unsigned status(struct board *board, unsigned number)
{
    board_out(board, CONTROL, (uint8_t)(READ_BACK | 0x20 | 2u << number));
    return board_in(board, (uint16_t)(CHANNEL_0 + number));
}

static void test_mode_0_interrupts_once(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(0));
    assert_int_equal(board->levels, 0);
    load(board, CHANNEL_0, 1000);
    fake_time_advance(TICKS(999));
    assert_int_equal(board->levels, 0);
    assert_int_equal(count(board, CHANNEL_0), 1);
    fake_time_advance(TICKS(1));
    assert_int_equal(board->levels, 1);
    fake_time_advance(TICKS(10));
    assert_int_equal(count(board, CHANNEL_0), 0x10000 - 10); /* it goes on counting */
    fake_time_advance(SECONDS(1));
    assert_int_equal(board->rises[0], 1);
    load(board, CHANNEL_0, 5); /* a new count: low again */
    assert_int_equal(board->levels, 0);
    fake_time_advance(TICKS(5));
    assert_int_equal(board->rises[0], 2);
}

static void test_mode_0_first_byte_stops(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(0));
    load(board, CHANNEL_0, 1000);
    board_out(board, CHANNEL_0, 10);
    fake_time_advance(TICKS(2000));
    assert_int_equal(board->rises[0], 0);
    board_out(board, CHANNEL_0, 0);
    fake_time_advance(TICKS(10));
    assert_int_equal(board->rises[0], 1);
}

/* The gate only holds the count: a rising gate must not start it again. */
static void test_mode_0_gate_holds(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(0));
    gate_2(board, true);
    load(board, CHANNEL_2, 1000);
    fake_time_advance(TICKS(400));
    gate_2(board, false);
    fake_time_advance(TICKS(5000));
    assert_int_equal(count(board, CHANNEL_2), 600);
    assert_false(output_2(board));
    gate_2(board, true);
    fake_time_advance(TICKS(590));
    assert_false(output_2(board));
    fake_time_advance(TICKS(10));
    assert_true(output_2(board));
}

/* Loaded with the gate low, as some guests do before they open it. */
static void test_mode_0_waits_for_the_gate(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(0));
    load(board, CHANNEL_2, 100);
    fake_time_advance(TICKS(500));
    assert_int_equal(count(board, CHANNEL_2), 100);
    gate_2(board, true);
    fake_time_advance(TICKS(100));
    assert_true(output_2(board));
}

static void test_mode_1_is_started_by_the_gate(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(1));
    load(board, CHANNEL_2, 100);
    assert_int_equal(status(board, 2) & NULL_COUNT, NULL_COUNT); /* until the trigger */
    fake_time_advance(TICKS(500));
    assert_true(output_2(board));
    gate_2(board, true);
    assert_int_equal(status(board, 2) & NULL_COUNT, 0);
    assert_false(output_2(board));
    fake_time_advance(TICKS(60));
    gate_2(board, false); /* nothing happens */
    assert_false(output_2(board));
    gate_2(board, true); /* and again from the beginning */
    fake_time_advance(TICKS(60));
    assert_false(output_2(board));
    load(board, CHANNEL_2, 10); /* for the next trigger */
    fake_time_advance(TICKS(40));
    assert_true(output_2(board));
    gate_2(board, false);
    gate_2(board, true);
    fake_time_advance(TICKS(9));
    assert_false(output_2(board));
    fake_time_advance(TICKS(1));
    assert_true(output_2(board));
}

static void test_mode_2_interrupts_each_period(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(2));
    unsigned before = board->rises[0];
    load(board, CHANNEL_0, 11932); /* 100 Hz */
    fake_time_advance(SECONDS(1));
    assert_in_range(board->rises[0] - before, 99, 100);
    assert_int_equal(board->levels, 1); /* an 8259 forgets a line that falls */
}

/* No drift: 1000 periods later the edges come where they should. */
static void test_mode_2_keeps_time(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(2));
    load(board, CHANNEL_0, 1193);
    unsigned before = board->rises[0];
    fake_time_advance(TICKS(1193 * 1000) - MICROSECONDS(2));
    assert_int_equal(board->rises[0] - before, 999);
    fake_time_advance(MICROSECONDS(4));
    assert_int_equal(board->rises[0] - before, 1000);
}

static void test_mode_2_new_count_waits_for_the_period(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(2));
    gate_2(board, true);
    load(board, CHANNEL_2, 1000);
    fake_time_advance(TICKS(1300)); /* 300 into the second period */
    load(board, CHANNEL_2, 400);
    assert_int_equal(status(board, 2) & NULL_COUNT, NULL_COUNT);
    assert_in_range(count(board, CHANNEL_2), 699, 701);
    fake_time_advance(TICKS(690));
    assert_in_range(count(board, CHANNEL_2), 9, 11);
    fake_time_advance(TICKS(110));
    assert_in_range(count(board, CHANNEL_2), 299, 301);
    assert_int_equal(status(board, 2) & NULL_COUNT, 0);
}

static void test_mode_2_output_and_gate(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(2));
    gate_2(board, true);
    load(board, CHANNEL_2, 100);
    fake_time_advance(TICKS(98));
    assert_true(output_2(board));
    fake_time_advance(TICKS(1));
    assert_false(output_2(board)); /* the last tick */
    gate_2(board, false);          /* forces it high */
    assert_true(output_2(board));
    fake_time_advance(TICKS(1000));
    assert_true(output_2(board));
    gate_2(board, true);
    assert_int_equal(count(board, CHANNEL_2), 100);
}

static void test_mode_3_is_a_square_wave(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(3));
    gate_2(board, true);
    load(board, CHANNEL_2, 100);
    assert_true(output_2(board));
    fake_time_advance(TICKS(10));
    assert_int_equal(count(board, CHANNEL_2), 80); /* by two */
    fake_time_advance(TICKS(45));
    assert_false(output_2(board));
    assert_in_range(count(board, CHANNEL_2), 88, 90);
    fake_time_advance(TICKS(45));
    assert_true(output_2(board));
}

/* Odd counts: high for one tick more than low. */
static void test_mode_3_odd_count(void **state)
{
    struct board *board = *state;
    unsigned high = 0;
    board_out(board, CONTROL, CONTROL_2(3));
    gate_2(board, true);
    load(board, CHANNEL_2, 5);
    for (unsigned i = 0; i < 5; i++) {
        high += output_2(board);
        assert_int_equal(count(board, CHANNEL_2) & 1, 0);
        fake_time_advance(TICKS(1));
    }
    assert_int_equal(high, 3);
}

static void test_mode_4_strobes_once(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(4));
    unsigned before = board->rises[0];
    load(board, CHANNEL_0, 100);
    assert_int_equal(status(board, 0) & OUTPUT, OUTPUT);
    fake_time_advance(TICKS(100));
    assert_int_equal(status(board, 0) & OUTPUT, 0);
    assert_int_equal(board->rises[0], before);
    fake_time_advance(TICKS(1));
    assert_int_equal(status(board, 0) & OUTPUT, OUTPUT);
    fake_time_advance(SECONDS(1));
    assert_int_equal(board->rises[0], before + 1);
}

static void test_mode_5_strobes_after_the_gate(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(5));
    load(board, CHANNEL_2, 100);
    fake_time_advance(TICKS(100));
    assert_true(output_2(board));
    gate_2(board, true);
    fake_time_advance(TICKS(99));
    assert_true(output_2(board));
    fake_time_advance(TICKS(1));
    assert_false(output_2(board));
    fake_time_advance(TICKS(1));
    assert_true(output_2(board));
}

static void test_modes_6_and_7_are_2_and_3(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(6));
    assert_int_equal(status(board, 2) & 0x3f, ACCESS(BOTH) | MODE(2));
    board_out(board, CONTROL, CONTROL_2(7));
    assert_int_equal(status(board, 2) & 0x3f, ACCESS(BOTH) | MODE(3));
}

static void test_bcd(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(0) | 1);
    gate_2(board, true);
    load(board, CHANNEL_2, 0x1000);
    fake_time_advance(TICKS(1));
    assert_int_equal(count(board, CHANNEL_2), 0x0999);
    load(board, CHANNEL_2, 0); /* ten thousand */
    fake_time_advance(TICKS(1));
    assert_int_equal(count(board, CHANNEL_2), 0x9999);
}

static void test_bytes_of_a_count(void **state)
{
    struct board *board = *state;
    gate_2(board, true);
    board_out(board, CONTROL, SELECT_2 | ACCESS(HIGH) | MODE(2));
    board_out(board, CHANNEL_2, 0x12);
    assert_int_equal(board_in(board, CHANNEL_2), 0x12);
    assert_int_equal(board_in(board, CHANNEL_2), 0x12);
    board_out(board, CONTROL, SELECT_2 | ACCESS(LOW) | MODE(2));
    board_out(board, CHANNEL_2, 0x34);
    assert_int_equal(board_in(board, CHANNEL_2), 0x34);
    assert_int_equal(board_in(board, CHANNEL_2), 0x34);
}

static void test_latched_count_stands(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(0));
    gate_2(board, true);
    load(board, CHANNEL_2, 0x8000);
    fake_time_advance(TICKS(0x10));
    board_out(board, CONTROL, SELECT_2);
    fake_time_advance(TICKS(0x1000));
    board_out(board, CONTROL, SELECT_2); /* the first latch stands */
    assert_int_equal(board_in(board, CHANNEL_2), 0xf0);
    assert_int_equal(board_in(board, CHANNEL_2), 0x7f);
    assert_in_range(count(board, CHANNEL_2), 0x6fef, 0x6ff0);
}

/* Status comes before the count when both are latched. */
static void test_read_back(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, CONTROL_2(0));
    board_out(board, CONTROL, SELECT_1 | ACCESS(LOW) | MODE(3));
    assert_int_equal(status(board, 2), NULL_COUNT | ACCESS(BOTH) | MODE(0));
    gate_2(board, true);
    load(board, CHANNEL_2, 0x1234);
    board_out(board, CONTROL, READ_BACK | 0x08 | 0x04); /* channels 2 and 1, status and count */
    assert_int_equal(board_in(board, CHANNEL_2), ACCESS(BOTH) | MODE(0));
    assert_int_equal(board_in(board, CHANNEL_2), 0x34);
    assert_int_equal(board_in(board, CHANNEL_2), 0x12);
    assert_int_equal(board_in(board, CHANNEL_0 + 1), OUTPUT | NULL_COUNT | ACCESS(LOW) | MODE(3));
}

/* What Linux does to learn the TSC's frequency. */
static void test_calibration_by_channel_2(void **state)
{
    struct board *board = *state;
    board_out(board, SPEAKER, (uint8_t)((board_in(board, SPEAKER) & ~2u) | 1));
    board_out(board, CONTROL, CONTROL_2(0));
    load(board, CHANNEL_2, PIT_HZ / 20);
    unsigned milliseconds = 0;
    while (!output_2(board) && milliseconds < 100) {
        fake_time_advance(MILLISECONDS(1));
        milliseconds++;
    }
    assert_int_equal(milliseconds, 50);
}

static void test_shortest_period_is_limited(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(2));
    load(board, CHANNEL_0, 1);
    unsigned before = board->rises[0];
    fake_time_advance(MILLISECONDS(10));
    assert_in_range(board->rises[0] - before, 100, 1000);
}

/* Reprogrammed after the edge fell due and before the event loop came round: the edge is not lost.
 */
static void test_due_edge_is_not_lost(void **state)
{
    struct board *board = *state;
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(0));
    load(board, CHANNEL_0, 100);
    fake_time_stall(TICKS(100));
    load(board, CHANNEL_0, 50000);
    assert_int_equal(board->rises[0], 1);
}

/* Loaded at another time of the host, perhaps another host: the counts go on where they stood. */
static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(pit_create(&other->bus, bus_gsi(&other->bus, 0), &error), 0);
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(2));
    load(board, CHANNEL_0, 20000);
    board_out(board, CONTROL, CONTROL_2(0));
    load(board, CHANNEL_2, 50000);
    gate_2(board, true);
    fake_time_advance(TICKS(15000));
    uint8_t *saved = board_save(board, "pit");
    fake_time_stall(SECONDS(5000));
    assert_int_equal(board_load(other, "pit", saved), 0);
    assert_in_range(count(other, CHANNEL_0), 4999, 5000);
    assert_in_range(count(other, CHANNEL_2), 34999, 35000);
    fake_time_advance(TICKS(4990));
    assert_int_equal(other->rises[0], 0);
    fake_time_advance(TICKS(20));
    assert_int_equal(other->rises[0], 1);
    board_destroy(other);
}

/* An edge that is due while the state is saved comes after loading. */
static void test_due_edge_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(pit_create(&other->bus, bus_gsi(&other->bus, 0), &error), 0);
    board_out(board, CONTROL, ACCESS(BOTH) | MODE(0));
    load(board, CHANNEL_0, 100);
    fake_time_stall(TICKS(200));
    assert_int_equal(board_load(other, "pit", board_save(board, "pit")), 0);
    fake_time_advance(0);
    assert_int_equal(other->rises[0], 1);
    board_destroy(other);
}

static void test_damaged_state_is_refused(void **state)
{
    struct board *board = *state;
    uint8_t *saved = board_save(board, "pit");
    memset(saved, 0xff, 16);
    assert_int_equal(board_load(board, "pit", saved), -EINVAL);
    assert_true(output_2(board)); /* and nothing breaks */
    fake_time_advance(SECONDS(1));
}

#define PIT_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIT_TEST(test_mode_0_interrupts_once),
        PIT_TEST(test_mode_0_first_byte_stops),
        PIT_TEST(test_mode_0_gate_holds),
        PIT_TEST(test_mode_0_waits_for_the_gate),
        PIT_TEST(test_mode_1_is_started_by_the_gate),
        PIT_TEST(test_mode_2_interrupts_each_period),
        PIT_TEST(test_mode_2_keeps_time),
        PIT_TEST(test_mode_2_new_count_waits_for_the_period),
        PIT_TEST(test_mode_2_output_and_gate),
        PIT_TEST(test_mode_3_is_a_square_wave),
        PIT_TEST(test_mode_3_odd_count),
        PIT_TEST(test_mode_4_strobes_once),
        PIT_TEST(test_mode_5_strobes_after_the_gate),
        PIT_TEST(test_modes_6_and_7_are_2_and_3),
        PIT_TEST(test_bcd),
        PIT_TEST(test_bytes_of_a_count),
        PIT_TEST(test_latched_count_stands),
        PIT_TEST(test_read_back),
        PIT_TEST(test_calibration_by_channel_2),
        PIT_TEST(test_shortest_period_is_limited),
        PIT_TEST(test_due_edge_is_not_lost),
        PIT_TEST(test_state_survives),
        PIT_TEST(test_due_edge_survives),
        PIT_TEST(test_damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
