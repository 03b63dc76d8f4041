/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: the vector table and pending bits in a BAR of their own. PCI 3.0 §6.8.2. */
#include "bus/pci.h"

#include <errno.h>
#include <stdlib.h>

#define CAPABILITY_MSIX 0x11
#define CONTROL_ENABLE  BIT(15)
#define CONTROL_MASK    BIT(14)
#define ENTRY_MASKED    1u
#define ENTRY_WORDS     4
#define PENDING_OFFSET  0x800 /* the table comes first */
#define BAR_SIZE        4096
#define MSIX_MAX        (PENDING_OFFSET / 16)

static uint16_t message_control(const struct pci_device *device)
{
    return (uint16_t)load_le(device->config + device->msix.capability + 2, 2);
}

bool pci_msix_enabled(const struct pci_device *device)
{
    return device->msix.count && message_control(device) & CONTROL_ENABLE;
}

static bool vector_masked(const struct pci_device *device, unsigned vector)
{
    /* A message is a write to memory: as all DMA it needs the guest's leave. PCI 3.0 §6.2.2 */
    return !pci_bus_master(device) || message_control(device) & CONTROL_MASK ||
           device->msix.table[vector * ENTRY_WORDS + 3] & ENTRY_MASKED;
}

static void send_message(struct pci_device *device, unsigned vector)
{
    const uint32_t *entry = &device->msix.table[vector * ENTRY_WORDS];
    bus_message(pci_device_bus(device), (uint64_t)entry[1] << 32 | entry[0], entry[2]);
}

void pci_msix_send(struct pci_device *device, unsigned vector)
{
    if (!pci_msix_enabled(device) || vector >= device->msix.count)
        return;
    uint64_t *word = &device->msix.pending[vector / 64];
    if (vector_masked(device, vector))
        __atomic_fetch_or(word, BIT(vector % 64), __ATOMIC_SEQ_CST);
    else
        send_message(device, vector);
}

/* Sends what was pending and is not masked any more. */
static void flush_pending(struct pci_device *device)
{
    if (!pci_msix_enabled(device))
        return;
    for (unsigned vector = 0; vector < device->msix.count; vector++) {
        uint64_t *word = &device->msix.pending[vector / 64];
        if (!(*word >> vector % 64 & 1) || vector_masked(device, vector))
            continue;
        if (__atomic_fetch_and(word, ~BIT(vector % 64), __ATOMIC_SEQ_CST) & BIT(vector % 64))
            send_message(device, vector);
    }
}

void pci_msix_config_written(struct pci_device *device)
{
    if (device->msix.count)
        flush_pending(device);
}

void pci_msix_reset(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!msix->count)
        return;
    store_le(device->config + msix->capability + 2, msix->count - 1, 2);
    memset(msix->pending, 0, sizeof(msix->pending));
    memset(msix->table, 0, msix->count * ENTRY_WORDS * sizeof(msix->table[0]));
    for (unsigned i = 0; i < msix->count; i++)
        msix->table[i * ENTRY_WORDS + 3] = ENTRY_MASKED;
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *device = opaque;
    const struct pci_msix *msix = &device->msix;
    size_t table_size = msix->count * ENTRY_WORDS * sizeof(msix->table[0]);
    uint64_t value = 0;
    if (range_within(offset, size, table_size))
        memcpy(&value, (const uint8_t *)msix->table + offset, size);
    else if (offset >= PENDING_OFFSET &&
             range_within(offset - PENDING_OFFSET, size, sizeof(msix->pending)))
        memcpy(&value, (const uint8_t *)msix->pending + (offset - PENDING_OFFSET), size);
    return value;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *device = opaque;
    struct pci_msix *msix = &device->msix;
    size_t table_size = msix->count * ENTRY_WORDS * sizeof(msix->table[0]);
    if (size < 4 || offset & 3 || !range_within(offset, size, table_size))
        return;
    memcpy((uint8_t *)msix->table + offset, &value, size);
    flush_pending(device);
}

static const struct bus_ops msix_ops = {msix_read, msix_write};

int pci_add_msix(struct pci_device *device, unsigned bar, unsigned count, struct error *error)
{
    uint8_t capability[12] = {0};
    if (!count || count > MSIX_MAX)
        return error_set(error, EINVAL, "%s: %u interrupt vectors, at most %u", device->device.name,
                         count, MSIX_MAX);
    device->msix.table = calloc(count * ENTRY_WORDS, sizeof(uint32_t));
    if (!device->msix.table)
        return error_set(error, ENOMEM, "%s: out of memory", device->device.name);
    device->msix.count = count;
    store_le(capability + 2, count - 1, 2);
    store_le(capability + 4, bar, 4);
    store_le(capability + 8, PENDING_OFFSET | bar, 4);
    device->msix.capability =
        pci_add_capability(device, CAPABILITY_MSIX, capability, sizeof(capability));
    store_le(device->writable + device->msix.capability + 2, CONTROL_ENABLE | CONTROL_MASK, 2);
    pci_add_bar(device, bar, BUS_MMIO, BAR_SIZE, false, &msix_ops, device, "msix");
    pci_msix_reset(device);
    return 0;
}
