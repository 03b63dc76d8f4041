/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the PCI bus share. */
#ifndef NACRE_BUS_PCI_PRIVATE_H
#define NACRE_BUS_PCI_PRIVATE_H

#include "bus/pci.h"

/* Type 0 header. PCI 3.0 §6.1 */
enum {
    CONFIG_VENDOR = 0x00,
    CONFIG_DEVICE = 0x02,
    CONFIG_COMMAND = 0x04,
    CONFIG_STATUS = 0x06,
    CONFIG_REVISION = 0x08,
    CONFIG_CLASS = 0x09,
    CONFIG_HEADER_TYPE = 0x0e,
    CONFIG_BAR = 0x10,
    CONFIG_SUBSYSTEM_VENDOR = 0x2c,
    CONFIG_SUBSYSTEM = 0x2e,
    CONFIG_ROM = 0x30,
    CONFIG_CAPABILITIES = 0x34,
    CONFIG_LINE = 0x3c,
    CONFIG_PIN = 0x3d,
    CONFIG_CAPABILITY_START = 0x40,
};
#define COMMAND_PORT        BIT(0)
#define COMMAND_MEMORY      BIT(1)
#define COMMAND_MASTER      BIT(2)
#define COMMAND_NO_INTX     BIT(10)
#define STATUS_INTERRUPT    BIT(3) /* INTx is wanted, let through or not */
#define STATUS_CAPABILITIES BIT(4)

#define FUNCTION_COUNT 8
#define WIRE_COUNT     4 /* INTA# to INTD# of the slots, swizzled */

struct pci_bus {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;      /* configuration space */
    pthread_mutex_t intx_lock; /* the INTx wires, routes and pins; taken after the other */
    uint32_t address;
    struct pci_device *devices[PCI_SLOT_COUNT][FUNCTION_COUNT];
    unsigned intx_count[WIRE_COUNT]; /* devices that drive each wire */
    uint8_t isa_irqs[WIRE_COUNT];    /* where the ISA bridge routes each wire; 0: nowhere */
    struct bus_region regions[2];
};

/* intx.c: the command register was written; does the device ask for its interrupt; its wire. */
void pci_intx_command_written(struct pci_device *device);
bool pci_intx_wanted(struct pci_device *device);
unsigned pci_intx_wire(const struct pci_device *device);
int pci_intx_after_load(struct pci_bus *bus, struct error *error);

/* msix.c: configuration bytes were written; the device was reset. */
void pci_msix_config_written(struct pci_device *device);
void pci_msix_reset(struct pci_device *device);
void pci_msix_after_load(struct pci_device *device);
extern const struct state_table pci_msix_state;

#endif
