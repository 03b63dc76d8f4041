/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching and detaching PCI devices while the guest runs. The registers are only known to our
 * DSDT (boot/acpi_slots.c): which slots got a device, which are to be given up, and which the guest
 * has given up. A general-purpose event tells that something has changed. ACPI 6.4 §5.6.6, §6.3.
 */
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

/* A bit a slot, 32 bits each. */
enum {
    SLOTS_FILLED = 0,  /* reading clears */
    SLOTS_WANTED = 4,  /* reading clears */
    SLOTS_RELEASE = 8, /* writing ones says that these may go */
};

struct pci_slots {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    uint32_t filled, wanted;
    void (*released)(void *opaque, uint32_t slots);
    void *opaque;
    struct bus_region region;
};

static uint64_t slots_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_slots *slots = opaque;
    uint32_t value = 0, *word = offset == SLOTS_FILLED   ? &slots->filled
                                : offset == SLOTS_WANTED ? &slots->wanted
                                                         : NULL;
    if (!word || size != sizeof(value))
        return 0;
    pthread_mutex_lock(&slots->lock);
    value = *word;
    *word = 0;
    pthread_mutex_unlock(&slots->lock);
    return value;
}

static void slots_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    const struct pci_slots *slots = opaque;
    if (offset == SLOTS_RELEASE && size == sizeof(uint32_t) && slots->released)
        slots->released(slots->opaque, (uint32_t)value);
}

static const struct bus_ops slots_ops = {slots_read, slots_write};

static void slots_reset(struct device *device)
{
    struct pci_slots *slots = (struct pci_slots *)device;
    pthread_mutex_lock(&slots->lock);
    slots->filled = slots->wanted = 0;
    pthread_mutex_unlock(&slots->lock);
}

static void slots_destroy(struct device *device)
{
    struct pci_slots *slots = (struct pci_slots *)device;
    pthread_mutex_destroy(&slots->lock);
    free(slots);
}

static const struct device_ops device_ops = {.reset = slots_reset, .destroy = slots_destroy};
static const struct state_field fields[] = {
    STATE_FIELD(struct pci_slots, filled),
    STATE_FIELD(struct pci_slots, wanted),
};
static const struct state_table slots_state = STATE_TABLE("pci-slots", 1, fields);

void pci_slots_announce(struct pci_slots *slots, unsigned slot, bool filled)
{
    pthread_mutex_lock(&slots->lock);
    *(filled ? &slots->filled : &slots->wanted) |= (uint32_t)BIT(slot);
    pthread_mutex_unlock(&slots->lock);
    acpi_general_event(slots->bus, ACPI_EVENT_SLOTS);
}

void pci_slots_bind(struct pci_slots *slots, void (*released)(void *opaque, uint32_t slots),
                    void *opaque)
{
    slots->released = released;
    slots->opaque = opaque;
}

struct pci_slots *pci_slots_create(struct bus *bus, struct error *error)
{
    struct pci_slots *slots = calloc(1, sizeof(*slots));
    if (!slots) {
        error_set(error, ENOMEM, "PCI slots: out of memory");
        return NULL;
    }
    slots->device = (struct device){.name = "pci-slots", .ops = &device_ops, .state = &slots_state};
    slots->bus = bus;
    pthread_mutex_init(&slots->lock, NULL);
    bus_add_device(bus, &slots->device);
    slots->region = (struct bus_region){"pci-slots", BUS_PORT,   PCI_SLOTS_PORT, PCI_SLOTS_SIZE,
                                        4,           &slots_ops, slots};
    return bus_add_region(bus, &slots->region, error) < 0 ? NULL : slots;
}
