/* SPDX-License-Identifier: Apache-2.0 */
/* The flash chip by its commands, as UEFI's variable driver and CFI drivers give them. */
#include "board.h"

#include "device/flash.h"

#define GPA  UINT64_C(0xffc00000)
#define SIZE KIB(64)

enum { PROGRAM = 0x10, ERASE = 0x20, CLEAR = 0x50, STATUS = 0x70, ID = 0x90, QUERY = 0x98 };
enum { CONFIRM = 0xd0, ARRAY = 0xff, READY = 0x80, SEQUENCE_ERROR = 0x30 };

static uint8_t content[SIZE], backing[SIZE];

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    for (unsigned i = 0; i < SIZE; i++)
        content[i] = backing[i] = (uint8_t)(0x80 | i >> 8);
    const struct flash_config config = {
        .gpa = GPA, .size = SIZE, .content = content, .backing = backing};
    assert_int_equal(flash_create(&((struct board *)*state)->bus, &config, &error), 0);
    bus_reset_devices(&((struct board *)*state)->bus);
    return 0;
}

static uint8_t read_byte(struct board *board, unsigned offset)
{
    return (uint8_t)bus_read(&board->bus, BUS_MMIO, GPA + offset, 1);
}

static void write_byte(struct board *board, unsigned offset, uint8_t value)
{
    bus_write(&board->bus, BUS_MMIO, GPA + offset, value, 1);
}

/* How OVMF tells flash from RAM and ROM. */
static void test_is_found(void **state)
{
    write_byte(*state, 0, CLEAR);
    assert_int_equal(read_byte(*state, 0), 0x80); /* neither the command nor a status */
    write_byte(*state, 0, STATUS);
    assert_int_equal(read_byte(*state, 0), 0);
    write_byte(*state, 0, ARRAY);
    assert_int_equal(read_byte(*state, 0x123), 0x81);
    assert_int_equal(bus_read(&((struct board *)*state)->bus, BUS_MMIO, GPA + 0xff, 4), 0x81818180);
}

static void test_program_clears_bits(void **state)
{
    write_byte(*state, 5, PROGRAM);
    write_byte(*state, 5, 0x5f);
    assert_int_equal(read_byte(*state, 5), READY);
    write_byte(*state, 5, PROGRAM);
    write_byte(*state, 5, 0xff);
    write_byte(*state, 5, ARRAY);
    assert_int_equal(read_byte(*state, 5), 0);
    assert_int_equal(backing[5], 0);
    assert_int_equal(backing[6], 0x80);
}

static void test_erase_one_block(void **state)
{
    write_byte(*state, 0x1234, ERASE);
    write_byte(*state, 0x1234, CONFIRM);
    assert_int_equal(read_byte(*state, 0), READY);
    write_byte(*state, 0, ARRAY);
    assert_int_equal(read_byte(*state, 0xfff), 0x8f);
    assert_int_equal(read_byte(*state, 0x1000), 0xff);
    assert_int_equal(read_byte(*state, 0x1fff), 0xff);
    assert_int_equal(read_byte(*state, 0x2000), 0xa0);
    assert_int_equal(backing[0x1800], 0xff);
}

static void test_erase_without_confirmation(void **state)
{
    write_byte(*state, 0, ERASE);
    write_byte(*state, 0, ARRAY);
    assert_int_equal(read_byte(*state, 0), READY | SEQUENCE_ERROR);
    write_byte(*state, 0, CLEAR);
    write_byte(*state, 0, ARRAY);
    assert_int_equal(read_byte(*state, 0), 0x80);
}

static void test_query_and_id(void **state)
{
    write_byte(*state, 0x55, QUERY);
    assert_int_equal(read_byte(*state, 0x10), 'Q');
    assert_int_equal(read_byte(*state, 0x12), 'Y');
    assert_int_equal(read_byte(*state, 0x27), 16);                          /* 2^16 bytes */
    assert_int_equal(read_byte(*state, 0x2d), SIZE / FLASH_BLOCK_SIZE - 1); /* blocks */
    assert_int_equal(read_byte(*state, 0x2f), 16);                          /* of 4096 bytes */
    assert_int_equal(read_byte(*state, SIZE - 1), 0);
    write_byte(*state, 0, ID);
    assert_int_equal(read_byte(*state, 0), 0x89);
    write_byte(*state, 0, 0x77); /* no such command */
    assert_int_equal(read_byte(*state, 0), 0x80);
}

static void test_state(void **state)
{
    struct board *board = *state;
    void *fresh;
    write_byte(board, 0, PROGRAM);
    write_byte(board, 0, 0x40);
    write_byte(board, 1, PROGRAM);
    uint8_t *saved = board_save(board, "flash"), *damaged = board_save(board, "flash");
    damaged[1] = 77; /* no such mode */
    setup(&fresh);
    assert_int_equal(board_load(fresh, "flash", saved), 0);
    assert_int_equal(backing[0], 0);
    write_byte(fresh, 1, 0x7f); /* what is to be programmed */
    write_byte(fresh, 0, ARRAY);
    assert_int_equal(read_byte(fresh, 1), 0);
    assert_int_not_equal(board_load(fresh, "flash", damaged), 0);
    board_teardown(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_is_found, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_program_clears_bits, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_erase_one_block, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_erase_without_confirmation, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_query_and_id, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, board_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
