/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The firmware configuration device by which SeaBIOS and OVMF learn what machine they are on: named
 * files, read a byte at a time through a port or by DMA. QEMU docs/specs/fw_cfg.rst.
 */
#include "device/fw_cfg.h"

#include <errno.h>
#include <stdlib.h>

/* Offsets from the selector port. */
enum { SELECTOR = 0, DATA = 1, DMA_HIGH = 4, DMA_LOW = 8, FW_CFG_SIZE = 12 };
#define FW_CFG_PORT 0x510

#define ITEMS_MAX     64
#define NAME_SIZE     56
#define ENTRY_SIZE    64 /* of the directory: size, key, 16 bits reserved, name */
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647)
#define ID_PORTS      BIT(0)
#define ID_DMA        BIT(1)

/* The record in guest memory that a DMA address points to, big-endian. */
enum { RECORD_CONTROL = 0, RECORD_LENGTH = 4, RECORD_ADDRESS = 8, RECORD_SIZE = 16 };
#define CONTROL_ERROR  BIT(0)
#define CONTROL_READ   BIT(1)
#define CONTROL_SKIP   BIT(2)
#define CONTROL_SELECT BIT(3)
#define CONTROL_WRITE  BIT(4)

struct item {
    uint16_t key;
    uint32_t size;
    uint8_t *bytes;
};

struct fw_cfg {
    struct device device;
    struct bus *bus;
    struct item items[ITEMS_MAX]; /* fixed before the first vcpu runs; [0] is the directory */
    unsigned count;
    uint32_t file_count;
    pthread_mutex_t lock; /* guards what follows */
    uint16_t selected;
    uint32_t offset;
    uint64_t dma_address;
    struct bus_region region;
};

static const struct item *item_find(const struct fw_cfg *fw_cfg, uint16_t key)
{
    for (unsigned i = 0; i < fw_cfg->count; i++)
        if (fw_cfg->items[i].key == key)
            return &fw_cfg->items[i];
    return NULL;
}

/* The caller holds the lock, here and below. */
static void item_select(struct fw_cfg *fw_cfg, uint16_t key)
{
    fw_cfg->selected = key;
    fw_cfg->offset = 0;
}

/* The next byte of the selected item; 0 past its end, and of what does not exist. */
static uint8_t next_byte(struct fw_cfg *fw_cfg)
{
    const struct item *item = item_find(fw_cfg, fw_cfg->selected);
    return item && fw_cfg->offset < item->size ? item->bytes[fw_cfg->offset++] : 0;
}

/* Copies what is left of the selected item, then zeroes. False: not RAM. */
static bool read_to(struct fw_cfg *fw_cfg, uint64_t gpa, uint32_t length)
{
    const struct item *item = item_find(fw_cfg, fw_cfg->selected);
    uint32_t left = item ? item->size - fw_cfg->offset : 0;
    uint32_t part = length < left ? length : left;
    if (!memory_hva(fw_cfg->bus->memory, gpa, length))
        return false;
    if (part)
        memory_write(fw_cfg->bus->memory, gpa, item->bytes + fw_cfg->offset, part);
    memory_clear(fw_cfg->bus->memory, gpa + part, length - part);
    fw_cfg->offset += part;
    return true;
}

static void skip(struct fw_cfg *fw_cfg, uint32_t length)
{
    const struct item *item = item_find(fw_cfg, fw_cfg->selected);
    uint32_t left = item ? item->size - fw_cfg->offset : 0;
    fw_cfg->offset += length < left ? length : left;
}

static void dma_run(struct fw_cfg *fw_cfg, uint64_t gpa)
{
    struct memory *memory = fw_cfg->bus->memory;
    uint8_t record[RECORD_SIZE];
    if (memory_read(memory, gpa, record, sizeof(record)) < 0) {
        log_guest(fw_cfg->bus->log, "fw_cfg: DMA record at 0x%llx is not in RAM",
                  (unsigned long long)gpa);
        return;
    }
    uint32_t control = (uint32_t)load_be(record + RECORD_CONTROL, 4);
    uint32_t length = (uint32_t)load_be(record + RECORD_LENGTH, 4);
    bool done = true;
    if (control & CONTROL_SELECT)
        item_select(fw_cfg, (uint16_t)(control >> 16));
    if (control & CONTROL_READ)
        done = read_to(fw_cfg, load_be(record + RECORD_ADDRESS, 8), length);
    else if (control & CONTROL_WRITE) /* there is no item that may be written */
        done = false;
    else if (control & CONTROL_SKIP)
        skip(fw_cfg, length);
    store_be(record, done ? 0 : CONTROL_ERROR, 4);
    memory_write(memory, gpa + RECORD_CONTROL, record, 4);
}

static uint64_t fw_cfg_read(void *opaque, uint64_t offset, unsigned size)
{
    struct fw_cfg *fw_cfg = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&fw_cfg->lock);
    if (offset == DATA && size == 1)
        value = next_byte(fw_cfg);
    else if (offset == DMA_HIGH && size == 4)
        value = __builtin_bswap32(DMA_SIGNATURE >> 32);
    else if (offset == DMA_LOW && size == 4)
        value = __builtin_bswap32((uint32_t)DMA_SIGNATURE);
    pthread_mutex_unlock(&fw_cfg->lock);
    return value;
}

static void fw_cfg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct fw_cfg *fw_cfg = opaque;
    pthread_mutex_lock(&fw_cfg->lock);
    if (offset == SELECTOR && size == 2) {
        item_select(fw_cfg, (uint16_t)value);
    } else if (offset == DMA_HIGH && size == 4) {
        fw_cfg->dma_address = (uint64_t)__builtin_bswap32((uint32_t)value) << 32;
    } else if (offset == DMA_LOW && size == 4) {
        uint64_t gpa = fw_cfg->dma_address | __builtin_bswap32((uint32_t)value);
        fw_cfg->dma_address = 0;
        dma_run(fw_cfg, gpa);
    }
    pthread_mutex_unlock(&fw_cfg->lock);
}

static const struct bus_ops fw_cfg_bus_ops = {fw_cfg_read, fw_cfg_write};

static struct item *item_add(struct fw_cfg *fw_cfg, uint16_t key, const void *bytes, uint32_t size,
                             struct error *error)
{
    if (fw_cfg->count == ITEMS_MAX) {
        error_set(error, ENOSPC, "fw_cfg: too many items");
        return NULL;
    }
    struct item *item = &fw_cfg->items[fw_cfg->count];
    item->bytes = malloc(size ? size : 1);
    if (!item->bytes) {
        error_set(error, ENOMEM, "fw_cfg: out of memory");
        return NULL;
    }
    memcpy(item->bytes, bytes, size);
    item->key = key;
    item->size = size;
    fw_cfg->count++;
    return item;
}

int fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *bytes, uint32_t size,
               struct error *error)
{
    return item_add(fw_cfg, key, bytes, size, error) ? 0 : -error->code;
}

int fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *bytes, uint32_t size,
                    struct error *error)
{
    const struct item *item =
        item_add(fw_cfg, (uint16_t)(FW_CFG_FILES + fw_cfg->file_count), bytes, size, error);
    if (!item)
        return -error->code;
    struct item *directory = &fw_cfg->items[0];
    uint8_t *entry = directory->bytes + directory->size;
    store_be(entry, item->size, 4);
    store_be(entry + 4, item->key, 2);
    snprintf((char *)entry + 8, NAME_SIZE, "%s", name);
    directory->size += ENTRY_SIZE;
    store_be(directory->bytes, ++fw_cfg->file_count, 4);
    return 0;
}

static void fw_cfg_reset(struct device *device)
{
    struct fw_cfg *fw_cfg = (struct fw_cfg *)device;
    pthread_mutex_lock(&fw_cfg->lock);
    item_select(fw_cfg, FW_CFG_SIGNATURE);
    fw_cfg->dma_address = 0;
    pthread_mutex_unlock(&fw_cfg->lock);
}

static void fw_cfg_destroy(struct device *device)
{
    struct fw_cfg *fw_cfg = (struct fw_cfg *)device;
    for (unsigned i = 0; i < fw_cfg->count; i++)
        free(fw_cfg->items[i].bytes);
    pthread_mutex_destroy(&fw_cfg->lock);
    free(fw_cfg);
}

static int fw_cfg_after_load(struct device *device, struct error *error)
{
    struct fw_cfg *fw_cfg = (struct fw_cfg *)device;
    const struct item *item = item_find(fw_cfg, fw_cfg->selected);
    if (fw_cfg->offset > (item ? item->size : 0)) {
        item_select(fw_cfg, FW_CFG_SIGNATURE);
        return error_set(error, EINVAL, "state of fw_cfg: past the item's end: file damaged");
    }
    return 0;
}

static const struct device_ops fw_cfg_ops = {
    .reset = fw_cfg_reset,
    .destroy = fw_cfg_destroy,
    .after_load = fw_cfg_after_load,
};
static const struct state_field fw_cfg_fields[] = {
    STATE_FIELD(struct fw_cfg, selected),
    STATE_FIELD(struct fw_cfg, offset),
    STATE_FIELD(struct fw_cfg, dma_address),
};
static const struct state_table fw_cfg_state = STATE_TABLE("fw-cfg", 1, fw_cfg_fields);

/* What each machine has: the directory first, where fw_cfg_add_file() expects it. */
static int add_fixed_items(struct fw_cfg *fw_cfg, struct error *error)
{
    static const uint8_t empty[4 + ITEMS_MAX * ENTRY_SIZE];
    const uint8_t id[4] = {ID_PORTS | ID_DMA};
    struct item *directory = item_add(fw_cfg, FW_CFG_DIRECTORY, empty, sizeof(empty), error);
    if (!directory)
        return -ENOMEM;
    directory->size = 4;
    int result = fw_cfg_add(fw_cfg, FW_CFG_SIGNATURE, "QEMU", 4, error);
    return result == 0 ? fw_cfg_add(fw_cfg, FW_CFG_ID, id, sizeof(id), error) : result;
}

struct fw_cfg *fw_cfg_create(struct bus *bus, struct error *error)
{
    struct fw_cfg *fw_cfg = calloc(1, sizeof(*fw_cfg));
    if (!fw_cfg) {
        error_set(error, ENOMEM, "fw_cfg: out of memory");
        return NULL;
    }
    fw_cfg->device = (struct device){.name = "fw-cfg", .ops = &fw_cfg_ops, .state = &fw_cfg_state};
    fw_cfg->bus = bus;
    pthread_mutex_init(&fw_cfg->lock, NULL);
    bus_add_device(bus, &fw_cfg->device);
    fw_cfg->region = (struct bus_region){"fw-cfg", BUS_PORT,        FW_CFG_PORT, FW_CFG_SIZE,
                                         4,        &fw_cfg_bus_ops, fw_cfg};
    if (add_fixed_items(fw_cfg, error) < 0 || bus_add_region(bus, &fw_cfg->region, error) < 0)
        return NULL;
    return fw_cfg;
}
