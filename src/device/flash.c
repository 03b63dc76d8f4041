/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NOR flash chip with the Intel command set (JEDEC JESD68.01 CFI; Intel 28FxxxJ3 data sheet
 * 290667 §4), eight bits wide: where UEFI keeps its variables. Operations end at once. As firmware
 * for virtual machines expects, bit 7 of the status comes with an operation's end and goes with
 * "clear status": real chips have it set while they are idle.
 */
#include "device/flash.h"

#include <errno.h>
#include <stdlib.h>

enum command {
    COMMAND_PROGRAM_ALTERNATE = 0x10,
    COMMAND_ERASE = 0x20,
    COMMAND_PROGRAM = 0x40,
    COMMAND_CLEAR_STATUS = 0x50,
    COMMAND_LOCK = 0x60,
    COMMAND_READ_STATUS = 0x70,
    COMMAND_READ_ID = 0x90,
    COMMAND_QUERY = 0x98,
    COMMAND_CONFIRM = 0xd0,
    COMMAND_READ_ARRAY = 0xff,
};

#define STATUS_READY         BIT(7)
#define STATUS_ERASE_ERROR   BIT(5) /* both: not the command that was due */
#define STATUS_PROGRAM_ERROR BIT(4)

/* What reads see. */
enum read_mode { READ_ARRAY, READ_STATUS, READ_ID, READ_QUERY };

/* What the next write is. */
enum write_mode {
    WRITE_COMMAND,
    WRITE_PROGRAM,
    WRITE_ERASE,
    WRITE_LOCK,
};

#define FIELD_COUNT 4 /* of the state */

struct flash {
    struct device device;
    struct state_field fields[FIELD_COUNT];
    struct state_table state;
    pthread_mutex_t lock;
    uint8_t *backing;
    uint32_t size;
    uint8_t read_mode, write_mode, status;
    struct bus_region region;
    uint8_t bytes[];
};

/* --- reading --- */

/* CFI query: JESD68.01 §2. What is not here reads as zero. */
static uint8_t query_byte(const struct flash *flash, uint64_t offset)
{
    static const uint8_t table[] = {
        [0x10] = 'Q',
        'R',
        'Y',
        1,             /* Intel's extended command set */
        [0x15] = 0x31, /* its table, below */
        [0x1b] = 0x45,
        0x55, /* volts */
        [0x1f] = 7,
        7,
        10, /* typical times: 2^n microseconds, milliseconds */
        [0x23] = 4,
        4,
        4, /* most: 2^n times as long */
        /* no buffer for many bytes at once */
        [0x2c] = 1, /* erase regions */
        [0x31] = 'P',
        'R',
        'I',
        '1',
        '0',
    };
    const uint32_t blocks = flash->size / FLASH_BLOCK_SIZE - 1;
    switch (offset) {
    case 0x27: /* size: 2^n bytes */
        return (uint8_t)(32 - __builtin_clz(flash->size - 1));
    case 0x2d:
        return (uint8_t)blocks;
    case 0x2e:
        return (uint8_t)(blocks >> 8);
    case 0x30: /* block size in units of 256 bytes: the higher half */
        return FLASH_BLOCK_SIZE >> 16;
    case 0x2f:
        return FLASH_BLOCK_SIZE >> 8 & 0xff;
    default:
        return offset < sizeof(table) ? table[offset] : 0;
    }
}

/* Manufacturer, device. */
static uint8_t id_byte(uint64_t offset)
{
    static const uint8_t id[] = {0x89, 0x18};
    return offset < sizeof(id) ? id[offset] : 0;
}

static uint64_t flash_read(void *opaque, uint64_t offset, unsigned size)
{
    struct flash *flash = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&flash->lock);
    switch (flash->read_mode) {
    case READ_ARRAY:
        value = load_le(flash->bytes + offset, size);
        break;
    case READ_STATUS:
        value = flash->status;
        break;
    case READ_ID:
        value = id_byte(offset % FLASH_BLOCK_SIZE);
        break;
    default:
        value = query_byte(flash, offset % FLASH_BLOCK_SIZE);
    }
    pthread_mutex_unlock(&flash->lock);
    return value;
}

/* --- writing. The caller holds the lock --- */

static void store(struct flash *flash, uint64_t offset, uint8_t byte)
{
    flash->bytes[offset] = byte;
    if (flash->backing)
        flash->backing[offset] = byte;
}

static void end_operation(struct flash *flash, uint8_t errors)
{
    flash->status |= STATUS_READY | errors;
    flash->read_mode = READ_STATUS;
    flash->write_mode = WRITE_COMMAND;
}

/* Turns ones into zeroes, never back. */
static void program(struct flash *flash, uint64_t offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        store(flash, offset + i, flash->bytes[offset + i] & (uint8_t)(value >> 8 * i));
    end_operation(flash, 0);
}

static void erase(struct flash *flash, uint64_t offset, uint8_t value)
{
    uint64_t start = align_down(offset, FLASH_BLOCK_SIZE);
    if (value != COMMAND_CONFIRM) {
        end_operation(flash, STATUS_ERASE_ERROR | STATUS_PROGRAM_ERROR);
        return;
    }
    for (unsigned i = 0; i < FLASH_BLOCK_SIZE; i++)
        store(flash, start + i, 0xff);
    end_operation(flash, 0);
}

static void take_command(struct flash *flash, uint8_t command)
{
    static const struct {
        uint8_t command, read_mode, write_mode;
    } modes[] = {
        {COMMAND_PROGRAM, READ_STATUS, WRITE_PROGRAM},
        {COMMAND_PROGRAM_ALTERNATE, READ_STATUS, WRITE_PROGRAM},
        {COMMAND_ERASE, READ_STATUS, WRITE_ERASE},
        {COMMAND_LOCK, READ_STATUS, WRITE_LOCK},
        {COMMAND_READ_STATUS, READ_STATUS, WRITE_COMMAND},
        {COMMAND_READ_ID, READ_ID, WRITE_COMMAND},
        {COMMAND_QUERY, READ_QUERY, WRITE_COMMAND},
        {COMMAND_READ_ARRAY, READ_ARRAY, WRITE_COMMAND},
    };
    if (command == COMMAND_CLEAR_STATUS)
        flash->status = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        if (modes[i].command != command)
            continue;
        flash->read_mode = modes[i].read_mode;
        flash->write_mode = modes[i].write_mode;
        return;
    }
    flash->read_mode = READ_ARRAY;
}

static void flash_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct flash *flash = opaque;
    pthread_mutex_lock(&flash->lock);
    switch (flash->write_mode) {
    case WRITE_PROGRAM:
        program(flash, offset, value, size);
        break;
    case WRITE_ERASE:
        erase(flash, offset, (uint8_t)value);
        break;
    case WRITE_LOCK: /* all blocks are open, and stay so */
        end_operation(flash, 0);
        break;
    default:
        take_command(flash, (uint8_t)value);
    }
    pthread_mutex_unlock(&flash->lock);
}

static const struct bus_ops flash_bus_ops = {flash_read, flash_write};

static void flash_reset(struct device *device)
{
    struct flash *flash = (struct flash *)device;
    pthread_mutex_lock(&flash->lock);
    flash->read_mode = READ_ARRAY;
    flash->write_mode = WRITE_COMMAND;
    flash->status = 0;
    pthread_mutex_unlock(&flash->lock);
}

static void flash_destroy(struct device *device)
{
    struct flash *flash = (struct flash *)device;
    pthread_mutex_destroy(&flash->lock);
    free(flash);
}

static int flash_after_load(struct device *device, struct error *error)
{
    struct flash *flash = (struct flash *)device;
    if (flash->read_mode > READ_QUERY || flash->write_mode > WRITE_LOCK) {
        flash_reset(device);
        return error_set(error, EINVAL, "state of the flash: no such mode: file damaged");
    }
    if (flash->backing)
        memcpy(flash->backing, flash->bytes, flash->size);
    return 0;
}

static const struct device_ops flash_ops = {
    .reset = flash_reset,
    .destroy = flash_destroy,
    .after_load = flash_after_load,
};

static const struct state_field flash_fields[] = {
    STATE_FIELD(struct flash, read_mode),
    STATE_FIELD(struct flash, write_mode),
    STATE_FIELD(struct flash, status),
};
_Static_assert(ARRAY_SIZE(flash_fields) + 1 == FIELD_COUNT, "all, and the bytes");

/* A table for this chip alone: how many bytes there are is its own affair. */
static void state_fill(struct flash *flash)
{
    memcpy(flash->fields, flash_fields, sizeof(flash_fields));
    flash->fields[FIELD_COUNT - 1] = (struct state_field){.name = "bytes",
                                                          .kind = STATE_BYTES,
                                                          .offset = offsetof(struct flash, bytes),
                                                          .size = flash->size,
                                                          .count = 1};
    flash->state = (struct state_table){
        .name = "flash", .version = 1, .fields = flash->fields, .field_count = FIELD_COUNT};
}

int flash_create(struct bus *bus, const struct flash_config *config, struct error *error)
{
    struct flash *flash = calloc(1, sizeof(*flash) + config->size);
    if (!flash)
        return error_set(error, ENOMEM, "flash: out of memory");
    flash->size = config->size;
    flash->backing = config->backing;
    memcpy(flash->bytes, config->content, config->size);
    state_fill(flash);
    flash->device = (struct device){.name = "flash", .ops = &flash_ops, .state = &flash->state};
    pthread_mutex_init(&flash->lock, NULL);
    bus_add_device(bus, &flash->device);
    flash->region =
        (struct bus_region){"flash", BUS_MMIO, config->gpa, config->size, 8, &flash_bus_ops, flash};
    return bus_add_region(bus, &flash->region, error);
}
