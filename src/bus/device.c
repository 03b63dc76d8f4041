/* SPDX-License-Identifier: Apache-2.0 */
#include "bus/device.h"

void device_save(struct device *device, uint8_t *buffer)
{
    if (device->ops->before_save)
        device->ops->before_save(device);
    state_save(device->state, device, buffer);
}

int device_load(struct device *device, uint32_t version, const uint8_t *buffer, size_t length,
                struct error *error)
{
    int result = state_load(device->state, version, device, buffer, length, error);
    if (result == 0 && device->ops->after_load)
        result = device->ops->after_load(device, error);
    return result;
}
