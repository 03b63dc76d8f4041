/* SPDX-License-Identifier: Apache-2.0 */
/* The IOAPIC by its window, its pins, and the messages it sends. */
#include "board.h"

enum { REGISTER_ID = 0, REGISTER_VERSION = 1, REGISTER_ENTRIES = 0x10 };
enum { PIN = 17, VECTOR = 0x45, DESTINATION = 3 };

#define MASKED  BIT(16)
#define LEVEL   BIT(15)
#define REMOTE  BIT(14)
#define LOGICAL BIT(11)

static int setup(void **state)
{
    struct error error;
    board_setup(state);
    return ioapic_create(&((struct board *)*state)->bus, &error);
}

static uint32_t get(struct board *board, unsigned index)
{
    bus_write(&board->bus, BUS_MMIO, IOAPIC_ADDRESS, index, 4);
    return (uint32_t)bus_read(&board->bus, BUS_MMIO, IOAPIC_ADDRESS + 0x10, 4);
}

static void put(struct board *board, unsigned index, uint64_t value)
{
    bus_write(&board->bus, BUS_MMIO, IOAPIC_ADDRESS, index, 4);
    bus_write(&board->bus, BUS_MMIO, IOAPIC_ADDRESS + 0x10, (uint32_t)value, 4);
}

static void set_entry(struct board *board, unsigned pin, uint64_t flags)
{
    put(board, REGISTER_ENTRIES + 2 * pin + 1, DESTINATION << 24);
    put(board, REGISTER_ENTRIES + 2 * pin, VECTOR | flags);
}

static uint32_t entry(struct board *board, unsigned pin)
{
    return get(board, REGISTER_ENTRIES + 2 * pin);
}

static void line(struct board *board, unsigned number, int level)
{
    struct irq_line wire = bus_gsi(&board->bus, number);
    irq_set(&wire, level);
}

static void test_registers(void **state)
{
    struct board *board = *state;
    assert_int_equal(get(board, REGISTER_VERSION), 23 << 16 | 0x11);
    put(board, REGISTER_VERSION, 0);
    assert_int_equal(get(board, REGISTER_VERSION), 23 << 16 | 0x11);
    put(board, REGISTER_ID, 0xffffffff);
    assert_int_equal(get(board, REGISTER_ID), 0x0f000000);
    assert_int_equal(entry(board, 23), MASKED);
    assert_int_equal(entry(board, 24), 0); /* there is none */
    put(board, REGISTER_ENTRIES + 48, 0xffffffff);
    assert_int_equal(get(board, 0xff), 0);
    assert_int_equal(bus_read(&board->bus, BUS_MMIO, IOAPIC_ADDRESS, 4), 0xff);
    /* Delivery status and remote IRR cannot be written. */
    set_entry(board, 5, MASKED | LEVEL | REMOTE | BIT(12));
    assert_int_equal(entry(board, 5), MASKED | LEVEL | VECTOR);
}

static void test_edge(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, 0);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 1);
    assert_int_equal(board->message_address, 0xfee00000 | DESTINATION << 12);
    assert_int_equal(board->message_data & 0xff, VECTOR);
    assert_int_equal(board->message_data & LEVEL, 0);
    line(board, PIN, 1); /* no edge */
    assert_int_equal(board->messages, 1);
    line(board, PIN, 0);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 2);
    assert_int_equal(entry(board, PIN) & REMOTE, 0);
}

static void test_edges_while_masked_are_lost(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, MASKED);
    line(board, PIN, 1);
    set_entry(board, PIN, 0);
    assert_int_equal(board->messages, 0);
    line(board, PIN, 0);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 1);
}

static void test_level_waits_for_eoi(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, LEVEL);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 1);
    assert_int_equal(board->message_data & LEVEL, LEVEL);
    assert_int_equal(entry(board, PIN) & REMOTE, REMOTE);
    line(board, PIN, 0);
    line(board, PIN, 1); /* not before the EOI */
    assert_int_equal(board->messages, 1);
    bus_eoi(&board->bus, VECTOR + 1); /* somebody else's */
    assert_int_equal(board->messages, 1);
    bus_eoi(&board->bus, VECTOR); /* the line is still high: at once again */
    assert_int_equal(board->messages, 2);
    line(board, PIN, 0);
    bus_eoi(&board->bus, VECTOR);
    assert_int_equal(board->messages, 2);
    assert_int_equal(entry(board, PIN) & REMOTE, 0);
}

static void test_level_fires_when_unmasked(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, LEVEL | MASKED);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 0);
    set_entry(board, PIN, LEVEL);
    assert_int_equal(board->messages, 1);
    /* Masked in between, as Linux does it: the EOI must not fire. */
    set_entry(board, PIN, LEVEL | MASKED);
    bus_eoi(&board->bus, VECTOR);
    assert_int_equal(board->messages, 1);
    set_entry(board, PIN, LEVEL);
    assert_int_equal(board->messages, 2);
}

/* How Linux ends a level interrupt on IOAPICs without an EOI register: edge, and level again. */
static void test_edge_clears_remote(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, LEVEL);
    line(board, PIN, 1);
    line(board, PIN, 0);
    set_entry(board, PIN, MASKED);
    set_entry(board, PIN, LEVEL);
    assert_int_equal(entry(board, PIN) & REMOTE, 0);
}

/* Two pins with one vector: the EOI is for both. */
static void test_shared_vector(void **state)
{
    struct board *board = *state;
    set_entry(board, 18, LEVEL);
    set_entry(board, 19, LEVEL);
    line(board, 18, 1);
    line(board, 19, 1);
    assert_int_equal(board->messages, 2);
    bus_eoi(&board->bus, VECTOR);
    assert_int_equal(board->messages, 4);
}

static void test_message_of_an_entry(void **state)
{
    struct board *board = *state;
    put(board, REGISTER_ENTRIES + 2 * PIN + 1, 0xffu << 24);
    put(board, REGISTER_ENTRIES + 2 * PIN, VECTOR | LOGICAL | 1 << 8); /* lowest priority */
    line(board, PIN, 1);
    assert_int_equal(board->message_address, 0xfee00000 | 0xff << 12 | 4);
    assert_int_equal(board->message_data & 0x7ff, VECTOR | 1 << 8);
}

/* The 8254's line is the 8259's input 0 and the IOAPIC's pin 2; nothing arrives at pin 0. */
static void test_timer_arrives_at_pin_2(void **state)
{
    struct board *board = *state;
    set_entry(board, 0, 0);
    line(board, 0, 1);
    assert_int_equal(board->messages, 0);
    line(board, 0, 0);
    set_entry(board, 2, 0);
    line(board, 0, 1);
    assert_int_equal(board->messages, 1);
}

static void test_reset_masks(void **state)
{
    struct board *board = *state;
    set_entry(board, PIN, LEVEL);
    bus_reset_devices(&board->bus);
    line(board, PIN, 1);
    assert_int_equal(board->messages, 0);
    assert_int_equal(entry(board, PIN), MASKED);
}

static void test_state_survives(void **state)
{
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_int_equal(ioapic_create(&other->bus, &error), 0);
    set_entry(board, PIN, LEVEL);
    line(board, PIN, 1);
    assert_int_equal(board_load(other, "ioapic", board_save(board, "ioapic")), 0);
    assert_int_equal(entry(other, PIN), LEVEL | REMOTE | VECTOR);
    bus_eoi(&other->bus, VECTOR);
    assert_int_equal(other->messages, 1);
    board_destroy(other);
}

#define IOAPIC_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IOAPIC_TEST(test_registers),
        IOAPIC_TEST(test_edge),
        IOAPIC_TEST(test_edges_while_masked_are_lost),
        IOAPIC_TEST(test_level_waits_for_eoi),
        IOAPIC_TEST(test_level_fires_when_unmasked),
        IOAPIC_TEST(test_edge_clears_remote),
        IOAPIC_TEST(test_shared_vector),
        IOAPIC_TEST(test_message_of_an_entry),
        IOAPIC_TEST(test_timer_arrives_at_pin_2),
        IOAPIC_TEST(test_reset_masks),
        IOAPIC_TEST(test_state_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
