/* SPDX-License-Identifier: Apache-2.0 */
/* Shadow RAM by the host bridge's PAM registers: what reads see, and where writes go. */
#include "board.h"

#include "device/bridges.h"

#define ROM_SIZE KIB(256)
#define PAM(n)   (0x59u + (n))

static uint8_t rom[ROM_SIZE];
static unsigned mapping_changes;

static void count_change(void *opaque)
{
    mapping_changes++;
}

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    struct board *board = *state;
    for (unsigned i = 0; i < ROM_SIZE; i++)
        rom[i] = (uint8_t)(i >> 10);
    board->bus.mapping_sink = count_change;
    struct pci_bus *pci = pci_bus_create(&board->bus, &error);
    assert_int_equal(memory_add_rom(board->memory, rom, ROM_SIZE, &error), 0);
    assert_int_equal(bridges_create(pci, &error), 0);
    bus_reset_devices(&board->bus);
    return 0;
}

static void set_pam(struct board *board, unsigned number, uint8_t value)
{
    bus_write(&board->bus, BUS_PORT, 0xcf8, BIT(31) | (PAM(number) & 0xfc), 4);
    bus_write(&board->bus, BUS_PORT, 0xcfc + (PAM(number) & 3), value, 1);
}

static uint8_t seen(const struct board *board, uint64_t gpa)
{
    uint8_t byte;
    assert_int_equal(memory_read(board->memory, gpa, &byte, 1), 0);
    return byte;
}

/* As a CPU's store does. */
static void store(struct board *board, uint64_t gpa, uint8_t value)
{
    if (memory_page_flags(board->memory, gpa) & MEMORY_PAGE_ROM)
        bus_write(&board->bus, BUS_MMIO, gpa, value, 1);
    else
        memory_write(board->memory, gpa, &value, 1);
}

static void test_reset_shows_the_end_of_the_rom(void **state)
{
    const struct board *board = *state;
    assert_int_equal(seen(board, 0xfffff), 0xff);
    assert_int_equal(seen(board, 0xe0000), 0x80);
    assert_int_equal(seen(board, 0xdffff), 0xff); /* nothing there */
    assert_int_equal(seen(board, MEMORY_HIGH_START - ROM_SIZE), 0);
}

static void test_writes_to_rom_are_lost(void **state)
{
    struct board *board = *state;
    store(board, 0xe0000, 1);
    assert_int_equal(seen(board, 0xe0000), 0x80);
    set_pam(board, 0, 0x30);
    set_pam(board, 5, 0x33);
    assert_int_equal(seen(board, 0xe0000), 0);
}

/* The way old firmware copies itself: read ROM, write RAM. */
static void test_write_only_goes_to_ram(void **state)
{
    struct board *board = *state;
    set_pam(board, 5, 0x02);
    store(board, 0xe0010, 0x5a);
    assert_int_equal(seen(board, 0xe0010), 0x80);
    set_pam(board, 5, 0x01);
    assert_int_equal(seen(board, 0xe0010), 0x5a);
    store(board, 0xe0010, 0x11); /* read only */
    assert_int_equal(seen(board, 0xe0010), 0x5a);
    set_pam(board, 5, 0x03);
    store(board, 0xe0010, 0x22);
    assert_int_equal(seen(board, 0xe0010), 0x22);
    assert_int_equal(seen(board, 0xe4000), 0x90); /* the other half of the register */
}

static void test_ram_keeps_its_bytes_behind_the_rom(void **state)
{
    struct board *board = *state;
    set_pam(board, 0, 0x30);
    store(board, 0xf1234, 0x77);
    set_pam(board, 0, 0);
    assert_int_equal(seen(board, 0xf1234), 0xc4);
    set_pam(board, 0, 0x30);
    assert_int_equal(seen(board, 0xf1234), 0x77);
}

static void test_cpus_are_told(void **state)
{
    struct board *board = *state;
    mapping_changes = 0;
    set_pam(board, 1, 0x30);
    assert_int_equal(mapping_changes, 1);
    set_pam(board, 1, 0x30);
    assert_int_equal(mapping_changes, 1);
}

static void test_state_keeps_hidden_ram(void **state)
{
    struct board *board = *state;
    void *fresh;
    set_pam(board, 5, 0x02);
    store(board, 0xe0010, 0x5a);
    uint8_t *saved = board_save(board, "shadow");
    setup(&fresh);
    assert_int_equal(board_load(fresh, "shadow", saved), 0);
    store(fresh, 0xe0011, 0x5b);
    set_pam(fresh, 5, 0x03);
    assert_int_equal(seen(fresh, 0xe0010), 0x5a);
    assert_int_equal(seen(fresh, 0xe0011), 0x5b);
    board_teardown(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_reset_shows_the_end_of_the_rom, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_writes_to_rom_are_lost, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_write_only_goes_to_ram, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_ram_keeps_its_bytes_behind_the_rom, setup,
                                        board_teardown),
        cmocka_unit_test_setup_teardown(test_cpus_are_told, setup, board_teardown),
        cmocka_unit_test_setup_teardown(test_state_keeps_hidden_ram, setup, board_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
