/* SPDX-License-Identifier: Apache-2.0 */
/* The floppy controller by its registers, with the DMA controller that it needs. */
#include "board.h"
#include "device/floppy/floppy.h"

#include <errno.h>
#include <stdlib.h>

enum { OUTPUT = 0x3f2, STATUS = 0x3f4, FIFO = 0x3f5, INPUT = 0x3f7 };

#define READY     0x80
#define TO_GUEST  0x40
#define BUSY      0x10
#define IRQ       6
#define BUFFER    0x12000
#define SECTOR    512
#define DMA_READ  0x46 /* channel 2, single transfers: to memory */
#define DMA_WRITE 0x4a

struct fixture {
    struct board *board;
    struct ram_block *ram;
};

static uint8_t in(struct fixture *fixture, uint16_t port)
{
    return board_in(fixture->board, port);
}

static void out(struct fixture *fixture, uint16_t port, uint8_t value)
{
    board_out(fixture->board, port, value);
}

static bool interrupts(const struct fixture *fixture)
{
    return fixture->board->levels & BIT(IRQ);
}

static void send(struct fixture *fixture, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(in(fixture, STATUS), i ? READY | BUSY : READY);
        out(fixture, FIFO, bytes[i]);
    }
    board_settle(fixture->board, fixture->ram);
}
#define SEND(fixture, ...) \
    send(fixture, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void check_result(struct fixture *fixture, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(in(fixture, STATUS), READY | TO_GUEST | BUSY);
        assert_int_equal(in(fixture, FIFO), bytes[i]);
    }
    assert_int_equal(in(fixture, STATUS), READY);
}
#define RESULT(fixture, ...) \
    check_result(fixture, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Channel 2 to or from BUFFER; count in bytes. */
static void program_dma(struct fixture *fixture, uint8_t mode, uint16_t count)
{
    out(fixture, 0x0a, 6); /* masked meanwhile */
    out(fixture, 0x0c, 0);
    out(fixture, 0x0b, mode);
    out(fixture, 0x04, (uint8_t)BUFFER);
    out(fixture, 0x04, (uint8_t)(BUFFER >> 8));
    out(fixture, 0x81, BUFFER >> 16);
    out(fixture, 0x05, (uint8_t)(count - 1));
    out(fixture, 0x05, (uint8_t)((count - 1) >> 8));
    out(fixture, 0x0a, 2);
}

static void start(struct fixture *fixture)
{
    out(fixture, OUTPUT, 0);
    out(fixture, OUTPUT, 0x1c); /* run, interrupts, motor A */
    for (uint8_t drive = 0; drive < 4; drive++) {
        SEND(fixture, 0x08);
        RESULT(fixture, (uint8_t)(0xc0 | drive), 0);
    }
}

static void seek(struct fixture *fixture, uint8_t cylinder)
{
    SEND(fixture, 0x0f, 0, cylinder);
    assert_true(interrupts(fixture));
    SEND(fixture, 0x08);
    RESULT(fixture, 0x20, cylinder);
    assert_false(interrupts(fixture));
}

static int setup(void **state)
{
    struct error error = {0};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fake_time_reset();
    fixture->board = board_create();
    fixture->ram = ram_block_create(FLOPPY_SIZE);
    struct isa_dma *dma = isa_dma_create(&fixture->board->bus, &error);
    assert_non_null(dma);
    assert_int_equal(floppy_create(&fixture->board->bus, dma, &fixture->ram->block, &error), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    board_destroy(fixture->board);
    ram_block_destroy(fixture->ram);
    free(fixture);
    return 0;
}

static void check_memory(struct fixture *fixture, uint64_t offset, uint32_t length)
{
    uint8_t bytes[SECTOR];
    for (uint32_t i = 0; i < length; i++) {
        if (!(i % SECTOR))
            assert_int_equal(memory_read(fixture->board->memory, BUFFER + i, bytes, SECTOR), 0);
        assert_int_equal(bytes[i % SECTOR], ram_block_byte(offset + i));
    }
}

static void reset_interrupts_and_is_polled(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(in(fixture, STATUS), 0); /* in reset */
    out(fixture, OUTPUT, 0x0c);
    assert_true(interrupts(fixture));
    SEND(fixture, 0x08);
    assert_false(interrupts(fixture));
    RESULT(fixture, 0xc0, 0);
    start(fixture);
    SEND(fixture, 0x08); /* nothing more to report */
    RESULT(fixture, 0x80);
    out(fixture, STATUS, 0x80); /* by the data rate register */
    assert_true(interrupts(fixture));
}

static void says_what_it_is(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    SEND(fixture, 0x10);
    RESULT(fixture, 0x90);
    SEND(fixture, 0x94);
    RESULT(fixture, 0x10);
    SEND(fixture, 0x14);
    RESULT(fixture, 0);
    SEND(fixture, 0x18); /* of later chips */
    RESULT(fixture, 0x80);
    SEND(fixture, 0x13, 0, 0x57, 3);
    SEND(fixture, 0x03, 0xaf, 0x02);
    seek(fixture, 7);
    SEND(fixture, 0x0e);
    RESULT(fixture, 7, 0, 0, 0, 0xaf, 0x02, 0, 0, 0x57, 3);
    SEND(fixture, 0x04, 4);
    RESULT(fixture, 0x2c); /* drive 0, head 1, two-sided, ready */
}

static void reads_to_the_end_of_the_count(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    seek(fixture, 2);
    program_dma(fixture, DMA_READ, 3 * SECTOR);
    SEND(fixture, 0xe6, 4, 2, 1, 5, 2, 18, 0x1b, 0xff);
    assert_true(interrupts(fixture));
    RESULT(fixture, 0x04, 0, 0, 2, 1, 8, 2);
    check_memory(fixture, ((2 * 2 + 1) * 18 + 4) * SECTOR, 3 * SECTOR);
    assert_int_equal(in(fixture, 0x08), 4); /* terminal count of channel 2 */
}

static void reads_go_on_on_the_second_side(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    program_dma(fixture, DMA_READ, 20 * SECTOR);
    SEND(fixture, 0xe6, 0, 0, 0, 10, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x00, 0, 0, 0, 1, 12, 2);
    check_memory(fixture, 9 * SECTOR, 20 * SECTOR);
    program_dma(fixture, DMA_READ, 27 * SECTOR); /* just to the end of the cylinder */
    SEND(fixture, 0xe6, 0, 0, 0, 10, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x00, 0, 0, 1, 0, 1, 2);
    program_dma(fixture, DMA_READ, 9 * SECTOR); /* to the end of the first side */
    SEND(fixture, 0xe6, 0, 0, 0, 10, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x00, 0, 0, 0, 1, 1, 2);
    program_dma(fixture, DMA_READ, 20 * SECTOR); /* one side only, and the count wants more */
    SEND(fixture, 0x66, 0, 0, 0, 10, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x40, 0x80, 0, 1, 0, 1, 2);
}

static void writes_fill_whole_sectors(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[700];
    memset(bytes, 0xa5, sizeof(bytes));
    start(fixture);
    assert_int_equal(memory_write(fixture->board->memory, BUFFER, bytes, sizeof(bytes)), 0);
    program_dma(fixture, DMA_WRITE, sizeof(bytes));
    SEND(fixture, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x00, 0, 0, 0, 0, 3, 2);
    assert_int_equal(fixture->ram->bytes[699], 0xa5);
    assert_int_equal(fixture->ram->bytes[700], 0);
    assert_int_equal(fixture->ram->bytes[1023], 0);
    assert_int_equal(fixture->ram->bytes[1024], ram_block_byte(1024));
}

static void formats_a_track(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    seek(fixture, 1);
    program_dma(fixture, DMA_WRITE, 72);
    SEND(fixture, 0x4d, 0, 2, 18, 0x54, 0xf6);
    assert_int_equal(in(fixture, FIFO), 0);
    assert_int_equal(fixture->ram->bytes[36 * SECTOR], 0xf6);
    assert_int_equal(fixture->ram->bytes[54 * SECTOR - 1], 0xf6);
    assert_int_equal(fixture->ram->bytes[54 * SECTOR], ram_block_byte(54 * SECTOR));
}

static void errors_are_told(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    program_dma(fixture, DMA_READ, SECTOR);
    SEND(fixture, 0xe6, 0, 0, 0, 19, 2, 19, 0x1b, 0xff); /* no such sector */
    RESULT(fixture, 0x40, 0x04, 0, 0, 0, 19, 2);
    SEND(fixture, 0xe6, 0, 3, 0, 1, 2, 18, 0x1b, 0xff); /* the heads are elsewhere */
    RESULT(fixture, 0x40, 0x04, 0x10, 3, 0, 1, 2);
    SEND(fixture, 0xe6, 1, 0, 0, 1, 2, 18, 0x1b, 0xff); /* no such drive */
    RESULT(fixture, 0x41, 0x01, 0, 0, 0, 1, 2);
    SEND(fixture, 0x07, 1);
    SEND(fixture, 0x08);
    RESULT(fixture, 0x71, 0);
    out(fixture, INPUT, 2); /* a data rate at which this medium has none */
    SEND(fixture, 0x4a, 0);
    RESULT(fixture, 0x40, 0x01, 0, 0, 0, 1, 2);
    out(fixture, INPUT, 0);
    fixture->ram->failure = -EIO;
    SEND(fixture, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x40, 0x20, 0x20, 0, 0, 1, 2);
    fixture->ram->failure = 0;
    out(fixture, 0x0a, 6); /* DMA masked: nobody takes the bytes */
    SEND(fixture, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x40, 0x10, 0, 0, 0, 1, 2);
    fixture->ram->block.read_only = true;
    SEND(fixture, 0x45, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    RESULT(fixture, 0x40, 0x02, 0, 0, 0, 1, 2);
}

static void the_medium_is_new_until_the_heads_move(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    assert_int_equal(in(fixture, INPUT), 0x80);
    seek(fixture, 1);
    assert_int_equal(in(fixture, INPUT), 0);
}

static void reset_waits_for_what_is_in_flight(void **state)
{
    struct fixture *fixture = *state;
    const uint8_t read[] = {0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff};
    start(fixture);
    for (unsigned i = 0; i < sizeof(read); i++)
        out(fixture, FIFO, read[i]);
    board_turn(fixture->board);
    assert_int_equal(in(fixture, STATUS), BUSY);
    out(fixture, OUTPUT, 0);
    out(fixture, OUTPUT, 0x0c);
    assert_int_equal(in(fixture, STATUS), 0);
    board_settle(fixture->board, fixture->ram);
    assert_int_equal(in(fixture, STATUS), READY);
    assert_true(interrupts(fixture));
}

/* One machine stops while the medium is read, another goes on. */
static void state_carries_transfers(void **state)
{
    struct fixture *from = *state, *to;
    void *other;
    const uint8_t read[] = {0xe6, 0, 0, 0, 3, 2, 18, 0x1b, 0xff};
    setup(&other);
    to = other;
    start(from);
    program_dma(from, DMA_READ, SECTOR);
    for (unsigned i = 0; i < sizeof(read); i++)
        out(from, FIFO, read[i]);
    board_turn(from->board);
    assert_int_equal(board_load(to->board, "isa-dma", board_save(from->board, "isa-dma")), 0);
    assert_int_equal(board_load(to->board, "floppy", board_save(from->board, "floppy")), 0);
    board_settle(to->board, to->ram);
    RESULT(to, 0x00, 0, 0, 0, 0, 4, 2);
    check_memory(to, 2 * SECTOR, SECTOR);
    board_settle(from->board, from->ram);
    teardown(&other);
}

/* --- the DMA controller --- */

static void dma_registers_take_two_halves(void **state)
{
    struct fixture *fixture = *state;
    program_dma(fixture, DMA_READ, 0x1234);
    out(fixture, 0x0c, 0);
    assert_int_equal(in(fixture, 0x05), 0x33);
    assert_int_equal(in(fixture, 0x05), 0x12);
    out(fixture, 0xd8, 0); /* the other controller: its registers are two ports apart */
    out(fixture, 0xc4, 0xcd);
    out(fixture, 0xc4, 0xab);
    assert_int_equal(in(fixture, 0xc4), 0xcd);
    assert_int_equal(in(fixture, 0xc4), 0xab);
    assert_int_equal(in(fixture, 0x0f), 0xfb);
    out(fixture, 0x0d, 0);
    assert_int_equal(in(fixture, 0x0f), 0xff);
}

static void dma_goes_downward(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[4];
    start(fixture);
    program_dma(fixture, DMA_READ | 0x20, 4); /* downwards from BUFFER */
    SEND(fixture, 0xe6, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    assert_int_equal(memory_read(fixture->board->memory, BUFFER - 3, bytes, 4), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(bytes[3 - i], ram_block_byte(i));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(reset_interrupts_and_is_polled),
        TEST(says_what_it_is),
        TEST(reads_to_the_end_of_the_count),
        TEST(reads_go_on_on_the_second_side),
        TEST(writes_fill_whole_sectors),
        TEST(formats_a_track),
        TEST(errors_are_told),
        TEST(the_medium_is_new_until_the_heads_move),
        TEST(reset_waits_for_what_is_in_flight),
        TEST(state_carries_transfers),
        TEST(dma_registers_take_two_halves),
        TEST(dma_goes_downward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
