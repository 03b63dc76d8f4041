/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel 8237A (data sheet 231466), twice, with the PC's page registers: channels 0 to 3 move bytes,
 * 5 to 7 would move words, 4 joins the two. Only devices on the first have a use for it here.
 */
#include "device/isa_dma.h"

#include <errno.h>
#include <stdlib.h>

#define CHANNELS 4 /* of a controller */

/* Registers behind those of address and count; on the second controller two ports apart. */
enum {
    REG_COMMAND = 8, /* status when read */
    REG_REQUEST = 9,
    REG_MASK_ONE = 10,
    REG_MODE = 11,
    REG_CLEAR_FLIP_FLOP = 12,
    REG_MASTER_CLEAR = 13,
    REG_CLEAR_MASK = 14,
    REG_MASK_ALL = 15,
};

#define COMMAND_OFF   BIT(2)
#define MASK_SET      BIT(2)
#define MODE_WRITE    BIT(2) /* to memory */
#define MODE_READ     BIT(3)
#define MODE_RELOAD   BIT(4)
#define MODE_DOWNWARD BIT(5)
#define PAGE_FIRST    0x81 /* the ports to 0x8f; some belong to no channel */
#define PAGE_COUNT    15

struct dma_channel {
    uint16_t base_address, base_count; /* what was written */
    uint16_t address, count;           /* bytes to go, less one */
    uint8_t mode;
};

struct dma_controller {
    struct dma_channel channels[CHANNELS];
    uint8_t command, status, mask;
    bool high; /* flip-flop: the next access is to the high byte */
};

struct isa_dma {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    struct dma_controller controllers[2];
    uint8_t pages[PAGE_COUNT]; /* by port from PAGE_FIRST */
    struct bus_region regions[3];
};

/* --- registers --- */

static void controller_clear(struct dma_controller *controller)
{
    controller->command = controller->status = 0;
    controller->mask = (1 << CHANNELS) - 1;
    controller->high = false;
}

/* Low byte first, then the high one. */
static void write_half(uint16_t *base, uint16_t *current, bool high, uint8_t value)
{
    *base = high ? (uint16_t)((*base & 0xff) | value << 8) : (uint16_t)((*base & 0xff00) | value);
    *current = *base;
}

static uint8_t register_read(struct dma_controller *controller, unsigned reg)
{
    if (reg < REG_COMMAND) {
        const struct dma_channel *channel = &controller->channels[reg / 2];
        uint16_t value = reg & 1 ? channel->count : channel->address;
        bool high = controller->high;
        controller->high = !high;
        return (uint8_t)(high ? value >> 8 : value);
    }
    if (reg == REG_MASK_ALL)
        return controller->mask | 0xf0;
    if (reg != REG_COMMAND)
        return 0;
    uint8_t status = controller->status;
    controller->status = 0;
    return status;
}

static void write_address_or_count(struct dma_controller *controller, unsigned reg, uint8_t value)
{
    struct dma_channel *channel = &controller->channels[reg / 2];
    if (reg & 1)
        write_half(&channel->base_count, &channel->count, controller->high, value);
    else
        write_half(&channel->base_address, &channel->address, controller->high, value);
    controller->high = !controller->high;
}

static void register_write(struct dma_controller *controller, unsigned reg, uint8_t value)
{
    uint8_t bit = (uint8_t)(1 << (value & 3));
    switch (reg) {
    case REG_COMMAND:
        controller->command = value;
        break;
    case REG_REQUEST: /* by software: memory to memory, which no PC can do */
        break;
    case REG_MASK_ONE:
        controller->mask =
            value & MASK_SET ? controller->mask | bit : controller->mask & (uint8_t)~bit;
        break;
    case REG_MODE:
        controller->channels[value & 3].mode = value;
        break;
    case REG_CLEAR_FLIP_FLOP:
        controller->high = false;
        break;
    case REG_MASTER_CLEAR:
        controller_clear(controller);
        break;
    case REG_CLEAR_MASK:
        controller->mask = 0;
        break;
    case REG_MASK_ALL:
        controller->mask = value & ((1 << CHANNELS) - 1);
        break;
    default:
        write_address_or_count(controller, reg, value);
    }
}

static uint8_t access_read(struct isa_dma *dma, unsigned index, unsigned reg)
{
    pthread_mutex_lock(&dma->lock);
    uint8_t value = register_read(&dma->controllers[index], reg);
    pthread_mutex_unlock(&dma->lock);
    return value;
}

static void access_write(struct isa_dma *dma, unsigned index, unsigned reg, uint8_t value)
{
    pthread_mutex_lock(&dma->lock);
    register_write(&dma->controllers[index], reg, value);
    pthread_mutex_unlock(&dma->lock);
}

static uint64_t byte_read(void *opaque, uint64_t offset, unsigned size)
{
    return access_read(opaque, 0, (unsigned)offset);
}

static void byte_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    access_write(opaque, 0, (unsigned)offset, (uint8_t)value);
}

static uint64_t word_read(void *opaque, uint64_t offset, unsigned size)
{
    return access_read(opaque, 1, (unsigned)offset / 2);
}

static void word_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    access_write(opaque, 1, (unsigned)offset / 2, (uint8_t)value);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size)
{
    struct isa_dma *dma = opaque;
    pthread_mutex_lock(&dma->lock);
    uint8_t value = dma->pages[offset];
    pthread_mutex_unlock(&dma->lock);
    return value;
}

static void page_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct isa_dma *dma = opaque;
    pthread_mutex_lock(&dma->lock);
    dma->pages[offset] = (uint8_t)value;
    pthread_mutex_unlock(&dma->lock);
}

static const struct bus_ops byte_ops = {byte_read, byte_write};
static const struct bus_ops word_ops = {word_read, word_write};
static const struct bus_ops page_ops = {page_read, page_write};

/* --- transfers --- */

/* Which page register belongs to a channel of the first controller: wired so since the PC/AT. */
static uint32_t page_of(const struct isa_dma *dma, unsigned channel)
{
    static const uint8_t ports[CHANNELS] = {0x87, 0x83, 0x81, 0x82};
    return (uint32_t)dma->pages[ports[channel] - PAGE_FIRST] << 16;
}

static void move_piece(struct isa_dma *dma, uint32_t address, uint8_t *bytes, uint32_t length,
                       bool to_memory)
{
    /* What is no memory reads as ones, and swallows what is written. */
    if (to_memory)
        memory_write(dma->bus->memory, address, bytes, length);
    else if (memory_read(dma->bus->memory, address, bytes, length) < 0)
        memset(bytes, 0xff, length);
}

/* The next piece whose addresses follow each other; they wrap within the page. */
static uint32_t piece_length(const struct dma_channel *channel, uint32_t length)
{
    uint32_t left = channel->count + 1u, room = 0x10000u - channel->address;
    if (channel->mode & MODE_DOWNWARD)
        return 1;
    length = length < left ? length : left;
    return length < room ? length : room;
}

static void terminal_count(struct dma_controller *controller, unsigned index)
{
    struct dma_channel *channel = &controller->channels[index];
    controller->status |= (uint8_t)(1 << index);
    if (channel->mode & MODE_RELOAD) {
        channel->address = channel->base_address;
        channel->count = channel->base_count;
    } else {
        controller->mask |= (uint8_t)(1 << index);
    }
}

static uint32_t move(struct isa_dma *dma, unsigned index, uint8_t *bytes, uint32_t length,
                     bool to_memory, bool *finished)
{
    struct dma_controller *controller = &dma->controllers[0];
    struct dma_channel *channel = &controller->channels[index];
    uint8_t direction = channel->mode & (MODE_READ | MODE_WRITE);
    uint32_t done = 0;
    if (controller->command & COMMAND_OFF || controller->mask >> index & 1)
        return 0;
    while (done < length && !*finished) {
        uint32_t piece = piece_length(channel, length - done);
        /* Programmed for neither or for the other direction, it only counts. */
        if (direction == (to_memory ? MODE_WRITE : MODE_READ))
            move_piece(dma, page_of(dma, index) | channel->address, bytes + done, piece, to_memory);
        *finished = channel->count < piece;
        channel->address = (uint16_t)(channel->mode & MODE_DOWNWARD ? channel->address - piece
                                                                    : channel->address + piece);
        channel->count = (uint16_t)(channel->count - piece);
        done += piece;
    }
    if (*finished)
        terminal_count(controller, index);
    return done;
}

uint32_t isa_dma_move(struct isa_dma *dma, unsigned channel, uint8_t *bytes, uint32_t length,
                      bool to_memory, bool *finished)
{
    *finished = false;
    pthread_mutex_lock(&dma->lock);
    uint32_t done = move(dma, channel % CHANNELS, bytes, length, to_memory, finished);
    pthread_mutex_unlock(&dma->lock);
    return done;
}

/* --- device --- */

static void isa_dma_reset(struct device *device)
{
    struct isa_dma *dma = (struct isa_dma *)device;
    pthread_mutex_lock(&dma->lock);
    memset(dma->controllers, 0, sizeof(dma->controllers));
    memset(dma->pages, 0, sizeof(dma->pages));
    controller_clear(&dma->controllers[0]);
    controller_clear(&dma->controllers[1]);
    pthread_mutex_unlock(&dma->lock);
}

static void isa_dma_destroy(struct device *device)
{
    struct isa_dma *dma = (struct isa_dma *)device;
    pthread_mutex_destroy(&dma->lock);
    free(dma);
}

static const struct device_ops isa_dma_ops = {.reset = isa_dma_reset, .destroy = isa_dma_destroy};

static const struct state_field channel_fields[] = {
    STATE_FIELD(struct dma_channel, base_address), STATE_FIELD(struct dma_channel, base_count),
    STATE_FIELD(struct dma_channel, address),      STATE_FIELD(struct dma_channel, count),
    STATE_FIELD(struct dma_channel, mode),
};
static const struct state_table channel_state = STATE_TABLE("dma-channel", 1, channel_fields);
static const struct state_field controller_fields[] = {
    STATE_STRUCT_ARRAY(struct dma_controller, channels, &channel_state),
    STATE_FIELD(struct dma_controller, command),
    STATE_FIELD(struct dma_controller, status),
    STATE_FIELD(struct dma_controller, mask),
    STATE_FIELD(struct dma_controller, high),
};
static const struct state_table controller_state = STATE_TABLE("8237", 1, controller_fields);
static const struct state_field isa_dma_fields[] = {
    STATE_STRUCT_ARRAY(struct isa_dma, controllers, &controller_state),
    STATE_ARRAY(struct isa_dma, pages),
};
static const struct state_table isa_dma_state = STATE_TABLE("isa-dma", 1, isa_dma_fields);

struct isa_dma *isa_dma_create(struct bus *bus, struct error *error)
{
    struct isa_dma *dma = calloc(1, sizeof(*dma));
    if (!dma) {
        error_set(error, ENOMEM, "isa-dma: out of memory");
        return NULL;
    }
    dma->device = (struct device){.name = "isa-dma", .ops = &isa_dma_ops, .state = &isa_dma_state};
    dma->bus = bus;
    pthread_mutex_init(&dma->lock, NULL);
    isa_dma_reset(&dma->device);
    bus_add_device(bus, &dma->device);
    const struct bus_region regions[] = {
        {"isa-dma", BUS_PORT, 0x00, 16, 1, &byte_ops, dma},
        {"isa-dma-words", BUS_PORT, 0xc0, 32, 1, &word_ops, dma},
        {"isa-dma-pages", BUS_PORT, PAGE_FIRST, PAGE_COUNT, 1, &page_ops, dma},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
        dma->regions[i] = regions[i];
        if (bus_add_region(bus, &dma->regions[i], error) < 0)
            return NULL;
    }
    return dma;
}
