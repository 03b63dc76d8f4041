/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm_tables.h"

#include "bus/pci.h"
#include "cpu/apic.h"
#include "device/hpet.h"

#include <stdlib.h>

/* Firmware puts BARs right behind RAM, but not below 2 GiB. */
static uint32_t pci_window_start(const struct vm_config *config, const struct memory *memory)
{
    bool low = config->firmware.image && memory->low_size <= GIB(2);
    return (uint32_t)(low ? GIB(2) : PCI_MMIO_BASE);
}

struct acpi_tables *vm_acpi_tables(const struct vm_config *config, const struct memory *memory,
                                   struct error *error)
{
    struct acpi_config acpi = {
        .cpu_count = config->cpu_count,
        .pm_base = ACPI_PM_BASE,
        .sci = ACPI_SCI,
        .reset_port = RESET_PORT,
        .pvpanic_port = PVPANIC_PORT,
        .ioapic_address = IOAPIC_ADDRESS,
        .hpet_address = config->no_hpet ? 0 : HPET_ADDRESS,
        .hpet_id = HPET_ID,
        .apic_address = APIC_DEFAULT_ADDRESS,
        .generation_address = GENERATION_ADDRESS,
        .slots_port = PCI_SLOTS_PORT,
        .pci_first = pci_window_start(config, memory),
        .pci_last = (uint32_t)PCI_MMIO_END - 1,
        .pci_high_first = align_up(MEMORY_HIGH_START + memory->high_size, GIB(1)),
        .pci_high_last = BIT(config->model->physical_address_bits) - 1,
        .serial = {true},
        .screen = config->display != NULL,
    };
    for (unsigned wire = 0; wire < ARRAY_SIZE(acpi.pci_gsis); wire++) {
        acpi.pci_gsis[wire] = (uint8_t)(PCI_WIRE_GSI + wire);
        acpi.pci_isa_irqs[wire] = (uint8_t)pci_firmware_irq(wire);
    }
    return acpi_tables_create(&acpi, error);
}

int vm_smbios(const struct vm_config *config, const struct memory *memory, struct smbios *smbios,
              struct error *error)
{
    const struct smbios_config smbios_config = {
        .cpu_count = config->cpu_count,
        .cpu_name = config->model->brand,
        .cpu_signature = config->model->signature,
        .cpu_features = config->model->leaf1_edx,
        .firmware = config->firmware.image,
    };
    return smbios_build(&smbios_config, memory, smbios, error);
}

int vm_tables_place(const struct vm_config *config, struct memory *memory, struct error *error)
{
    struct smbios smbios;
    struct acpi_tables *tables = vm_acpi_tables(config, memory, error);
    if (!tables)
        return -error->code;
    int result = acpi_tables_place(tables, memory, error);
    free(tables);
    if (result == 0)
        result = vm_smbios(config, memory, &smbios, error);
    return result == 0 ? smbios_place(&smbios, memory, error) : result;
}
