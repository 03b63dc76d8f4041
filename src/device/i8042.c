/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keyboard controller 8042 of the PS/2: IBM PS/2 Hardware Interface Technical Reference,
 * "Keyboard and Auxiliary Device Controller". Ports 0x60 (data) and 0x64 (status, commands), an
 * output buffer of one byte that is filled from its own replies, the keyboard and the mouse, and
 * two interrupts that say so. It can also reset the processor.
 */
#include "device/i8042.h"

#include "device/ps2.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define PORT_DATA    0x60
#define PORT_COMMAND 0x64
#define GSI_KEYBOARD 1
#define GSI_MOUSE    12

enum {
    STATUS_OUTPUT_FULL = BIT(0),
    STATUS_SYSTEM = BIT(2),
    STATUS_COMMAND = BIT(3), /* the last write was to PORT_COMMAND */
    STATUS_UNLOCKED = BIT(4),
    STATUS_MOUSE = BIT(5), /* the byte in the output buffer comes from the mouse */
};

/* Byte 0 of its memory. */
enum {
    MODE_KEYBOARD_INTERRUPT = BIT(0),
    MODE_MOUSE_INTERRUPT = BIT(1),
    MODE_SYSTEM = BIT(2),
    MODE_KEYBOARD_OFF = BIT(4),
    MODE_MOUSE_OFF = BIT(5),
    MODE_TRANSLATE = BIT(6),
};

enum {
    OUTPUT_NO_RESET = BIT(0),
    OUTPUT_A20 = BIT(1),
    OUTPUT_KEYBOARD = BIT(4), /* the interrupts' lines */
    OUTPUT_MOUSE = BIT(5),
};

enum command {
    COMMAND_READ = 0x20, /* to 0x3f: a byte of memory */
    COMMAND_WRITE = 0x60,
    COMMAND_MOUSE_OFF = 0xa7,
    COMMAND_MOUSE_ON = 0xa8,
    COMMAND_TEST_MOUSE = 0xa9,
    COMMAND_TEST = 0xaa,
    COMMAND_TEST_KEYBOARD = 0xab,
    COMMAND_KEYBOARD_OFF = 0xad,
    COMMAND_KEYBOARD_ON = 0xae,
    COMMAND_READ_INPUT = 0xc0,
    COMMAND_READ_OUTPUT = 0xd0,
    COMMAND_WRITE_OUTPUT = 0xd1,
    COMMAND_AS_KEYBOARD = 0xd2, /* the data byte comes back as if from the keyboard */
    COMMAND_AS_MOUSE = 0xd3,
    COMMAND_TO_MOUSE = 0xd4,
    COMMAND_PULSE = 0xf0, /* to 0xff: lines whose bit is clear */
};
#define TEST_PASSED 0x55
#define INPUT_PORT  0x80 /* the keyboard is not locked */
#define SET_2_BREAK 0xf0
#define SET_1_BREAK 0x80
#define MEMORY_SIZE 32

struct i8042 {
    struct device device;
    struct bus *bus;
    bool connected;
    pthread_mutex_t lock; /* guards all that follows */
    uint8_t memory[MEMORY_SIZE];
    uint8_t status, output;
    uint8_t command; /* whose data byte comes next; 0: none, it is for the keyboard */
    uint8_t reply;   /* the controller's own, when has_reply */
    bool has_reply, reply_from_mouse;
    bool breaking; /* the keyboard has said that a key was released */
    struct ps2_keyboard keyboard;
    struct ps2_mouse mouse;
    struct irq_line lines[2]; /* keyboard, mouse */
    struct bus_region regions[2];
};

/* The caller holds the lock, here and below. */
static void drive_lines(struct i8042 *controller)
{
    uint8_t mode = controller->memory[0];
    bool full = controller->status & STATUS_OUTPUT_FULL;
    bool mouse = controller->status & STATUS_MOUSE;
    irq_set(&controller->lines[0], full && !mouse && mode & MODE_KEYBOARD_INTERRUPT);
    irq_set(&controller->lines[1], full && mouse && mode & MODE_MOUSE_INTERRUPT);
}

static void fill_output(struct i8042 *controller, uint8_t byte, bool mouse)
{
    controller->output = byte;
    controller->status |= STATUS_OUTPUT_FULL | (mouse ? STATUS_MOUSE : 0);
}

/* The next byte of the keyboard, in the code set that the guest wants; false: none that counts. */
static bool take_key_byte(struct i8042 *controller, uint8_t *byte)
{
    while (ps2_has_output(&controller->keyboard.output)) {
        *byte = ps2_take(&controller->keyboard.output);
        if (!(controller->memory[0] & MODE_TRANSLATE))
            return true;
        if (*byte == SET_2_BREAK) {
            controller->breaking = true;
            continue;
        }
        *byte = ps2_translate(*byte);
        if (controller->breaking)
            *byte |= SET_1_BREAK;
        controller->breaking = false;
        return true;
    }
    return false;
}

/* Fills an empty output buffer, if anybody has something to say. */
static void advance(struct i8042 *controller)
{
    uint8_t mode = controller->memory[0], byte;
    if (!(controller->status & STATUS_OUTPUT_FULL)) {
        if (controller->has_reply) {
            controller->has_reply = false;
            fill_output(controller, controller->reply, controller->reply_from_mouse);
        } else if (!(mode & MODE_KEYBOARD_OFF) && take_key_byte(controller, &byte)) {
            fill_output(controller, byte, false);
        } else if (!(mode & MODE_MOUSE_OFF) && ps2_has_output(&controller->mouse.output)) {
            fill_output(controller, ps2_take(&controller->mouse.output), true);
            ps2_mouse_report(&controller->mouse);
        }
    }
    drive_lines(controller);
}

/* Replies displace what is in the output buffer only when that is another reply. */
static void reply(struct i8042 *controller, uint8_t byte, bool mouse)
{
    controller->reply = byte;
    controller->reply_from_mouse = mouse;
    controller->has_reply = true;
}

static uint8_t output_port(const struct i8042 *controller)
{
    uint8_t lines = 0;
    if (controller->status & STATUS_OUTPUT_FULL)
        lines = controller->status & STATUS_MOUSE ? OUTPUT_MOUSE : OUTPUT_KEYBOARD;
    if (!atomic_load(&controller->bus->memory->a20_closed))
        lines |= OUTPUT_A20;
    return OUTPUT_NO_RESET | lines;
}

static void pulse(struct i8042 *controller, uint8_t lines)
{
    if (!(lines & OUTPUT_NO_RESET))
        bus_power(controller->bus, BUS_POWER_RESET);
}

/* Commands that come with the data byte that follows. */
static bool wants_data(uint8_t command)
{
    return (command >= COMMAND_WRITE && command < COMMAND_WRITE + MEMORY_SIZE) ||
           (command >= COMMAND_WRITE_OUTPUT && command <= COMMAND_TO_MOUSE);
}

static void run_command(struct i8042 *controller, uint8_t command)
{
    uint8_t *mode = &controller->memory[0];
    controller->command = wants_data(command) ? command : 0;
    if (command >= COMMAND_READ && command < COMMAND_READ + MEMORY_SIZE) {
        reply(controller, controller->memory[command - COMMAND_READ], false);
        return;
    }
    if (command >= COMMAND_PULSE) {
        pulse(controller, command);
        return;
    }
    switch (command) {
    case COMMAND_MOUSE_OFF:
        *mode |= MODE_MOUSE_OFF;
        break;
    case COMMAND_MOUSE_ON:
        *mode &= (uint8_t)~MODE_MOUSE_OFF;
        break;
    case COMMAND_TEST:
        controller->status |= STATUS_SYSTEM;
        reply(controller, TEST_PASSED, false);
        break;
    case COMMAND_TEST_MOUSE:
    case COMMAND_TEST_KEYBOARD:
        reply(controller, 0, false);
        break;
    case COMMAND_KEYBOARD_OFF:
        *mode |= MODE_KEYBOARD_OFF;
        break;
    case COMMAND_KEYBOARD_ON:
        *mode &= (uint8_t)~MODE_KEYBOARD_OFF;
        break;
    case COMMAND_READ_INPUT:
        reply(controller, INPUT_PORT, false);
        break;
    case COMMAND_READ_OUTPUT:
        reply(controller, output_port(controller), false);
        break;
    default:
        break;
    }
}

static void take_data(struct i8042 *controller, uint8_t value)
{
    uint8_t command = controller->command;
    controller->command = 0;
    switch (command) {
    case 0: /* a byte for the keyboard, which that turns on */
        controller->memory[0] &= (uint8_t)~MODE_KEYBOARD_OFF;
        ps2_keyboard_write(&controller->keyboard, value);
        break;
    case COMMAND_WRITE_OUTPUT:
        bus_set_a20(controller->bus, value & OUTPUT_A20);
        pulse(controller, value);
        break;
    case COMMAND_AS_KEYBOARD:
    case COMMAND_AS_MOUSE:
        reply(controller, value, command == COMMAND_AS_MOUSE);
        break;
    case COMMAND_TO_MOUSE:
        controller->memory[0] &= (uint8_t)~MODE_MOUSE_OFF;
        ps2_mouse_write(&controller->mouse, value);
        break;
    default:
        controller->memory[command % MEMORY_SIZE] = value;
        if (command == COMMAND_WRITE)
            controller->status = (uint8_t)((controller->status & ~STATUS_SYSTEM) |
                                           (value & MODE_SYSTEM ? STATUS_SYSTEM : 0));
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *controller = opaque;
    if (!controller->connected)
        return 0xff;
    pthread_mutex_lock(&controller->lock);
    uint8_t value = controller->output;
    controller->status &= (uint8_t) ~(STATUS_OUTPUT_FULL | STATUS_MOUSE);
    drive_lines(controller); /* low first: the next byte makes an edge */
    advance(controller);
    pthread_mutex_unlock(&controller->lock);
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *controller = opaque;
    if (!controller->connected)
        return;
    pthread_mutex_lock(&controller->lock);
    controller->status &= (uint8_t)~STATUS_COMMAND;
    take_data(controller, (uint8_t)value);
    advance(controller);
    pthread_mutex_unlock(&controller->lock);
}

/* With nothing connected 0xff is what an empty port reads, so that drivers give up at once. */
static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    struct i8042 *controller = opaque;
    if (!controller->connected)
        return 0xff;
    pthread_mutex_lock(&controller->lock);
    uint8_t value = controller->status | STATUS_UNLOCKED;
    pthread_mutex_unlock(&controller->lock);
    return value;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct i8042 *controller = opaque;
    if (!controller->connected) {
        if ((uint8_t)value >= COMMAND_PULSE)
            pulse(controller, (uint8_t)value);
        return;
    }
    pthread_mutex_lock(&controller->lock);
    controller->status |= STATUS_COMMAND;
    run_command(controller, (uint8_t)value);
    advance(controller);
    pthread_mutex_unlock(&controller->lock);
}

static const struct bus_ops data_ops = {data_read, data_write};
static const struct bus_ops command_ops = {status_read, command_write};

/* --- what the user does --- */

static void input_key(void *opaque, uint16_t code, bool down)
{
    struct i8042 *controller = opaque;
    pthread_mutex_lock(&controller->lock);
    ps2_keyboard_key(&controller->keyboard, code, down);
    advance(controller);
    pthread_mutex_unlock(&controller->lock);
}

static void input_pointer(void *opaque, int right, int down, int wheel, unsigned buttons)
{
    struct i8042 *controller = opaque;
    pthread_mutex_lock(&controller->lock);
    ps2_mouse_move(&controller->mouse, right, down, wheel, buttons);
    advance(controller);
    pthread_mutex_unlock(&controller->lock);
}

/* --- the device --- */

static void i8042_reset(struct device *device)
{
    struct i8042 *controller = (struct i8042 *)device;
    pthread_mutex_lock(&controller->lock);
    memset(controller->memory, 0, sizeof(controller->memory));
    controller->memory[0] = MODE_KEYBOARD_INTERRUPT | MODE_MOUSE_OFF | MODE_TRANSLATE;
    controller->status = controller->output = controller->command = 0;
    controller->has_reply = controller->breaking = false;
    ps2_keyboard_reset(&controller->keyboard);
    ps2_mouse_reset(&controller->mouse);
    drive_lines(controller);
    pthread_mutex_unlock(&controller->lock);
}

static void i8042_destroy(struct device *device)
{
    struct i8042 *controller = (struct i8042 *)device;
    pthread_mutex_destroy(&controller->lock);
    free(controller);
}

static int i8042_after_load(struct device *device, struct error *error)
{
    struct i8042 *controller = (struct i8042 *)device;
    pthread_mutex_lock(&controller->lock);
    ps2_check(&controller->keyboard.output);
    ps2_check(&controller->mouse.output);
    if (!wants_data(controller->command))
        controller->command = 0;
    drive_lines(controller);
    pthread_mutex_unlock(&controller->lock);
    return 0;
}

static const struct device_ops i8042_ops = {
    .reset = i8042_reset, .destroy = i8042_destroy, .after_load = i8042_after_load};
static const struct state_field i8042_fields[] = {
    STATE_ARRAY(struct i8042, memory),
    STATE_FIELD(struct i8042, status),
    STATE_FIELD(struct i8042, output),
    STATE_FIELD(struct i8042, command),
    STATE_FIELD(struct i8042, reply),
    STATE_FIELD(struct i8042, has_reply),
    STATE_FIELD(struct i8042, reply_from_mouse),
    STATE_FIELD(struct i8042, breaking),
    STATE_NESTED(struct i8042, keyboard, &ps2_keyboard_state),
    STATE_NESTED(struct i8042, mouse, &ps2_mouse_state),
};
static const struct state_table i8042_state = STATE_TABLE("i8042", 1, i8042_fields);

int i8042_create(struct bus *bus, struct input_sink *input, struct error *error)
{
    struct i8042 *controller = calloc(1, sizeof(*controller));
    if (!controller)
        return error_set(error, ENOMEM, "keyboard: out of memory");
    controller->device = (struct device){.name = "i8042", .ops = &i8042_ops, .state = &i8042_state};
    controller->bus = bus;
    controller->connected = input != NULL;
    controller->lines[0] = bus_gsi(bus, GSI_KEYBOARD);
    controller->lines[1] = bus_gsi(bus, GSI_MOUSE);
    pthread_mutex_init(&controller->lock, NULL);
    i8042_reset(&controller->device);
    bus_add_device(bus, &controller->device);
    if (input)
        *input =
            (struct input_sink){.key = input_key, .pointer = input_pointer, .opaque = controller};
    controller->regions[0] =
        (struct bus_region){"i8042-data", BUS_PORT, PORT_DATA, 1, 1, &data_ops, controller};
    controller->regions[1] = (struct bus_region){"i8042-command", BUS_PORT,  PORT_COMMAND, 1, 1,
                                                 &command_ops,    controller};
    int result = bus_add_region(bus, &controller->regions[0], error);
    return result == 0 ? bus_add_region(bus, &controller->regions[1], error) : result;
}
