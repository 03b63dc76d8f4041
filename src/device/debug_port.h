/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_DEBUG_PORT_H
#define NACRE_DEVICE_DEBUG_PORT_H

#include "bus/bus.h"

struct debug_port_config {
    /* A byte from the guest. On a vcpu's thread; must not block. */
    void (*transmit)(void *opaque, uint8_t byte);
    void *opaque;
};

/* The bus owns it. -errno with *error. */
int debug_port_create(struct bus *bus, const struct debug_port_config *config, struct error *error);

#endif
