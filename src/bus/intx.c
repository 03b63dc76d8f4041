/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI's interrupt pins (PCI 3.0 §2.2.6, §6.2.2): four wires, each shared by many devices. A wire is
 * a GSI of the IOAPIC, and at the same time the ISA interrupt to which the ISA bridge routes it.
 */
#include "bus/pci_private.h"

#include <errno.h>

#define ISA_IRQ_COUNT 16

unsigned pci_intx_wire(const struct pci_device *device)
{
    return (device->slot + device->config[CONFIG_PIN] - 1u) % WIRE_COUNT;
}

/* An ISA interrupt is up while any wire that is routed to it is. The caller holds intx_lock, here
 * and below. */
static void drive_isa(struct pci_bus *bus, unsigned isa_irq)
{
    struct irq_line line = bus_gsi(bus->bus, isa_irq);
    int level = 0;
    for (unsigned wire = 0; wire < WIRE_COUNT; wire++)
        level |= bus->isa_irqs[wire] == isa_irq && bus->intx_count[wire];
    if (isa_irq)
        irq_set(&line, level);
}

static void drive_wire(struct pci_bus *bus, unsigned wire)
{
    struct irq_line line = bus_gsi(bus->bus, PCI_WIRE_GSI + wire);
    irq_set(&line, bus->intx_count[wire] != 0);
    drive_isa(bus, bus->isa_irqs[wire]);
}

/* Lets the pin follow what the device wants and the command register allows. */
static void intx_update(struct pci_device *device)
{
    struct pci_bus *bus = device->bus;
    uint8_t command = __atomic_load_n(&device->config[CONFIG_COMMAND + 1], __ATOMIC_RELAXED);
    bool level = device->intx_wanted && !(command & COMMAND_NO_INTX >> 8);
    unsigned wire = pci_intx_wire(device);
    if (!device->config[CONFIG_PIN] || level == device->intx_driven)
        return;
    device->intx_driven = level;
    bus->intx_count[wire] += level ? 1 : -1u;
    drive_wire(bus, wire);
}

void pci_set_intx(struct pci_device *device, int level)
{
    pthread_mutex_lock(&device->bus->intx_lock);
    device->intx_wanted = level;
    intx_update(device);
    pthread_mutex_unlock(&device->bus->intx_lock);
}

void pci_intx_command_written(struct pci_device *device)
{
    pthread_mutex_lock(&device->bus->intx_lock);
    intx_update(device);
    pthread_mutex_unlock(&device->bus->intx_lock);
}

bool pci_intx_wanted(struct pci_device *device)
{
    pthread_mutex_lock(&device->bus->intx_lock);
    bool wanted = device->intx_wanted;
    pthread_mutex_unlock(&device->bus->intx_lock);
    return wanted;
}

void pci_route_intx(struct pci_bus *bus, unsigned wire, unsigned isa_irq)
{
    wire %= WIRE_COUNT;
    pthread_mutex_lock(&bus->intx_lock);
    unsigned old = bus->isa_irqs[wire];
    bus->isa_irqs[wire] = (uint8_t)(isa_irq % ISA_IRQ_COUNT);
    drive_isa(bus, old);
    drive_wire(bus, wire);
    pthread_mutex_unlock(&bus->intx_lock);
}

unsigned pci_firmware_irq(unsigned wire)
{
    static const uint8_t irqs[WIRE_COUNT] = {10, 10, 11, 11};
    return irqs[wire % WIRE_COUNT];
}

/* The interrupt controllers have the levels of their inputs in their own state. */
int pci_intx_after_load(struct pci_bus *bus, struct error *error)
{
    for (unsigned wire = 0; wire < WIRE_COUNT; wire++)
        if (bus->isa_irqs[wire] >= ISA_IRQ_COUNT)
            return error_set(error, EINVAL, "state of %s: no such interrupt: file damaged",
                             bus->device.name);
    return 0;
}
