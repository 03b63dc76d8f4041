/* SPDX-License-Identifier: Apache-2.0 */
/* The test device: what suites write comes back, drives lines, ends the machine. */
#include "board.h"

#include "device/test_device.h"

enum { WORD = 0xe0, EXIT = 0xf4, LINES = 0x2000 };
#define MEMORY UINT64_C(0xff000000)

static uint32_t ended_with;

static void ended(void *opaque, uint32_t number)
{
    ended_with = number;
}

static int setup(void **state)
{
    const struct test_device_config config = {.ended = ended};
    struct error error;
    board_setup(state);
    return test_device_create(&((struct board *)*state)->bus, &config, &error);
}

static void test_bytes_come_back_at_any_width(void **state)
{
    struct bus *bus = &((struct board *)*state)->bus;
    bus_write(bus, BUS_PORT, WORD, 0x12345678, 4);
    assert_int_equal(bus_read(bus, BUS_PORT, WORD + 2, 2), 0x1234);
    bus_write(bus, BUS_PORT, WORD + 1, 0xaa, 1);
    assert_int_equal(bus_read(bus, BUS_PORT, WORD, 4), 0x1234aa78);
    bus_write(bus, BUS_MMIO, MEMORY + 0xfff8, 0x1122334455667788, 8);
    assert_int_equal(bus_read(bus, BUS_MMIO, MEMORY + 0xfffc, 4), 0x11223344);
    bus_reset_devices(bus);
    assert_int_equal(bus_read(bus, BUS_PORT, WORD, 4), 0);
}

static void test_lines(void **state)
{
    struct board *board = *state;
    board_out(board, LINES + 23, 1);
    assert_int_equal(board->levels, BIT(23));
    board_out(board, LINES + 23, 0);
    assert_int_equal(board->levels, 0);
}

static void test_exit(void **state)
{
    struct board *board = *state;
    bus_write(&board->bus, BUS_PORT, EXIT, 0x10, 4);
    assert_int_equal(ended_with, 0x10);
    board_out(board, EXIT, 0);
    assert_int_equal(ended_with, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_come_back_at_any_width, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_lines, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_exit, setup, board_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
