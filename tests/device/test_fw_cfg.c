/* SPDX-License-Identifier: Apache-2.0 */
/* fw_cfg as SeaBIOS and OVMF use it: by port, and by DMA. */
#include "board.h"

#include "device/fw_cfg.h"

enum { SELECTOR = 0x510, DATA = 0x511, DMA_HIGH = 0x514, DMA_LOW = 0x518 };
enum { DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16 };
#define RECORD 0x1000
#define BUFFER 0x2000

static const uint8_t content[] = "0123456789";

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    struct fw_cfg *fw_cfg = fw_cfg_create(&((struct board *)*state)->bus, &error);
    assert_non_null(fw_cfg);
    assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/first", content, 10, &error), 0);
    assert_int_equal(fw_cfg_add_file(fw_cfg, "etc/second", content, 3, &error), 0);
    bus_reset_devices(&((struct board *)*state)->bus);
    return 0;
}

static void read_item(struct board *board, uint16_t key, uint8_t *bytes, unsigned size)
{
    bus_write(&board->bus, BUS_PORT, SELECTOR, key, 2);
    for (unsigned i = 0; i < size; i++)
        bytes[i] = board_in(board, DATA);
}

/* Runs a DMA record; returns what stands in its control field then. */
static uint32_t dma(struct board *board, uint32_t control, uint32_t length, uint64_t address)
{
    uint8_t record[16];
    store_be(record, control, 4);
    store_be(record + 4, length, 4);
    store_be(record + 8, address, 8);
    memory_write(board->memory, RECORD, record, sizeof(record));
    bus_write(&board->bus, BUS_PORT, DMA_HIGH, 0, 4);
    bus_write(&board->bus, BUS_PORT, DMA_LOW, __builtin_bswap32(RECORD), 4);
    memory_read(board->memory, RECORD, record, 4);
    return (uint32_t)load_be(record, 4);
}

static void test_signature_and_directory(void **state)
{
    uint8_t bytes[4 + 2 * 64];
    read_item(*state, FW_CFG_SIGNATURE, bytes, 5);
    assert_memory_equal(bytes, "QEMU\0", 5);
    read_item(*state, FW_CFG_ID, bytes, 4);
    assert_int_equal(load_le(bytes, 4), 3);
    read_item(*state, FW_CFG_DIRECTORY, bytes, sizeof(bytes));
    assert_int_equal(load_be(bytes, 4), 2);
    assert_int_equal(load_be(bytes + 4, 4), 10);
    assert_int_equal(load_be(bytes + 8, 2), FW_CFG_FILES);
    assert_string_equal((char *)bytes + 12, "etc/first");
    assert_string_equal((char *)bytes + 76, "etc/second");
}

static void test_bytes_end_in_zeroes(void **state)
{
    uint8_t bytes[6];
    read_item(*state, FW_CFG_FILES + 1, bytes, sizeof(bytes));
    assert_memory_equal(bytes, "012\0\0\0", 6);
    read_item(*state, 0x7777, bytes, 2); /* no such item */
    assert_memory_equal(bytes, "\0\0", 2);
}

static void test_dma(void **state)
{
    struct board *board = *state;
    uint8_t bytes[16];
    assert_int_equal(bus_read(&board->bus, BUS_PORT, DMA_HIGH, 4), 0x554d4551);
    assert_int_equal(bus_read(&board->bus, BUS_PORT, DMA_LOW, 4), 0x47464320);
    assert_int_equal(dma(board, FW_CFG_FILES << 16 | DMA_SELECT | DMA_SKIP, 2, 0), 0);
    assert_int_equal(dma(board, DMA_READ, 3, BUFFER), 0);
    memory_read(board->memory, BUFFER, bytes, 4);
    assert_memory_equal(bytes, "234\0", 4);
    memset(bytes, 0xff, sizeof(bytes));
    memory_write(board->memory, BUFFER, bytes, sizeof(bytes));
    assert_int_equal(dma(board, DMA_READ, 8, BUFFER), 0);
    memory_read(board->memory, BUFFER, bytes, 9);
    assert_memory_equal(bytes, "56789\0\0\0\xff", 9);
}

static void test_dma_outside_ram_is_an_error(void **state)
{
    struct board *board = *state;
    assert_int_equal(dma(board, FW_CFG_FILES << 16 | DMA_SELECT | DMA_READ, 10, MIB(1) - 5), 1);
    assert_int_equal(dma(board, DMA_READ, UINT32_MAX, BUFFER), DMA_ERROR);
    assert_int_equal(dma(board, DMA_READ, 10, ~UINT64_C(0)), DMA_ERROR);
    assert_int_equal(dma(board, DMA_WRITE, 3, BUFFER), DMA_ERROR);
    bus_write(&board->bus, BUS_PORT, DMA_HIGH, ~0u, 4); /* the record itself */
    bus_write(&board->bus, BUS_PORT, DMA_LOW, ~0u, 4);
}

static void test_skip_stops_at_the_end(void **state)
{
    struct board *board = *state;
    assert_int_equal(dma(board, FW_CFG_FILES << 16 | DMA_SELECT | DMA_SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(dma(board, DMA_SKIP, UINT32_MAX, 0), 0);
    assert_int_equal(board_in(board, DATA), 0);
}

static void test_state(void **state)
{
    struct board *board = *state;
    void *fresh;
    assert_int_equal(dma(board, FW_CFG_FILES << 16 | DMA_SELECT | DMA_SKIP, 4, 0), 0);
    uint8_t *saved = board_save(board, "fw-cfg"), *damaged = board_save(board, "fw-cfg");
    damaged[2] = 11; /* past the end */
    setup(&fresh);
    assert_int_equal(board_load(fresh, "fw-cfg", saved), 0);
    assert_int_equal(board_in(fresh, DATA), '4');
    assert_int_not_equal(board_load(fresh, "fw-cfg", damaged), 0);
    board_teardown(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_signature_and_directory, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_bytes_end_in_zeroes, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_dma, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_dma_outside_ram_is_an_error, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_skip_stops_at_the_end, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_state, setup, board_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
