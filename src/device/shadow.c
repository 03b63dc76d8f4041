/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shadow RAM: what lies between 768 KiB and 1 MiB is ROM or RAM, for reads and for writes apart, as
 * the host bridge's PAM registers say (440FX data sheet 290549 §3.2.12). The ROM there is the end
 * of the one below 4 GiB.
 *
 * Engines want to read and run either of them at memory speed. So the bytes that reads see always
 * lie in guest memory; RAM that only writes reach, or nobody, waits in `ram` meanwhile.
 */
#include "device/shadow.h"

#include <errno.h>
#include <stdlib.h>

#define SHADOW_START UINT64_C(0xc0000)
#define BLOCK_SIZE   KIB(16)
#define ALIAS_MAX    KIB(128) /* how much of the ROM shows up below 1 MiB */
#define SHADOW_BOTH  (SHADOW_READ | SHADOW_WRITE)

struct shadow {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    uint8_t attributes[SHADOW_BLOCKS];
    uint8_t ram[SHADOW_BLOCKS * BLOCK_SIZE]; /* of blocks that reads do not reach */
    struct bus_region region;
};

static uint64_t block_gpa(unsigned block)
{
    return SHADOW_START + block * BLOCK_SIZE;
}

static void show_rom(const struct memory *memory, uint64_t gpa)
{
    uint64_t alias = memory->rom_size < ALIAS_MAX ? memory->rom_size : ALIAS_MAX;
    if (gpa < MIB(1) - alias)
        memset(memory->base + gpa, 0xff, BLOCK_SIZE);
    else
        memcpy(memory->base + gpa, memory->base + gpa + MEMORY_HIGH_START - MIB(1), BLOCK_SIZE);
}

/* The caller holds the lock. */
static void block_set(struct shadow *shadow, unsigned block, uint8_t attributes)
{
    struct memory *memory = shadow->bus->memory;
    uint64_t gpa = block_gpa(block);
    uint8_t *seen = memory->base + gpa, *ram = shadow->ram + block * BLOCK_SIZE;
    uint8_t changed = attributes ^ shadow->attributes[block];
    if (changed & SHADOW_READ && attributes & SHADOW_READ) {
        memcpy(seen, ram, BLOCK_SIZE);
    } else if (changed & SHADOW_READ) {
        memcpy(ram, seen, BLOCK_SIZE);
        show_rom(memory, gpa);
    }
    shadow->attributes[block] = attributes;
    memory_set_rom(memory, gpa, BLOCK_SIZE, attributes != SHADOW_BOTH);
    if (changed & SHADOW_READ)
        memory_note_write(memory, gpa, BLOCK_SIZE);
}

void shadow_set(struct shadow *shadow, const uint8_t attributes[SHADOW_BLOCKS])
{
    pthread_mutex_lock(&shadow->lock);
    bool changed = memcmp(shadow->attributes, attributes, SHADOW_BLOCKS);
    for (unsigned block = 0; block < SHADOW_BLOCKS; block++)
        if (shadow->attributes[block] != attributes[block])
            block_set(shadow, block, attributes[block]);
    pthread_mutex_unlock(&shadow->lock);
    if (changed)
        bus_mapping_changed(shadow->bus);
}

/* Only code that asks the bus for bytes of its own gets here. */
static uint64_t shadow_read(void *opaque, uint64_t offset, unsigned size)
{
    struct shadow *shadow = opaque;
    return load_le(shadow->bus->memory->base + SHADOW_START + offset, size);
}

static void shadow_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct shadow *shadow = opaque;
    pthread_mutex_lock(&shadow->lock);
    uint8_t attributes = shadow->attributes[offset / BLOCK_SIZE];
    if (attributes == SHADOW_WRITE)
        store_le(shadow->ram + offset, value, size);
    else if (attributes == SHADOW_BOTH) /* since the CPU looked */
        memory_write(shadow->bus->memory, SHADOW_START + offset, &value, size);
    pthread_mutex_unlock(&shadow->lock);
}

static const struct bus_ops shadow_bus_ops = {shadow_read, shadow_write};

/* The bridge's reset says what is seen. */
static void shadow_reset(struct device *device)
{
}

static void shadow_destroy(struct device *device)
{
    struct shadow *shadow = (struct shadow *)device;
    pthread_mutex_destroy(&shadow->lock);
    free(shadow);
}

/* Guest memory holds what reads see: only the pages' kind is to be restored. */
static int shadow_after_load(struct device *device, struct error *error)
{
    struct shadow *shadow = (struct shadow *)device;
    for (unsigned block = 0; block < SHADOW_BLOCKS; block++) {
        shadow->attributes[block] &= SHADOW_BOTH;
        memory_set_rom(shadow->bus->memory, block_gpa(block), BLOCK_SIZE,
                       shadow->attributes[block] != SHADOW_BOTH);
    }
    bus_mapping_changed(shadow->bus);
    return 0;
}

static const struct device_ops shadow_ops = {
    .reset = shadow_reset,
    .destroy = shadow_destroy,
    .after_load = shadow_after_load,
};
static const struct state_field shadow_fields[] = {
    STATE_ARRAY(struct shadow, attributes),
    STATE_BLOB(struct shadow, ram),
};
static const struct state_table shadow_state = STATE_TABLE("shadow", 1, shadow_fields);

struct shadow *shadow_create(struct bus *bus, struct error *error)
{
    struct shadow *shadow = calloc(1, sizeof(*shadow));
    if (!shadow) {
        error_set(error, ENOMEM, "shadow RAM: out of memory");
        return NULL;
    }
    shadow->device = (struct device){.name = "shadow", .ops = &shadow_ops, .state = &shadow_state};
    shadow->bus = bus;
    memset(shadow->attributes, SHADOW_BOTH, sizeof(shadow->attributes));
    pthread_mutex_init(&shadow->lock, NULL);
    bus_add_device(bus, &shadow->device);
    shadow->region = (struct bus_region){
        "shadow", BUS_MMIO, SHADOW_START, SHADOW_BLOCKS * BLOCK_SIZE, 8, &shadow_bus_ops, shadow};
    return bus_add_region(bus, &shadow->region, error) < 0 ? NULL : shadow;
}
