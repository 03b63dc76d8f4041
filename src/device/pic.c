/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two cascaded Intel 8259A interrupt controllers of a PC (data sheet 231468), with PIIX's
 * edge/level registers. The processor takes a vector only while the output is high, so a request
 * that goes away before that is forgotten and never becomes the spurious input 7.
 */
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define CASCADE_LINE 2

/* ICW1, OCW2 and OCW3 share the first port. */
#define ICW1          BIT(4)
#define ICW1_ICW4     BIT(0)
#define ICW1_SINGLE   BIT(1)
#define OCW3          BIT(3)
#define ICW4_AUTO_EOI BIT(1)
#define ICW4_NESTED   BIT(4) /* special fully nested mode */

struct pic_chip {
    uint8_t irr, isr, imr;
    uint8_t lines;     /* levels of the inputs */
    uint8_t level;     /* ELCR: which inputs are level-triggered */
    uint8_t base;      /* ICW2: vector of input 0 */
    uint8_t lowest;    /* input with the lowest priority: 7 unless rotated */
    uint8_t init_step; /* the initialisation word expected next; 0: none */
    bool single, needs_icw4, auto_eoi, nested, rotate_auto, read_isr, poll, special_mask;
};

struct pic {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    struct pic_chip chips[2]; /* master, slave */
    struct bus_region regions[3];
    int output;
};

/* Input with the highest priority among `set`, or -1. */
static int pic_highest(const struct pic_chip *chip, uint8_t set)
{
    for (unsigned i = 1; i <= 8; i++)
        if (set >> ((chip->lowest + i) & 7) & 1)
            return (chip->lowest + i) & 7;
    return -1;
}

/* Rank of an input: 0 is the highest. */
static int pic_rank(const struct pic_chip *chip, int input)
{
    return (input - chip->lowest - 1) & 7;
}

/* What in service counts: in special mask mode not what is masked. */
static uint8_t pic_in_service(const struct pic_chip *chip)
{
    return chip->special_mask ? chip->isr & ~chip->imr : chip->isr;
}

/* The input that would interrupt now, or -1. In special fully nested mode a second request of the
 * slave passes the first, which is in service. */
static int pic_pending(const struct pic_chip *chip)
{
    int request = pic_highest(chip, chip->irr & ~chip->imr);
    int service = pic_highest(chip, pic_in_service(chip));
    if (request < 0 || service < 0)
        return request;
    if (chip->nested && request == CASCADE_LINE && service == CASCADE_LINE)
        return request;
    return pic_rank(chip, request) < pic_rank(chip, service) ? request : -1;
}

static void chip_set_line(struct pic_chip *chip, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1u << input);
    bool edge = level && !(chip->lines & bit);
    if (chip->level & bit)
        chip->irr = level ? chip->irr | bit : chip->irr & ~bit;
    else if (edge)
        chip->irr |= bit;
    else if (!level)
        chip->irr &= ~bit;
    chip->lines = level ? chip->lines | bit : chip->lines & ~bit;
}

/* Works out the cascade and drives INTR. The caller holds the lock, so that levels arrive in the
 * order in which they changed. */
static void pic_drive(struct pic *pic)
{
    chip_set_line(&pic->chips[0], CASCADE_LINE, pic_pending(&pic->chips[1]) >= 0);
    int output = pic_pending(&pic->chips[0]) >= 0;
    if (output == pic->output)
        return;
    pic->output = output;
    irq_set(&pic->bus->intr, output);
}

static void pic_set_gsi(void *opaque, unsigned number, int level)
{
    struct pic *pic = opaque;
    if (number >= 16 || number == CASCADE_LINE)
        return;
    pthread_mutex_lock(&pic->lock);
    chip_set_line(&pic->chips[number / 8], number % 8, level);
    pic_drive(pic);
    pthread_mutex_unlock(&pic->lock);
}

/* The INTA cycle of one chip: its pending input goes into service. Input 7 when there is none: that
 * takes a state that was made by hand. */
static int chip_acknowledge(struct pic_chip *chip)
{
    int input = pic_pending(chip);
    if (input < 0)
        return 7;
    uint8_t bit = (uint8_t)(1u << input);
    if (!(chip->level & bit))
        chip->irr &= ~bit;
    if (!chip->auto_eoi)
        chip->isr |= bit;
    else if (chip->rotate_auto)
        chip->lowest = (uint8_t)input;
    return input;
}

/* The slave's output falls during its INTA cycle: what it still has to say is a new edge. */
static int slave_acknowledge(struct pic *pic)
{
    int input = chip_acknowledge(&pic->chips[1]);
    chip_set_line(&pic->chips[0], CASCADE_LINE, false);
    return input;
}

static int pic_acknowledge(void *opaque)
{
    struct pic *pic = opaque;
    int vector = -1;
    pthread_mutex_lock(&pic->lock);
    if (pic->output) {
        int input = chip_acknowledge(&pic->chips[0]);
        vector = pic->chips[0].base + input;
        if (input == CASCADE_LINE)
            vector = pic->chips[1].base + slave_acknowledge(pic);
        pic_drive(pic);
    }
    pthread_mutex_unlock(&pic->lock);
    return vector;
}

static void write_icw1(struct pic_chip *chip, uint8_t value)
{
    uint8_t lines = chip->lines, level = chip->level;
    *chip = (struct pic_chip){.lines = lines, .level = level, .lowest = 7};
    chip->irr = lines & level;
    chip->needs_icw4 = value & ICW1_ICW4;
    chip->single = value & ICW1_SINGLE;
    chip->init_step = 2;
}

/* OCW2: end of interrupt and rotation. */
static void write_ocw2(struct pic_chip *chip, uint8_t value)
{
    bool rotate = value & BIT(7), specific = value & BIT(6), eoi = value & BIT(5);
    int input = specific ? value & 7 : pic_highest(chip, pic_in_service(chip));
    if (!eoi) {
        if (rotate && specific)
            chip->lowest = value & 7;
        else if (!specific)
            chip->rotate_auto = rotate;
        return;
    }
    if (input < 0)
        return;
    chip->isr &= ~(1u << input);
    if (rotate)
        chip->lowest = (uint8_t)input;
}

static void write_ocw3(struct pic_chip *chip, uint8_t value)
{
    if (value & BIT(2))
        chip->poll = true;
    if (value & BIT(1))
        chip->read_isr = value & BIT(0);
    if (value & BIT(6))
        chip->special_mask = value & BIT(5);
}

static void write_data(struct pic_chip *chip, uint8_t value)
{
    switch (chip->init_step) {
    case 2:
        chip->base = value & 0xf8;
        chip->init_step = chip->single ? chip->needs_icw4 ? 4 : 0 : 3;
        break;
    case 3:
        chip->init_step = chip->needs_icw4 ? 4 : 0;
        break;
    case 4:
        chip->auto_eoi = value & ICW4_AUTO_EOI;
        chip->nested = value & ICW4_NESTED;
        chip->init_step = 0;
        break;
    default:
        chip->imr = value;
    }
}

static void pic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size, unsigned which)
{
    struct pic *pic = opaque;
    struct pic_chip *chip = &pic->chips[which];
    pthread_mutex_lock(&pic->lock);
    if (offset)
        write_data(chip, (uint8_t)value);
    else if (value & ICW1)
        write_icw1(chip, (uint8_t)value);
    else if (value & OCW3)
        write_ocw3(chip, (uint8_t)value);
    else
        write_ocw2(chip, (uint8_t)value);
    pic_drive(pic);
    pthread_mutex_unlock(&pic->lock);
}

static uint64_t pic_read(void *opaque, uint64_t offset, unsigned size, unsigned which)
{
    struct pic *pic = opaque;
    struct pic_chip *chip = &pic->chips[which];
    uint64_t value;
    pthread_mutex_lock(&pic->lock);
    if (chip->poll) {
        int input = pic_pending(chip);
        chip->poll = false;
        if (input >= 0)
            input = which ? slave_acknowledge(pic) : chip_acknowledge(chip);
        value = input < 0 ? 0 : 0x80u | (unsigned)input;
    } else if (offset) {
        value = chip->imr;
    } else {
        value = chip->read_isr ? chip->isr : chip->irr;
    }
    pic_drive(pic);
    pthread_mutex_unlock(&pic->lock);
    return value;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    return pic_read(opaque, offset, size, 0);
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    pic_write(opaque, offset, value, size, 0);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    return pic_read(opaque, offset, size, 1);
}

static void slave_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    pic_write(opaque, offset, value, size, 1);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pic *pic = opaque;
    pthread_mutex_lock(&pic->lock);
    uint64_t value = pic->chips[offset].level;
    pthread_mutex_unlock(&pic->lock);
    return value;
}

/* IRQ 0, 1, 2, 8 and 13 are always edge-triggered. */
static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pic *pic = opaque;
    pthread_mutex_lock(&pic->lock);
    pic->chips[offset].level = value & (offset ? 0xde : 0xf8);
    pic_drive(pic);
    pthread_mutex_unlock(&pic->lock);
}

static const struct bus_ops master_ops = {master_read, master_write};
static const struct bus_ops slave_ops = {slave_read, slave_write};
static const struct bus_ops elcr_ops = {elcr_read, elcr_write};

static void pic_reset(struct device *device)
{
    struct pic *pic = (struct pic *)device;
    pthread_mutex_lock(&pic->lock);
    for (int i = 0; i < 2; i++)
        pic->chips[i] = (struct pic_chip){.lowest = 7, .lines = pic->chips[i].lines};
    pic_drive(pic);
    pthread_mutex_unlock(&pic->lock);
}

static void pic_destroy(struct device *device)
{
    struct pic *pic = (struct pic *)device;
    pthread_mutex_destroy(&pic->lock);
    free(pic);
}

static const struct device_ops pic_ops = {.reset = pic_reset, .destroy = pic_destroy};

static const struct state_field chip_fields[] = {
    STATE_FIELD(struct pic_chip, irr),         STATE_FIELD(struct pic_chip, isr),
    STATE_FIELD(struct pic_chip, imr),         STATE_FIELD(struct pic_chip, lines),
    STATE_FIELD(struct pic_chip, level),       STATE_FIELD(struct pic_chip, base),
    STATE_FIELD(struct pic_chip, lowest),      STATE_FIELD(struct pic_chip, init_step),
    STATE_FIELD(struct pic_chip, needs_icw4),  STATE_FIELD(struct pic_chip, auto_eoi),
    STATE_FIELD(struct pic_chip, rotate_auto), STATE_FIELD(struct pic_chip, read_isr),
    STATE_FIELD(struct pic_chip, poll),        STATE_FIELD(struct pic_chip, special_mask),
    STATE_FIELD(struct pic_chip, single),      STATE_FIELD(struct pic_chip, nested),
};
static const struct state_table chip_state = STATE_TABLE("8259", 2, chip_fields);
static const struct state_field pic_fields[] = {
    STATE_STRUCT_ARRAY(struct pic, chips, &chip_state),
    STATE_FIELD(struct pic, output),
};
static const struct state_table pic_state = STATE_TABLE("pic", 1, pic_fields);

int pic_create(struct bus *bus, struct error *error)
{
    struct pic *pic = calloc(1, sizeof(*pic));
    if (!pic)
        return error_set(error, ENOMEM, "8259: out of memory");
    pic->device = (struct device){.name = "pic", .ops = &pic_ops, .state = &pic_state};
    pic->bus = bus;
    pthread_mutex_init(&pic->lock, NULL);
    pic_reset(&pic->device);
    bus_add_device(bus, &pic->device);
    pic->regions[0] = (struct bus_region){"pic-master", BUS_PORT, 0x20, 2, 1, &master_ops, pic};
    pic->regions[1] = (struct bus_region){"pic-slave", BUS_PORT, 0xa0, 2, 1, &slave_ops, pic};
    pic->regions[2] = (struct bus_region){"pic-elcr", BUS_PORT, 0x4d0, 2, 1, &elcr_ops, pic};
    for (unsigned i = 0; i < ARRAY_SIZE(pic->regions); i++)
        if (bus_add_region(bus, &pic->regions[i], error) < 0)
            return -EBUSY;
    bus->gsi_sinks[0].set = pic_set_gsi;
    bus->gsi_sinks[0].opaque = pic;
    bus->intr_acknowledge = pic_acknowledge;
    bus->intr_acknowledge_opaque = pic;
    return 0;
}
