/* SPDX-License-Identifier: Apache-2.0 */
/* The CD-ROM drive by its packets. */
#include "ide_board.h"

#include <errno.h>

#define SECTOR      2048
#define SECTORS     64
#define PACKET_SIZE 12

#define REASON_COMMAND 1
#define REASON_IN      2

static int setup(void **state)
{
    *state = ide_board_create(SECTORS * SECTOR, true);
    return 0;
}

/* Sends a packet; limit: bytes that the host takes at a time. */
static void send_packet(struct ide_board *ide, const uint8_t packet[PACKET_SIZE], uint16_t limit,
                        bool dma)
{
    ide_out(ide, IDE_ERROR, dma);
    ide_out(ide, IDE_LBA_MID, (uint8_t)limit);
    ide_out(ide, IDE_LBA_HIGH, (uint8_t)(limit >> 8));
    ide_command(ide, 0xa0);
    assert_int_equal(ide_in(ide, IDE_COUNT), REASON_COMMAND);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_DRQ);
    ide_write_data(ide, packet, PACKET_SIZE);
    ide_settle(ide);
}

/* Reads all that a packet brings, block by block as the drive announces them; returns its length.
 */
static unsigned receive(struct ide_board *ide, uint8_t *bytes, unsigned room)
{
    unsigned done = 0;
    while (ide_in(ide, IDE_STATUS) & STATUS_DRQ) {
        unsigned length = ide_in(ide, IDE_LBA_MID) | (unsigned)ide_in(ide, IDE_LBA_HIGH) << 8;
        assert_int_equal(ide_in(ide, IDE_COUNT), REASON_IN);
        assert_true(length && length <= room - done);
        ide_read_data(ide, bytes + done, length);
        done += length;
        ide_settle(ide);
    }
    assert_int_equal(ide_in(ide, IDE_COUNT), REASON_IN | REASON_COMMAND);
    return done;
}

static void check_sense(struct ide_board *ide, uint8_t key, uint8_t code, uint8_t qualifier)
{
    static const uint8_t request_sense[PACKET_SIZE] = {0x03, 0, 0, 0, 18};
    uint8_t sense[18];
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    assert_int_equal(ide_in(ide, IDE_ERROR) >> 4, key);
    send_packet(ide, request_sense, 18, false);
    assert_int_equal(receive(ide, sense, sizeof(sense)), 18);
    assert_int_equal(sense[2], key);
    assert_int_equal(sense[12], code);
    assert_int_equal(sense[13], qualifier);
}

static void says_that_it_is_no_disk(void **state)
{
    struct ide_board *ide = *state;
    uint8_t words[512];
    assert_int_equal(ide_in(ide, IDE_STATUS), 0); /* until its first command */
    assert_int_equal(ide_in(ide, IDE_LBA_MID), 0x14);
    assert_int_equal(ide_in(ide, IDE_LBA_HIGH), 0xeb);
    ide_out(ide, IDE_LBA_MID, 0);
    ide_command(ide, 0xec);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE | STATUS_ERR);
    assert_int_equal(ide_in(ide, IDE_LBA_MID), 0x14);
    ide_command(ide, 0xa1);
    assert_true(ide_interrupts(ide));
    ide_read_data(ide, words, sizeof(words));
    assert_int_equal(load_le(words, 2), 0x85c0);
    ide_in(ide, IDE_STATUS);
    assert_false(ide_interrupts(ide));
}

static void answers_are_cut_to_what_was_asked_for(void **state)
{
    static const uint8_t whole[PACKET_SIZE] = {0x12, 0, 0, 0, 36},
                         part[PACKET_SIZE] = {0x12, 0, 0, 0, 5};
    static const uint8_t nothing[PACKET_SIZE] = {0x12};
    struct ide_board *ide = *state;
    uint8_t bytes[64];
    send_packet(ide, whole, 10, false); /* comes in four blocks */
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 36);
    assert_memory_equal(bytes + 8, "nacre   CD-ROM", 14);
    assert_int_equal(bytes[0], 5);
    send_packet(ide, part, 36, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 5);
    send_packet(ide, nothing, 36, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 0);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

static void capacity_and_contents(void **state)
{
    static const uint8_t capacity[PACKET_SIZE] = {0x25},
                         toc[PACKET_SIZE] = {0x43, 2, 0, 0, 0, 0, 0, 0, 64};
    struct ide_board *ide = *state;
    uint8_t bytes[64];
    send_packet(ide, capacity, 8, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 8);
    assert_memory_equal(bytes, "\0\0\0\x3f\0\0\x08\0", 8);
    send_packet(ide, toc, 64, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 20);
    assert_memory_equal(bytes, "\0\x12\1\1\0\x14\1\0\0\0\2\0\0\x14\xaa\0\0\0\2\x40", 20);
}

static void check_sectors(const uint8_t *bytes, uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count * SECTOR; i++)
        assert_int_equal(bytes[i], ram_block_byte(first * SECTOR + i));
}

static void reads_by_data_port_and_by_dma(void **state)
{
    static const uint8_t read[PACKET_SIZE] = {0x28, 0, 0, 0, 0, 5, 0, 0, 40};
    static const uint8_t read_cd[PACKET_SIZE] = {0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0x10};
    struct ide_board *ide = *state;
    static uint8_t bytes[40 * SECTOR];
    send_packet(ide, read, 0x5000, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), sizeof(bytes));
    check_sectors(bytes, 5, 40);
    const struct ide_descriptor table[] = {{0x20000, 0, false}, {0x40000, 16384, true}};
    ide_table(ide, table, 2);
    ide_master_start(ide);
    send_packet(ide, read, 0, true);
    assert_true(ide_interrupts(ide));
    assert_int_equal(ide_master_status(ide), MASTER_IRQ);
    assert_int_equal(memory_read(ide->board->memory, 0x20000, bytes, 65536), 0);
    check_sectors(bytes, 5, 32);
    send_packet(ide, read_cd, SECTOR, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 2 * SECTOR);
    check_sectors(bytes, 7, 2);
}

static void errors_leave_a_sense(void **state)
{
    static const uint8_t unknown[PACKET_SIZE] = {0xff},
                         beyond[PACKET_SIZE] = {0x28, 0, 0, 0, 0, SECTORS - 1, 0, 0, 2};
    static const uint8_t far[PACKET_SIZE] = {0xa8, 0,    0xff, 0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t read[PACKET_SIZE] = {0x28, 0, 0, 0, 0, 0, 0, 0, 1};
    static const uint8_t raw[PACKET_SIZE] = {0xbe, 0, 0, 0, 0, 0, 0, 0, 1, 0xf8};
    struct ide_board *ide = *state;
    send_packet(ide, unknown, 0, false);
    check_sense(ide, 5, 0x20, 0);
    send_packet(ide, beyond, 0, false);
    check_sense(ide, 5, 0x21, 0);
    send_packet(ide, far, 0, false);
    check_sense(ide, 5, 0x21, 0);
    send_packet(ide, raw, 0, false);
    check_sense(ide, 5, 0x24, 0);
    ide->ram->failure = -EIO;
    send_packet(ide, read, 0, false);
    check_sense(ide, 3, 0x11, 0);
}

static void tray_opens_unless_locked(void **state)
{
    static const uint8_t lock[PACKET_SIZE] = {0x1e, 0, 0, 0, 1}, unlock[PACKET_SIZE] = {0x1e};
    static const uint8_t eject[PACKET_SIZE] = {0x1b, 0, 0, 0, 2},
                         load[PACKET_SIZE] = {0x1b, 0, 0, 0, 3};
    static const uint8_t ready[PACKET_SIZE] = {0};
    static const uint8_t event[PACKET_SIZE] = {0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8};
    struct ide_board *ide = *state;
    uint8_t bytes[8];
    send_packet(ide, lock, 0, false);
    send_packet(ide, eject, 0, false);
    check_sense(ide, 5, 0x53, 2);
    send_packet(ide, unlock, 0, false);
    send_packet(ide, eject, 0, false);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
    send_packet(ide, ready, 0, false);
    check_sense(ide, 2, 0x3a, 2);
    send_packet(ide, event, 8, false);
    assert_int_equal(receive(ide, bytes, sizeof(bytes)), 8);
    assert_int_equal(bytes[5], 1);
    send_packet(ide, load, 0, false);
    send_packet(ide, ready, 0, false);
    assert_int_equal(ide_in(ide, IDE_STATUS), STATUS_IDLE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, ide_board_teardown)
    const struct CMUnitTest tests[] = {
        TEST(says_that_it_is_no_disk), TEST(answers_are_cut_to_what_was_asked_for),
        TEST(capacity_and_contents),   TEST(reads_by_data_port_and_by_dma),
        TEST(errors_leave_a_sense),    TEST(tray_opens_unless_locked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
