/* SPDX-License-Identifier: Apache-2.0 */
/* What of a virtio device is saved. Requests in flight are not: the machine waits for them first.
 */
#include "virtio/virtio.h"

#include <errno.h>

void virtio_before_save(struct device *device)
{
    struct virtio_device *virtio = (struct virtio_device *)device;
    pthread_mutex_lock(&virtio->lock);
    memcpy(virtio->saved_config, virtio->config, sizeof(virtio->config));
    pthread_mutex_unlock(&virtio->lock);
    pci_before_save(&virtio->pci);
}

static int check_queues(struct virtio_device *device, struct error *error)
{
    for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++) {
        struct virtqueue *queue = &device->queues[i];
        queue->vector = virtio_valid_vector(device, queue->vector);
        if (!virtqueue_loaded(queue) || (queue->enabled && i >= device->queue_count))
            return error_set(error, EINVAL, "state of %s: no such queue: file damaged",
                             device->pci.device.name);
    }
    return 0;
}

static int take_state(struct virtio_device *device, struct error *error)
{
    int result = pci_after_load(&device->pci, error);
    if (result == 0)
        result = check_queues(device, error);
    if (result == 0 && device->ops->config_loaded)
        result = device->ops->config_loaded(device, device->saved_config, error);
    if (result < 0)
        return result;
    uint64_t missing = device->driver_features & ~device->features;
    if (missing)
        return error_set(error, EINVAL,
                         "state of %s: the guest uses features 0x%llx, which it has not here",
                         device->pci.device.name, (unsigned long long)missing);
    device->config_vector = virtio_valid_vector(device, device->config_vector);
    return 0;
}

int virtio_after_load(struct device *device, struct error *error)
{
    struct virtio_device *virtio = (struct virtio_device *)device;
    pthread_mutex_lock(&virtio->lock);
    int result = take_state(virtio, error);
    pthread_mutex_unlock(&virtio->lock);
    /* Bells that had not been heard. */
    for (unsigned i = 0; result == 0 && i < virtio->queue_count; i++)
        virtio_notify(virtio, i);
    return result;
}

static const struct state_field fields[] = {
    STATE_NESTED(struct virtio_device, pci, &pci_device_state),
    STATE_FIELD(struct virtio_device, driver_features),
    STATE_FIELD(struct virtio_device, device_feature_select),
    STATE_FIELD(struct virtio_device, driver_feature_select),
    STATE_FIELD(struct virtio_device, queue_select),
    STATE_FIELD(struct virtio_device, config_vector),
    STATE_FIELD(struct virtio_device, status),
    STATE_FIELD(struct virtio_device, isr),
    STATE_FIELD(struct virtio_device, config_generation),
    STATE_STRUCT_ARRAY(struct virtio_device, queues, &virtqueue_state),
    STATE_BLOB(struct virtio_device, saved_config),
};
const struct state_table virtio_device_state = STATE_TABLE("virtio", 2, fields);
