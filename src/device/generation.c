/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VM generation id (Microsoft, "Virtual Machine Generation ID", 2018): 128 bits that are others
 * each time that a machine goes on from a snapshot. The guest takes that as the moment to reseed
 * its random numbers: others may have had the same. The ACPI tables name its address; it is a
 * device's and not RAM, so that neither firmware nor the guest can lose it.
 */
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define ID_SIZE     16
#define REGION_SIZE 4096 /* a page of its own */

struct generation {
    struct device device;
    pthread_mutex_t lock;
    uint8_t id[ID_SIZE];
    struct bus_region region;
};

static uint64_t generation_read(void *opaque, uint64_t offset, unsigned size)
{
    struct generation *generation = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&generation->lock);
    if (range_within(offset, size, ID_SIZE))
        value = load_le(generation->id + offset, size);
    pthread_mutex_unlock(&generation->lock);
    return value;
}

static void generation_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct bus_ops generation_bus_ops = {generation_read, generation_write};

/* A reset makes no other machine of it. */
static void generation_reset(struct device *device)
{
}

static void generation_destroy(struct device *device)
{
    struct generation *generation = (struct generation *)device;
    pthread_mutex_destroy(&generation->lock);
    free(generation);
}

static const struct device_ops generation_ops = {
    .reset = generation_reset,
    .destroy = generation_destroy,
};
static const struct state_field generation_fields[] = {
    STATE_BLOB(struct generation, id),
};
static const struct state_table generation_state = STATE_TABLE("generation", 1, generation_fields);

static int new_id(struct generation *generation)
{
    pthread_mutex_lock(&generation->lock);
    ssize_t count = getrandom(generation->id, ID_SIZE, 0);
    pthread_mutex_unlock(&generation->lock);
    return count == ID_SIZE ? 0 : -EIO;
}

void generation_renew(struct bus *bus)
{
    for (struct device *device = bus->devices; device; device = device->next) {
        if (device->ops != &generation_ops)
            continue;
        new_id((struct generation *)device);
        acpi_general_event(bus, ACPI_EVENT_GENERATION);
    }
}

int generation_create(struct bus *bus, struct error *error)
{
    struct generation *generation = calloc(1, sizeof(*generation));
    if (!generation)
        return error_set(error, ENOMEM, "generation id: out of memory");
    generation->device =
        (struct device){.name = "generation", .ops = &generation_ops, .state = &generation_state};
    pthread_mutex_init(&generation->lock, NULL);
    bus_add_device(bus, &generation->device);
    if (new_id(generation) < 0)
        return error_set(error, EIO, "generation id: the host has no random numbers");
    generation->region =
        (struct bus_region){"generation",        BUS_MMIO,  GENERATION_ADDRESS, REGION_SIZE, 8,
                            &generation_bus_ops, generation};
    return bus_add_region(bus, &generation->region, error);
}
