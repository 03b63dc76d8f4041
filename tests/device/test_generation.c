/* SPDX-License-Identifier: Apache-2.0 */
/* The VM generation id: where it is read, when it is another one, and that the guest hears of it.
 */
#include "board.h"

#define GENERAL_STATUS (ACPI_PM_BASE + 12)

struct id {
    uint64_t halves[2];
};

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    struct bus *bus = &((struct board *)*state)->bus;
    return acpi_power_create(bus, &error) < 0 || generation_create(bus, &error) < 0;
}

static struct id read_id(struct board *board)
{
    struct id id;
    for (unsigned i = 0; i < 2; i++)
        id.halves[i] = bus_read(&board->bus, BUS_MMIO, GENERATION_ADDRESS + 8 * i, 8);
    return id;
}

static void test_guest_cannot_change_it(void **state)
{
    struct board *board = *state;
    struct id id = read_id(board), again;
    bus_write(&board->bus, BUS_MMIO, GENERATION_ADDRESS, ~id.halves[0], 8);
    again = read_id(board);
    assert_memory_equal(&id, &again, sizeof(id));
    assert_int_equal(bus_read(&board->bus, BUS_MMIO, GENERATION_ADDRESS + 3, 1),
                     id.halves[0] >> 24 & 0xff);
    assert_int_equal(bus_read(&board->bus, BUS_MMIO, GENERATION_ADDRESS + 16, 8), 0);
}

static void test_machines_differ(void **state)
{
    struct board *other = NULL;
    assert_int_equal(setup((void **)&other), 0);
    struct id id = read_id(*state), others = read_id(other);
    assert_memory_not_equal(&id, &others, sizeof(id));
    board_destroy(other);
}

/* A state takes the id along; who goes on from it gets a new one, and an event. */
static void test_renewed_after_a_restore(void **state)
{
    struct board *board = *state, *other = NULL;
    assert_int_equal(setup((void **)&other), 0);
    struct id id = read_id(board), loaded, renewed;
    assert_int_equal(board_load(other, "generation", board_save(board, "generation")), 0);
    loaded = read_id(other);
    assert_memory_equal(&id, &loaded, sizeof(id));
    assert_int_equal(board_in(other, GENERAL_STATUS), 0);
    generation_renew(&other->bus);
    renewed = read_id(other);
    assert_memory_not_equal(&id, &renewed, sizeof(id));
    assert_int_equal(board_in(other, GENERAL_STATUS), BIT(ACPI_EVENT_GENERATION));
    board_destroy(other);
}

#define GENERATION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        GENERATION_TEST(test_guest_cannot_change_it),
        GENERATION_TEST(test_machines_differ),
        GENERATION_TEST(test_renewed_after_a_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
