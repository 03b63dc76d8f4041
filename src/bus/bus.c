/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dispatch of port and MMIO accesses. Each space keeps its mapped regions in an array sorted by
 * base; a reader copies out the region pointer under the lock and calls the device without it, so
 * a device may remap itself from inside its own handler.
 */
#include "bus/bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUS_REGIONS_MAX 256

struct bus_table {
    unsigned count;
    struct bus_region
        *regions[BUS_REGIONS_MAX]; /* by base; a later one may hide behind an earlier */
};

int bus_init(struct bus *bus, struct memory *memory, struct loop *loop, struct log *log,
             struct error *error)
{
    *bus = (struct bus){.memory = memory, .loop = loop, .log = log};
    pthread_rwlock_init(&bus->lock, NULL);
    for (int space = 0; space < BUS_SPACE_COUNT; space++) {
        bus->tables[space] = calloc(1, sizeof(*bus->tables[space]));
        if (!bus->tables[space]) {
            bus_destroy(bus);
            return error_set(error, ENOMEM, "bus: out of memory");
        }
    }
    return 0;
}

/* Calls destroy from the last created device to the first: later ones may refer to earlier ones. */
static void bus_destroy_devices(struct bus *bus)
{
    while (bus->devices) {
        struct device **last = &bus->devices;
        while ((*last)->next)
            last = &(*last)->next;
        struct device *device = *last;
        *last = NULL;
        device->ops->destroy(device);
    }
}

void bus_destroy(struct bus *bus)
{
    bus_destroy_devices(bus);
    for (int space = 0; space < BUS_SPACE_COUNT; space++)
        free(bus->tables[space]);
    pthread_rwlock_destroy(&bus->lock);
}

static bool regions_overlap(const struct bus_region *a, const struct bus_region *b)
{
    return a->base <= b->base ? b->base - a->base < a->size : a->base - b->base < b->size;
}

/* The caller holds the lock for writing. */
static int table_insert(struct bus_table *table, struct bus_region *region)
{
    if (table->count == BUS_REGIONS_MAX)
        return -ENOSPC;
    unsigned position = table->count;
    while (position && table->regions[position - 1]->base > region->base)
        position--;
    memmove(&table->regions[position + 1], &table->regions[position],
            (table->count - position) * sizeof(table->regions[0]));
    table->regions[position] = region;
    table->count++;
    return 0;
}

static void table_remove(struct bus_table *table, const struct bus_region *region)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (table->regions[i] != region)
            continue;
        table->count--;
        memmove(&table->regions[i], &table->regions[i + 1],
                (table->count - i) * sizeof(table->regions[0]));
        return;
    }
}

static struct bus_region *table_find(const struct bus_table *table, uint64_t address)
{
    unsigned low = 0, high = table->count;
    while (low < high) { /* the first region with base > address */
        unsigned middle = (low + high) / 2;
        if (table->regions[middle]->base <= address)
            low = middle + 1;
        else
            high = middle;
    }
    /* Only BARs a guest has piled up make this loop go round more than once. */
    while (low--) {
        if (address - table->regions[low]->base < table->regions[low]->size)
            return table->regions[low];
    }
    return NULL;
}

int bus_add_region(struct bus *bus, struct bus_region *region, struct error *error)
{
    struct bus_table *table = bus->tables[region->space];
    int result = 0;
    pthread_rwlock_wrlock(&bus->lock);
    for (unsigned i = 0; i < table->count && !result; i++)
        if (regions_overlap(table->regions[i], region))
            result = error_set(error, EBUSY, "bus: %s at 0x%llx overlaps %s", region->name,
                               (unsigned long long)region->base, table->regions[i]->name);
    if (!result && table_insert(table, region) < 0)
        result = error_set(error, ENOSPC, "bus: no room for %s", region->name);
    pthread_rwlock_unlock(&bus->lock);
    return result;
}

void bus_remove_region(struct bus *bus, struct bus_region *region)
{
    pthread_rwlock_wrlock(&bus->lock);
    table_remove(bus->tables[region->space], region);
    pthread_rwlock_unlock(&bus->lock);
}

void bus_move_region(struct bus *bus, struct bus_region *region, uint64_t base)
{
    pthread_rwlock_wrlock(&bus->lock);
    table_remove(bus->tables[region->space], region);
    region->base = base;
    if (table_insert(bus->tables[region->space], region) < 0)
        log_guest(bus->log, "bus: no room to map %s at 0x%llx", region->name,
                  (unsigned long long)base);
    pthread_rwlock_unlock(&bus->lock);
}

static struct bus_region *bus_find(struct bus *bus, enum bus_space space, uint64_t address,
                                   uint64_t *offset)
{
    pthread_rwlock_rdlock(&bus->lock);
    struct bus_region *region = table_find(bus->tables[space], address);
    *offset = region ? address - region->base : 0;
    pthread_rwlock_unlock(&bus->lock);
    return region;
}

/* The widest piece of an access that this region takes at this offset. */
static unsigned piece_size(const struct bus_region *region, uint64_t offset, unsigned size)
{
    unsigned piece = size < region->access_max ? size : region->access_max;
    while (piece > region->size - offset || (piece & (piece - 1)))
        piece--;
    return piece;
}

uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    unsigned done = 0;
    while (done < size) {
        uint64_t offset;
        struct bus_region *region = bus_find(bus, space, address + done, &offset);
        unsigned piece = region ? piece_size(region, offset, size - done) : 1;
        uint64_t part = region ? region->ops->read(region->opaque, offset, piece) : 0xff;
        part &= bytes_mask(piece);
        value |= part << (done * 8);
        if (unlikely(bus->trace != NULL))
            bus->trace(bus->trace_opaque, region, space, address + done, part, piece, false);
        done += piece;
    }
    return value;
}

void bus_write(struct bus *bus, enum bus_space space, uint64_t address, uint64_t value,
               unsigned size)
{
    unsigned done = 0;
    while (done < size) {
        uint64_t offset;
        struct bus_region *region = bus_find(bus, space, address + done, &offset);
        unsigned piece = region ? piece_size(region, offset, size - done) : 1;
        uint64_t part = value >> (done * 8) & bytes_mask(piece);
        if (unlikely(bus->trace != NULL))
            bus->trace(bus->trace_opaque, region, space, address + done, part, piece, true);
        if (region)
            region->ops->write(region->opaque, offset, part, piece);
        done += piece;
    }
}

void bus_add_device(struct bus *bus, struct device *device)
{
    struct device **end = &bus->devices;
    while (*end)
        end = &(*end)->next;
    device->next = NULL;
    *end = device;
}

void bus_remove_device(struct bus *bus, struct device *device)
{
    for (struct device **link = &bus->devices; *link; link = &(*link)->next) {
        if (*link == device) {
            *link = device->next;
            return;
        }
    }
}

void bus_reset_devices(struct bus *bus)
{
    for (struct device *device = bus->devices; device; device = device->next)
        device->ops->reset(device);
}

static void gsi_set(void *opaque, unsigned number, int level)
{
    struct bus *bus = opaque;
    for (unsigned i = 0; i < ARRAY_SIZE(bus->gsi_sinks); i++)
        if (bus->gsi_sinks[i].set)
            bus->gsi_sinks[i].set(bus->gsi_sinks[i].opaque, number, level);
}

struct irq_line bus_gsi(struct bus *bus, unsigned number)
{
    return (struct irq_line){.set = gsi_set, .opaque = bus, .number = number};
}

void bus_message(struct bus *bus, uint64_t address, uint32_t data)
{
    if (bus->message_sink)
        bus->message_sink(bus->message_opaque, address, data);
}

void bus_eoi(struct bus *bus, uint8_t vector)
{
    if (bus->eoi_sink)
        bus->eoi_sink(bus->eoi_opaque, vector);
}

void bus_power(struct bus *bus, enum bus_power request)
{
    if (bus->power_sink)
        bus->power_sink(bus->power_opaque, request);
}

void bus_mapping_changed(struct bus *bus)
{
    if (bus->mapping_sink)
        bus->mapping_sink(bus->mapping_opaque);
}

void bus_set_a20(struct bus *bus, bool open)
{
    if (atomic_exchange(&bus->memory->a20_closed, !open) == open)
        bus_mapping_changed(bus);
}
