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
    uint16_t pm_base; /* PM1a event block; control at +4, timer at +8, general events at +12 */
    uint8_t sci;
    uint16_t reset_port;
    uint16_t pvpanic_port;
    uint64_t ioapic_address;
    uint64_t apic_address;
    uint64_t generation_address; /* of the VM generation id; general event 0 says that it changed */
    uint16_t slots_port;         /* of the PCI slots' registers, which general event 1 is about */
    uint64_t hpet_address;       /* 0: none */
    uint32_t hpet_id;            /* low half of its capabilities register */
    uint32_t pci_first, pci_last; /* MMIO window below 4 GiB */
    uint64_t pci_high_first, pci_high_last;
    uint8_t pci_gsis[4], pci_isa_irqs[4]; /* where PCI's four interrupt wires go */
    bool serial[4];
    bool screen; /* a VGA, and a keyboard controller with keyboard and mouse */
};

/* RSDP, XSDT, FADT, FACS, MADT, HPET and DSDT, to be put somewhere. */
struct acpi_tables;

/* The caller frees it with free(). NULL with *error. */
struct acpi_tables *acpi_tables_create(const struct acpi_config *config, struct error *error);

/* For direct boot: at BOOT_RSDP and behind it. -errno with *error. */
int acpi_tables_place(struct acpi_tables *tables, struct memory *memory, struct error *error);

/* For firmware, which chooses the place: three files of fw_cfg, in the struct. */
struct acpi_files {
    uint8_t rsdp[36];
    const uint8_t *tables; /* inside struct acpi_tables */
    uint32_t tables_size;
    uint8_t loader[4096]; /* commands: where to put the others, what to add to which field */
    uint32_t loader_size;
};
void acpi_tables_files(const struct acpi_tables *tables, struct acpi_files *files);

#endif
