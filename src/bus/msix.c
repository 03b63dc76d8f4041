/* SPDX-License-Identifier: Apache-2.0 */
/* MSI-X: the vector table and pending bits in a BAR of their own. PCI 3.0 §6.8.2. */
#include "bus/pci_private.h"

#include <errno.h>
#include <stdlib.h>

#define CAPABILITY_MSIX 0x11
#define CONTROL_ENABLE  BIT(15)
#define CONTROL_MASK    BIT(14)
#define ENTRY_MASKED    1u
#define ENTRY_WORDS     4
#define PENDING_OFFSET  0x800 /* the table comes first */
#define BAR_SIZE        4096

static uint16_t message_control(const struct pci_device *device)
{
    return (uint16_t)load_le(device->config + device->msix.capability + 2, 2);
}

bool pci_msix_enabled(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!msix->count)
        return false;
    pthread_mutex_lock(&msix->lock);
    bool enabled = msix->control & CONTROL_ENABLE;
    pthread_mutex_unlock(&msix->lock);
    return enabled;
}

/* A message is a write to memory: as all DMA it needs the guest's leave (PCI 3.0 §6.2.2). The
 * caller holds the lock, here and below. */
static bool vector_masked(const struct pci_device *device, unsigned vector)
{
    return !pci_bus_master(device) || device->msix.control & CONTROL_MASK ||
           device->msix.table[vector * ENTRY_WORDS + 3] & ENTRY_MASKED;
}

/* Sends a vector, or marks it pending while it is masked. The lock is held while the message is on
 * its way, so that none comes after the guest has masked it. */
static void send_vector(struct pci_device *device, unsigned vector)
{
    struct pci_msix *msix = &device->msix;
    const uint32_t *entry = &msix->table[vector * ENTRY_WORDS];
    if (vector_masked(device, vector)) {
        msix->pending[vector / 64] |= BIT(vector % 64);
        return;
    }
    msix->pending[vector / 64] &= ~BIT(vector % 64);
    bus_message(pci_device_bus(device), (uint64_t)entry[1] << 32 | entry[0], entry[2]);
}

void pci_msix_send(struct pci_device *device, unsigned vector)
{
    struct pci_msix *msix = &device->msix;
    if (vector >= msix->count)
        return;
    pthread_mutex_lock(&msix->lock);
    if (msix->control & CONTROL_ENABLE)
        send_vector(device, vector);
    pthread_mutex_unlock(&msix->lock);
}

/* Sends what was pending and is not masked any more. */
static void flush_pending(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!(msix->control & CONTROL_ENABLE))
        return;
    for (unsigned vector = 0; vector < msix->count; vector++)
        if (msix->pending[vector / 64] >> vector % 64 & 1)
            send_vector(device, vector);
}

void pci_msix_config_written(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!msix->count)
        return;
    pthread_mutex_lock(&msix->lock);
    msix->control = message_control(device);
    flush_pending(device);
    pthread_mutex_unlock(&msix->lock);
}

void pci_msix_reset(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (!msix->count)
        return;
    store_le(device->config + msix->capability + 2, msix->count - 1, 2);
    pthread_mutex_lock(&msix->lock);
    msix->control = message_control(device);
    memset(msix->pending, 0, sizeof(msix->pending));
    memset(msix->table, 0, sizeof(msix->table));
    for (unsigned i = 0; i < msix->count; i++)
        msix->table[i * ENTRY_WORDS + 3] = ENTRY_MASKED;
    pthread_mutex_unlock(&msix->lock);
}

/* Nothing that is pending was let through when it was saved: so nothing is sent. */
void pci_msix_after_load(struct pci_device *device)
{
    struct pci_msix *msix = &device->msix;
    if (msix->count)
        msix->control = message_control(device);
}

void pci_msix_destroy(struct pci_device *device)
{
    if (device->msix.count)
        pthread_mutex_destroy(&device->msix.lock);
}

static size_t table_size(const struct pci_msix *msix)
{
    return msix->count * ENTRY_WORDS * sizeof(msix->table[0]);
}

static uint64_t msix_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pci_device *device = opaque;
    struct pci_msix *msix = &device->msix;
    uint64_t value = 0;
    pthread_mutex_lock(&msix->lock);
    if (range_within(offset, size, table_size(msix)))
        memcpy(&value, (const uint8_t *)msix->table + offset, size);
    else if (offset >= PENDING_OFFSET &&
             range_within(offset - PENDING_OFFSET, size, sizeof(msix->pending)))
        memcpy(&value, (const uint8_t *)msix->pending + (offset - PENDING_OFFSET), size);
    pthread_mutex_unlock(&msix->lock);
    return value;
}

static void msix_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pci_device *device = opaque;
    struct pci_msix *msix = &device->msix;
    if (size < 4 || offset & 3 || !range_within(offset, size, table_size(msix)))
        return;
    pthread_mutex_lock(&msix->lock);
    memcpy((uint8_t *)msix->table + offset, &value, size);
    flush_pending(device);
    pthread_mutex_unlock(&msix->lock);
}

static const struct bus_ops msix_ops = {msix_read, msix_write};

static const struct state_field msix_fields[] = {
    STATE_ARRAY(struct pci_msix, table),
    STATE_ARRAY(struct pci_msix, pending),
};
const struct state_table pci_msix_state = STATE_TABLE("msix", 2, msix_fields);

_Static_assert(PENDING_OFFSET == PCI_MSIX_MAX * ENTRY_WORDS * sizeof(uint32_t),
               "a full table ends where the pending bits begin");

int pci_add_msix(struct pci_device *device, unsigned bar, unsigned count, struct error *error)
{
    uint8_t capability[12] = {0};
    if (!count || count > PCI_MSIX_MAX)
        return error_set(error, EINVAL, "%s: %u interrupt vectors, at most %u", device->device.name,
                         count, PCI_MSIX_MAX);
    pthread_mutex_init(&device->msix.lock, NULL);
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
