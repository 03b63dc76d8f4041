/* SPDX-License-Identifier: Apache-2.0 */
/* The IDE controller and its disk, by its registers: a disk first on the primary channel. CD-ROM:
 * test_ide_cdrom.c. */
#include "ide_board.h"

#include <errno.h>

#define SECTORS 2048

static int setup(void **state)
{
    *state = ide_board_create(SECTORS * 512, false);
    return 0;
}

static void check_bytes(const uint8_t *bytes, uint64_t offset, uint32_t length)
{
    for (uint32_t i = 0; i < length; i++)
        assert_int_equal(bytes[i], ram_block_byte(offset + i));
}

static void absent_drives_do_not_answer(void **state)
{
    struct ide_board *ide = *state;
    assert_int_equal(board_in(ide->board, 0x177), 0xff);
    board_out(ide->board, 0x172, 0x55);
    assert_int_equal(board_in(ide->board, 0x172), 0xff);
    ide_out(ide, IDE_DEVICE, 0x10);
    assert_int_equal(ide_in(ide, IDE_STATUS), 0);
    ide_command(ide, 0xec);
    assert_int_equal(ide_in(ide, IDE_STATUS), 0);
    ide_out(ide, IDE_DEVICE, 0);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

static void identify_says_size_and_name(void **state)
{
    struct ide_board *ide = *state;
    uint8_t words[512];
    ide_command(ide, 0xec);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_DRQ);
    assert_false(ide_interrupts(ide));
    ide_read_data(ide, words, sizeof(words));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    assert_memory_equal(words + 27 * 2, "anrc eidks", 10);
    assert_int_equal(load_le(words + 60 * 2, 4), SECTORS);
    assert_int_equal(load_le(words + 100 * 2, 8), SECTORS);
    assert_int_equal(load_le(words + 63 * 2, 2), 7);
}

static void pio_reads_interrupt_for_each_sector(void **state)
{
    struct ide_board *ide = *state;
    uint8_t sector[512];
    ide_address(ide, 100, 200); /* more than the buffer holds */
    ide_command(ide, 0x20);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_BSY);
    for (unsigned i = 0; i < 200; i++) {
        ide_settle(ide);
        assert_true(ide_interrupts(ide));
        assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_DRQ);
        ide_read_data(ide, sector, sizeof(sector));
        check_bytes(sector, (100 + i) * 512, 512);
    }
    assert_false(ide_interrupts(ide));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

static void multiple_reads_move_several_sectors(void **state)
{
    struct ide_board *ide = *state;
    uint8_t bytes[8 * 512];
    ide_command(ide, 0xc4); /* no multiple was set */
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    ide_out(ide, IDE_COUNT, 8);
    ide_command(ide, 0xc6);
    ide_address(ide, 3, 12);
    ide_command(ide, 0xc4);
    ide_settle(ide);
    ide_read_data(ide, bytes, sizeof(bytes));
    check_bytes(bytes, 3 * 512, sizeof(bytes));
    assert_true(ide_interrupts(ide));
    ide_read_data(ide, bytes, 4 * 512);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    ide_out(ide, IDE_COUNT, 3);
    ide_command(ide, 0xc6); /* no power of two */
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_ABRT);
}

static void pio_writes_reach_the_medium(void **state)
{
    struct ide_board *ide = *state;
    uint8_t sector[512];
    ide_address(ide, 7, 2);
    ide_command(ide, 0x30);
    assert_false(ide_interrupts(ide)); /* it takes the first sector without */
    memset(sector, 0xa5, sizeof(sector));
    ide_write_data(ide, sector, sizeof(sector));
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_DRQ);
    ide_write_data(ide, sector, sizeof(sector));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_BSY);
    ide_settle(ide);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    assert_int_equal(ide->ram->bytes[7 * 512], 0xa5);
    assert_int_equal(ide->ram->bytes[9 * 512 - 1], 0xa5);
    check_bytes(ide->ram->bytes + 9 * 512, 9 * 512, 512);
    ide_command(ide, 0xe7);
    ide_settle(ide);
    assert_int_equal(ide->ram->flushes, 1);
}

static void cylinders_heads_sectors(void **state)
{
    struct ide_board *ide = *state;
    uint8_t sector[512];
    ide_out(ide, IDE_COUNT, 63);
    ide_out(ide, IDE_DEVICE, 15);
    ide_command(ide, 0x91); /* 16 heads of 63 sectors */
    ide_out(ide, IDE_COUNT, 1);
    ide_out(ide, IDE_LBA_LOW, 5);
    ide_out(ide, IDE_LBA_MID, 1);
    ide_out(ide, IDE_LBA_HIGH, 0);
    ide_out(ide, IDE_DEVICE, 2);
    ide_command(ide, 0x20);
    ide_settle(ide);
    ide_read_data(ide, sector, sizeof(sector));
    check_bytes(sector, ((16 + 2) * 63 + 4) * 512, 512);
    ide_out(ide, IDE_LBA_LOW, 0); /* they count from 1 */
    ide_command(ide, 0x20);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_IDNF);
}

static void no_sector_behind_the_end(void **state)
{
    struct ide_board *ide = *state;
    ide_address(ide, SECTORS - 1, 2);
    ide_command(ide, 0x20);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_IDNF);
    ide_out(ide, IDE_LBA_HIGH, 0xff); /* 48-bit: near the end of what the registers hold */
    ide_address(ide, 0xffffff, 0);
    ide_command(ide, 0x24);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_IDNF);
    ide_command(ide, 0xff);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_ABRT);
}

static void host_errors_become_uncorrectable(void **state)
{
    struct ide_board *ide = *state;
    ide->ram->failure = -EIO;
    ide_address(ide, 0, 1);
    ide_command(ide, 0x20);
    ide_settle(ide);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_UNC);
}

static void dma_follows_the_descriptors(void **state)
{
    struct ide_board *ide = *state;
    uint8_t bytes[512];
    const struct ide_descriptor reads[] = {{0x10000, 512, false}, {0x20000, 1024, true}};
    const struct ide_descriptor writes[] = {{0x20000, 1024, true}};
    ide_table(ide, reads, 2);
    ide_address(ide, 10, 3);
    ide_command(ide, 0xc8);
    ide_master_start(ide);
    ide_settle(ide);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_master_status(ide), MASTER_IRQ); /* no longer active */
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    assert_int_equal(memory_read(ide->board->memory, 0x10000, bytes, 512), 0);
    check_bytes(bytes, 10 * 512, 512);
    assert_int_equal(memory_read(ide->board->memory, 0x20200, bytes, 512), 0);
    check_bytes(bytes, 12 * 512, 512);

    ide_master_stop(ide);
    ide_table(ide, writes, 1);
    ide_address(ide, 20, 2);
    ide_master_start(ide); /* before the command: it waits for the drive */
    ide_command(ide, 0xca);
    ide_settle(ide);
    assert_int_equal(ide_master_status(ide), MASTER_IRQ);
    assert_int_equal(ide->ram->bytes[20 * 512], ram_block_byte(11 * 512));
}

static void check_dma_fails(struct ide_board *ide)
{
    ide_address(ide, 0, 0); /* 256 sectors */
    ide_command(ide, 0xc8);
    ide_master_start(ide);
    ide_settle(ide);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_master_status(ide), MASTER_IRQ | MASTER_ERR);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    assert_int_equal(ide_in(ide, IDE_ERROR), ERROR_ABRT);
    ide_master_stop(ide);
}

static void dma_to_nowhere_is_an_error(void **state)
{
    struct ide_board *ide = *state;
    const struct ide_descriptor outside[] = {{0xfffffff0, 0, true}};
    const struct ide_descriptor short_table[] = {{0x10000, 512, true}};
    ide_table(ide, outside, 1);
    check_dma_fails(ide);
    ide_table(ide, short_table, 1);
    check_dma_fails(ide);
    ide_master_table(ide, 0xfffffff8); /* the table itself */
    check_dma_fails(ide);
    ide_table(ide, outside, 0);
    ide_allow_master(ide, false);
    check_dma_fails(ide);
}

static void transfers_end_however_long_the_table(void **state)
{
    struct ide_board *ide = *state;
    struct ide_descriptor tiny[4096];
    for (unsigned i = 0; i < ARRAY_SIZE(tiny); i++)
        tiny[i] = (struct ide_descriptor){0x40000, 2, false};
    ide_table(ide, tiny, ARRAY_SIZE(tiny));
    ide_address(ide, 0, 16);
    ide_command(ide, 0xc8);
    ide_master_start(ide);
    ide_settle(ide);
    assert_int_equal(ide_master_status(ide), MASTER_IRQ | MASTER_ACTIVE); /* room was left */
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

static void reset_waits_for_what_is_in_flight(void **state)
{
    struct ide_board *ide = *state;
    ide_address(ide, 0, 1);
    ide_command(ide, 0x20);
    board_turn(ide->board);
    board_out(ide->board, 0x3f6, 4);
    board_out(ide->board, 0x3f6, 0);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_BSY);
    ide_settle(ide);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    assert_int_equal(ide_in(ide, IDE_ERROR), 1); /* the drive is well */
    assert_int_equal(ide_in(ide, IDE_COUNT), 1);
    assert_int_equal(ide_in(ide, IDE_LBA_LOW), 1);
    assert_false(ide_interrupts(ide));
    /* A machine's reset does not wait: it drains. */
    ide_address(ide, 0, 1);
    ide_command(ide, 0x20);
    board_turn(ide->board);
    bus_reset_devices(&ide->board->bus);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

static void interrupts_can_be_masked(void **state)
{
    struct ide_board *ide = *state;
    board_out(ide->board, 0x3f6, 2);
    ide_command(ide, 0xec);
    assert_false(ide_interrupts(ide));
    board_out(ide->board, 0x3f6, 0);
    assert_true(ide_interrupts(ide));
    board_in(ide->board, 0x3f6); /* the alternate status leaves it as it is */
    assert_true(ide_interrupts(ide));
    ide_in(ide, IDE_STATUS);
    assert_false(ide_interrupts(ide));
}

/* One machine stops in the middle of a transfer, another goes on. */
static void state_carries_transfers(void **state)
{
    struct ide_board *from = *state, *to = ide_board_create(SECTORS * 512, false);
    uint8_t sector[512];
    ide_address(from, 30, 2);
    ide_command(from, 0x20);
    ide_settle(from);
    ide_read_data(from, sector, 256);
    assert_int_equal(board_load(to->board, "ide", board_save(from->board, "ide")), 0);
    ide_read_data(to, sector, 256);
    check_bytes(sector, 30 * 512 + 256, 256);
    ide_read_data(to, sector, 512);
    check_bytes(sector, 31 * 512, 512);
    assert_int_equal(ide_in(to, IDE_STATUS), STATUS_IDLE);

    ide_command(from, 0x20); /* nothing has come back yet */
    board_turn(from->board);
    assert_int_equal(board_load(to->board, "ide", board_save(from->board, "ide")), 0);
    ide_settle(to);
    ide_read_data(to, sector, 512);
    check_bytes(sector, 30 * 512, 512);
    ide_settle(from);
    void *done = to;
    ide_board_teardown(&done);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ide_board_teardown)
    const struct CMUnitTest tests[] = {
        TEST(absent_drives_do_not_answer),
        TEST(identify_says_size_and_name),
        TEST(pio_reads_interrupt_for_each_sector),
        TEST(multiple_reads_move_several_sectors),
        TEST(pio_writes_reach_the_medium),
        TEST(cylinders_heads_sectors),
        TEST(no_sector_behind_the_end),
        TEST(host_errors_become_uncorrectable),
        TEST(dma_follows_the_descriptors),
        TEST(dma_to_nowhere_is_an_error),
        TEST(transfers_end_however_long_the_table),
        TEST(reset_waits_for_what_is_in_flight),
        TEST(interrupts_can_be_masked),
        TEST(state_carries_transfers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
