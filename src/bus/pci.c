/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI bus: configuration ports, headers, BARs. INTx: intx.c, MSI-X: msix.c. */
#include "bus/pci_private.h"

#include <errno.h>
#include <stdlib.h>

#define BAR_PORT  1u
#define BAR_64BIT 4u

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_BITS   0x80fffffcu /* that can be written */

#define ROM_ENABLE   BIT(0)
#define ROM_SIZE_MIN KIB(2)

/* --- BARs --- */

static uint64_t bar_address(const struct pci_device *device, unsigned index)
{
    const struct pci_bar *bar = &device->bars[index];
    const uint8_t *config = device->config + CONFIG_BAR + index * 4;
    uint64_t address = load_le(config, bar->is_64bit ? 8 : 4);
    return address & ~(uint64_t)(bar->region.space == BUS_PORT ? 3 : 15);
}

/* Maps, moves or unmaps a BAR. */
static void bar_update(struct bus *bus, struct pci_bar *bar, bool enabled, uint64_t address)
{
    bool overflows = address + bar->region.size < address;
    bool map = enabled && address && !overflows;
    if (bar->mapped && (!map || address != bar->region.base)) {
        bus_remove_region(bus, &bar->region);
        bar->mapped = false;
    }
    if (map && !bar->mapped) {
        bus_move_region(bus, &bar->region, address);
        bar->mapped = true;
    }
}

/* All BARs and the ROM, as command register and addresses say. */
static void bars_update(struct pci_device *device)
{
    uint16_t command = (uint16_t)load_le(device->config + CONFIG_COMMAND, 2);
    struct bus *bus = device->bus->bus;
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        struct pci_bar *bar = &device->bars[i];
        bool enabled = command & (bar->region.space == BUS_PORT ? COMMAND_PORT : COMMAND_MEMORY);
        if (bar->region.size)
            bar_update(bus, bar, enabled, bar_address(device, i));
    }
    if (device->rom.region.size) {
        uint64_t rom = load_le(device->config + CONFIG_ROM, 4);
        bar_update(bus, &device->rom, rom & ROM_ENABLE && command & COMMAND_MEMORY,
                   rom & ~(ROM_SIZE_MIN - 1));
    }
    if (device->bars_moved)
        device->bars_moved(device);
}

void pci_add_bar(struct pci_device *device, unsigned index, enum bus_space space, uint64_t size,
                 bool is_64bit, const struct bus_ops *ops, void *opaque, const char *name)
{
    struct pci_bar *bar = &device->bars[index];
    uint8_t *config = device->config + CONFIG_BAR + index * 4;
    uint8_t *writable = device->writable + CONFIG_BAR + index * 4;
    bar->region = (struct bus_region){
        .name = name, .space = space, .size = size, .access_max = 8, .ops = ops, .opaque = opaque};
    bar->is_64bit = is_64bit;
    store_le(config, space == BUS_PORT ? BAR_PORT : is_64bit ? BAR_64BIT : 0, 4);
    store_le(writable, ~(size - 1), is_64bit ? 8 : 4);
}

static uint64_t rom_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct pci_device *device = opaque;
    uint64_t value = bytes_mask(size); /* behind the image's end, as an erased chip */
    if (offset < device->rom_size)
        memcpy(&value, device->rom_bytes + offset,
               size < device->rom_size - offset ? size : device->rom_size - offset);
    return value;
}

static void rom_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const struct bus_ops rom_ops = {rom_read, rom_write};

void pci_add_rom(struct pci_device *device, const uint8_t *bytes, size_t size)
{
    uint64_t room = ROM_SIZE_MIN;
    if (!size)
        return;
    while (room < size)
        room *= 2;
    device->rom_bytes = bytes;
    device->rom_size = size;
    device->rom.region = (struct bus_region){.name = "expansion ROM",
                                             .size = room,
                                             .space = BUS_MMIO,
                                             .access_max = 8,
                                             .ops = &rom_ops,
                                             .opaque = device};
    store_le(device->writable + CONFIG_ROM, (~(room - 1) & ~(ROM_SIZE_MIN - 1)) | ROM_ENABLE, 4);
}

/* --- configuration space --- */

static struct pci_device *addressed(struct pci_bus *bus)
{
    if (!(bus->address & ADDRESS_ENABLE) || bus->address >> 16 & 0xff)
        return NULL;
    return bus->devices[bus->address >> 11 & 31][bus->address >> 8 & 7];
}

static uint32_t config_read(struct pci_device *device, unsigned offset, unsigned size)
{
    uint32_t value;
    if (device->config_read && device->config_read(device, offset, size, &value))
        return value;
    value = (uint32_t)load_le(device->config + offset, size);
    if (offset <= CONFIG_STATUS && offset + size > CONFIG_STATUS && pci_intx_wanted(device))
        value |= STATUS_INTERRUPT << 8 * (CONFIG_STATUS - offset);
    return value;
}

static void config_write(struct pci_device *device, unsigned offset, uint32_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = device->writable[offset + i], byte = (uint8_t)(value >> (8 * i));
        byte = (device->config[offset + i] & ~mask) | (byte & mask);
        /* The loop's thread looks at the command register without our lock. */
        __atomic_store_n(&device->config[offset + i], byte, __ATOMIC_RELAXED);
    }
    if (offset < CONFIG_ROM + 4 && offset + size > CONFIG_COMMAND) {
        bars_update(device);
        pci_intx_command_written(device);
    }
    pci_msix_config_written(device);
    if (device->config_written)
        device->config_written(device, offset, size);
}

/*
 * Port 0xcf8 takes only 32-bit accesses; 0xcfc to 0xcff reach the addressed register's bytes. A
 * byte at 0xcf9 is the chipset's reset control register, whose bit 2 resets.
 */
#define RESET_CONTROL_OFFSET 1
#define RESET_CPU            BIT(2)

static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *bus = opaque;
    pthread_mutex_lock(&bus->lock);
    uint64_t value = size == 4 ? bus->address : bytes_mask(size);
    pthread_mutex_unlock(&bus->lock);
    return value;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_bus *bus = opaque;
    if (size == 4 && offset == 0) {
        pthread_mutex_lock(&bus->lock);
        bus->address = (uint32_t)value & ADDRESS_BITS;
        pthread_mutex_unlock(&bus->lock);
    } else if (size == 1 && offset == RESET_CONTROL_OFFSET && value & RESET_CPU) {
        bus_power(bus->bus, BUS_POWER_RESET);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_bus *bus = opaque;
    uint64_t value = bytes_mask(size);
    pthread_mutex_lock(&bus->lock);
    struct pci_device *device = addressed(bus);
    if (device)
        value = config_read(device, (bus->address & 0xfc) + (unsigned)offset, size);
    pthread_mutex_unlock(&bus->lock);
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_bus *bus = opaque;
    pthread_mutex_lock(&bus->lock);
    struct pci_device *device = addressed(bus);
    if (device)
        config_write(device, (bus->address & 0xfc) + (unsigned)offset, (uint32_t)value, size);
    pthread_mutex_unlock(&bus->lock);
}

static const struct bus_ops address_ops = {address_read, address_write};
static const struct bus_ops data_ops = {data_read, data_write};

/* --- devices --- */

int pci_free_slot(const struct pci_bus *bus)
{
    for (int slot = 0; slot < PCI_SLOT_COUNT; slot++)
        if (!bus->devices[slot][0])
            return slot;
    return -1;
}

struct pci_device *pci_device_at(const struct pci_bus *bus, unsigned slot)
{
    return slot < PCI_SLOT_COUNT ? bus->devices[slot][0] : NULL;
}

static void fill_header(struct pci_device *device, const struct pci_identity *identity)
{
    uint8_t *config = device->config;
    store_le(config + CONFIG_VENDOR, identity->vendor, 2);
    store_le(config + CONFIG_DEVICE, identity->device, 2);
    config[CONFIG_REVISION] = identity->revision;
    store_le(config + CONFIG_CLASS, identity->class_code, 3);
    store_le(config + CONFIG_SUBSYSTEM_VENDOR, identity->subsystem_vendor, 2);
    store_le(config + CONFIG_SUBSYSTEM, identity->subsystem, 2);
    config[CONFIG_PIN] = identity->interrupt_pin;
    store_le(device->writable + CONFIG_COMMAND,
             COMMAND_PORT | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX, 2);
    device->writable[CONFIG_LINE] = 0xff;
}

int pci_add_device(struct pci_bus *bus, struct pci_device *device,
                   const struct pci_identity *identity, int slot, int function, struct error *error)
{
    if (slot < 0)
        slot = pci_free_slot(bus);
    if (slot < 0 || slot >= PCI_SLOT_COUNT || bus->devices[slot][function])
        return error_set(error, ENOSPC, "PCI: no free slot for %s", device->device.name);
    device->bus = bus;
    device->slot = (uint8_t)slot;
    device->function = (uint8_t)function;
    fill_header(device, identity);
    if (function)
        bus->devices[slot][0]->config[CONFIG_HEADER_TYPE] |= 0x80;
    bus->devices[slot][function] = device;
    bus_add_device(bus->bus, &device->device);
    return 0;
}

void pci_remove_device(struct pci_device *device)
{
    pci_set_intx(device, 0);
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
        if (device->bars[i].mapped)
            bus_remove_region(device->bus->bus, &device->bars[i].region);
    if (device->rom.mapped)
        bus_remove_region(device->bus->bus, &device->rom.region);
    device->bus->devices[device->slot][device->function] = NULL;
    bus_remove_device(device->bus->bus, &device->device);
}

unsigned pci_add_capability(struct pci_device *device, uint8_t id, const uint8_t *bytes,
                            unsigned length)
{
    unsigned offset = CONFIG_CAPABILITY_START;
    uint8_t *link = &device->config[CONFIG_CAPABILITIES];
    while (*link) {
        offset = align_up(*link + device->capability_lengths[*link / 4], 4);
        link = &device->config[*link + 1];
    }
    if (offset + length > PCI_CONFIG_SIZE)
        return 0;
    memcpy(device->config + offset, bytes, length);
    device->config[offset] = id;
    device->config[offset + 1] = 0;
    device->capability_lengths[offset / 4] = (uint8_t)length;
    *link = (uint8_t)offset;
    device->config[CONFIG_STATUS] |= STATUS_CAPABILITIES;
    return offset;
}

bool pci_bus_master(const struct pci_device *device)
{
    return __atomic_load_n(&device->config[CONFIG_COMMAND], __ATOMIC_RELAXED) & COMMAND_MASTER;
}

struct bus *pci_device_bus(const struct pci_device *device)
{
    return device->bus->bus;
}

int pci_find_class(const struct pci_bus *bus, uint8_t base_class, int slot)
{
    for (; slot < PCI_SLOT_COUNT; slot++) {
        const struct pci_device *device = bus->devices[slot][0];
        if (device && device->config[CONFIG_CLASS + 2] == base_class)
            return slot;
    }
    return -1;
}

void pci_reset_config(struct pci_device *device)
{
    pci_set_intx(device, 0);
    pthread_mutex_lock(&device->bus->lock);
    store_le(device->config + CONFIG_COMMAND, 0, 2);
    bars_update(device);
    pci_msix_reset(device);
    pthread_mutex_unlock(&device->bus->lock);
}

static void assign_device(struct pci_device *device, uint64_t *next_mmio, uint64_t *next_port)
{
    for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
        struct pci_bar *bar = &device->bars[i];
        if (!bar->region.size)
            continue;
        uint64_t *next = bar->region.space == BUS_PORT ? next_port : next_mmio;
        uint64_t address = align_up(*next, bar->region.size);
        uint8_t *config = device->config + CONFIG_BAR + i * 4;
        *next = address + bar->region.size;
        store_le(config, address | (load_le(config, 4) & 0xf), bar->is_64bit ? 8 : 4);
    }
    store_le(device->config + CONFIG_COMMAND, COMMAND_PORT | COMMAND_MEMORY, 2);
    if (device->config[CONFIG_PIN])
        device->config[CONFIG_LINE] = (uint8_t)pci_firmware_irq(pci_intx_wire(device));
    bars_update(device);
    if (device->configure)
        device->configure(device);
}

void pci_assign_resources(struct pci_bus *bus)
{
    uint64_t next_mmio = PCI_MMIO_BASE, next_port = PCI_PORT_BASE;
    pthread_mutex_lock(&bus->lock);
    for (unsigned slot = 0; slot < PCI_SLOT_COUNT; slot++)
        for (unsigned function = 0; function < FUNCTION_COUNT; function++)
            if (bus->devices[slot][function])
                assign_device(bus->devices[slot][function], &next_mmio, &next_port);
    pthread_mutex_unlock(&bus->lock);
}

static void pci_reset(struct device *device)
{
    struct pci_bus *bus = (struct pci_bus *)device;
    pthread_mutex_lock(&bus->lock);
    bus->address = 0;
    pthread_mutex_unlock(&bus->lock);
}

static void pci_destroy(struct device *device)
{
    struct pci_bus *bus = (struct pci_bus *)device;
    pthread_mutex_destroy(&bus->lock);
    pthread_mutex_destroy(&bus->intx_lock);
    free(bus);
}

static int pci_bus_after_load(struct device *device, struct error *error)
{
    struct pci_bus *bus = (struct pci_bus *)device;
    bus->address &= ADDRESS_BITS;
    return pci_intx_after_load(bus, error);
}

static const struct device_ops pci_ops = {
    .reset = pci_reset,
    .destroy = pci_destroy,
    .after_load = pci_bus_after_load,
};
static const struct state_field bus_fields[] = {
    STATE_FIELD(struct pci_bus, address),
    STATE_ARRAY(struct pci_bus, intx_count),
    STATE_ARRAY(struct pci_bus, isa_irqs),
};
static const struct state_table bus_state = STATE_TABLE("pci-bus", 2, bus_fields);
static const struct state_field device_fields[] = {
    STATE_BLOB(struct pci_device, saved_config),
    STATE_FIELD(struct pci_device, intx_wanted),
    STATE_FIELD(struct pci_device, intx_driven),
    STATE_NESTED(struct pci_device, msix, &pci_msix_state),
};
const struct state_table pci_device_state = STATE_TABLE("pci-device", 3, device_fields);

void pci_before_save(struct pci_device *device)
{
    pthread_mutex_lock(&device->bus->lock);
    memcpy(device->saved_config, device->config, PCI_CONFIG_SIZE);
    pthread_mutex_unlock(&device->bus->lock);
}

/* Only what a guest may write comes from the state; the rest is what the device is. */
int pci_after_load(struct pci_device *device, struct error *error)
{
    uint8_t *config = device->config;
    if (memcmp(device->saved_config + CONFIG_VENDOR, config + CONFIG_VENDOR, 4) != 0)
        return error_set(error, EINVAL, "state of %s: made with another device in its place",
                         device->device.name);
    pthread_mutex_lock(&device->bus->lock);
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        config[i] ^= (config[i] ^ device->saved_config[i]) & device->writable[i];
    bars_update(device);
    pthread_mutex_unlock(&device->bus->lock);
    pci_msix_after_load(device);
    return 0;
}

struct pci_bus *pci_bus_create(struct bus *bus, struct error *error)
{
    struct pci_bus *pci = calloc(1, sizeof(*pci));
    if (!pci) {
        error_set(error, ENOMEM, "PCI: out of memory");
        return NULL;
    }
    pci->device = (struct device){.name = "pci", .ops = &pci_ops, .state = &bus_state};
    pci->bus = bus;
    pthread_mutex_init(&pci->lock, NULL);
    pthread_mutex_init(&pci->intx_lock, NULL);
    bus_add_device(bus, &pci->device);
    pci->regions[0] = (struct bus_region){"pci-address", BUS_PORT, 0xcf8, 1, 4, &address_ops, pci};
    pci->regions[0].size = 4;
    pci->regions[1] = (struct bus_region){"pci-data", BUS_PORT, 0xcfc, 4, 4, &data_ops, pci};
    if (bus_add_region(bus, &pci->regions[0], error) < 0 ||
        bus_add_region(bus, &pci->regions[1], error) < 0)
        return NULL;
    return pci;
}
