/* SPDX-License-Identifier: Apache-2.0 */
/* The modern PCI transport. virtio 1.2 §4.1.4. */
#include "virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

#define VENDOR_VIRTIO      0x1af4
#define DEVICE_BASE        0x1040
#define SUBSYSTEM_BASE     0x40 /* below, a driver may take the device for a legacy one */
#define CAPABILITY_VENDOR  0x09
#define BAR_MSIX           1
#define BAR_REGISTERS      4
#define REGISTERS_SIZE     KIB(16)
#define OFFSET_COMMON      0x0000
#define OFFSET_ISR         0x1000
#define OFFSET_CONFIG      0x2000
#define OFFSET_NOTIFY      0x3000
#define NOTIFY_MULTIPLIER  4
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define ISR_QUEUE          1u
#define ISR_CONFIG         2u
#define PCI_COMMAND_END    6 /* configuration bytes up to the command register */

enum capability_type {
    CAPABILITY_COMMON = 1,
    CAPABILITY_NOTIFY,
    CAPABILITY_ISR,
    CAPABILITY_DEVICE,
    CAPABILITY_ACCESS
};

/* Common configuration, §4.1.4.3 */
enum {
    COMMON_DEVICE_FEATURE_SELECT = 0,
    COMMON_DEVICE_FEATURE = 4,
    COMMON_DRIVER_FEATURE_SELECT = 8,
    COMMON_DRIVER_FEATURE = 12,
    COMMON_CONFIG_VECTOR = 16,
    COMMON_QUEUE_COUNT = 18,
    COMMON_STATUS = 20,
    COMMON_GENERATION = 21,
    COMMON_QUEUE_SELECT = 22,
    COMMON_QUEUE_SIZE = 24,
    COMMON_QUEUE_VECTOR = 26,
    COMMON_QUEUE_ENABLE = 28,
    COMMON_QUEUE_NOTIFY = 30,
    COMMON_QUEUE_DESCRIPTORS = 32,
    COMMON_QUEUE_AVAILABLE = 40,
    COMMON_QUEUE_USED = 48,
    COMMON_SIZE = 56,
};

struct memory *virtio_memory(const struct virtio_device *device)
{
    return pci_device_bus(&device->pci)->memory;
}

static void signal_driver(struct virtio_device *device, uint16_t vector, uint8_t isr)
{
    if (pci_msix_enabled(&device->pci)) {
        if (vector != VIRTIO_NO_VECTOR)
            pci_msix_send(&device->pci, vector);
        return;
    }
    device->isr |= isr;
    pci_set_intx(&device->pci, 1);
}

void virtio_break(struct virtio_device *device, const char *why)
{
    if (device->status & STATUS_NEEDS_RESET)
        return;
    log_guest(pci_device_bus(&device->pci)->log, "%s: the guest's driver broke the device: %s",
              device->pci.device.name, why);
    device->status |= STATUS_NEEDS_RESET;
    signal_driver(device, device->config_vector, ISR_CONFIG);
}

bool virtio_running(const struct virtio_device *device)
{
    return (device->status & (STATUS_DRIVER_OK | STATUS_NEEDS_RESET)) == STATUS_DRIVER_OK &&
           !device->resetting && pci_bus_master(&device->pci);
}

void virtio_config_changed(struct virtio_device *device)
{
    device->config_generation++;
    if (virtio_running(device))
        signal_driver(device, device->config_vector, ISR_CONFIG);
}

bool virtio_take(struct virtio_device *device, unsigned queue, struct virtqueue_chain *chain)
{
    struct virtqueue *ring = &device->queues[queue];
    if (!virtio_running(device))
        return false;
    int result = virtqueue_take(ring, virtio_memory(device), chain);
    if (result == 0) {
        virtqueue_want_notification(ring, virtio_memory(device));
        result = virtqueue_take(ring, virtio_memory(device), chain);
    }
    if (result < 0)
        virtio_break(device, "bad descriptor ring");
    return result > 0;
}

void virtio_give(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written)
{
    virtio_give_many(device, queue, &(struct virtqueue_used){head, written}, 1);
}

void virtio_give_many(struct virtio_device *device, unsigned queue,
                      const struct virtqueue_used *used, unsigned count)
{
    struct virtqueue *ring = &device->queues[queue];
    if (!virtio_running(device))
        return;
    if (virtqueue_give(ring, virtio_memory(device), used, count) < 0)
        virtio_break(device, "used ring outside memory");
    else if (virtqueue_wants_interrupt(ring, virtio_memory(device)))
        signal_driver(device, ring->vector, ISR_QUEUE);
}

/* --- notifications --- */

static void process_notified(void *opaque)
{
    struct virtio_device *device = opaque;
    atomic_store(&device->posted, false);
    unsigned queues = atomic_exchange(&device->notified, 0);
    pthread_mutex_lock(&device->lock);
    for (unsigned i = 0; i < device->queue_count; i++)
        if (queues >> i & 1 && device->queues[i].enabled && virtio_running(device))
            device->ops->process(device, i);
    pthread_mutex_unlock(&device->lock);
}

void virtio_notify(struct virtio_device *device, unsigned queue)
{
    if (queue >= device->queue_count)
        return;
    atomic_fetch_or(&device->notified, 1u << queue);
    if (!atomic_exchange(&device->posted, true))
        loop_post(pci_device_bus(&device->pci)->loop, process_notified, device);
}

/* --- common configuration --- */

static void device_reset(struct virtio_device *device)
{
    device->resetting = false;
    device->status = device->isr = 0;
    device->driver_features = 0;
    device->queue_select = 0;
    device->device_feature_select = device->driver_feature_select = 0;
    device->config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
        virtqueue_reset(&device->queues[i]);
    pci_set_intx(&device->pci, 0);
}

/*
 * A read in flight would land in memory that its owner has long given to others. So the reset waits
 * for it, and the status shows 0 only then, for which a driver looks: §4.1.4.3.1, §2.4.
 */
static void request_reset(struct virtio_device *device)
{
    if (device->ops->busy && device->ops->busy(device))
        device->resetting = true;
    else
        device_reset(device);
}

void virtio_settled(struct virtio_device *device)
{
    if (device->resetting)
        device_reset(device);
}

static uint32_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

/* The register file as bytes, for reads of any size. */
static void common_image(const struct virtio_device *device, uint8_t *image)
{
    bool there = device->queue_select < device->queue_count;
    const struct virtqueue none = {.vector = VIRTIO_NO_VECTOR};
    const struct virtqueue *queue = there ? &device->queues[device->queue_select] : &none;
    store_le(image + COMMON_DEVICE_FEATURE_SELECT, device->device_feature_select, 4);
    store_le(image + COMMON_DEVICE_FEATURE,
             feature_word(device->features, device->device_feature_select), 4);
    store_le(image + COMMON_DRIVER_FEATURE_SELECT, device->driver_feature_select, 4);
    store_le(image + COMMON_DRIVER_FEATURE,
             feature_word(device->driver_features, device->driver_feature_select), 4);
    store_le(image + COMMON_CONFIG_VECTOR, device->config_vector, 2);
    store_le(image + COMMON_QUEUE_COUNT, device->queue_count, 2);
    image[COMMON_STATUS] = device->status;
    image[COMMON_GENERATION] = device->config_generation;
    store_le(image + COMMON_QUEUE_SELECT, device->queue_select, 2);
    store_le(image + COMMON_QUEUE_SIZE, queue->size, 2);
    store_le(image + COMMON_QUEUE_VECTOR, queue->vector, 2);
    store_le(image + COMMON_QUEUE_ENABLE, queue->enabled, 2);
    store_le(image + COMMON_QUEUE_NOTIFY, there ? device->queue_select : 0, 2);
    store_le(image + COMMON_QUEUE_DESCRIPTORS, queue->descriptors, 8);
    store_le(image + COMMON_QUEUE_AVAILABLE, queue->available, 8);
    store_le(image + COMMON_QUEUE_USED, queue->used, 8);
}

static void write_status(struct virtio_device *device, uint8_t value)
{
    if (!value) {
        request_reset(device);
        return;
    }
    bool unknown = device->driver_features & ~device->features;
    bool modern = device->driver_features & VIRTIO_FEATURE_VERSION_1;
    if (value & STATUS_FEATURES_OK && (unknown || !modern))
        value &= ~STATUS_FEATURES_OK;
    device->status = value | (device->status & STATUS_NEEDS_RESET);
}

static void write_driver_feature(struct virtio_device *device, uint32_t value)
{
    unsigned shift = 32 * device->driver_feature_select;
    if (device->driver_feature_select > 1 || device->status & STATUS_FEATURES_OK)
        return;
    device->driver_features &= ~(UINT64_C(0xffffffff) << shift);
    device->driver_features |= (uint64_t)value << shift;
}

uint16_t virtio_valid_vector(const struct virtio_device *device, uint64_t value)
{
    return value < device->pci.msix.count ? (uint16_t)value : VIRTIO_NO_VECTOR;
}

/* Replaces four bytes, or all eight, of a ring address. */
static void write_address(uint64_t *address, unsigned offset, uint64_t value, unsigned size)
{
    uint8_t bytes[8];
    store_le(bytes, *address, 8);
    if (range_within(offset, size, 8))
        store_le(bytes + offset, value, size);
    *address = load_le(bytes, 8);
}

static void write_queue(struct virtio_device *device, unsigned offset, uint64_t value,
                        unsigned size)
{
    if (device->queue_select >= device->queue_count)
        return;
    struct virtqueue *queue = &device->queues[device->queue_select];
    if (offset == COMMON_QUEUE_VECTOR) {
        queue->vector = virtio_valid_vector(device, value);
        return;
    }
    if (queue->enabled)
        return; /* a live queue may not be moved: §4.1.4.3.2 */
    if (offset == COMMON_QUEUE_SIZE) {
        if (value && value <= VIRTQUEUE_SIZE_MAX && !(value & (value - 1)))
            queue->size = (uint16_t)value;
    } else if (offset == COMMON_QUEUE_ENABLE) {
        queue->enabled = value == 1;
        queue->event_index = device->driver_features & VIRTIO_FEATURE_EVENT_INDEX;
    } else if (offset >= COMMON_QUEUE_USED) {
        write_address(&queue->used, offset - COMMON_QUEUE_USED, value, size);
    } else if (offset >= COMMON_QUEUE_AVAILABLE) {
        write_address(&queue->available, offset - COMMON_QUEUE_AVAILABLE, value, size);
    } else if (offset >= COMMON_QUEUE_DESCRIPTORS) {
        write_address(&queue->descriptors, offset - COMMON_QUEUE_DESCRIPTORS, value, size);
    }
}

static void common_write(struct virtio_device *device, unsigned offset, uint64_t value,
                         unsigned size)
{
    switch (offset) {
    case COMMON_DEVICE_FEATURE_SELECT:
        device->device_feature_select = (uint32_t)value;
        break;
    case COMMON_DRIVER_FEATURE_SELECT:
        device->driver_feature_select = (uint32_t)value;
        break;
    case COMMON_DRIVER_FEATURE:
        write_driver_feature(device, (uint32_t)value);
        break;
    case COMMON_CONFIG_VECTOR:
        device->config_vector = virtio_valid_vector(device, value);
        break;
    case COMMON_STATUS:
        write_status(device, (uint8_t)value);
        break;
    case COMMON_QUEUE_SELECT:
        device->queue_select = (uint16_t)value;
        break;
    default:
        write_queue(device, offset, value, size);
    }
}

/* --- the register BAR --- */

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct virtio_device *device = opaque;
    uint8_t image[COMMON_SIZE + 8] = {0};
    uint64_t value = 0;
    pthread_mutex_lock(&device->lock);
    if (range_within(offset, size, COMMON_SIZE)) {
        common_image(device, image);
        value = load_le(image + offset, size);
    } else if (offset == OFFSET_ISR) {
        value = device->isr; /* reading acknowledges */
        device->isr = 0;
        pci_set_intx(&device->pci, 0);
    } else if (offset >= OFFSET_CONFIG &&
               range_within(offset - OFFSET_CONFIG, size, VIRTIO_CONFIG_MAX)) {
        value = load_le(&device->config[offset - OFFSET_CONFIG], size);
    }
    pthread_mutex_unlock(&device->lock);
    return value;
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct virtio_device *device = opaque;
    if (offset >= OFFSET_NOTIFY) {
        virtio_notify(device, (unsigned)(offset - OFFSET_NOTIFY) / NOTIFY_MULTIPLIER);
        return;
    }
    pthread_mutex_lock(&device->lock);
    if (offset < COMMON_SIZE && !device->resetting)
        common_write(device, (unsigned)offset, value, size);
    pthread_mutex_unlock(&device->lock);
}

static const struct bus_ops registers_ops = {registers_read, registers_write};

/* --- capabilities --- */

/* PCI configuration access, §4.1.4.9: a window to the BAR for who cannot map it. */
static bool access_window(struct pci_device *pci, uint32_t *offset, uint32_t *length)
{
    const struct virtio_device *device = (const struct virtio_device *)pci;
    const uint8_t *capability = pci->config + device->access_capability;
    *offset = (uint32_t)load_le(capability + 8, 4);
    *length = (uint32_t)load_le(capability + 12, 4);
    return capability[4] == BAR_REGISTERS && (*length == 1 || *length == 2 || *length == 4) &&
           range_within(*offset, *length, REGISTERS_SIZE);
}

static bool is_access_data(const struct virtio_device *device, unsigned offset)
{
    return offset >= device->access_capability + 16 && offset < device->access_capability + 20;
}

static bool config_read(struct pci_device *pci, unsigned offset, unsigned size, uint32_t *value)
{
    struct virtio_device *device = (struct virtio_device *)pci;
    uint32_t window, length;
    if (!is_access_data(device, offset) || !access_window(pci, &window, &length))
        return false;
    *value = (uint32_t)registers_read(device, window, length);
    return true;
}

static void config_written(struct pci_device *pci, unsigned offset, unsigned size)
{
    struct virtio_device *device = (struct virtio_device *)pci;
    uint32_t window, length;
    /* What was offered while the device was not allowed to read memory still waits. */
    if (offset < PCI_COMMAND_END && pci_bus_master(pci))
        for (unsigned i = 0; i < device->queue_count; i++)
            virtio_notify(device, i);
    if (!is_access_data(device, offset) || !access_window(pci, &window, &length))
        return;
    registers_write(device, window, load_le(pci->config + device->access_capability + 16, length),
                    length);
}

static unsigned add_capability(struct virtio_device *device, enum capability_type type,
                               uint32_t offset, uint32_t length, unsigned extra)
{
    uint8_t bytes[20] = {0};
    bytes[2] = (uint8_t)(16 + extra);
    bytes[3] = (uint8_t)type;
    bytes[4] = BAR_REGISTERS;
    store_le(bytes + 8, offset, 4);
    store_le(bytes + 12, length, 4);
    if (type == CAPABILITY_NOTIFY)
        store_le(bytes + 16, NOTIFY_MULTIPLIER, 4);
    return pci_add_capability(&device->pci, CAPABILITY_VENDOR, bytes, 16 + extra);
}

static void add_capabilities(struct virtio_device *device)
{
    add_capability(device, CAPABILITY_COMMON, OFFSET_COMMON, COMMON_SIZE, 0);
    add_capability(device, CAPABILITY_ISR, OFFSET_ISR, 1, 0);
    add_capability(device, CAPABILITY_DEVICE, OFFSET_CONFIG, VIRTIO_CONFIG_MAX, 0);
    add_capability(device, CAPABILITY_NOTIFY, OFFSET_NOTIFY,
                   NOTIFY_MULTIPLIER * device->queue_count, 4);
    unsigned access = add_capability(device, CAPABILITY_ACCESS, 0, 0, 4);
    device->access_capability = access;
    device->pci.writable[access + 4] = 0xff;
    memset(device->pci.writable + access + 8, 0xff, 12);
}

/* --- life --- */

static void virtio_reset(struct device *device)
{
    struct virtio_device *virtio = (struct virtio_device *)device;
    pthread_mutex_lock(&virtio->lock);
    virtio->resetting = true;
    pthread_mutex_unlock(&virtio->lock);
    if (virtio->ops->drain)
        virtio->ops->drain(virtio);
    pthread_mutex_lock(&virtio->lock);
    device_reset(virtio);
    pthread_mutex_unlock(&virtio->lock);
    pci_reset_config(&virtio->pci);
}

static void virtio_destroy(struct device *device)
{
    struct virtio_device *virtio = (struct virtio_device *)device;
    virtio->ops->destroy(virtio);
}

static const struct device_ops virtio_device_ops = {
    .reset = virtio_reset,
    .destroy = virtio_destroy,
    .before_save = virtio_before_save,
    .after_load = virtio_after_load,
};

void virtio_release(struct virtio_device *device)
{
    pci_msix_destroy(&device->pci);
    pthread_mutex_destroy(&device->lock);
}

int virtio_add(struct pci_bus *bus, struct virtio_device *device, const char *name,
               const struct virtio_ops *ops, const struct state_table *state, struct error *error)
{
    const struct pci_identity identity = {
        .vendor = VENDOR_VIRTIO,
        .device = DEVICE_BASE + ops->type,
        .subsystem_vendor = VENDOR_VIRTIO,
        .subsystem = SUBSYSTEM_BASE + ops->type,
        .revision = 1,
        .class_code = ops->class_code,
        .interrupt_pin = 1,
    };
    device->pci.device = (struct device){.name = name, .ops = &virtio_device_ops, .state = state};
    device->ops = ops;
    if (!device->queue_count)
        device->queue_count = ops->queue_count;
    device->features |= ops->features | VIRTIO_FEATURE_VERSION_1 | VIRTIO_FEATURE_INDIRECT |
                        VIRTIO_FEATURE_EVENT_INDEX;
    device->pci.config_read = config_read;
    device->pci.config_written = config_written;
    /* Recursive: a network back end may answer a frame while it is still being sent. */
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&device->lock, &recursive);
    pthread_mutexattr_destroy(&recursive);
    int result = pci_add_device(bus, &device->pci, &identity, -1, 0, error);
    if (result < 0)
        return result;
    pci_add_bar(&device->pci, BAR_REGISTERS, BUS_MMIO, REGISTERS_SIZE, false, &registers_ops,
                device, name);
    add_capabilities(device);
    device_reset(device);
    return pci_add_msix(&device->pci, BAR_MSIX, device->queue_count + 1, error);
}
