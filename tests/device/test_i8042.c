/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller with its keyboard and mouse, as drivers use them. */
#include "board.h"
#include "device/i8042.h"
#include "display/keys.h"

#include <stdlib.h>

#define DATA           0x60
#define COMMAND        0x64
#define OUTPUT_FULL    0x01
#define FROM_MOUSE     0x20
#define MODE           0x20 /* command: read; 0x60: write */
#define TO_MOUSE       0xd4
#define KEY_A          0x1e
#define KEY_UP         0xe048
#define GSI_KEYBOARD   1
#define GSI_MOUSE      12
#define INTERRUPTS_RAW 0x03 /* mode: both interrupts, no translation */

struct fixture {
    struct board *board;
    struct input_sink input;
};

static int setup(void **state)
{
    struct error error;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    board_setup((void **)&fixture->board);
    assert_int_equal(i8042_create(&fixture->board->bus, &fixture->input, &error), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    board_destroy(fixture->board);
    free(fixture);
    return 0;
}

static bool full(struct fixture *fixture)
{
    return board_in(fixture->board, COMMAND) & OUTPUT_FULL;
}

/* Every byte that comes must be the next one expected, and no more. */
static void expect(struct fixture *fixture, const uint8_t *bytes, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_true(full(fixture));
        assert_int_equal(board_in(fixture->board, DATA), bytes[i]);
    }
    assert_false(full(fixture));
}
#define EXPECT(fixture, ...) \
    expect(fixture, (uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void set_mode(struct fixture *fixture, uint8_t mode)
{
    board_out(fixture->board, COMMAND, 0x60);
    board_out(fixture->board, DATA, mode);
}

static void to_mouse(struct fixture *fixture, uint8_t byte)
{
    board_out(fixture->board, COMMAND, TO_MOUSE);
    board_out(fixture->board, DATA, byte);
}

static void press(struct fixture *fixture, uint16_t code, bool down)
{
    fixture->input.key(fixture->input.opaque, code, down);
}

static void move(struct fixture *fixture, int right, int down, int wheel, unsigned buttons)
{
    fixture->input.pointer(fixture->input.opaque, right, down, wheel, buttons);
}

static void test_controller_answers(void **state)
{
    struct fixture *fixture = *state;
    board_out(fixture->board, COMMAND, 0xaa);
    EXPECT(fixture, 0x55);
    board_out(fixture->board, COMMAND, 0xab);
    EXPECT(fixture, 0x00);
    set_mode(fixture, 0x47);
    board_out(fixture->board, COMMAND, MODE);
    EXPECT(fixture, 0x47);
    board_out(fixture->board, COMMAND, 0x65);
    board_out(fixture->board, DATA, 0x99);
    board_out(fixture->board, COMMAND, 0x25);
    EXPECT(fixture, 0x99);
    board_out(fixture->board, COMMAND, 0xd3); /* loops back as if from the mouse */
    board_out(fixture->board, DATA, 0x5a);
    assert_int_equal(board_in(fixture->board, COMMAND) & (OUTPUT_FULL | FROM_MOUSE),
                     OUTPUT_FULL | FROM_MOUSE);
    EXPECT(fixture, 0x5a);
}

static void test_keys_are_translated(void **state)
{
    struct fixture *fixture = *state;
    press(fixture, KEY_A, true);
    press(fixture, KEY_A, false);
    press(fixture, KEY_UP, true);
    press(fixture, KEY_UP, false);
    EXPECT(fixture, 0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8);
    set_mode(fixture, INTERRUPTS_RAW);
    press(fixture, KEY_A, true);
    press(fixture, KEY_A, false);
    EXPECT(fixture, 0x1c, 0xf0, 0x1c);
    board_out(fixture->board, DATA, 0xf0); /* code set 1 */
    board_out(fixture->board, DATA, 0x01);
    EXPECT(fixture, 0xfa, 0xfa);
    press(fixture, KEY_UP, false);
    EXPECT(fixture, 0xe0, 0xc8);
}

/* Every key that has a name arrives as its own code, and nothing else arrives. */
static void test_every_key_arrives(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; key_name(i); i++) {
        const struct key *key = key_by_name(key_name(i), strlen(key_name(i)));
        press(fixture, key->code, true);
        if (key->code >> 8)
            EXPECT(fixture, (uint8_t)(key->code >> 8), (uint8_t)key->code);
        else
            EXPECT(fixture, (uint8_t)key->code);
    }
    press(fixture, 0x7f5, true);
    press(fixture, 0x80, true);
    press(fixture, 0, true);
    assert_false(full(fixture));
}

static void test_interrupts(void **state)
{
    struct fixture *fixture = *state;
    struct board *board = fixture->board;
    press(fixture, KEY_A, true);
    press(fixture, KEY_A, false);
    assert_int_equal(board->rises[GSI_KEYBOARD], 1);
    board_in(board, DATA);
    assert_int_equal(board->rises[GSI_KEYBOARD], 2); /* an edge for each byte */
    board_in(board, DATA);
    assert_false(board->levels >> GSI_KEYBOARD & 1);
    set_mode(fixture, 0x40);
    press(fixture, KEY_A, true);
    assert_int_equal(board->rises[GSI_KEYBOARD], 2);
    assert_true(full(fixture));
}

/* Linux sets the lights while somebody types: the answer comes before what is queued. */
static void test_answers_come_first(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 3; i++)
        press(fixture, KEY_A, true);
    board_out(fixture->board, DATA, 0xed);
    EXPECT(fixture, 0x1e, 0xfa, 0x1e, 0x1e);
}

static void test_keyboard_commands(void **state)
{
    struct fixture *fixture = *state;
    set_mode(fixture, INTERRUPTS_RAW);
    board_out(fixture->board, DATA, 0xff);
    EXPECT(fixture, 0xfa, 0xaa);
    board_out(fixture->board, DATA, 0xf2);
    EXPECT(fixture, 0xfa, 0xab, 0x83);
    board_out(fixture->board, DATA, 0xee);
    EXPECT(fixture, 0xee);
    board_out(fixture->board, DATA, 0xf5);
    EXPECT(fixture, 0xfa);
    press(fixture, KEY_A, true);
    assert_false(full(fixture));
    board_out(fixture->board, DATA, 0xf4);
    EXPECT(fixture, 0xfa);
    press(fixture, KEY_A, true);
    EXPECT(fixture, 0x1c);
}

static void test_typing_is_bounded(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 1000; i++)
        press(fixture, KEY_A, true);
    unsigned count = 0;
    for (; full(fixture); count++)
        board_in(fixture->board, DATA);
    assert_in_range(count, 16, 100);
}

static void test_mouse(void **state)
{
    struct fixture *fixture = *state;
    set_mode(fixture, INTERRUPTS_RAW);
    to_mouse(fixture, 0xff);
    EXPECT(fixture, 0xfa, 0xaa, 0x00);
    move(fixture, 5, 0, 0, 0);
    assert_false(full(fixture)); /* not enabled */
    to_mouse(fixture, 0xf4);
    EXPECT(fixture, 0xfa);
    move(fixture, 0, 0, 0, 0);
    assert_false(full(fixture)); /* what moved before is forgotten */
    move(fixture, 5, 0, 0, 0);
    EXPECT(fixture, 0x08, 5, 0);
    move(fixture, -3, 2, 0, INPUT_BUTTON_RIGHT);
    assert_true(fixture->board->levels >> GSI_MOUSE & 1);
    assert_true(board_in(fixture->board, COMMAND) & FROM_MOUSE);
    EXPECT(fixture, 0x3a, (uint8_t)-3, (uint8_t)-2);
    move(fixture, 200, 0, 0, 0);
    EXPECT(fixture, 0x08, 127, 0, 0x08, 73, 0);
}

static void test_mouse_wheel(void **state)
{
    static const uint8_t rates[] = {200, 100, 80};
    struct fixture *fixture = *state;
    set_mode(fixture, INTERRUPTS_RAW);
    for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
        to_mouse(fixture, 0xf3);
        to_mouse(fixture, rates[i]);
        EXPECT(fixture, 0xfa, 0xfa);
    }
    to_mouse(fixture, 0xf2);
    EXPECT(fixture, 0xfa, 0x03);
    to_mouse(fixture, 0xf4);
    EXPECT(fixture, 0xfa);
    move(fixture, 0, 0, -1, INPUT_BUTTON_MIDDLE);
    EXPECT(fixture, 0x0c, 0, 0, 0xff);
}

static void test_reset_line(void **state)
{
    static const struct {
        uint8_t command;
        bool resets;
    } writes[] = {{0xfe, true}, {0xff, false}, {0xd0, false}, {0xf0, true}};
    struct fixture *fixture = *state;
    struct board *board = fixture->board;
    for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
        unsigned before = board->power_requests;
        board_out(board, COMMAND, writes[i].command);
        assert_int_equal(board->power_requests - before, writes[i].resets);
    }
    assert_int_equal(board->power, BUS_POWER_RESET);
}

/* Without a keyboard the ports look empty, and the pulse works all the same. */
static void test_empty_port(void **state)
{
    struct error error;
    struct board *board = board_create();
    assert_int_equal(i8042_create(&board->bus, NULL, &error), 0);
    board_out(board, COMMAND, 0xaa);
    assert_int_equal(board_in(board, COMMAND), 0xff);
    assert_int_equal(board_in(board, DATA), 0xff);
    board_out(board, COMMAND, 0xfe);
    assert_int_equal(board->power_requests, 1);
    board_destroy(board);
}

static void test_state_survives(void **state)
{
    struct fixture *fixture = *state, *other;
    setup((void **)&other);
    set_mode(fixture, INTERRUPTS_RAW);
    press(fixture, KEY_A, true);
    press(fixture, KEY_UP, false);
    assert_int_equal(board_load(other->board, "i8042", board_save(fixture->board, "i8042")), 0);
    assert_true(other->board->levels >> GSI_KEYBOARD & 1);
    EXPECT(other, 0x1c, 0xe0, 0xf0, 0x75);
    teardown((void **)&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_controller_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keys_are_translated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_key_arrives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_interrupts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_answers_come_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_keyboard_commands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_typing_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mouse, setup, teardown),
        cmocka_unit_test_setup_teardown(test_mouse_wheel, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reset_line, setup, teardown),
        cmocka_unit_test(test_empty_port),
        cmocka_unit_test_setup_teardown(test_state_survives, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
