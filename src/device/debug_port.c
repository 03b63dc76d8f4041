/* SPDX-License-Identifier: Apache-2.0 */
/* The port by which firmware says what it does, a character a write. Bochs and QEMU have it, too:
 * reading it tells firmware that somebody listens. */
#include "device/debug_port.h"

#include <errno.h>
#include <stdlib.h>

#define DEBUG_PORT    0x402
#define DEBUG_PRESENT 0xe9

struct debug_port {
    struct device device;
    struct debug_port_config config;
    struct bus_region region;
};

static uint64_t debug_port_read(void *opaque, uint64_t offset, unsigned size)
{
    return DEBUG_PRESENT;
}

static void debug_port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct debug_port *port = opaque;
    port->config.transmit(port->config.opaque, (uint8_t)value);
}

static const struct bus_ops debug_port_bus_ops = {debug_port_read, debug_port_write};

static void debug_port_reset(struct device *device)
{
}

static void debug_port_destroy(struct device *device)
{
    free(device);
}

static const struct device_ops debug_port_ops = {
    .reset = debug_port_reset,
    .destroy = debug_port_destroy,
};
static const struct state_table debug_port_state = {.name = "debug-port", .version = 1};

int debug_port_create(struct bus *bus, const struct debug_port_config *config, struct error *error)
{
    struct debug_port *port = calloc(1, sizeof(*port));
    if (!port)
        return error_set(error, ENOMEM, "debug port: out of memory");
    port->device =
        (struct device){.name = "debug-port", .ops = &debug_port_ops, .state = &debug_port_state};
    port->config = *config;
    bus_add_device(bus, &port->device);
    port->region =
        (struct bus_region){"debug-port", BUS_PORT, DEBUG_PORT, 1, 1, &debug_port_bus_ops, port};
    return bus_add_region(bus, &port->region, error);
}
