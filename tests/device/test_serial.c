/* SPDX-License-Identifier: Apache-2.0 */
/* The 16550A by its registers, with a test at its other end. */
#include "board.h"

#include <errno.h>

enum { DATA = 0x3f8, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCRATCH };
enum { IER_RECEIVE = 1, IER_TRANSMIT = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_MODEM = 0, IIR_NONE = 1, IIR_TRANSMIT = 2, IIR_RECEIVE = 4, IIR_LINE = 6 };
enum { IIR_TIMEOUT = 0x0c, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_TRIGGER_4 = 0x40, FCR_TRIGGER_14 = 0xc0 };
enum { DLAB = 0x80, DTR = 1, RTS = 2, OUT1 = 4, OUT2 = 8, LOOP = 0x10 };
enum { LSR_READY = 1, LSR_OVERRUN = 2, LSR_EMPTY = 0x60 };
enum { MSR_CTS_CHANGED = 1, MSR_DSR_CHANGED = 2, MSR_RI_FELL = 4, MSR_DCD_CHANGED = 8 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80, LINE = 4 };

static struct serial *serial;
static uint8_t sent[64];
static unsigned sent_count, drained_count;

static void transmit(void *opaque, uint8_t byte)
{
    sent[sent_count++ % sizeof(sent)] = byte;
}

static void drained(void *opaque)
{
    drained_count++;
}

static int setup(void **state)
{
    const struct serial_config config = {.transmit = transmit, .drained = drained};
    struct error error;
    board_setup(state);
    sent_count = drained_count = 0;
    serial = serial_create(&((struct board *)*state)->bus, &config, &error);
    return serial ? 0 : -1;
}

static bool up(const struct board *board)
{
    return board->levels >> LINE & 1;
}

static unsigned receive(const char *text)
{
    return serial_receive(serial, (const uint8_t *)text, (unsigned)strlen(text));
}

/* As a driver starts: FIFO, OUT2, receive interrupt. */
static void open_port(struct board *board, uint8_t fcr, uint8_t ier)
{
    board_out(board, IIR_FCR, fcr);
    board_out(board, MCR, DTR | RTS | OUT2);
    board_in(board, MSR);
    board_out(board, IER, ier);
}

static void test_registers_hold_their_bits(void **state)
{
    struct board *board = *state;
    board_out(board, SCRATCH, 0xa5);
    board_out(board, LCR, 0x1b);
    board_out(board, IER, 0xff);
    board_out(board, MCR, 0xff);
    assert_int_equal(board_in(board, SCRATCH), 0xa5);
    assert_int_equal(board_in(board, LCR), 0x1b);
    assert_int_equal(board_in(board, IER), 0x0f);
    assert_int_equal(board_in(board, MCR), 0x1f);
    board_out(board, LSR, 0);
    assert_int_equal(board_in(board, LSR), LSR_EMPTY);
}

static void test_divisor_hides_data_and_ier(void **state)
{
    struct board *board = *state;
    board_out(board, IER, IER_LINE);
    board_out(board, LCR, DLAB);
    board_out(board, DATA, 0x34);
    board_out(board, IER, 0x12);
    assert_int_equal(board_in(board, DATA), 0x34);
    assert_int_equal(board_in(board, IER), 0x12);
    assert_int_equal(sent_count, 0);
    board_out(board, LCR, 3);
    assert_int_equal(board_in(board, IER), IER_LINE);
}

static void test_bytes_are_sent(void **state)
{
    struct board *board = *state;
    board_out(board, DATA, 'o');
    board_out(board, DATA, 'k');
    assert_int_equal(sent_count, 2);
    assert_memory_equal(sent, "ok", 2);
    assert_int_equal(board_in(board, LSR), LSR_EMPTY);
}

static void test_transmit_interrupt(void **state)
{
    struct board *board = *state;
    open_port(board, FCR_ENABLE, 0);
    assert_false(up(board));
    board_out(board, IER, IER_TRANSMIT); /* the transmitter is empty: at once */
    assert_true(up(board));
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_TRANSMIT);
    assert_false(up(board)); /* reading it was the acknowledgement */
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_NONE);
    board_out(board, DATA, 'x');
    assert_true(up(board));
    board_out(board, IER, 0);
    assert_false(up(board));
}

static void test_identification_of_the_fifo(void **state)
{
    struct board *board = *state;
    assert_int_equal(board_in(board, IIR_FCR), IIR_NONE); /* as a 16450 */
    board_out(board, IIR_FCR, FCR_ENABLE);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_NONE);
    board_out(board, IIR_FCR, FCR_TRIGGER_14); /* without the enable bit the rest is not taken */
    assert_int_equal(board_in(board, IIR_FCR), IIR_NONE);
}

static void test_receive_up_to_the_trigger(void **state)
{
    struct board *board = *state;
    open_port(board, FCR_ENABLE | FCR_TRIGGER_4, IER_RECEIVE);
    assert_int_equal(serial_room(serial), 16);
    assert_int_equal(receive("abc"), 3);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_TIMEOUT); /* below the trigger */
    receive("d");
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_RECEIVE);
    assert_int_equal(board_in(board, LSR), LSR_EMPTY | LSR_READY);
    for (const char *byte = "abcd"; *byte; byte++) {
        assert_true(up(board));
        assert_int_equal(board_in(board, DATA), *byte);
    }
    assert_false(up(board));
    assert_int_equal(board_in(board, LSR), LSR_EMPTY);
    assert_int_equal(board_in(board, DATA), 0);
}

static void test_fifo_takes_sixteen(void **state)
{
    struct board *board = *state;
    open_port(board, FCR_ENABLE, IER_RECEIVE);
    assert_int_equal(receive("0123456789abcdefgh"), 16);
    assert_int_equal(serial_room(serial), 0);
    unsigned before = drained_count;
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(board_in(board, DATA), "0123456789abcdef"[i]);
    assert_int_equal(drained_count, before + 1);
    receive("x");
    board_out(board, IIR_FCR, FCR_ENABLE | FCR_CLEAR_RX);
    assert_false(up(board));
    assert_int_equal(board_in(board, LSR), LSR_EMPTY);
}

static void test_one_byte_without_fifo(void **state)
{
    struct board *board = *state;
    open_port(board, 0, IER_RECEIVE);
    assert_int_equal(serial_room(serial), 0); /* perhaps a FIFO is asked for yet */
    fake_time_advance(MILLISECONDS(100));
    assert_int_equal(receive("ab"), 1);
    assert_int_equal(board_in(board, IIR_FCR), IIR_RECEIVE);
    assert_int_equal(board_in(board, DATA), 'a');
}

/* Nobody listens before the driver is there: its start would empty the FIFO. */
static void test_no_room_before_the_driver(void **state)
{
    struct board *board = *state;
    assert_int_equal(receive("early"), 0);
    open_port(board, FCR_ENABLE, IER_RECEIVE);
    assert_int_equal(drained_count, 1);
    assert_int_equal(receive("early"), 5);
}

static void test_a_polling_guest_listens(void **state)
{
    struct board *board = *state;
    for (unsigned i = 0; i < 16; i++)
        board_in(board, LSR);
    assert_int_equal(drained_count, 1);
    assert_int_equal(receive("x"), 1);
    assert_int_equal(board_in(board, LSR), LSR_EMPTY | LSR_READY);
}

/* Line status, received data, transmitter, modem status: one after the other. */
static void test_priorities(void **state)
{
    struct board *board = *state;
    board_out(board, IIR_FCR, FCR_ENABLE);
    board_out(board, MCR, LOOP | RTS);
    for (unsigned i = 0; i < 17; i++)
        board_out(board, DATA, 'x');
    board_out(board, IER, IER_RECEIVE | IER_TRANSMIT | IER_LINE | IER_MODEM);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_LINE);
    assert_int_equal(board_in(board, LSR) & LSR_OVERRUN, LSR_OVERRUN);
    assert_int_equal(board_in(board, LSR) & LSR_OVERRUN, 0);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_RECEIVE);
    board_out(board, IIR_FCR, FCR_ENABLE | FCR_CLEAR_RX);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_TRANSMIT);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_MODEM);
    board_in(board, MSR);
    assert_int_equal(board_in(board, IIR_FCR), IIR_FIFO | IIR_NONE);
}

static void test_loopback_data(void **state)
{
    struct board *board = *state;
    board_out(board, MCR, LOOP | OUT2);
    board_out(board, IER, IER_RECEIVE);
    board_out(board, DATA, 'a');
    assert_int_equal(sent_count, 0); /* nothing gets out */
    assert_int_equal(board_in(board, LSR), LSR_EMPTY | LSR_READY);
    assert_false(up(board)); /* OUT2, which gates the line, is off in a loop */
    board_out(board, DATA, 'b');
    assert_int_equal(board_in(board, LSR), LSR_EMPTY | LSR_READY | LSR_OVERRUN);
    assert_int_equal(board_in(board, DATA), 'b'); /* without a FIFO the last byte counts */
}

/* Linux finds UARTs by this. */
static void test_loopback_modem_lines(void **state)
{
    static const struct {
        uint8_t control, status;
    } lines[] = {{DTR, MSR_DSR}, {RTS, MSR_CTS}, {OUT1, MSR_RI}, {OUT2, MSR_DCD}};
    struct board *board = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
        board_out(board, MCR, LOOP | lines[i].control);
        assert_int_equal(board_in(board, MSR) & 0xf0, lines[i].status);
    }
    board_out(board, MCR, LOOP | RTS | OUT2);
    assert_int_equal(board_in(board, MSR) & 0xf0, MSR_CTS | MSR_DCD);
}

static void test_modem_changes(void **state)
{
    struct board *board = *state;
    assert_int_equal(board_in(board, MSR), MSR_DCD | MSR_DSR | MSR_CTS);
    board_out(board, MCR, LOOP | DTR | RTS | OUT2);
    assert_int_equal(board_in(board, MSR), MSR_DCD | MSR_DSR | MSR_CTS); /* nothing changed */
    board_out(board, MCR, LOOP | OUT1);
    assert_int_equal(board_in(board, MSR),
                     MSR_RI | MSR_CTS_CHANGED | MSR_DSR_CHANGED | MSR_DCD_CHANGED);
    board_out(board, MCR, LOOP);
    board_out(board, MCR, LOOP | RTS);
    assert_int_equal(board_in(board, MSR), MSR_CTS | MSR_RI_FELL | MSR_CTS_CHANGED);
    assert_int_equal(board_in(board, MSR), MSR_CTS);
}

/* On a PC OUT2 connects the interrupt to the bus. */
static void test_out2_gates_the_line(void **state)
{
    struct board *board = *state;
    open_port(board, FCR_ENABLE, IER_TRANSMIT);
    assert_true(up(board));
    board_out(board, MCR, DTR | RTS);
    assert_false(up(board));
    board_out(board, MCR, DTR | RTS | OUT2);
    assert_true(up(board));
}

static void test_reset(void **state)
{
    struct board *board = *state;
    open_port(board, FCR_ENABLE, IER_RECEIVE | IER_TRANSMIT);
    receive("x");
    bus_reset_devices(&board->bus);
    assert_false(up(board));
    assert_int_equal(board_in(board, IER), 0);
    assert_int_equal(board_in(board, IIR_FCR), IIR_NONE);
    assert_int_equal(board_in(board, LSR), LSR_EMPTY);
}

static void test_state_survives(void **state)
{
    const struct serial_config config = {.transmit = transmit};
    struct board *board = *state, *other = board_create();
    struct error error;
    assert_non_null(serial_create(&other->bus, &config, &error));
    open_port(board, FCR_ENABLE | FCR_TRIGGER_4, IER_RECEIVE);
    receive("abcde");
    board_in(board, DATA);
    assert_int_equal(board_load(other, "serial0", board_save(board, "serial0")), 0);
    assert_int_equal(board_in(other, IIR_FCR), IIR_FIFO | IIR_RECEIVE);
    for (const char *byte = "bcde"; *byte; byte++)
        assert_int_equal(board_in(other, DATA), *byte);
    board_destroy(other);
}

static void test_damaged_state_is_refused(void **state)
{
    struct board *board = *state;
    uint8_t *saved = board_save(board, "serial0");
    memset(saved, 0xff, state_size(board->bus.devices->state));
    assert_int_equal(board_load(board, "serial0", saved), -EINVAL);
    board_in(board, DATA);
    receive("x");
}

#define SERIAL_TEST(name) cmocka_unit_test_setup_teardown(name, setup, board_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERIAL_TEST(test_registers_hold_their_bits),
        SERIAL_TEST(test_divisor_hides_data_and_ier),
        SERIAL_TEST(test_bytes_are_sent),
        SERIAL_TEST(test_transmit_interrupt),
        SERIAL_TEST(test_identification_of_the_fifo),
        SERIAL_TEST(test_receive_up_to_the_trigger),
        SERIAL_TEST(test_fifo_takes_sixteen),
        SERIAL_TEST(test_one_byte_without_fifo),
        SERIAL_TEST(test_no_room_before_the_driver),
        SERIAL_TEST(test_a_polling_guest_listens),
        SERIAL_TEST(test_priorities),
        SERIAL_TEST(test_loopback_data),
        SERIAL_TEST(test_loopback_modem_lines),
        SERIAL_TEST(test_modem_changes),
        SERIAL_TEST(test_out2_gates_the_line),
        SERIAL_TEST(test_reset),
        SERIAL_TEST(test_state_survives),
        SERIAL_TEST(test_damaged_state_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
