/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/acpi.h"

#include "boot/acpi_slots.h"
#include "boot/acpi_tables.h"
#include "boot/aml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HEADER_SIZE      36
#define TABLE_MAX        20480
#define TABLE_ALIGNMENT  64 /* what the FACS asks for */
#define XSDT_ENTRIES     3
#define HPET_SIZE        0x400 /* of its registers */
#define PS2_KEYBOARD_IRQ 1
#define PS2_MOUSE_IRQ    12

/* Takes the bytes in; returns their offset. */
static uint32_t put(struct acpi_tables *tables, const uint8_t *bytes, uint32_t length)
{
    uint32_t offset = (uint32_t)align_up(tables->length, TABLE_ALIGNMENT);
    if (!range_within(offset, length, sizeof(tables->bytes))) {
        tables->failed = true;
        return 0;
    }
    memcpy(tables->bytes + offset, bytes, length);
    tables->length = offset + length;
    return offset;
}

/* Completes the header of a table in `bytes` and takes it in; returns its offset. ACPI 6.4 §5.2.6
 */
static uint32_t put_table(struct acpi_tables *tables, uint8_t *bytes, uint32_t length,
                          const char *signature, uint8_t revision)
{
    memcpy(bytes, signature, 4);
    store_le(bytes + 4, length, 4);
    bytes[8] = revision;
    memcpy(bytes + 10, "NACRE ", 6);
    memcpy(bytes + 16, "NACREVM ", 8);
    store_le(bytes + 24, 1, 4);
    memcpy(bytes + 28, "NACR", 4);
    store_le(bytes + 32, 1, 4);
    uint32_t offset = put(tables, bytes, length);
    if (tables->table_count < ACPI_TABLES_MAX)
        tables->tables[tables->table_count++] = offset;
    else
        tables->failed = true;
    return offset;
}

/* The field points to a table; it holds that one's offset so far. */
static void note_pointer(struct acpi_tables *tables, uint32_t field, uint8_t size)
{
    if (tables->pointer_count < ACPI_POINTERS_MAX)
        tables->pointers[tables->pointer_count++] = (struct acpi_pointer){field, size};
    else
        tables->failed = true;
}

#define WIRE_COUNT 4
#define APIC_MODE  "\\PICM" /* not 0: the guest uses the IOAPIC */

/* \_PIC: the guest says which interrupt controllers it uses. ACPI 6.4 §5.8.1 */
static void add_interrupt_model(struct aml *aml)
{
    aml_name(aml, APIC_MODE);
    aml_integer(aml, 0);
    size_t method = aml_begin_method(aml, "\\_PIC", 1);
    aml_store_argument(aml, APIC_MODE);
    aml_end(aml, method);
}

/* Slot s, pin p -> wire (s + p) & 3, as in bus/intx.c; irqs: where each wire goes. */
static void add_pci_routing(struct aml *aml, const char *name, const uint8_t irqs[WIRE_COUNT])
{
    enum { SLOTS = 32, PINS = 4 };
    aml_name(aml, name);
    size_t all = aml_begin_package(aml, SLOTS * PINS);
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        for (unsigned pin = 0; pin < PINS; pin++) {
            size_t entry = aml_begin_package(aml, 4);
            aml_integer(aml, (uint64_t)slot << 16 | 0xffff);
            aml_integer(aml, pin);
            aml_integer(aml, 0);
            aml_integer(aml, irqs[(slot + pin) % WIRE_COUNT]);
            aml_end(aml, entry);
        }
    }
    aml_end(aml, all);
}

/* _PRT: pins of the IOAPIC, or inputs of the 8259s. */
static void add_pci_interrupts(struct aml *aml, const struct acpi_config *config)
{
    add_pci_routing(aml, "PRTA", config->pci_gsis);
    add_pci_routing(aml, "PRTP", config->pci_isa_irqs);
    size_t method = aml_begin_method(aml, "_PRT", 0);
    size_t condition = aml_begin_if(aml, APIC_MODE);
    aml_return(aml, "PRTA");
    aml_end(aml, condition);
    aml_return(aml, "PRTP");
    aml_end(aml, method);
}

static void add_pci(struct aml *aml, const struct acpi_config *config)
{
    size_t device = aml_begin_device(aml, "PCI0");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0A03");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    aml_name(aml, "_ADR");
    aml_integer(aml, 0);
    size_t resources = aml_begin_resources(aml);
    aml_bus_range(aml, 0, 0xff);
    aml_io(aml, 0xcf8, 8);
    aml_io_range(aml, 0, 0xcf7);
    aml_io_range(aml, 0xd00, 0xffff);
    aml_memory_range(aml, config->pci_first, config->pci_last);
    aml_memory_range64(aml, config->pci_high_first, config->pci_high_last);
    aml_end_resources(aml, resources);
    add_pci_interrupts(aml, config);
    acpi_add_slots(aml, config);
    aml_end(aml, device);
}

static void add_serial(struct aml *aml, unsigned index)
{
    static const struct {
        uint16_t port;
        uint8_t irq;
    } places[] = {{0x3f8, 4}, {0x2f8, 3}, {0x3e8, 4}, {0x2e8, 3}};
    char name[5];
    snprintf(name, sizeof(name), "COM%u", index % 4 + 1);
    size_t device = aml_begin_device(aml, name);
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0501");
    aml_name(aml, "_UID");
    aml_integer(aml, index + 1);
    size_t resources = aml_begin_resources(aml);
    aml_io(aml, places[index % 4].port, 8);
    aml_irq(aml, places[index % 4].irq);
    aml_end_resources(aml, resources);
    aml_end(aml, device);
}

/* What the keyboard controller has; the keyboard's device names the ports for both. */
static void add_ps2_device(struct aml *aml, const char *name, const char *id, unsigned line)
{
    bool keyboard = line == PS2_KEYBOARD_IRQ;
    size_t device = aml_begin_device(aml, name);
    aml_name(aml, "_HID");
    aml_eisa_id(aml, id);
    aml_name(aml, "_STA");
    aml_integer(aml, 0xf);
    size_t resources = aml_begin_resources(aml);
    if (keyboard) {
        aml_io(aml, 0x60, 1);
        aml_io(aml, 0x64, 1);
    }
    aml_irq(aml, line);
    aml_end_resources(aml, resources);
    aml_end(aml, device);
}

static void add_rtc(struct aml *aml)
{
    size_t device = aml_begin_device(aml, "RTC_");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0B00");
    size_t resources = aml_begin_resources(aml);
    aml_io(aml, 0x70, 2);
    aml_irq(aml, 8);
    aml_end_resources(aml, resources);
    aml_end(aml, device);
}

static void add_pvpanic(struct aml *aml, const struct acpi_config *config)
{
    size_t device = aml_begin_device(aml, "PEVT");
    aml_name(aml, "_HID");
    aml_string(aml, "QEMU0001"); /* the name under which guests know this device */
    aml_name(aml, "_STA");
    aml_integer(aml, 0xf);
    size_t resources = aml_begin_resources(aml);
    aml_io(aml, config->pvpanic_port, 1);
    aml_end_resources(aml, resources);
    aml_end(aml, device);
}

#define GENERATION_DEVICE  "VGEN"
#define GENERATION_CHANGED 0x80

/* Microsoft, "Virtual Machine Generation ID" (2018). */
static void add_generation(struct aml *aml, const struct acpi_config *config)
{
    size_t device = aml_begin_device(aml, GENERATION_DEVICE);
    aml_name(aml, "_HID");
    aml_string(aml, "NACR0001");
    aml_name(aml, "_CID");
    aml_string(aml, "VM_Gen_Counter");
    aml_name(aml, "_DDN");
    aml_string(aml, "VM_Gen_Counter");
    aml_name(aml, "ADDR");
    size_t address = aml_begin_package(aml, 2);
    aml_integer(aml, config->generation_address & 0xffffffff);
    aml_integer(aml, config->generation_address >> 32);
    aml_end(aml, address);
    aml_end(aml, device);
}

/* What the guest does on general events 0 and 1, which are edges. ACPI 6.4 §5.6.4.1 */
static void add_general_events(struct aml *aml)
{
    size_t scope = aml_begin_scope(aml, "\\_GPE");
    size_t method = aml_begin_method(aml, "_E00", 0);
    aml_notify(aml, "_SB_", GENERATION_DEVICE, GENERATION_CHANGED);
    aml_end(aml, method);
    method = aml_begin_method(aml, "_E01", 0);
    aml_call(aml, "_SB_", "PCI0", ACPI_SLOTS_METHOD);
    aml_end(aml, method);
    aml_end(aml, scope);
}

/* So that the guest reserves the registers. */
static void add_hpet(struct aml *aml, const struct acpi_config *config)
{
    size_t device = aml_begin_device(aml, "HPET");
    aml_name(aml, "_HID");
    aml_eisa_id(aml, "PNP0103");
    aml_name(aml, "_UID");
    aml_integer(aml, 0);
    size_t resources = aml_begin_resources(aml);
    aml_memory_fixed(aml, (uint32_t)config->hpet_address, HPET_SIZE);
    aml_end_resources(aml, resources);
    aml_end(aml, device);
}

static uint32_t add_dsdt(struct acpi_tables *tables, const struct acpi_config *config)
{
    struct aml *aml = calloc(1, sizeof(*aml));
    uint8_t *table = calloc(1, TABLE_MAX);
    uint32_t offset = 0;
    if (aml && table) {
        add_interrupt_model(aml);
        size_t scope = aml_begin_scope(aml, "\\_SB_");
        add_pci(aml, config);
        for (unsigned i = 0; i < 4; i++)
            if (config->serial[i])
                add_serial(aml, i);
        add_rtc(aml);
        if (config->screen) {
            add_ps2_device(aml, "KBD_", "PNP0303", PS2_KEYBOARD_IRQ);
            add_ps2_device(aml, "MOU_", "PNP0F13", PS2_MOUSE_IRQ);
        }
        if (config->hpet_address)
            add_hpet(aml, config);
        add_pvpanic(aml, config);
        add_generation(aml, config);
        aml_end(aml, scope);
        add_general_events(aml);
        aml_name(aml, "\\_S5_");
        size_t package = aml_begin_package(aml, 4);
        aml_integer(aml, 5);
        aml_integer(aml, 5);
        aml_integer(aml, 0);
        aml_integer(aml, 0);
        aml_end(aml, package);
        memcpy(table + HEADER_SIZE, aml->bytes, aml->length);
        offset = put_table(tables, table, (uint32_t)(HEADER_SIZE + aml->length), "DSDT", 2);
    } else {
        tables->failed = true;
    }
    free(aml);
    free(table);
    return offset;
}

static uint32_t add_facs(struct acpi_tables *tables)
{
    uint8_t facs[64] = "FACS";
    store_le(facs + 4, sizeof(facs), 4);
    facs[32] = 2; /* version */
    return put(tables, facs, sizeof(facs));
}

/* Generic address structure. ACPI 6.4 §5.2.3.2 */
static void put_port(uint8_t *bytes, uint16_t port, uint8_t bits, uint8_t access)
{
    bytes[0] = 1; /* system I/O */
    bytes[1] = bits;
    bytes[3] = access;
    store_le(bytes + 4, port, 8);
}

/* Flags. ACPI 6.4 table 5.10 */
#define FADT_WBINVD       BIT(0)
#define FADT_PROC_C1      BIT(2)
#define FADT_SLEEP_BUTTON BIT(5) /* set: there is none as fixed hardware */
#define FADT_RESET_REG    BIT(10)
#define FADT_SIZE         276
#define BOOT_ARCH_LEGACY  BIT(0)
#define BOOT_ARCH_8042    BIT(1)
#define BOOT_ARCH_NO_VGA  BIT(2)
/* Where other tables are pointed to. */
enum { FADT_FACS = 36, FADT_DSDT = 40, FADT_FACS_64 = 132, FADT_DSDT_64 = 140 };

static uint32_t add_fadt(struct acpi_tables *tables, const struct acpi_config *config,
                         uint32_t facs, uint32_t dsdt)
{
    static const struct acpi_pointer pointers[] = {
        {FADT_FACS, 4}, {FADT_DSDT, 4}, {FADT_FACS_64, 8}, {FADT_DSDT_64, 8}};
    uint8_t fadt[FADT_SIZE] = {0};
    store_le(fadt + FADT_FACS, facs, 4);
    store_le(fadt + FADT_DSDT, dsdt, 4);
    store_le(fadt + 46, config->sci, 2);
    store_le(fadt + 56, config->pm_base, 4);      /* PM1a event block */
    store_le(fadt + 64, config->pm_base + 4, 4);  /* PM1a control block */
    store_le(fadt + 76, config->pm_base + 8, 4);  /* PM timer */
    store_le(fadt + 80, config->pm_base + 12, 4); /* general-purpose events */
    fadt[88] = 4;
    fadt[89] = 2;
    fadt[91] = 4;
    fadt[92] = 2;
    store_le(fadt + 96, 0xfff, 2); /* C2 and C3 not supported */
    store_le(fadt + 98, 0xfff, 2);
    fadt[108] = 0x32; /* century byte in CMOS */
    store_le(fadt + 109, BOOT_ARCH_LEGACY | (config->screen ? BOOT_ARCH_8042 : BOOT_ARCH_NO_VGA),
             2);
    store_le(fadt + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_RESET_REG, 4);
    put_port(fadt + 116, config->reset_port, 8, 1);
    fadt[128] = 0x06;
    store_le(fadt + FADT_FACS_64, facs, 8);
    store_le(fadt + FADT_DSDT_64, dsdt, 8);
    put_port(fadt + 148, config->pm_base, 32, 2);
    put_port(fadt + 172, (uint16_t)(config->pm_base + 4), 16, 2);
    put_port(fadt + 208, (uint16_t)(config->pm_base + 8), 32, 3);
    put_port(fadt + 220, (uint16_t)(config->pm_base + 12), 16, 1);
    uint32_t offset = put_table(tables, fadt, sizeof(fadt), "FACP", 6);
    for (unsigned i = 0; i < ARRAY_SIZE(pointers); i++)
        note_pointer(tables, offset + pointers[i].field, pointers[i].size);
    return offset;
}

static uint32_t add_madt(struct acpi_tables *tables, const struct acpi_config *config)
{
    uint8_t madt[1024] = {0}, *entry = madt + 44;
    store_le(madt + 36, config->apic_address, 4);
    store_le(madt + 40, 1, 4); /* PC-AT compatible: there are 8259s too */
    for (unsigned i = 0; i < config->cpu_count; i++, entry += 8) {
        const uint8_t local[8] = {0, 8, (uint8_t)i, (uint8_t)i, 1};
        memcpy(entry, local, 8);
    }
    const uint8_t ioapic[4] = {1, 12, 0, 0};
    memcpy(entry, ioapic, 4);
    store_le(entry + 4, config->ioapic_address, 4);
    entry += 12;
    const uint8_t timer[10] = {2, 10, 0, 0, 2}; /* ISA IRQ 0 is GSI 2 */
    const uint8_t sci[10] = {2, 10, 0, config->sci, config->sci,
                             0, 0,  0, 0x0d};     /* active high, level */
    const uint8_t nmi[6] = {4, 6, 0xff, 0, 0, 1}; /* LINT1 of every CPU */
    memcpy(entry, timer, 10);
    memcpy(entry + 10, sci, 10);
    memcpy(entry + 20, nmi, 6);
    entry += 26;
    return put_table(tables, madt, (uint32_t)(entry - madt), "APIC", 5);
}

/* Periods below this many ticks may lose interrupts. */
#define HPET_TICKS_MIN 10000

/* IA-PC HPET specification 1.0a §3.2.4 */
static uint32_t add_hpet_table(struct acpi_tables *tables, const struct acpi_config *config)
{
    uint8_t hpet[56] = {0};
    store_le(hpet + 36, config->hpet_id, 4);
    hpet[41] = 64; /* register width; space 0: memory */
    store_le(hpet + 44, config->hpet_address, 8);
    store_le(hpet + 53, HPET_TICKS_MIN, 2);
    return put_table(tables, hpet, sizeof(hpet), "HPET", 1);
}

static void add_xsdt(struct acpi_tables *tables, const uint32_t entries[XSDT_ENTRIES])
{
    uint8_t xsdt[HEADER_SIZE + XSDT_ENTRIES * 8] = {0};
    uint32_t length = HEADER_SIZE;
    for (unsigned i = 0; i < XSDT_ENTRIES; i++) {
        if (!entries[i])
            continue;
        store_le(xsdt + length, entries[i], 8);
        length += 8;
    }
    tables->xsdt = put_table(tables, xsdt, length, "XSDT", 1);
    for (uint32_t field = HEADER_SIZE; field < length; field += 8)
        note_pointer(tables, tables->xsdt + field, 8);
}

struct acpi_tables *acpi_tables_create(const struct acpi_config *config, struct error *error)
{
    struct acpi_tables *tables = calloc(1, sizeof(*tables));
    if (!tables) {
        error_set(error, ENOMEM, "ACPI tables: out of memory");
        return NULL;
    }
    uint32_t dsdt = add_dsdt(tables, config);
    uint32_t facs = add_facs(tables);
    const uint32_t entries[XSDT_ENTRIES] = {
        add_fadt(tables, config, facs, dsdt),
        add_madt(tables, config),
        config->hpet_address ? add_hpet_table(tables, config) : 0,
    };
    add_xsdt(tables, entries);
    if (!tables->failed)
        return tables;
    error_set(error, ENOSPC, "ACPI tables: do not fit");
    free(tables);
    return NULL;
}
