/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables firmware would make. ACPI 6.4 §5. */
#ifndef NACRE_BOOT_ACPI_H
#define NACRE_BOOT_ACPI_H

#include "base/error.h"
#include "memory/memory.h"

/* What the machine has; addresses and lines are the machine's, so that boot/ need not know devices.
 */
struct acpi_config {
    unsigned cpu_count;
    uint16_t pm_base; /* PM1a event block; control at +4, timer at +8 */
    uint8_t sci;
    uint16_t reset_port;
    uint16_t pvpanic_port;
    uint64_t ioapic_address;
    uint64_t apic_address;
    uint64_t hpet_address;                /* 0: none */
    uint32_t hpet_id;                     /* low half of its capabilities register */
    uint32_t pci_first, pci_last;         /* MMIO window */
    uint8_t pci_gsis[4], pci_isa_irqs[4]; /* where PCI's four interrupt wires go */
    bool serial[4];
};

/* Writes RSDP, XSDT, FADT, FACS, MADT, HPET and DSDT to BOOT_RSDP and behind it. */
int acpi_write_tables(const struct acpi_config *config, struct memory *memory, struct error *error);

#endif
