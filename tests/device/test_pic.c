/* SPDX-License-Identifier: Apache-2.0 */
/* The pair of 8259s by its ports and lines. */
#include "board.h"

enum { MASTER = 0x20, SLAVE = 0xa0, ELCR = 0x4d0 }; /* command ports; data is the next */
enum { MASTER_BASE = 0x30, SLAVE_BASE = 0x70 };
enum { ICW1 = 0x10, SINGLE = 0x02, NEEDS_ICW4 = 0x01 };
enum { ICW4_8086 = 0x01, AUTO_EOI = 0x02, NESTED = 0x10 };
enum { EOI = 0x20, SPECIFIC_EOI = 0x60, ROTATE_ON_EOI = 0xa0, ROTATE_IN_AUTO_EOI = 0x80 };
enum { SET_PRIORITY = 0xc0, READ_IRR = 0x0a, READ_ISR = 0x0b, POLL = 0x0c };
enum { SPECIAL_MASK = 0x68, NO_SPECIAL_MASK = 0x48 };

static void initialise(struct board *board, uint8_t icw4)
{
    static const uint8_t bases[] = {MASTER_BASE, SLAVE_BASE}, cascade[] = {4, 2};
    for (unsigned i = 0; i < 2; i++) {
        uint16_t port = i ? SLAVE : MASTER;
        board_out(board, port, ICW1 | NEEDS_ICW4);
        board_out(board, port + 1, bases[i]);
        board_out(board, port + 1, cascade[i]);
        board_out(board, port + 1, icw4);
    }
}

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    int result = pic_create(&((struct board *)*state)->bus, &error);
    initialise(*state, ICW4_8086);
    return result;
}

static void line(struct board *board, unsigned number, int level)
{
    struct irq_line wire = bus_gsi(&board->bus, number);
    irq_set(&wire, level);
}

static void raise_line(struct board *board, unsigned number)
{
    line(board, number, 0);
    line(board, number, 1);
}

/* The processor's INTA cycle. */
static int acknowledge(struct board *board)
{
    return board->bus.intr_acknowledge(board->bus.intr_acknowledge_opaque);
}

static uint8_t show(struct board *board, uint16_t port, uint8_t what)
{
    board_out(board, port, what);
    return board_in(board, port);
}

static void test_edge(void **state)
{
    struct board *board = *state;
    assert_int_equal(board->intr, 0);
    line(board, 3, 1);
    assert_int_equal(board->intr, 1);
    assert_int_equal(show(board, MASTER, READ_IRR), BIT(3));
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
    assert_int_equal(board->intr, 0);
    assert_int_equal(show(board, MASTER, READ_IRR), 0);
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(3));
    board_out(board, MASTER, EOI);
    assert_int_equal(show(board, MASTER, READ_ISR), 0);
    assert_int_equal(board->intr, 0); /* still high, but no new edge */
    raise_line(board, 3);
    assert_int_equal(board->intr, 1);
}

static void test_level(void **state)
{
    struct board *board = *state;
    board_out(board, ELCR, BIT(5));
    line(board, 5, 1);
    assert_int_equal(acknowledge(board), MASTER_BASE + 5);
    board_out(board, MASTER, EOI);
    assert_int_equal(acknowledge(board), MASTER_BASE + 5); /* the line is still high */
    line(board, 5, 0);
    board_out(board, MASTER, EOI);
    assert_int_equal(board->intr, 0);
}

/* Timer, keyboard, cascade, RTC and FPU are edges for ever. */
static void test_elcr_keeps_the_edges(void **state)
{
    struct board *board = *state;
    board_out(board, ELCR, 0xff);
    board_out(board, ELCR + 1, 0xff);
    assert_int_equal(board_in(board, ELCR), 0xf8);
    assert_int_equal(board_in(board, ELCR + 1), 0xde);
}

/* A request that goes away before it is taken is forgotten: no vector, nothing in service. */
static void test_request_goes_away(void **state)
{
    struct board *board = *state;
    line(board, 4, 1);
    line(board, 4, 0);
    assert_int_equal(board->intr, 0);
    assert_int_equal(acknowledge(board), -1);
    line(board, 12, 1);
    line(board, 12, 0);
    assert_int_equal(board->intr, 0);
    assert_int_equal(acknowledge(board), -1);
    assert_int_equal(show(board, MASTER, READ_ISR), 0);
    assert_int_equal(show(board, SLAVE, READ_ISR), 0);
    raise_line(board, 12);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 4);
}

static void test_mask(void **state)
{
    struct board *board = *state;
    board_out(board, MASTER + 1, BIT(6));
    assert_int_equal(board_in(board, MASTER + 1), BIT(6));
    line(board, 6, 1);
    assert_int_equal(board->intr, 0);
    board_out(board, MASTER + 1, 0);
    assert_int_equal(board->intr, 1);
}

static void test_priorities(void **state)
{
    struct board *board = *state;
    raise_line(board, 5);
    assert_int_equal(acknowledge(board), MASTER_BASE + 5);
    raise_line(board, 6);
    assert_int_equal(board->intr, 0); /* lower than what is in service */
    raise_line(board, 1);
    assert_int_equal(acknowledge(board), MASTER_BASE + 1);
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(1) | BIT(5));
    board_out(board, MASTER, EOI); /* ends the highest */
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(5));
    board_out(board, MASTER, EOI);
    assert_int_equal(acknowledge(board), MASTER_BASE + 6);
}

static void test_cascade(void **state)
{
    struct board *board = *state;
    raise_line(board, 12);
    raise_line(board, 3);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 4); /* input 2 comes before 3 */
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(2));
    assert_int_equal(show(board, SLAVE, READ_ISR), BIT(4));
    assert_int_equal(board->intr, 0);
    raise_line(board, 8); /* higher, but behind the master's input 2 */
    assert_int_equal(board->intr, 0);
    board_out(board, SLAVE, EOI);
    board_out(board, MASTER, EOI);
    assert_int_equal(acknowledge(board), SLAVE_BASE);
    board_out(board, SLAVE, EOI);
    board_out(board, MASTER, EOI);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
}

static void test_special_fully_nested(void **state)
{
    struct board *board = *state;
    initialise(board, ICW4_8086 | NESTED);
    raise_line(board, 12);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 4);
    raise_line(board, 14);
    assert_int_equal(board->intr, 0);
    raise_line(board, 9);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 1);
}

static void test_rotation_on_eoi(void **state)
{
    struct board *board = *state;
    raise_line(board, 3);
    raise_line(board, 4);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
    raise_line(board, 3);
    board_out(board, MASTER, ROTATE_ON_EOI); /* 3 is now the lowest */
    assert_int_equal(acknowledge(board), MASTER_BASE + 4);
    board_out(board, MASTER, ROTATE_ON_EOI);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
}

static void test_set_priority(void **state)
{
    struct board *board = *state;
    board_out(board, MASTER, SET_PRIORITY | 4);
    raise_line(board, 0);
    raise_line(board, 5);
    assert_int_equal(acknowledge(board), MASTER_BASE + 5);
    assert_int_equal(board->intr, 0);
    raise_line(board, 4); /* the lowest */
    board_out(board, MASTER, SPECIFIC_EOI | 5);
    assert_int_equal(acknowledge(board), MASTER_BASE);
    board_out(board, MASTER, SPECIFIC_EOI | 0);
    assert_int_equal(acknowledge(board), MASTER_BASE + 4);
}

static void test_specific_eoi(void **state)
{
    struct board *board = *state;
    raise_line(board, 5);
    acknowledge(board);
    raise_line(board, 1);
    acknowledge(board);
    board_out(board, MASTER, SPECIFIC_EOI | 5);
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(1));
}

static void test_auto_eoi(void **state)
{
    struct board *board = *state;
    initialise(board, ICW4_8086 | AUTO_EOI);
    raise_line(board, 5);
    raise_line(board, 6);
    assert_int_equal(acknowledge(board), MASTER_BASE + 5);
    assert_int_equal(show(board, MASTER, READ_ISR), 0);
    assert_int_equal(acknowledge(board), MASTER_BASE + 6);
    assert_int_equal(board->intr, 0);
}

/* The slave's output stays high over its first interrupt: the second must not be lost. */
static void test_auto_eoi_of_the_slave(void **state)
{
    struct board *board = *state;
    initialise(board, ICW4_8086 | AUTO_EOI);
    raise_line(board, 9);
    raise_line(board, 12);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 1);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 4);
    assert_int_equal(acknowledge(board), -1);
}

static void test_rotation_in_auto_eoi(void **state)
{
    struct board *board = *state;
    initialise(board, ICW4_8086 | AUTO_EOI);
    board_out(board, MASTER, ROTATE_IN_AUTO_EOI);
    raise_line(board, 3);
    raise_line(board, 4);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
    raise_line(board, 3);
    assert_int_equal(acknowledge(board), MASTER_BASE + 4);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
}

/* Inputs that are masked while in service hold nobody up, and a plain EOI leaves them alone. */
static void test_special_mask(void **state)
{
    struct board *board = *state;
    raise_line(board, 1);
    assert_int_equal(acknowledge(board), MASTER_BASE + 1);
    raise_line(board, 6);
    assert_int_equal(board->intr, 0);
    board_out(board, MASTER + 1, BIT(1));
    assert_int_equal(board->intr, 0);
    board_out(board, MASTER, SPECIAL_MASK);
    assert_int_equal(acknowledge(board), MASTER_BASE + 6);
    board_out(board, MASTER, EOI);
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(1));
    raise_line(board, 6);
    board_out(board, MASTER, NO_SPECIAL_MASK);
    assert_int_equal(board->intr, 0);
}

static void test_poll(void **state)
{
    struct board *board = *state;
    assert_int_equal(show(board, MASTER, POLL), 0);
    raise_line(board, 4);
    assert_int_equal(show(board, MASTER, POLL), 0x84);
    assert_int_equal(show(board, MASTER, READ_ISR), BIT(4)); /* a poll acknowledges */
    assert_int_equal(board->intr, 0);
    board_out(board, MASTER, EOI);
    raise_line(board, 11);
    assert_int_equal(show(board, MASTER, POLL), 0x82);
    assert_int_equal(show(board, SLAVE, POLL), 0x83);
    assert_int_equal(show(board, SLAVE, READ_ISR), BIT(3));
}

/* Nothing of the past remains, and an edge-triggered line must rise anew. */
static void test_initialisation_forgets(void **state)
{
    struct board *board = *state;
    raise_line(board, 1);
    acknowledge(board);
    raise_line(board, 3);
    board_out(board, MASTER + 1, 0xff);
    initialise(board, ICW4_8086);
    assert_int_equal(board->intr, 0);
    assert_int_equal(board_in(board, MASTER + 1), 0);
    assert_int_equal(show(board, MASTER, READ_IRR), 0);
    assert_int_equal(show(board, MASTER, READ_ISR), 0);
    raise_line(board, 3);
    assert_int_equal(acknowledge(board), MASTER_BASE + 3);
}

static void test_short_initialisations(void **state)
{
    struct board *board = *state;
    board_out(board, MASTER, ICW1); /* no ICW4 */
    board_out(board, MASTER + 1, 0x50);
    board_out(board, MASTER + 1, 4);
    board_out(board, MASTER + 1, 0xf0);
    assert_int_equal(board_in(board, MASTER + 1), 0xf0);
    board_out(board, MASTER, ICW1 | SINGLE | NEEDS_ICW4); /* no ICW3 */
    board_out(board, MASTER + 1, 0x58);
    board_out(board, MASTER + 1, AUTO_EOI);
    board_out(board, MASTER + 1, 0xfe);
    assert_int_equal(board_in(board, MASTER + 1), 0xfe);
    raise_line(board, 0);
    assert_int_equal(acknowledge(board), 0x58);
    assert_int_equal(show(board, MASTER, READ_ISR), 0);
}

static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(pic_create(&other->bus, &error), 0);
    raise_line(board, 5);
    acknowledge(board);
    raise_line(board, 9);
    assert_int_equal(board_load(other, "pic", board_save(board, "pic")), 0);
    assert_int_equal(show(other, MASTER, READ_ISR), BIT(5));
    assert_int_equal(acknowledge(other), SLAVE_BASE + 1);
    board_destroy(other);
}

/* A state that no 8259 gets into: the master's input 2 without the slave's wish. */
static void test_impossible_state(void **state)
{
    struct board *board = *state;
    uint8_t *saved = board_save(board, "pic");
    saved[0] = BIT(2); /* irr of the master */
    saved[state_size(board->bus.devices->state) - 4] = 1;
    assert_int_equal(board_load(board, "pic", saved), 0);
    assert_int_equal(acknowledge(board), SLAVE_BASE + 7);
}

#define PIC_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIC_TEST(test_edge),
        PIC_TEST(test_level),
        PIC_TEST(test_elcr_keeps_the_edges),
        PIC_TEST(test_request_goes_away),
        PIC_TEST(test_mask),
        PIC_TEST(test_priorities),
        PIC_TEST(test_cascade),
        PIC_TEST(test_special_fully_nested),
        PIC_TEST(test_rotation_on_eoi),
        PIC_TEST(test_set_priority),
        PIC_TEST(test_specific_eoi),
        PIC_TEST(test_auto_eoi),
        PIC_TEST(test_auto_eoi_of_the_slave),
        PIC_TEST(test_rotation_in_auto_eoi),
        PIC_TEST(test_special_mask),
        PIC_TEST(test_poll),
        PIC_TEST(test_initialisation_forgets),
        PIC_TEST(test_short_initialisations),
        PIC_TEST(test_state_survives),
        PIC_TEST(test_impossible_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
