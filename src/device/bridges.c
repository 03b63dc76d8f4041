/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chips every PC guest looks for: Intel 440FX host bridge (data sheet 290549), PIIX3 ISA bridge
 * (290550) and PIIX4's power management function. Only their configuration space matters here. In
 * it the host bridge's PAM registers choose between ROM and RAM, and PIIX3's PIRQRC registers route
 * the INTx wires to the 8259s.
 */
#include "device/bridges.h"

#include "device/devices.h"
#include "device/shadow.h"

#include <errno.h>
#include <stdlib.h>

#define VENDOR_INTEL 0x8086
#define VENDOR_VIRTUAL                                                         \
    0x1af4 /* by whose subsystem ids firmware knows a virtual machine's bridge \
            */

/* PAM: 440FX data sheet §3.2.12. The first register has the last 64 KiB in its upper half; each
 * other has two blocks of 16 KiB. */
#define PAM_FIRST    0x59
#define PAM_COUNT    7
#define PAM_BLOCKS   12 /* in pairs from the second register on */
#define PAM_ALL_RAM  0x33
#define PAM_TOP_ONLY 4 /* shift of the first register's field */

/* PIRQRC: PIIX3 data sheet §2.2.4. */
#define PIRQ_ROUTE      0x60
#define PIRQ_COUNT      4
#define PIRQ_OFF        0x80
#define PIRQ_RESERVED   (BIT(0) | BIT(1) | BIT(2) | BIT(8) | BIT(13)) /* no PCI interrupt there */
#define EDGE_LEVEL_PORT 0x4d0 /* one bit an ISA interrupt: level-triggered */

/* PIIX4 (data sheet 290562) §7.1. The PM registers lie where they do from the start, so that all
 * firmware leaves them there. SMIs are on: firmware takes it that SMM is set up already. */
#define PMBA              0x40
#define PMBA_PORT         BIT(0)
#define DEVACTB_HIGH      0x5b
#define DEVACTB_APMC      BIT(1)
#define PMREGMISC         0x80
#define PMREGMISC_ENABLED BIT(0)

struct bridge_model {
    const char *name;
    struct pci_identity identity;
    int slot, function;
    unsigned writable_first, writable_count; /* registers that keep what is written */
    uint8_t initial;                         /* what each of them holds at first */
    struct {
        uint8_t offset, value;
    } constants[4]; /* registers that do not; 0, which is filled in later: no more */
    bool has_shadow;
    void (*config_written)(struct pci_device *device, unsigned offset, unsigned size);
    void (*configure)(struct pci_device *device);
};

struct bridge {
    struct pci_device pci;
    const struct bridge_model *model;
    struct shadow *shadow;
};

static void pam_written(struct pci_device *device, unsigned offset, unsigned size)
{
    struct bridge *bridge = container_of(device, struct bridge, pci);
    const uint8_t *pam = device->config + PAM_FIRST;
    const uint8_t both = SHADOW_READ | SHADOW_WRITE;
    uint8_t attributes[SHADOW_BLOCKS];
    if (offset >= PAM_FIRST + PAM_COUNT || offset + size <= PAM_FIRST)
        return;
    for (unsigned block = 0; block < SHADOW_BLOCKS; block++)
        attributes[block] = both & (block < PAM_BLOCKS ? pam[1 + block / 2] >> block % 2 * 4
                                                       : pam[0] >> PAM_TOP_ONLY);
    shadow_set(bridge->shadow, attributes);
}

/* What firmware does: RAM everywhere. */
static void pam_configure(struct pci_device *device)
{
    memset(device->config + PAM_FIRST, PAM_ALL_RAM, PAM_COUNT);
    pam_written(device, PAM_FIRST, 1);
}

static void pirq_written(struct pci_device *device, unsigned offset, unsigned size)
{
    for (unsigned i = offset; i < offset + size; i++) {
        if (i < PIRQ_ROUTE || i >= PIRQ_ROUTE + PIRQ_COUNT)
            continue;
        unsigned irq = device->config[i] & 15;
        bool off = device->config[i] & PIRQ_OFF || PIRQ_RESERVED >> irq & 1;
        pci_route_intx(device->bus, i - PIRQ_ROUTE, off ? 0 : irq);
    }
}

/* What firmware does: routes the wires, and makes the 8259s take them as levels. */
static void pirq_configure(struct pci_device *device)
{
    uint16_t levels = 0;
    for (unsigned wire = 0; wire < PIRQ_COUNT; wire++) {
        device->config[PIRQ_ROUTE + wire] = (uint8_t)pci_firmware_irq(wire);
        levels |= (uint16_t)BIT(pci_firmware_irq(wire));
    }
    pirq_written(device, PIRQ_ROUTE, PIRQ_COUNT);
    bus_write(pci_device_bus(device), BUS_PORT, EDGE_LEVEL_PORT, levels, 2);
}

/* What they say, takes effect. */
static void chip_registers_changed(struct bridge *bridge)
{
    const struct bridge_model *model = bridge->model;
    if (model->config_written)
        model->config_written(&bridge->pci, model->writable_first, model->writable_count);
}

static void bridge_reset(struct device *device)
{
    struct bridge *bridge = (struct bridge *)device;
    const struct bridge_model *model = bridge->model;
    pci_reset_config(&bridge->pci);
    memset(bridge->pci.config + model->writable_first, model->initial, model->writable_count);
    chip_registers_changed(bridge);
}

static void bridge_destroy(struct device *device)
{
    free(device);
}

static void bridge_before_save(struct device *device)
{
    pci_before_save(&((struct bridge *)device)->pci);
}

static int bridge_after_load(struct device *device, struct error *error)
{
    struct bridge *bridge = (struct bridge *)device;
    int result = pci_after_load(&bridge->pci, error);
    if (result == 0)
        chip_registers_changed(bridge);
    return result;
}

static const struct device_ops bridge_ops = {
    .reset = bridge_reset,
    .destroy = bridge_destroy,
    .before_save = bridge_before_save,
    .after_load = bridge_after_load,
};
static const struct state_field bridge_fields[] = {
    STATE_NESTED(struct bridge, pci, &pci_device_state),
};
static const struct state_table bridge_state = STATE_TABLE("bridge", 1, bridge_fields);

static const struct bridge_model bridges[] = {
    {.name = "i440fx",
     .identity = {VENDOR_INTEL, 0x1237, VENDOR_VIRTUAL, 0x1100, 2, 0x060000, 0},
     .writable_first = PAM_FIRST,
     .writable_count = PAM_COUNT,
     .has_shadow = true,
     .config_written = pam_written,
     .configure = pam_configure},
    {.name = "piix3",
     .identity = {VENDOR_INTEL, 0x7000, 0, 0, 0, 0x060100, 0},
     .slot = 1,
     .writable_first = PIRQ_ROUTE,
     .writable_count = PIRQ_COUNT,
     .initial = PIRQ_OFF,
     .config_written = pirq_written,
     .configure = pirq_configure},
    {.name = "piix4-pm",
     .identity = {VENDOR_INTEL, 0x7113, 0, 0, 3, 0x068000, 0},
     .slot = 1,
     .function = 3,
     .constants = {{PMBA, (ACPI_PM_BASE & 0xff) | PMBA_PORT},
                   {PMBA + 1, ACPI_PM_BASE >> 8},
                   {DEVACTB_HIGH, DEVACTB_APMC},
                   {PMREGMISC, PMREGMISC_ENABLED}}},
};

int bridges_create(struct pci_bus *bus, struct error *error)
{
    for (unsigned i = 0; i < ARRAY_SIZE(bridges); i++) {
        struct bridge *bridge = calloc(1, sizeof(*bridge));
        if (!bridge)
            return error_set(error, ENOMEM, "%s: out of memory", bridges[i].name);
        bridge->pci.device =
            (struct device){.name = bridges[i].name, .ops = &bridge_ops, .state = &bridge_state};
        bridge->model = &bridges[i];
        for (unsigned n = 0; n < ARRAY_SIZE(bridges[i].constants); n++)
            bridge->pci.config[bridges[i].constants[n].offset] = bridges[i].constants[n].value;
        bridge->pci.config_written = bridges[i].config_written;
        bridge->pci.configure = bridges[i].configure;
        memset(bridge->pci.writable + bridges[i].writable_first, 0xff, bridges[i].writable_count);
        int result = pci_add_device(bus, &bridge->pci, &bridges[i].identity, bridges[i].slot,
                                    bridges[i].function, error);
        if (result < 0) {
            free(bridge);
            return result;
        }
        if (bridges[i].has_shadow)
            bridge->shadow = shadow_create(pci_device_bus(&bridge->pci), error);
        if (bridges[i].has_shadow && !bridge->shadow)
            return -ENOMEM;
    }
    return 0;
}
