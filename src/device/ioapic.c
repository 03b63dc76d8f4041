/* SPDX-License-Identifier: Apache-2.0 */
/* The 82093AA I/O APIC (data sheet 290566): 24 redirection entries, index and data window at
 * 0xfec00000. */
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define PIN_COUNT       24
#define IOAPIC_VERSION  0x11u
#define ENTRY_MASKED    BIT(16)
#define ENTRY_LEVEL     BIT(15)
#define ENTRY_REMOTE    BIT(14)
#define ENTRY_PENDING   BIT(12)
#define ENTRY_READ_ONLY (ENTRY_REMOTE | ENTRY_PENDING)
#define ENTRY_WRITABLE  UINT64_C(0xff0000000001ffff)

struct ioapic {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    uint8_t index;
    uint32_t id;
    uint32_t lines; /* levels of the pins */
    uint64_t entries[PIN_COUNT];
    struct bus_region region;
};

/* Entry -> interrupt message, as an MSI would carry it. */
static void entry_message(uint64_t entry, uint64_t *address, uint32_t *data)
{
    *address = UINT64_C(0xfee00000) | (entry >> 56) << 12 | (entry >> 11 & 1) << 2;
    *data = (entry & 0x7ff) | (entry & ENTRY_LEVEL) | BIT(14);
}

/* Sends what the pin has to say, if anything. The caller holds the lock and gets the message to
 * send after it. */
static bool pin_fire(struct ioapic *ioapic, unsigned pin, uint64_t *address, uint32_t *data)
{
    uint64_t *entry = &ioapic->entries[pin];
    if (*entry & ENTRY_MASKED || (*entry & ENTRY_LEVEL && *entry & ENTRY_REMOTE))
        return false;
    if (*entry & ENTRY_LEVEL)
        *entry |= ENTRY_REMOTE;
    entry_message(*entry, address, data);
    return true;
}

static void ioapic_set_gsi(void *opaque, unsigned number, int level)
{
    struct ioapic *ioapic = opaque;
    uint64_t address = 0;
    uint32_t data = 0;
    /* The PIT's line 0 arrives at pin 2 (an override in the MADT); the 8259's cascade has no pin.
     */
    unsigned pin = number == 0 ? 2 : number;
    if (number == 2 || pin >= PIN_COUNT)
        return;
    pthread_mutex_lock(&ioapic->lock);
    uint32_t bit = 1u << pin;
    bool rising = level && !(ioapic->lines & bit), fire = false;
    ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
    if (level && (rising || ioapic->entries[pin] & ENTRY_LEVEL))
        fire = pin_fire(ioapic, pin, &address, &data);
    pthread_mutex_unlock(&ioapic->lock);
    if (fire)
        bus_message(ioapic->bus, address, data);
}

/* A level interrupt is done: the pin may fire again, at once when its line is still high. */
static void ioapic_eoi(void *opaque, uint8_t vector)
{
    struct ioapic *ioapic = opaque;
    for (unsigned pin = 0; pin < PIN_COUNT; pin++) {
        uint64_t address = 0;
        uint32_t data = 0;
        bool fire = false;
        pthread_mutex_lock(&ioapic->lock);
        uint64_t *entry = &ioapic->entries[pin];
        if ((*entry & 0xff) == vector && *entry & ENTRY_LEVEL && *entry & ENTRY_REMOTE) {
            *entry &= ~ENTRY_REMOTE;
            if (ioapic->lines >> pin & 1)
                fire = pin_fire(ioapic, pin, &address, &data);
        }
        pthread_mutex_unlock(&ioapic->lock);
        if (fire)
            bus_message(ioapic->bus, address, data);
    }
}

static uint32_t register_read(const struct ioapic *ioapic)
{
    unsigned index = ioapic->index;
    if (index == 0 || index == 2)
        return ioapic->id;
    if (index == 1)
        return IOAPIC_VERSION | (PIN_COUNT - 1) << 16;
    unsigned pin = (index - 0x10) / 2;
    if (index < 0x10 || pin >= PIN_COUNT)
        return 0;
    return (uint32_t)(ioapic->entries[pin] >> (index & 1 ? 32 : 0));
}

static void register_write(struct ioapic *ioapic, uint32_t value)
{
    uint64_t address = 0;
    uint32_t data = 0;
    bool fire = false;
    pthread_mutex_lock(&ioapic->lock);
    unsigned index = ioapic->index, pin = (index - 0x10) / 2;
    if (index == 0) {
        ioapic->id = value & 0x0f000000;
    } else if (index >= 0x10 && pin < PIN_COUNT) {
        uint64_t old = ioapic->entries[pin], fresh;
        fresh = index & 1 ? (old & 0xffffffff) | (uint64_t)value << 32
                          : (old & ~UINT64_C(0xffffffff)) | value;
        fresh = (fresh & ENTRY_WRITABLE & ~ENTRY_READ_ONLY) | (old & ENTRY_READ_ONLY);
        if (!(fresh & ENTRY_LEVEL))
            fresh &= ~ENTRY_REMOTE;
        ioapic->entries[pin] = fresh;
        if (fresh & ENTRY_LEVEL && ioapic->lines >> pin & 1)
            fire = pin_fire(ioapic, pin, &address, &data);
    }
    pthread_mutex_unlock(&ioapic->lock);
    if (fire)
        bus_message(ioapic->bus, address, data);
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ioapic *ioapic = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&ioapic->lock);
    if (offset == 0)
        value = ioapic->index;
    else if (offset == 0x10)
        value = register_read(ioapic);
    pthread_mutex_unlock(&ioapic->lock);
    return value;
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ioapic *ioapic = opaque;
    if (offset == 0x10)
        register_write(ioapic, (uint32_t)value);
    if (offset)
        return;
    pthread_mutex_lock(&ioapic->lock);
    ioapic->index = (uint8_t)value;
    pthread_mutex_unlock(&ioapic->lock);
}

static const struct bus_ops window_ops = {ioapic_read, ioapic_write};

static void ioapic_reset(struct device *device)
{
    struct ioapic *ioapic = (struct ioapic *)device;
    pthread_mutex_lock(&ioapic->lock);
    ioapic->index = 0;
    ioapic->id = 0;
    for (unsigned pin = 0; pin < PIN_COUNT; pin++)
        ioapic->entries[pin] = ENTRY_MASKED;
    pthread_mutex_unlock(&ioapic->lock);
}

static void ioapic_destroy(struct device *device)
{
    struct ioapic *ioapic = (struct ioapic *)device;
    pthread_mutex_destroy(&ioapic->lock);
    free(ioapic);
}

static const struct device_ops ioapic_ops = {.reset = ioapic_reset, .destroy = ioapic_destroy};
static const struct state_field ioapic_fields[] = {
    STATE_FIELD(struct ioapic, index),
    STATE_FIELD(struct ioapic, id),
    STATE_FIELD(struct ioapic, lines),
    STATE_ARRAY(struct ioapic, entries),
};
static const struct state_table ioapic_state = STATE_TABLE("ioapic", 1, ioapic_fields);

int ioapic_create(struct bus *bus, struct error *error)
{
    struct ioapic *ioapic = calloc(1, sizeof(*ioapic));
    if (!ioapic)
        return error_set(error, ENOMEM, "ioapic: out of memory");
    ioapic->device = (struct device){.name = "ioapic", .ops = &ioapic_ops, .state = &ioapic_state};
    ioapic->bus = bus;
    pthread_mutex_init(&ioapic->lock, NULL);
    ioapic_reset(&ioapic->device);
    bus_add_device(bus, &ioapic->device);
    ioapic->region =
        (struct bus_region){"ioapic", BUS_MMIO, IOAPIC_ADDRESS, 0x1000, 4, &window_ops, ioapic};
    bus->gsi_sinks[1].set = ioapic_set_gsi;
    bus->gsi_sinks[1].opaque = ioapic;
    bus->eoi_sink = ioapic_eoi;
    bus->eoi_opaque = ioapic;
    return bus_add_region(bus, &ioapic->region, error);
}
