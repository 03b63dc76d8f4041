/* SPDX-License-Identifier: Apache-2.0 */
/* What every device has: a name, a state table, a reset and an end. Embedded as the first member of
 * the device's struct. */
#ifndef NACRE_BUS_DEVICE_H
#define NACRE_BUS_DEVICE_H

#include "base/error.h"
#include "base/state.h"

struct device;

struct device_ops {
    void (*reset)(struct device *device);   /* power-on state; called with all vcpus stopped */
    void (*destroy)(struct device *device); /* frees the device itself */
    /* Optional: make the fields of the state table current / act on fields just loaded. */
    void (*before_save)(struct device *device);
    int (*after_load)(struct device *device, struct error *error);
};

struct device {
    const char *name; /* unique in the machine: "serial0" */
    const struct device_ops *ops;
    const struct state_table *state; /* fields of the struct that embeds this one; never NULL */
    struct device *next;
};

/* All vcpus are stopped, here and below; on the loop's thread or before it runs. buffer:
 * state_size(device->state) bytes. */
void device_save(struct device *device, uint8_t *buffer);
/* -EINVAL with *error when the state is not such a device's; the device must be reset then. */
int device_load(struct device *device, uint32_t version, const uint8_t *buffer, size_t length,
                struct error *error);

#endif
