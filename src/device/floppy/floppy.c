/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel 82077AA floppy controller (data sheet 290166) in its PC/AT mode, with one drive for 1.44M
 * media. Heads move and motors turn in no time.
 */
#include "device/floppy/private.h"

#include <errno.h>
#include <stdlib.h>

#define PORT_FIRST 0x3f2
#define PORT_INPUT 0x3f7 /* DIR, CCR; 0x3f6 is the IDE controller's */
#define IRQ        6

enum { REG_OUTPUT, REG_TAPE, REG_STATUS_RATE, REG_FIFO, REGISTERS };

#define OUTPUT_RUN       BIT(2) /* clear: reset */
#define OUTPUT_INTERRUPT BIT(3)
#define STATUS_READY     BIT(7)
#define STATUS_TO_GUEST  BIT(6)
#define STATUS_BUSY      BIT(4)
#define RATE_RESET       BIT(7)
#define RATE_MASK        3
#define INPUT_CHANGED    BIT(7)

static void drive_line(struct floppy *floppy)
{
    irq_set(&floppy->irq, floppy->interrupt && floppy->output & OUTPUT_INTERRUPT);
}

void floppy_interrupt(struct floppy *floppy)
{
    floppy->interrupt = true;
    drive_line(floppy);
}

void floppy_interrupt_seen(struct floppy *floppy)
{
    floppy->interrupt = false;
    drive_line(floppy);
}

void floppy_controller_reset(struct floppy *floppy)
{
    floppy->resetting = floppy->phase == FLOPPY_IN_FLIGHT;
    if (floppy->resetting)
        return; /* its completion comes back here */
    floppy->phase = FLOPPY_COMMAND;
    floppy->position = floppy->length = 0;
    floppy->seek_ended = false;
    floppy->polls = FLOPPY_DRIVES;
    if (!floppy->locked)
        memset(floppy->configuration, 0, sizeof(floppy->configuration));
    floppy_interrupt_seen(floppy);
    if (floppy->output & OUTPUT_RUN)
        floppy_interrupt(floppy);
}

void floppy_answer(struct floppy *floppy, const uint8_t *bytes, unsigned length)
{
    floppy->phase = length ? FLOPPY_RESULT : FLOPPY_COMMAND;
    floppy->position = 0;
    floppy->length = (uint8_t)length;
    if (length)
        memcpy(floppy->fifo, bytes, length);
}

/* --- registers --- */

static uint8_t status_read(const struct floppy *floppy)
{
    if (floppy->resetting || !(floppy->output & OUTPUT_RUN))
        return 0;
    switch (floppy->phase) {
    case FLOPPY_RESULT:
        return STATUS_READY | STATUS_TO_GUEST | STATUS_BUSY;
    case FLOPPY_COMMAND:
        return floppy->position ? STATUS_READY | STATUS_BUSY : STATUS_READY;
    default:
        return STATUS_BUSY;
    }
}

static void output_write(struct floppy *floppy, uint8_t value)
{
    bool run = value & ~floppy->output & OUTPUT_RUN;
    floppy->output = value;
    if (run)
        floppy_controller_reset(floppy);
    drive_line(floppy);
}

static void rate_write(struct floppy *floppy, uint8_t value)
{
    floppy->data_rate = value & RATE_MASK;
    if (value & RATE_RESET && floppy->output & OUTPUT_RUN)
        floppy_controller_reset(floppy);
}

static uint8_t fifo_read(struct floppy *floppy)
{
    if (floppy->phase != FLOPPY_RESULT)
        return 0;
    floppy_interrupt_seen(floppy);
    uint8_t value = floppy->fifo[floppy->position++];
    if (floppy->position == floppy->length)
        floppy_answer(floppy, NULL, 0);
    return value;
}

static void fifo_write(struct floppy *floppy, uint8_t value)
{
    if (!(status_read(floppy) & STATUS_READY) || floppy->phase != FLOPPY_COMMAND)
        return;
    if (!floppy->position)
        floppy->length = (uint8_t)floppy_command_length(value);
    floppy->fifo[floppy->position++] = value;
    if (floppy->position == floppy->length)
        floppy_command(floppy);
}

static uint64_t floppy_read_port(void *opaque, uint64_t offset, unsigned size)
{
    struct floppy *floppy = opaque;
    uint8_t value = 0;
    pthread_mutex_lock(&floppy->lock);
    switch (offset) {
    case REG_OUTPUT:
        value = floppy->output;
        break;
    case REG_TAPE:
        value = floppy->tape;
        break;
    case REG_STATUS_RATE:
        value = status_read(floppy);
        break;
    default:
        value = fifo_read(floppy);
    }
    pthread_mutex_unlock(&floppy->lock);
    return value;
}

static void floppy_write_port(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct floppy *floppy = opaque;
    pthread_mutex_lock(&floppy->lock);
    switch (offset) {
    case REG_OUTPUT:
        output_write(floppy, (uint8_t)value);
        break;
    case REG_TAPE:
        floppy->tape = value & 3;
        break;
    case REG_STATUS_RATE:
        rate_write(floppy, (uint8_t)value);
        break;
    default:
        fifo_write(floppy, (uint8_t)value);
    }
    pthread_mutex_unlock(&floppy->lock);
}

static uint64_t input_read(void *opaque, uint64_t offset, unsigned size)
{
    struct floppy *floppy = opaque;
    pthread_mutex_lock(&floppy->lock);
    bool changed = floppy->changed && !(floppy->output & 3);
    pthread_mutex_unlock(&floppy->lock);
    return changed ? INPUT_CHANGED : 0;
}

static void input_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct floppy *floppy = opaque;
    pthread_mutex_lock(&floppy->lock);
    floppy->data_rate = value & RATE_MASK;
    pthread_mutex_unlock(&floppy->lock);
}

static const struct bus_ops floppy_ops = {floppy_read_port, floppy_write_port};
static const struct bus_ops input_ops = {input_read, input_write};

/* --- device --- */

static void floppy_reset(struct device *device)
{
    struct floppy *floppy = (struct floppy *)device;
    pthread_mutex_lock(&floppy->lock);
    floppy->output = 0;
    floppy->locked = false;
    floppy_controller_reset(floppy);
    pthread_mutex_unlock(&floppy->lock);
    block_drain(floppy->block); /* completes a reset that had to wait */
    pthread_mutex_lock(&floppy->lock);
    memset(floppy->cylinders, 0, sizeof(floppy->cylinders));
    memset(floppy->timing, 0, sizeof(floppy->timing));
    floppy->tape = floppy->data_rate = floppy->perpendicular = floppy->last_sector = 0;
    floppy->changed = true;
    pthread_mutex_unlock(&floppy->lock);
}

static void floppy_destroy(struct device *device)
{
    struct floppy *floppy = (struct floppy *)device;
    pthread_mutex_destroy(&floppy->lock);
    free(floppy);
}

static bool state_sound(const struct floppy *floppy)
{
    if (floppy->phase >= FLOPPY_PHASE_COUNT || floppy->length > FLOPPY_FIFO_SIZE ||
        floppy->polls > FLOPPY_DRIVES ||
        (floppy->operation != BLOCK_READ && floppy->operation != BLOCK_WRITE))
        return false;
    if (floppy->phase == FLOPPY_POSTED || floppy->phase == FLOPPY_IN_FLIGHT)
        return floppy->size <= FLOPPY_BUFFER_SIZE &&
               range_within(floppy->offset, floppy->size, FLOPPY_SIZE);
    /* A byte moves before its place is compared with the end. */
    bool begun = floppy->phase == FLOPPY_RESULT || floppy->position;
    return !begun || floppy->position < floppy->length;
}

static int floppy_after_load(struct device *device, struct error *error)
{
    struct floppy *floppy = (struct floppy *)device;
    pthread_mutex_lock(&floppy->lock);
    bool sound = state_sound(floppy);
    if (sound)
        floppy_transfer_continue(floppy);
    else
        floppy_answer(floppy, NULL, 0);
    pthread_mutex_unlock(&floppy->lock);
    return sound ? 0 : error_set(error, EINVAL, "state of floppy: no such transfer: file damaged");
}

static const struct device_ops device_ops = {
    .reset = floppy_reset, .destroy = floppy_destroy, .after_load = floppy_after_load};
static const struct state_field floppy_fields[] = {
    STATE_FIELD(struct floppy, output),        STATE_FIELD(struct floppy, tape),
    STATE_FIELD(struct floppy, data_rate),     STATE_FIELD(struct floppy, phase),
    STATE_FIELD(struct floppy, resetting),     STATE_FIELD(struct floppy, interrupt),
    STATE_FIELD(struct floppy, changed),       STATE_FIELD(struct floppy, polls),
    STATE_FIELD(struct floppy, seek_ended),    STATE_FIELD(struct floppy, sense0),
    STATE_ARRAY(struct floppy, cylinders),     STATE_ARRAY(struct floppy, timing),
    STATE_ARRAY(struct floppy, configuration), STATE_FIELD(struct floppy, perpendicular),
    STATE_FIELD(struct floppy, locked),        STATE_FIELD(struct floppy, last_sector),
    STATE_ARRAY(struct floppy, fifo),          STATE_FIELD(struct floppy, position),
    STATE_FIELD(struct floppy, length),        STATE_FIELD(struct floppy, operation),
    STATE_FIELD(struct floppy, terminal),      STATE_FIELD(struct floppy, head),
    STATE_FIELD(struct floppy, sector),        STATE_FIELD(struct floppy, offset),
    STATE_FIELD(struct floppy, size),          STATE_BLOB(struct floppy, buffer),
};
static const struct state_table floppy_state = STATE_TABLE("floppy", 1, floppy_fields);

int floppy_create(struct bus *bus, struct isa_dma *dma, struct block *block, struct error *error)
{
    struct floppy *floppy = calloc(1, sizeof(*floppy));
    if (!floppy)
        return error_set(error, ENOMEM, "floppy: out of memory");
    floppy->device = (struct device){.name = "floppy", .ops = &device_ops, .state = &floppy_state};
    floppy->bus = bus;
    floppy->dma = dma;
    floppy->block = block;
    floppy->irq = bus_gsi(bus, IRQ);
    pthread_mutex_init(&floppy->lock, NULL);
    floppy_reset(&floppy->device);
    bus_add_device(bus, &floppy->device);
    floppy->regions[0] =
        (struct bus_region){"floppy", BUS_PORT, PORT_FIRST, REGISTERS, 1, &floppy_ops, floppy};
    floppy->regions[1] =
        (struct bus_region){"floppy-input", BUS_PORT, PORT_INPUT, 1, 1, &input_ops, floppy};
    int result = bus_add_region(bus, &floppy->regions[0], error);
    return result == 0 ? bus_add_region(bus, &floppy->regions[1], error) : result;
}
