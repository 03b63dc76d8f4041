/* SPDX-License-Identifier: Apache-2.0 */
/* An enhanced PS/2 keyboard: IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and
 * 102-key)". Scan code sets 1 and 2; of set 3 nobody wants to know. */
#include "device/ps2.h"

#include "base/bits.h"

#define SET_2_RELEASE 0xf0
#define SET_1_RELEASE 0x80
#define PREFIX        0xe0
#define ID_FIRST      0xab
#define ID_SECOND     0x83
#define KEY_BYTES_MAX 3

enum command {
    COMMAND_LEDS = 0xed,
    COMMAND_ECHO = 0xee,
    COMMAND_CODE_SET = 0xf0,
};

/* Set 2 to set 1. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};
/* The two keys beyond: F7, and Print with Alt. */
#define SET_2_F7    0x83
#define SET_1_F7    0x41
#define SET_2_SYSRQ 0x84
#define SET_1_SYSRQ 0x54

uint8_t ps2_translate(uint8_t byte)
{
    if (byte < ARRAY_SIZE(translation))
        return translation[byte];
    return byte == SET_2_F7 ? SET_1_F7 : byte == SET_2_SYSRQ ? SET_1_SYSRQ : byte;
}

/* 0: there is no such key. */
static uint8_t code_in_set_2(uint8_t code)
{
    if (code == SET_1_F7)
        return SET_2_F7;
    for (unsigned i = 1; i < ARRAY_SIZE(translation); i++)
        if (translation[i] == code)
            return (uint8_t)i;
    return 0;
}

void ps2_keyboard_key(struct ps2_keyboard *keyboard, uint16_t code, bool down)
{
    struct ps2_queue *queue = &keyboard->output.events;
    uint8_t set_1 = (uint8_t)code, set_2 = code_in_set_2(set_1);
    if (!set_2 || set_1 & SET_1_RELEASE || !keyboard->scanning ||
        !ps2_has_room(queue, KEY_BYTES_MAX))
        return;
    if (code >> 8 == PREFIX)
        ps2_put(queue, PREFIX);
    if (keyboard->code_set == 1) {
        ps2_put(queue, down ? set_1 : set_1 | SET_1_RELEASE);
        return;
    }
    if (!down)
        ps2_put(queue, SET_2_RELEASE);
    ps2_put(queue, set_2);
}

static void set_defaults(struct ps2_keyboard *keyboard)
{
    ps2_clear(&keyboard->output);
    keyboard->command = 0;
    keyboard->code_set = 2;
}

void ps2_keyboard_reset(struct ps2_keyboard *keyboard)
{
    set_defaults(keyboard);
    keyboard->scanning = true;
    keyboard->leds = 0;
}

static void take_parameter(struct ps2_keyboard *keyboard, uint8_t value)
{
    uint8_t command = keyboard->command;
    keyboard->command = 0;
    if (command == COMMAND_CODE_SET && value > 2) {
        ps2_put(&keyboard->output.answers, PS2_RESEND);
        return;
    }
    ps2_put(&keyboard->output.answers, PS2_ACKNOWLEDGE);
    if (command == COMMAND_LEDS)
        keyboard->leds = value & 7;
    else if (command == COMMAND_CODE_SET && value)
        keyboard->code_set = value;
    else if (command == COMMAND_CODE_SET)
        ps2_put(&keyboard->output.answers, keyboard->code_set);
}

void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte)
{
    struct ps2_queue *queue = &keyboard->output.answers;
    if (keyboard->command && byte < COMMAND_LEDS) {
        take_parameter(keyboard, byte);
        return;
    }
    keyboard->command = 0;
    switch (byte) {
    case COMMAND_ECHO:
        ps2_put(queue, COMMAND_ECHO);
        return;
    case COMMAND_LEDS:
    case COMMAND_CODE_SET:
    case PS2_RATE:
        keyboard->command = byte;
        break;
    case PS2_IDENTIFY:
        ps2_put(queue, PS2_ACKNOWLEDGE);
        ps2_put(queue, ID_FIRST);
        ps2_put(queue, ID_SECOND);
        return;
    case PS2_ENABLE:
        ps2_clear(&keyboard->output);
        keyboard->scanning = true;
        break;
    case PS2_DISABLE:
    case PS2_DEFAULTS:
        set_defaults(keyboard);
        keyboard->scanning = byte == PS2_DEFAULTS;
        break;
    case PS2_RESET:
        ps2_keyboard_reset(keyboard);
        ps2_put(queue, PS2_ACKNOWLEDGE);
        ps2_put(queue, PS2_TEST_PASSED);
        return;
    default:
        ps2_put(queue, byte < COMMAND_LEDS || byte == PS2_RESEND ? PS2_RESEND : PS2_ACKNOWLEDGE);
        return;
    }
    ps2_put(queue, PS2_ACKNOWLEDGE);
}

static const struct state_field queue_fields[] = {
    STATE_BLOB(struct ps2_queue, bytes),
    STATE_FIELD(struct ps2_queue, start),
    STATE_FIELD(struct ps2_queue, count),
};
static const struct state_table queue_state = STATE_TABLE("ps2-queue", 1, queue_fields);
static const struct state_field output_fields[] = {
    STATE_NESTED(struct ps2_output, answers, &queue_state),
    STATE_NESTED(struct ps2_output, events, &queue_state),
};
const struct state_table ps2_output_state = STATE_TABLE("ps2-output", 1, output_fields);
static const struct state_field keyboard_fields[] = {
    STATE_NESTED(struct ps2_keyboard, output, &ps2_output_state),
    STATE_FIELD(struct ps2_keyboard, scanning),
    STATE_FIELD(struct ps2_keyboard, command),
    STATE_FIELD(struct ps2_keyboard, code_set),
    STATE_FIELD(struct ps2_keyboard, leds),
};
const struct state_table ps2_keyboard_state = STATE_TABLE("ps2-keyboard", 1, keyboard_fields);
