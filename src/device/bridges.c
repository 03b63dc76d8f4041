/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chips every PC guest looks for: Intel 440FX host bridge (data sheet 290549), PIIX3 ISA bridge
 * (290550) and PIIX4's power management function. Only their configuration space matters here.
 */
#include "device/bridges.h"

#include <errno.h>
#include <stdlib.h>

#define VENDOR_INTEL 0x8086

struct bridge {
    struct pci_device pci;
};

static void bridge_reset(struct device *device)
{
    pci_reset_config((struct pci_device *)device);
}

static void bridge_destroy(struct device *device)
{
    free(device);
}

static const struct device_ops bridge_ops = {.reset = bridge_reset, .destroy = bridge_destroy};
static const struct state_field bridge_fields[] = {
    STATE_NESTED(struct bridge, pci, &pci_device_state),
};
static const struct state_table bridge_state = STATE_TABLE("bridge", 1, bridge_fields);

static const struct {
    const char *name;
    struct pci_identity identity;
    int slot, function;
    unsigned writable_first, writable_last; /* chip-specific registers that keep what is written */
} bridges[] = {
    {"i440fx", {VENDOR_INTEL, 0x1237, 0, 0, 2, 0x060000, 0}, 0, 0, 0x59, 0x5f},   /* PAM */
    {"piix3", {VENDOR_INTEL, 0x7000, 0, 0, 0, 0x060100, 0}, 1, 0, 0x60, 0x63},    /* PIRQ routes */
    {"piix4-pm", {VENDOR_INTEL, 0x7113, 0, 0, 3, 0x068000, 0}, 1, 3, 0x40, 0x43}, /* PM base */
};

int bridges_create(struct pci_bus *bus, struct error *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bridges); i++) {
        struct bridge *bridge = calloc(1, sizeof(*bridge));
        if (!bridge)
            return error_set(error, ENOMEM, "%s: out of memory", bridges[i].name);
        bridge->pci.device =
            (struct device){.name = bridges[i].name, .ops = &bridge_ops, .state = &bridge_state};
        for (unsigned n = bridges[i].writable_first; n <= bridges[i].writable_last; n++)
            bridge->pci.writable[n] = 0xff;
        int result = pci_add_device(bus, &bridge->pci, &bridges[i].identity, bridges[i].slot,
                                    bridges[i].function, error);
        if (result < 0) {
            free(bridge);
            return result;
        }
    }
    return 0;
}
