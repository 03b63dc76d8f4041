/* SPDX-License-Identifier: Apache-2.0 */
/* A PS/2 keyboard and mouse as their controller (i8042.c) sees them: bytes in both directions. No
 * locks of their own: the controller's guards them. */
#ifndef NACRE_DEVICE_PS2_H
#define NACRE_DEVICE_PS2_H

#include "base/state.h"

#define PS2_QUEUE_SIZE 64

/* What every PS/2 device says. IBM PS/2 Technical Reference, "Keyboard", "Commands to the System"
 */
#define PS2_ACKNOWLEDGE 0xfa
#define PS2_RESEND      0xfe
#define PS2_TEST_PASSED 0xaa

/* Commands that keyboard and mouse both know. */
enum ps2_command {
    PS2_IDENTIFY = 0xf2,
    PS2_RATE = 0xf3,
    PS2_ENABLE = 0xf4,
    PS2_DISABLE = 0xf5,
    PS2_DEFAULTS = 0xf6,
    PS2_RESET = 0xff,
};

struct ps2_queue {
    uint8_t bytes[PS2_QUEUE_SIZE];
    uint8_t start, count;
};

/* What a device has to say. Answers to commands come first, however much was typed before. */
struct ps2_output {
    struct ps2_queue answers, events;
};

static inline void ps2_put(struct ps2_queue *queue, uint8_t byte)
{
    if (queue->count < PS2_QUEUE_SIZE)
        queue->bytes[(queue->start + queue->count++) % PS2_QUEUE_SIZE] = byte;
}

static inline bool ps2_has_output(const struct ps2_output *output)
{
    return output->answers.count || output->events.count;
}

/* The next byte, when there is one. */
static inline uint8_t ps2_take(struct ps2_output *output)
{
    struct ps2_queue *queue = output->answers.count ? &output->answers : &output->events;
    uint8_t byte = queue->bytes[queue->start];
    queue->start = (uint8_t)((queue->start + 1u) % PS2_QUEUE_SIZE);
    queue->count--;
    return byte;
}

/* Is there room for an event of so many bytes? */
static inline bool ps2_has_room(const struct ps2_queue *queue, unsigned bytes)
{
    return queue->count + bytes <= PS2_QUEUE_SIZE;
}

static inline void ps2_clear(struct ps2_output *output)
{
    output->answers = output->events = (struct ps2_queue){0};
}

/* After a load, whatever the file held. */
static inline void ps2_check(struct ps2_output *output)
{
    if (output->answers.start >= PS2_QUEUE_SIZE || output->answers.count > PS2_QUEUE_SIZE ||
        output->events.start >= PS2_QUEUE_SIZE || output->events.count > PS2_QUEUE_SIZE)
        ps2_clear(output);
}

extern const struct state_table ps2_output_state;

struct ps2_keyboard {
    struct ps2_output output;
    bool scanning;
    uint8_t command;  /* whose parameter comes next; 0: none */
    uint8_t code_set; /* 1 or 2 */
    uint8_t leds;
};

void ps2_keyboard_reset(struct ps2_keyboard *keyboard);
/* A byte from the host. */
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte);
/* code: as in display/input.h. Dropped when nobody reads. */
void ps2_keyboard_key(struct ps2_keyboard *keyboard, uint16_t code, bool down);
/* The controller's translation of a code of set 2 to set 1; bytes without one come back as they
 * are. */
uint8_t ps2_translate(uint8_t byte);
extern const struct state_table ps2_keyboard_state;

struct ps2_mouse {
    struct ps2_output output;
    bool reporting, remote, wrapping, doubled;
    bool has_wheel;     /* the IntelliMouse protocol was asked for */
    uint8_t command;    /* whose parameter comes next; 0: none */
    uint8_t resolution; /* 0 to 3 */
    uint8_t rate;       /* reports a second */
    uint8_t rates[2];   /* the two set before: what asks for the wheel */
    uint8_t buttons, reported_buttons;
    int32_t right, down, wheel; /* moved, and not reported yet */
};

void ps2_mouse_reset(struct ps2_mouse *mouse);
void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte);
/* As in display/input.h. */
void ps2_mouse_move(struct ps2_mouse *mouse, int right, int down, int wheel, unsigned buttons);
/* Queues what has moved when there is room: also after the queue was read. */
void ps2_mouse_report(struct ps2_mouse *mouse);
extern const struct state_table ps2_mouse_state;

#endif
