/* SPDX-License-Identifier: Apache-2.0 */
/* The HPET by its registers. Its counter ticks every 10 ns. */
#include "device/hpet.h"

#include "board.h"

enum { CAPABILITIES = 0, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0 };
enum { ENABLE = 1, LEGACY = 2 };
enum { T_LEVEL = 2, T_ENABLE = 4, T_PERIODIC = 8, T_SET = 0x40, T_32BIT = 0x100 };

#define TICKS(n)       ((uint64_t)(n)*10)
#define T_CONFIG(n)    (0x100 + 0x20 * (n))
#define COMPARATOR(n)  (0x108 + 0x20 * (n))
#define ROUTE(gsi)     ((uint64_t)(gsi) << 9)
#define PIT_LINE       0
#define RTC_LINE       8
#define PERIODIC_TIMER (T_ENABLE | T_PERIODIC | T_SET | ROUTE(20))

static struct irq_line legacy[HPET_LEGACY_COUNT];

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    return hpet_create(&((struct board *)*state)->bus, legacy, &error);
}

static uint64_t get(struct board *board, unsigned offset)
{
    return bus_read(&board->bus, BUS_MMIO, HPET_ADDRESS + offset, 8);
}

static void put(struct board *board, unsigned offset, uint64_t value)
{
    bus_write(&board->bus, BUS_MMIO, HPET_ADDRESS + offset, value, 8);
}

static void test_capabilities(void **state)
{
    struct board *board = *state;
    uint64_t capabilities = get(board, CAPABILITIES);
    assert_int_equal(capabilities & 0xff, 1);                  /* revision, never 0 */
    assert_int_equal((capabilities >> 8 & 31) + 1, 3);         /* comparators */
    assert_int_equal(capabilities >> 13 & 1, 1);               /* 64 bits */
    assert_int_equal(capabilities >> 15 & 1, 1);               /* legacy replacement */
    assert_int_equal(capabilities >> 32, 10000000);            /* femtoseconds a tick */
    assert_int_equal(get(board, T_CONFIG(0)) & 0x8000, 0);     /* no FSB delivery */
    assert_int_equal(get(board, T_CONFIG(2)) >> 32, 0xf00000); /* GSI 20 to 23 */
    assert_int_equal(get(board, T_CONFIG(3)), 0);              /* there is no fourth */
    put(board, CAPABILITIES, 0);
    assert_int_equal(get(board, CAPABILITIES), capabilities);
}

static void test_counter_runs_only_when_enabled(void **state)
{
    struct board *board = *state;
    put(board, COUNTER, 1000);
    fake_time_advance(TICKS(50));
    assert_int_equal(get(board, COUNTER), 1000);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(50));
    assert_int_equal(get(board, COUNTER), 1050);
    put(board, CONFIG, 0);
    fake_time_advance(TICKS(50));
    assert_int_equal(get(board, COUNTER), 1050);
}

static void test_halves_of_a_register(void **state)
{
    struct board *board = *state;
    bus_write(&board->bus, BUS_MMIO, HPET_ADDRESS + COUNTER + 4, 0x11112222, 4);
    bus_write(&board->bus, BUS_MMIO, HPET_ADDRESS + COUNTER, 0x33334444, 4);
    assert_int_equal(get(board, COUNTER), UINT64_C(0x1111222233334444));
    assert_int_equal(bus_read(&board->bus, BUS_MMIO, HPET_ADDRESS + COUNTER + 4, 4), 0x11112222);
    assert_int_equal(bus_read(&board->bus, BUS_MMIO, HPET_ADDRESS + COUNTER + 2, 1), 0x33);
}

static void test_one_shot_edge(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(1), T_ENABLE | ROUTE(21));
    put(board, COMPARATOR(1), 100);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(99));
    assert_int_equal(board->rises[21], 0);
    fake_time_advance(TICKS(1));
    assert_int_equal(board->rises[21], 1);
    assert_int_equal(get(board, STATUS), 0); /* edges leave no status */
    fake_time_advance(SECONDS(100));
    assert_int_equal(board->rises[21], 1);
    assert_int_equal(get(board, COMPARATOR(1)), 100);
}

/* The low half of the counter meets a 32-bit comparator each time it comes round. */
static void test_one_shot_of_32_bits_comes_again(void **state)
{
    struct board *board = *state;
    put(board, COUNTER, 0xfffffff0);
    put(board, T_CONFIG(0), T_ENABLE | T_32BIT | ROUTE(20));
    put(board, COMPARATOR(0), UINT64_C(0x5500000010));
    assert_int_equal(get(board, COMPARATOR(0)), 0x10);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(0x20));
    assert_int_equal(board->rises[20], 1);
    fake_time_advance(TICKS(BIT(32)));
    assert_int_equal(board->rises[20], 2);
}

/* Linux reads the counter back after setting the comparator: what has passed must not fire. */
static void test_comparator_in_the_past_waits(void **state)
{
    struct board *board = *state;
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(1000));
    put(board, T_CONFIG(0), T_ENABLE | ROUTE(20));
    put(board, COMPARATOR(0), 900);
    fake_time_advance(SECONDS(60));
    assert_int_equal(board->rises[20], 0);
}

static void test_level_stays_until_cleared(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(2), T_ENABLE | T_LEVEL | ROUTE(22));
    put(board, COMPARATOR(2), 10);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(20));
    assert_int_equal(board->levels, BIT(22));
    assert_int_equal(get(board, STATUS), BIT(2));
    put(board, STATUS, BIT(0));
    assert_int_equal(board->levels, BIT(22));
    put(board, STATUS, BIT(2));
    assert_int_equal(board->levels, 0);
    assert_int_equal(get(board, STATUS), 0);
}

/* A level timer whose interrupt is off still shows its status, and interrupts when turned on. */
static void test_status_without_interrupt(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), T_LEVEL | ROUTE(20));
    put(board, COMPARATOR(0), 10);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(20));
    assert_int_equal(fake_time_armed(), 0);
    assert_int_equal(get(board, STATUS), BIT(0));
    assert_int_equal(board->levels, 0);
    put(board, T_CONFIG(0), T_LEVEL | T_ENABLE | ROUTE(20));
    assert_int_equal(board->levels, BIT(20));
}

static void test_periodic(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), 10000);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(10000 * 5));
    assert_int_equal(board->rises[20], 5);
    assert_int_equal(get(board, COMPARATOR(0)), 60000);
    put(board, T_CONFIG(0), T_PERIODIC | ROUTE(20));
    fake_time_advance(TICKS(10000 * 5));
    assert_int_equal(board->rises[20], 5);
    assert_int_equal(fake_time_armed(), 0);
}

/* The way Linux does it: first match, then the period with a second write. */
static void test_periodic_with_a_first_match_of_its_own(void **state)
{
    struct board *board = *state;
    put(board, CONFIG, ENABLE);
    put(board, T_CONFIG(0), PERIODIC_TIMER | T_32BIT);
    put(board, COMPARATOR(0), 50000);
    put(board, COMPARATOR(0), 10000);
    fake_time_advance(TICKS(49999));
    assert_int_equal(board->rises[20], 0);
    fake_time_advance(TICKS(1 + 10000 * 2));
    assert_int_equal(board->rises[20], 3);
}

/* A period written in halves, after the counter has outgrown 32 bits. */
static void test_half_of_a_period(void **state)
{
    struct board *board = *state;
    put(board, COUNTER, BIT(33));
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), BIT(33) + 5000);
    put(board, T_CONFIG(0), PERIODIC_TIMER & ~T_SET);
    bus_write(&board->bus, BUS_MMIO, HPET_ADDRESS + COMPARATOR(0) + 4, 0, 4);
    bus_write(&board->bus, BUS_MMIO, HPET_ADDRESS + COMPARATOR(0), 10000, 4);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(25000));
    assert_int_equal(board->rises[20], 3);
    assert_int_equal(get(board, COMPARATOR(0)), BIT(33) + 35000);
}

/* Periods that the host missed are skipped: one interrupt, and no drift. */
static void test_missed_periods_merge(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), 10000);
    put(board, CONFIG, ENABLE);
    fake_time_stall(TICKS(10000 * 7 + 5000));
    fake_time_advance(0);
    assert_int_equal(board->rises[20], 1);
    assert_int_equal(get(board, COMPARATOR(0)), 80000);
    fake_time_advance(TICKS(5000));
    assert_int_equal(board->rises[20], 2);
}

/* A period of one tick must not keep the event loop busy. */
static void test_shortest_period_is_limited(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), 1);
    put(board, CONFIG, ENABLE);
    fake_time_advance(MILLISECONDS(10));
    assert_in_range(board->rises[20], 100, 1000);
}

static void test_unknown_route_does_not_read_back(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), ROUTE(23));
    put(board, T_CONFIG(0), ROUTE(5));
    assert_int_equal(get(board, T_CONFIG(0)) & ROUTE(31), ROUTE(23));
}

static void test_legacy_replacement(void **state)
{
    struct board *board = *state;
    irq_set(&legacy[HPET_LEGACY_PIT], 1);
    irq_set(&legacy[HPET_LEGACY_RTC], 1);
    assert_int_equal(board->levels, BIT(PIT_LINE) | BIT(RTC_LINE));
    put(board, CONFIG, LEGACY); /* alone it does nothing */
    assert_int_equal(board->levels, BIT(PIT_LINE) | BIT(RTC_LINE));
    put(board, T_CONFIG(0), T_ENABLE);
    put(board, T_CONFIG(1), T_ENABLE | T_LEVEL);
    put(board, COMPARATOR(0), 10);
    put(board, COMPARATOR(1), 20);
    put(board, CONFIG, LEGACY | ENABLE);
    assert_int_equal(board->levels, 0);
    irq_set(&legacy[HPET_LEGACY_PIT], 0);
    irq_set(&legacy[HPET_LEGACY_PIT], 1);
    assert_int_equal(board->levels, 0);
    fake_time_advance(TICKS(10));
    assert_int_equal(board->rises[PIT_LINE], 2);
    assert_int_equal(board->rises[RTC_LINE], 1);
    fake_time_advance(TICKS(10));
    assert_int_equal(board->levels, BIT(PIT_LINE) | BIT(RTC_LINE));
    put(board, STATUS, BIT(1));
    assert_int_equal(board->levels, BIT(PIT_LINE));
    irq_set(&legacy[HPET_LEGACY_PIT], 0);
    put(board, CONFIG, ENABLE); /* the lines go back: the RTC's is still high */
    assert_int_equal(board->levels, BIT(RTC_LINE));
}

static void test_reset(void **state)
{
    struct board *board = *state;
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), 10000);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(10000));
    bus_reset_devices(&board->bus);
    assert_int_equal(board->levels, 0);
    assert_int_equal(fake_time_armed(), 0);
    assert_int_equal(get(board, COUNTER), 0);
    assert_int_equal(get(board, CONFIG), 0);
    assert_int_equal(get(board, COMPARATOR(0)), UINT64_MAX);
}

/* Loaded much later, perhaps on another host: counts go on where they stood. */
static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct irq_line lines[HPET_LEGACY_COUNT];
    struct error error;
    put(board, T_CONFIG(0), PERIODIC_TIMER);
    put(board, COMPARATOR(0), 10000);
    put(board, CONFIG, ENABLE);
    fake_time_advance(TICKS(14000));
    uint8_t *saved = board_save(board, "hpet");
    fake_time_stall(SECONDS(1000));
    assert_int_equal(hpet_create(&other->bus, lines, &error), 0);
    assert_int_equal(board_load(other, "hpet", saved), 0);
    assert_int_equal(get(other, COUNTER), 14000);
    fake_time_advance(TICKS(5999));
    assert_int_equal(other->rises[20], 0);
    fake_time_advance(TICKS(10001));
    assert_int_equal(other->rises[20], 2);
    board_destroy(other);
}

/* A match that was due when the state was saved fires after loading. */
static void test_due_match_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct irq_line lines[HPET_LEGACY_COUNT];
    struct error error;
    put(board, T_CONFIG(0), T_ENABLE | ROUTE(20));
    put(board, COMPARATOR(0), 100);
    put(board, CONFIG, ENABLE);
    fake_time_stall(TICKS(100));
    uint8_t *saved = board_save(board, "hpet");
    assert_int_equal(hpet_create(&other->bus, lines, &error), 0);
    assert_int_equal(board_load(other, "hpet", saved), 0);
    fake_time_advance(TICKS(1));
    assert_int_equal(other->rises[20], 1);
    board_destroy(other);
}

#define HPET_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HPET_TEST(test_capabilities),
        HPET_TEST(test_counter_runs_only_when_enabled),
        HPET_TEST(test_halves_of_a_register),
        HPET_TEST(test_one_shot_edge),
        HPET_TEST(test_one_shot_of_32_bits_comes_again),
        HPET_TEST(test_comparator_in_the_past_waits),
        HPET_TEST(test_level_stays_until_cleared),
        HPET_TEST(test_status_without_interrupt),
        HPET_TEST(test_periodic),
        HPET_TEST(test_periodic_with_a_first_match_of_its_own),
        HPET_TEST(test_half_of_a_period),
        HPET_TEST(test_missed_periods_merge),
        HPET_TEST(test_shortest_period_is_limited),
        HPET_TEST(test_unknown_route_does_not_read_back),
        HPET_TEST(test_legacy_replacement),
        HPET_TEST(test_reset),
        HPET_TEST(test_state_survives),
        HPET_TEST(test_due_match_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
