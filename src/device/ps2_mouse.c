/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PS/2 mouse: IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device"; with the wheel
 * of Microsoft's IntelliMouse, which a driver asks for by setting the rates 200, 100, 80 in a row.
 */
#include "device/ps2.h"

#include "base/bits.h"
#include "display/input.h"

#define ID_PLAIN      0x00
#define ID_WHEEL      0x03
#define RATE_DEFAULT  100
#define MOVED_MAX     4096 /* what nobody reports is not kept for ever */
#define REPORT_BYTES  4
#define REPORT_ALWAYS BIT(3)
#define REPORT_LEFT   BIT(4) /* the sign of the movement */
#define REPORT_DOWN   BIT(5)
#define STEP_MAX      127

enum command {
    COMMAND_SCALE_1 = 0xe6,
    COMMAND_SCALE_2 = 0xe7,
    COMMAND_RESOLUTION = 0xe8,
    COMMAND_STATUS = 0xe9,
    COMMAND_STREAM = 0xea,
    COMMAND_READ = 0xeb,
    COMMAND_UNWRAP = 0xec,
    COMMAND_WRAP = 0xee,
    COMMAND_REMOTE = 0xf0,
};

static void set_defaults(struct ps2_mouse *mouse)
{
    mouse->reporting = mouse->remote = mouse->wrapping = mouse->doubled = false;
    mouse->command = 0;
    mouse->resolution = 2;
    mouse->rate = RATE_DEFAULT;
    mouse->right = mouse->down = mouse->wheel = 0;
}

void ps2_mouse_reset(struct ps2_mouse *mouse)
{
    ps2_clear(&mouse->output);
    set_defaults(mouse);
    mouse->has_wheel = false;
    mouse->rates[0] = mouse->rates[1] = 0;
    mouse->buttons = mouse->reported_buttons = 0;
}

/* Takes a step of at most `most` off what has moved. */
static int take_step(int32_t *moved, int most)
{
    int step = *moved > most ? most : *moved < -most ? -most : *moved;
    *moved -= step;
    return step;
}

static void put_report(struct ps2_mouse *mouse, struct ps2_queue *queue)
{
    int right = take_step(&mouse->right, STEP_MAX), up = -take_step(&mouse->down, STEP_MAX);
    ps2_put(queue, (uint8_t)(mouse->buttons | REPORT_ALWAYS | (right < 0 ? REPORT_LEFT : 0) |
                             (up < 0 ? REPORT_DOWN : 0)));
    ps2_put(queue, (uint8_t)right);
    ps2_put(queue, (uint8_t)up);
    if (mouse->has_wheel)
        ps2_put(queue, (uint8_t)take_step(&mouse->wheel, 7));
    mouse->reported_buttons = mouse->buttons;
}

void ps2_mouse_report(struct ps2_mouse *mouse)
{
    if (!mouse->has_wheel)
        mouse->wheel = 0;
    while (
        mouse->reporting && !mouse->remote && !mouse->wrapping &&
        ps2_has_room(&mouse->output.events, REPORT_BYTES) &&
        (mouse->right || mouse->down || mouse->wheel || mouse->buttons != mouse->reported_buttons))
        put_report(mouse, &mouse->output.events);
}

static void add(int32_t *moved, int more)
{
    int64_t sum = (int64_t)*moved + more;
    *moved = (int32_t)(sum > MOVED_MAX ? MOVED_MAX : sum < -MOVED_MAX ? -MOVED_MAX : sum);
}

void ps2_mouse_move(struct ps2_mouse *mouse, int right, int down, int wheel, unsigned buttons)
{
    const unsigned all = INPUT_BUTTON_LEFT | INPUT_BUTTON_RIGHT | INPUT_BUTTON_MIDDLE;
    add(&mouse->right, right);
    add(&mouse->down, down);
    add(&mouse->wheel, wheel);
    mouse->buttons = (uint8_t)(buttons & all);
    ps2_mouse_report(mouse);
}

static void take_parameter(struct ps2_mouse *mouse, uint8_t value)
{
    uint8_t command = mouse->command;
    mouse->command = 0;
    if (command == COMMAND_RESOLUTION) {
        mouse->resolution = value & 3;
        return;
    }
    if (mouse->rates[0] == 200 && mouse->rates[1] == 100 && value == 80)
        mouse->has_wheel = true;
    mouse->rates[0] = mouse->rates[1];
    mouse->rates[1] = mouse->rate = value;
}

static void put_status(struct ps2_mouse *mouse)
{
    unsigned left = mouse->buttons & INPUT_BUTTON_LEFT ? BIT(2) : 0;
    unsigned middle = mouse->buttons & INPUT_BUTTON_MIDDLE ? BIT(1) : 0;
    unsigned right = mouse->buttons & INPUT_BUTTON_RIGHT ? BIT(0) : 0;
    unsigned modes = (mouse->doubled ? BIT(4) : 0) | (mouse->reporting ? BIT(5) : 0) |
                     (mouse->remote ? BIT(6) : 0);
    ps2_put(&mouse->output.answers, (uint8_t)(modes | left | middle | right));
    ps2_put(&mouse->output.answers, mouse->resolution);
    ps2_put(&mouse->output.answers, mouse->rate);
}

static void run_command(struct ps2_mouse *mouse, uint8_t command)
{
    switch (command) {
    case COMMAND_SCALE_1:
    case COMMAND_SCALE_2:
        mouse->doubled = command == COMMAND_SCALE_2;
        break;
    case COMMAND_RESOLUTION:
    case PS2_RATE:
        mouse->command = command;
        break;
    case COMMAND_STATUS:
        put_status(mouse);
        break;
    case COMMAND_STREAM:
    case COMMAND_REMOTE:
        mouse->remote = command == COMMAND_REMOTE;
        break;
    case COMMAND_READ:
        put_report(mouse, &mouse->output.answers);
        break;
    case COMMAND_WRAP:
        mouse->wrapping = true;
        break;
    case PS2_IDENTIFY:
        ps2_put(&mouse->output.answers, mouse->has_wheel ? ID_WHEEL : ID_PLAIN);
        break;
    case PS2_ENABLE:
    case PS2_DISABLE:
        mouse->reporting = command == PS2_ENABLE;
        mouse->right = mouse->down = mouse->wheel = 0;
        break;
    case PS2_DEFAULTS:
        set_defaults(mouse);
        break;
    default: /* COMMAND_UNWRAP: not wrapping */
        break;
    }
}

static bool is_command(uint8_t byte)
{
    return (byte >= COMMAND_SCALE_1 && byte <= COMMAND_UNWRAP) || byte == COMMAND_WRAP ||
           byte == COMMAND_REMOTE || (byte >= PS2_IDENTIFY && byte <= PS2_DEFAULTS);
}

void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte)
{
    struct ps2_queue *queue = &mouse->output.answers;
    if (byte == PS2_RESET) {
        ps2_mouse_reset(mouse);
        ps2_put(queue, PS2_ACKNOWLEDGE);
        ps2_put(queue, PS2_TEST_PASSED);
        ps2_put(queue, ID_PLAIN);
        return;
    }
    if (mouse->wrapping && byte != COMMAND_UNWRAP) {
        ps2_put(queue, byte);
        return;
    }
    mouse->wrapping = false;
    if (mouse->command) {
        ps2_put(queue, PS2_ACKNOWLEDGE);
        take_parameter(mouse, byte);
    } else if (is_command(byte)) {
        ps2_put(queue, PS2_ACKNOWLEDGE);
        run_command(mouse, byte);
    } else {
        ps2_put(queue, PS2_RESEND);
    }
}

static const struct state_field mouse_fields[] = {
    STATE_NESTED(struct ps2_mouse, output, &ps2_output_state),
    STATE_FIELD(struct ps2_mouse, reporting),
    STATE_FIELD(struct ps2_mouse, remote),
    STATE_FIELD(struct ps2_mouse, wrapping),
    STATE_FIELD(struct ps2_mouse, doubled),
    STATE_FIELD(struct ps2_mouse, has_wheel),
    STATE_FIELD(struct ps2_mouse, command),
    STATE_FIELD(struct ps2_mouse, resolution),
    STATE_FIELD(struct ps2_mouse, rate),
    STATE_ARRAY(struct ps2_mouse, rates),
    STATE_FIELD(struct ps2_mouse, buttons),
    STATE_FIELD(struct ps2_mouse, reported_buttons),
    STATE_FIELD(struct ps2_mouse, right),
    STATE_FIELD(struct ps2_mouse, down),
    STATE_FIELD(struct ps2_mouse, wheel),
};
const struct state_table ps2_mouse_state = STATE_TABLE("ps2-mouse", 1, mouse_fields);
