/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device is built on: the PCI transport (virtio 1.2 §4.1, modern only) and its
 * queues. A driver's notification is carried to the event loop's thread; there, with the device's
 * lock held, the device's `process` takes requests. See docs/decisions/virtio-threads.md.
 */
#ifndef NACRE_VIRTIO_VIRTIO_H
#define NACRE_VIRTIO_VIRTIO_H

#include "bus/pci.h"
#include "virtio/queue.h"

#define VIRTIO_QUEUES_MAX 17 /* a network card's: 8 pairs and one for control */
#define VIRTIO_CONFIG_MAX 64

#define VIRTIO_FEATURE_INDIRECT    BIT(28)
#define VIRTIO_FEATURE_EVENT_INDEX BIT(29)
#define VIRTIO_FEATURE_VERSION_1   BIT(32)

struct virtio_device;

struct virtio_ops {
    uint16_t type; /* virtio 1.2 §5 */
    uint32_t class_code;
    unsigned queue_count;
    uint64_t features; /* beyond those every device here has */
    /* Loop thread, lock held: requests may wait in the queue. */
    void (*process)(struct virtio_device *device, unsigned queue);
    /* Lock held: are requests in flight that may still touch guest memory? Optional. */
    bool (*busy)(const struct virtio_device *device);
    /* Loop thread, lock not held: waits for them. Optional, goes with busy. */
    void (*drain)(struct virtio_device *device);
    /* The device's configuration in a state just loaded: takes from it what the driver relies on.
     * -EINVAL with *error: the device cannot be that one. Optional: nothing. */
    int (*config_loaded)(struct virtio_device *device, const uint8_t *saved, struct error *error);
    void (*destroy)(struct virtio_device *device);
};

struct virtio_device {
    struct pci_device pci;
    const struct virtio_ops *ops;
    unsigned queue_count; /* ops->queue_count, unless the device has set it before */
    pthread_mutex_t lock;
    uint64_t features;        /* offered */
    uint64_t driver_features; /* accepted */
    uint32_t device_feature_select, driver_feature_select;
    uint16_t queue_select, config_vector;
    uint8_t status, isr;
    bool resetting;            /* asked for; takes effect when no request is in flight any more */
    uint8_t config_generation; /* counts changes of config */
    struct virtqueue queues[VIRTIO_QUEUES_MAX];
    uint8_t config[VIRTIO_CONFIG_MAX];       /* device-specific, read-only for the driver */
    uint8_t saved_config[VIRTIO_CONFIG_MAX]; /* the copy that is saved and loaded */
    unsigned config_size;
    unsigned access_capability; /* config offset of the PCI configuration access capability */
    atomic_uint notified;       /* bit n: queue n waits for the loop */
    atomic_bool posted;
};

/* Plugs the device in; ops, config and features beyond ops->features are set by the caller before.
 */
int virtio_add(struct pci_bus *bus, struct virtio_device *device, const char *name,
               const struct virtio_ops *ops, const struct state_table *state, struct error *error);
/* For the device's destroy: frees what virtio_add made. */
void virtio_release(struct virtio_device *device);

struct memory *virtio_memory(const struct virtio_device *device);
/* Gives a request back and interrupts the driver if it wants that. Lock held. */
void virtio_give(struct virtio_device *device, unsigned queue, uint16_t head, uint32_t written);
/* The same with several that the driver is to see at once. */
void virtio_give_many(struct virtio_device *device, unsigned queue,
                      const struct virtqueue_used *used, unsigned count);
/* As virtqueue_take, and breaks the device when the ring is broken. True: a request. */
bool virtio_take(struct virtio_device *device, unsigned queue, struct virtqueue_chain *chain);
/* The driver has started the device and may still be answered. Lock held. */
bool virtio_running(const struct virtio_device *device);
/* The device is not busy any more: a reset that waited takes effect. Lock held. */
void virtio_settled(struct virtio_device *device);
/* Tells the driver that `config` is another now: §2.5.3, §4.1.4.3. Lock held. */
void virtio_config_changed(struct virtio_device *device);
/* The driver broke a rule: DEVICE_NEEDS_RESET, and nothing more until it resets. §2.1.2 */
void virtio_break(struct virtio_device *device, const char *why);

/* The driver has rung a queue's bell. Any thread. */
void virtio_notify(struct virtio_device *device, unsigned queue);
#define VIRTIO_NO_VECTOR 0xffff
/* An MSI-X vector as the driver named it; VIRTIO_NO_VECTOR when there is none of that number. */
uint16_t virtio_valid_vector(const struct virtio_device *device, uint64_t value);

/* state.c: the state table of struct virtio_device, and struct device_ops of every virtio device.
 */
extern const struct state_table virtio_device_state;
void virtio_before_save(struct device *device);
int virtio_after_load(struct device *device, struct error *error);

#endif
