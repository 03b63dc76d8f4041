/* SPDX-License-Identifier: Apache-2.0 */
/* ACPI's fixed hardware: events and control in accesses of every width, the PM timer, resets. */
#include "board.h"

enum {
    STATUS = ACPI_PM_BASE,
    ENABLE = STATUS + 2,
    CONTROL = STATUS + 4,
    TIMER = STATUS + 8,
    GENERAL_STATUS = STATUS + 12,
    GENERAL_ENABLE = STATUS + 13,
};
#define TIMER_EVENT  BIT(0)
#define POWER_BUTTON BIT(8)
#define SCI_ENABLE   BIT(0)
#define SLEEP_S5     (5u << 10 | BIT(13))
#define TIMER_HZ     3579545

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    return acpi_power_create(&((struct board *)*state)->bus, &error);
}

static uint64_t get(struct board *board, uint16_t port, unsigned size)
{
    return bus_read(&board->bus, BUS_PORT, port, size);
}

static void put(struct board *board, uint16_t port, uint64_t value, unsigned size)
{
    bus_write(&board->bus, BUS_PORT, port, value, size);
}

static bool sci(const struct board *board)
{
    return board->levels >> ACPI_SCI & 1;
}

static void test_power_button(void **state)
{
    struct board *board = *state;
    acpi_power_button(&board->bus);
    assert_int_equal(get(board, STATUS, 2), POWER_BUTTON);
    assert_false(sci(board));
    put(board, ENABLE, POWER_BUTTON, 2);
    assert_true(sci(board));
    put(board, STATUS, TIMER_EVENT, 2); /* another event */
    assert_true(sci(board));
    put(board, STATUS, POWER_BUTTON, 2);
    assert_false(sci(board));
    assert_int_equal(get(board, STATUS, 2), 0);
}

/* Status and enable in one access of four bytes, and in single bytes. */
static void test_widths_of_the_event_block(void **state)
{
    struct board *board = *state;
    acpi_power_button(&board->bus);
    put(board, STATUS, (uint64_t)POWER_BUTTON << 16, 4);
    assert_int_equal(get(board, STATUS, 4), POWER_BUTTON << 16 | POWER_BUTTON);
    put(board, STATUS, 0xff, 1); /* the low byte: not the button's */
    assert_true(sci(board));
    put(board, ENABLE, 0xff, 1);
    assert_int_equal(get(board, ENABLE + 1, 1), POWER_BUTTON >> 8);
    put(board, STATUS + 1, POWER_BUTTON >> 8, 1);
    assert_false(sci(board));
    put(board, ENABLE + 1, 0, 1);
    assert_int_equal(get(board, ENABLE, 2), 0xff);
}

static void test_power_off(void **state)
{
    struct board *board = *state;
    assert_int_equal(get(board, CONTROL, 2), SCI_ENABLE);
    put(board, CONTROL, SLEEP_S5 & ~BIT(13), 2); /* the type alone */
    put(board, CONTROL, 4u << 10 | BIT(13), 2);  /* a type that does not exist */
    assert_int_equal(board->power_requests, 0);
    put(board, CONTROL, SLEEP_S5 | SCI_ENABLE, 2);
    assert_int_equal(board->power_requests, 1);
    assert_int_equal(board->power, BUS_POWER_OFF);
    assert_int_equal(get(board, CONTROL, 2) & BIT(13), 0);
}

static void test_power_off_by_one_byte(void **state)
{
    struct board *board = *state;
    put(board, CONTROL + 1, SLEEP_S5 >> 8, 1);
    assert_int_equal(board->power_requests, 1);
    assert_int_equal(get(board, CONTROL, 1), SCI_ENABLE); /* the other byte stays */
}

static void test_timer(void **state)
{
    struct board *board = *state;
    assert_int_equal(get(board, TIMER, 4), 0);
    fake_time_advance(SECONDS(1));
    assert_int_equal(get(board, TIMER, 4), TIMER_HZ);
    put(board, TIMER, 0, 4);
    assert_int_equal(get(board, TIMER, 4), TIMER_HZ);
    fake_time_advance(SECONDS(9)); /* 24 bits */
    assert_int_equal(get(board, TIMER, 4), 10 * TIMER_HZ & 0xffffff);
    assert_int_equal(get(board, TIMER + 1, 1), (10 * TIMER_HZ & 0xffffff) >> 8 & 0xff);
}

/* Each change of the highest bit is an event. */
static void test_timer_event(void **state)
{
    struct board *board = *state;
    uint64_t half = SECONDS(BIT(23)) / TIMER_HZ;
    assert_int_equal(fake_time_armed(), 0);
    fake_time_advance(half + 10);
    assert_int_equal(get(board, STATUS, 2), TIMER_EVENT);
    put(board, STATUS, TIMER_EVENT, 2);
    assert_int_equal(get(board, STATUS, 2), 0);
    put(board, ENABLE, TIMER_EVENT, 2);
    fake_time_advance(half - 100);
    assert_false(sci(board));
    fake_time_advance(100);
    assert_true(sci(board));
    put(board, STATUS, TIMER_EVENT, 2);
    assert_false(sci(board));
    fake_time_advance(half);
    assert_int_equal(board->rises[ACPI_SCI], 2);
}

static void test_resets(void **state)
{
    static const struct {
        uint16_t port;
        uint8_t value;
        bool resets;
    } writes[] = {{0x92, 0x01, true}, {0x92, 0x02, false}, {0x92, 0x03, true}};
    struct board *board = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        unsigned before = board->power_requests;
        board_out(board, writes[i].port, writes[i].value);
        assert_int_equal(board->power_requests - before, writes[i].resets);
    }
    assert_int_equal(board->power, BUS_POWER_RESET);
}

static void test_a20(void **state)
{
    struct board *board = *state;
    void *fresh;
    assert_int_equal(board_in(board, 0x92), 2);
    board_out(board, 0x92, 0);
    assert_true(atomic_load(&board->memory->a20_closed));
    assert_int_equal(board_in(board, 0x92), 0);
    uint8_t *saved = board_save(board, "acpi-power");
    bus_reset_devices(&board->bus);
    assert_false(atomic_load(&board->memory->a20_closed));
    setup(&fresh);
    assert_int_equal(board_load(fresh, "acpi-power", saved), 0);
    assert_true(atomic_load(&((struct board *)fresh)->memory->a20_closed));
    board_teardown(&fresh);
}

static void test_general_events(void **state)
{
    struct board *board = *state;
    const uint8_t bit = BIT(ACPI_EVENT_GENERATION);
    acpi_general_event(&board->bus, ACPI_EVENT_GENERATION);
    assert_int_equal(board_in(board, GENERAL_STATUS), bit);
    assert_false(sci(board));
    board_out(board, GENERAL_ENABLE, bit);
    assert_true(sci(board));
    board_out(board, GENERAL_STATUS, (uint8_t)~bit); /* other events */
    assert_true(sci(board));
    board_out(board, GENERAL_STATUS, bit);
    assert_false(sci(board));
    assert_int_equal(get(board, GENERAL_STATUS, 2), bit << 8);
    assert_int_equal(get(board, STATUS, 2), 0);
}

static void test_panic(void **state)
{
    struct board *board = *state;
    assert_int_equal(board_in(board, PVPANIC_PORT), 1);
    board_out(board, PVPANIC_PORT, 2);
    assert_int_equal(board->power_requests, 0);
    board_out(board, PVPANIC_PORT, 1);
    assert_int_equal(board->power, BUS_POWER_PANIC);
}

static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(acpi_power_create(&other->bus, &error), 0);
    put(board, ENABLE, POWER_BUTTON | TIMER_EVENT, 2);
    acpi_power_button(&board->bus);
    fake_time_advance(SECONDS(1));
    uint8_t *saved = board_save(board, "acpi-power");
    fake_time_stall(SECONDS(1000));
    assert_int_equal(board_load(other, "acpi-power", saved), 0);
    assert_true(sci(other));
    assert_int_equal(get(other, TIMER, 4), TIMER_HZ);
    assert_int_equal(get(other, STATUS, 2), POWER_BUTTON);
    board_destroy(other);
}

#define POWER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        POWER_TEST(test_power_button),
        POWER_TEST(test_widths_of_the_event_block),
        POWER_TEST(test_power_off),
        POWER_TEST(test_power_off_by_one_byte),
        POWER_TEST(test_timer),
        POWER_TEST(test_timer_event),
        POWER_TEST(test_resets),
        POWER_TEST(test_panic),
        POWER_TEST(test_state_survives),
        POWER_TEST(test_general_events),
        POWER_TEST(test_a20),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
