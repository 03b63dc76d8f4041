/* SPDX-License-Identifier: Apache-2.0 */
/* The creators of every platform device. Each registers itself on the bus, which owns it from then
 * on. 0 or -errno with *error. */
#ifndef NACRE_DEVICE_DEVICES_H
#define NACRE_DEVICE_DEVICES_H

#include "bus/bus.h"
#include "device/serial.h"

/* Ports and lines that the ACPI tables name as well. */
#define ACPI_PM_BASE   0x600 /* PM1a event block, control block +4, PM timer +8, events +12 */
#define ACPI_SCI       9
#define RESET_PORT     0xcf9
#define PVPANIC_PORT   0x505
#define IOAPIC_ADDRESS UINT64_C(0xfec00000)

int pic_create(struct bus *bus, struct error *error);
/* irq: the line of channel 0. */
int pit_create(struct bus *bus, struct irq_line irq, struct error *error);
int ioapic_create(struct bus *bus, struct error *error);
int rtc_create(struct bus *bus, struct irq_line irq, struct error *error);
/* PM1a registers, PM timer, reset port, pvpanic. */
int acpi_power_create(struct bus *bus, struct error *error);
/* Presses the ACPI power button. Any thread. */
void acpi_power_button(struct bus *bus);

/* General-purpose events: what the DSDT's \_GPE says happens on each. */
enum acpi_event { ACPI_EVENT_GENERATION, ACPI_EVENT_SLOTS };
/* Any thread. */
void acpi_general_event(struct bus *bus, enum acpi_event event);

/* PCI devices that come and go. */
#define PCI_SLOTS_PORT 0xae00
#define PCI_SLOTS_SIZE 12
struct pci_slots;
/* NULL with *error. */
struct pci_slots *pci_slots_create(struct bus *bus, struct error *error);
/* released: the guest has let go of these slots, a bit each; on a vcpu's thread. */
void pci_slots_bind(struct pci_slots *slots, void (*released)(void *opaque, uint32_t slots),
                    void *opaque);
/* Tells the guest: a device is there, or the one that is there shall go. */
void pci_slots_announce(struct pci_slots *slots, unsigned slot, bool filled);

/* The VM generation id. */
#define GENERATION_ADDRESS UINT64_C(0xfeda0000)
int generation_create(struct bus *bus, struct error *error);
/* The machine is not the one it was any more, or goes on from a point where it has been before: it
 * gets a new id, and the guest is told. Vcpus are stopped. */
void generation_renew(struct bus *bus);

#endif
