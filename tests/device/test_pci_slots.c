/* SPDX-License-Identifier: Apache-2.0 */
/* The registers by which PCI devices come and go, and the event that goes with them. */
#include "board.h"

enum { FILLED = PCI_SLOTS_PORT, WANTED = FILLED + 4, RELEASE = FILLED + 8 };
enum { GENERAL_STATUS = ACPI_PM_BASE + 12 };

static struct pci_slots *slots_of(struct board *board)
{
    struct error error;
    struct pci_slots *slots = pci_slots_create(&board->bus, &error);
    assert_non_null(slots);
    assert_int_equal(acpi_power_create(&board->bus, &error), 0);
    return slots;
}

static uint64_t get(struct board *board, uint16_t port, unsigned size)
{
    return bus_read(&board->bus, BUS_PORT, port, size);
}

static void test_announcements_are_read_once(void **state)
{
    struct board *board = *state;
    struct pci_slots *slots = slots_of(board);
    pci_slots_announce(slots, 5, true);
    pci_slots_announce(slots, 31, true);
    pci_slots_announce(slots, 7, false);
    assert_int_equal(get(board, GENERAL_STATUS, 1), BIT(ACPI_EVENT_SLOTS));
    assert_int_equal(get(board, FILLED, 4), BIT(5) | BIT(31));
    assert_int_equal(get(board, FILLED, 4), 0);
    assert_int_equal(get(board, WANTED, 4), BIT(7));
    assert_int_equal(get(board, WANTED, 4), 0);
}

/* Narrow accesses neither answer nor clear. */
static void test_narrow_accesses(void **state)
{
    struct board *board = *state;
    struct pci_slots *slots = slots_of(board);
    pci_slots_announce(slots, 1, true);
    assert_int_equal(get(board, FILLED, 1), 0);
    assert_int_equal(get(board, FILLED, 2), 0);
    assert_int_equal(get(board, RELEASE, 4), 0);
    assert_int_equal(get(board, FILLED, 4), BIT(1));
}

static void note_released(void *opaque, uint32_t slots)
{
    *(uint32_t *)opaque |= slots;
}

static void test_release(void **state)
{
    struct board *board = *state;
    struct pci_slots *slots = slots_of(board);
    uint32_t released = 0;
    bus_write(&board->bus, BUS_PORT, RELEASE, BIT(3), 4); /* nobody listens yet */
    pci_slots_bind(slots, note_released, &released);
    bus_write(&board->bus, BUS_PORT, RELEASE, BIT(9), 1);
    bus_write(&board->bus, BUS_PORT, FILLED, BIT(9), 4);
    assert_int_equal(released, 0);
    bus_write(&board->bus, BUS_PORT, RELEASE, BIT(9) | BIT(10), 4);
    assert_int_equal(released, BIT(9) | BIT(10));
}

static void test_reset_forgets(void **state)
{
    struct board *board = *state;
    struct pci_slots *slots = slots_of(board);
    pci_slots_announce(slots, 5, true);
    pci_slots_announce(slots, 6, false);
    bus_reset_devices(&board->bus);
    assert_int_equal(get(board, FILLED, 4), 0);
    assert_int_equal(get(board, WANTED, 4), 0);
    assert_int_equal(get(board, GENERAL_STATUS, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_announcements_are_read_once, board_setup,
                                        board_teardown),
        cmocka_unit_test_setup_teardown(test_narrow_accesses, board_setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_release, board_setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_reset_forgets, board_setup, board_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
