/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm_firmware.h"

#include "boot/firmware.h"
#include "device/flash.h"
#include "device/fw_cfg.h"
#include "vm/vm_tables.h"

#include <errno.h>
#include <stdlib.h>

/* CMOS bytes that PC firmware has used for decades, and those in which SeaBIOS looks for more. */
enum {
    CMOS_BASE_MEMORY = 0x15, /* KiB, 16 bits */
    CMOS_EXTENDED = 0x17,    /* above 1 MiB: KiB, 16 bits; and a copy */
    CMOS_EXTENDED_COPY = 0x30,
    CMOS_ABOVE_16M = 0x34, /* units of 64 KiB, 16 bits */
    CMOS_ABOVE_4G = 0x5b,  /* units of 64 KiB, 24 bits */
    CMOS_CPU_COUNT = 0x5f, /* less one */
};
#define CMOS_PORT 0x70

#define E820_RAM      1
#define E820_RESERVED 2

void vm_write_cmos(struct bus *bus, unsigned index, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        bus_write(bus, BUS_PORT, CMOS_PORT, index + i, 1);
        bus_write(bus, BUS_PORT, CMOS_PORT + 1, value >> (8 * i) & 0xff, 1);
    }
}

static uint64_t at_most(uint64_t value, uint64_t limit)
{
    return value < limit ? value : limit;
}

static void fill_cmos(const struct vm_config *config, struct bus *bus)
{
    uint64_t low = bus->memory->low_size;
    uint64_t extended = at_most((low - MIB(1)) >> 10, UINT16_MAX);
    vm_write_cmos(bus, CMOS_BASE_MEMORY, MEMORY_VIDEO >> 10, 2);
    vm_write_cmos(bus, CMOS_EXTENDED, extended, 2);
    vm_write_cmos(bus, CMOS_EXTENDED_COPY, extended, 2);
    vm_write_cmos(bus, CMOS_ABOVE_16M, low > MIB(16) ? (low - MIB(16)) >> 16 : 0, 2);
    vm_write_cmos(bus, CMOS_ABOVE_4G, bus->memory->high_size >> 16, 3);
    vm_write_cmos(bus, CMOS_CPU_COUNT, config->cpu_count - 1, 1);
}

static int add_e820(struct fw_cfg *fw_cfg, const struct memory *memory, struct error *error)
{
    const struct {
        uint64_t start, size;
        uint32_t type;
    } __attribute__((packed)) map[] = {
        {0, memory->low_size, E820_RAM},
        {MEMORY_HIGH_START, memory->high_size, E820_RAM},
    };
    return fw_cfg_add_file(fw_cfg, "etc/e820", map, sizeof(map[0]) * (memory->high_size ? 2 : 1),
                           error);
}

struct fw_cfg *vm_fw_cfg_create(const struct vm_config *config, struct bus *bus,
                                struct error *error)
{
    const struct {
        uint16_t key;
        uint8_t size;
        uint64_t number;
    } numbers[] = {
        {FW_CFG_MEMORY_SIZE, 8, config->memory_size},
        {FW_CFG_CPU_COUNT, 2, config->cpu_count},
        {FW_CFG_CPUS_MAX, 2, config->cpu_count},
        {FW_CFG_BOOT_MENU, 2, 0},
    };
    struct fw_cfg *fw_cfg = fw_cfg_create(bus, error);
    for (unsigned i = 0; fw_cfg && i < ARRAY_SIZE(numbers); i++)
        if (fw_cfg_add(fw_cfg, numbers[i].key, &numbers[i].number, numbers[i].size, error) < 0)
            return NULL;
    return fw_cfg;
}

/* The port at which SeaBIOS shows its text screen when there is no other. */
static int add_text_port(struct fw_cfg *fw_cfg, struct error *error)
{
    const uint8_t port[2] = {0xf8, 0x03};
    return fw_cfg_add_file(fw_cfg, "etc/sercon-port", port, sizeof(port), error);
}

static int add_boot_order(const struct vm_config *config, struct fw_cfg *fw_cfg,
                          const struct pci_bus *pci, struct error *error)
{
    char text[BOOT_ORDER_TEXT_MAX];
    size_t length = boot_order_write(&config->boot_order, pci, text);
    /* With the last line's end as a zero. */
    if (length)
        text[length - 1] = 0;
    return fw_cfg_add_file(fw_cfg, "bootorder", text, (uint32_t)length, error);
}

static int add_acpi(const struct vm_config *config, struct fw_cfg *fw_cfg,
                    const struct memory *memory, struct error *error)
{
    struct acpi_files files;
    struct acpi_tables *tables = vm_acpi_tables(config, memory, error);
    if (!tables)
        return -error->code;
    acpi_tables_files(tables, &files);
    int result = fw_cfg_add_file(fw_cfg, "etc/acpi/tables", files.tables, files.tables_size, error);
    if (result == 0)
        result = fw_cfg_add_file(fw_cfg, "etc/acpi/rsdp", files.rsdp, sizeof(files.rsdp), error);
    if (result == 0)
        result =
            fw_cfg_add_file(fw_cfg, "etc/table-loader", files.loader, files.loader_size, error);
    free(tables);
    return result;
}

static int add_smbios(const struct vm_config *config, struct fw_cfg *fw_cfg,
                      const struct memory *memory, struct error *error)
{
    struct smbios smbios;
    int result = vm_smbios(config, memory, &smbios, error);
    if (result == 0)
        result = fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-anchor", smbios.entry,
                                 sizeof(smbios.entry), error);
    return result < 0 ? result
                      : fw_cfg_add_file(fw_cfg, "etc/smbios/smbios-tables", smbios.bytes,
                                        smbios.size, error);
}

/* Below the image, where UEFI looks for its variables. */
static int create_flash(const struct firmware_variables *variables, struct bus *bus,
                        struct error *error)
{
    const struct flash_config config = {
        .gpa = bus->memory->rom_start - variables->size,
        .size = (uint32_t)variables->size,
        .content = variables->bytes,
        .backing = variables->fd < 0 ? NULL : variables->bytes,
    };
    return variables->bytes ? flash_create(bus, &config, error) : 0;
}

int vm_firmware_create(const struct vm_config *config, struct firmware_variables *variables,
                       struct bus *bus, const struct pci_bus *pci, struct error *error)
{
    int result = firmware_load(&config->firmware, bus->memory, error);
    if (result == 0)
        result = firmware_variables_open(&config->firmware, variables, error);
    if (result == 0)
        result = create_flash(variables, bus, error);
    if (result < 0)
        return result;
    fill_cmos(config, bus);
    struct fw_cfg *fw_cfg = vm_fw_cfg_create(config, bus, error);
    if (!fw_cfg || add_e820(fw_cfg, bus->memory, error) < 0 || add_text_port(fw_cfg, error) < 0 ||
        add_boot_order(config, fw_cfg, pci, error) < 0 ||
        add_acpi(config, fw_cfg, bus->memory, error) < 0 ||
        add_smbios(config, fw_cfg, bus->memory, error) < 0)
        return -error->code;
    return 0;
}
