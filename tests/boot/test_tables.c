/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI and SMBIOS tables as a guest finds them: checksums and pointers here, their contents by the
 * reference tools: iasl must disassemble and recompile, dmidecode must see no broken structure.
 */
#include "boot/acpi.h"
#include "boot/layout.h"
#include "boot/smbios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define HEADER_SIZE   36
#define SMBIOS_HEADER 32

struct fixture {
    struct memory *memory;
    char folder[32];
};

static int fixture_create(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error error = {0};
    strcpy(fixture->folder, "/tmp/nacre-tables-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    fixture->memory = memory_create(GIB(5), &error);
    assert_non_null(fixture->memory);
    const struct acpi_config acpi = {
        .cpu_count = 16,
        .pm_base = 0x600,
        .sci = 9,
        .reset_port = 0xcf9,
        .pvpanic_port = 0x505,
        .ioapic_address = 0xfec00000,
        .apic_address = 0xfee00000,
        .hpet_address = 0xfed00000,
        .hpet_id = 0x8086a201,
        .pci_first = 0xc0000000,
        .pci_last = 0xfebfffff,
        .pci_high_first = GIB(6),
        .pci_high_last = GIB(64) - 1,
        .pci_gsis = {16, 17, 18, 19},
        .pci_isa_irqs = {10, 10, 11, 11},
        .serial = {true, true, true, true},
    };
    struct smbios smbios;
    const struct smbios_config smbios_config = {.cpu_count = 16, .cpu_name = "test CPU"};
    struct acpi_tables *tables = acpi_tables_create(&acpi, &error);
    assert_non_null(tables);
    assert_int_equal(acpi_tables_place(tables, fixture->memory, &error), 0);
    free(tables);
    assert_int_equal(smbios_build(&smbios_config, fixture->memory, &smbios, &error), 0);
    assert_int_equal(smbios_place(&smbios, fixture->memory, &error), 0);
    *state = fixture;
    return 0;
}

static int fixture_destroy(void **state)
{
    struct fixture *fixture = *state;
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
    assert_int_equal(system(command), 0);
    memory_destroy(fixture->memory);
    free(fixture);
    return 0;
}

static void assert_sum_is_zero(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    assert_int_equal(sum, 0);
}

/* The table at gpa, after a look at its length and checksum. */
static const uint8_t *table_at(const struct fixture *fixture, uint64_t gpa, const char *signature)
{
    assert_in_range(gpa, BOOT_RSDP, BOOT_TABLES_END - HEADER_SIZE);
    const uint8_t *table = memory_hva(fixture->memory, gpa, HEADER_SIZE);
    uint32_t length = (uint32_t)load_le(table + 4, 4);
    if (signature)
        assert_memory_equal(table, signature, 4);
    assert_in_range(length, HEADER_SIZE, BOOT_TABLES_END - gpa);
    assert_sum_is_zero(table, length);
    return table;
}

static const uint8_t *root_table(const struct fixture *fixture)
{
    const uint8_t *rsdp = memory_hva(fixture->memory, BOOT_RSDP, HEADER_SIZE);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_sum_is_zero(rsdp, 20);
    assert_sum_is_zero(rsdp, load_le(rsdp + 20, 4));
    return table_at(fixture, load_le(rsdp + 24, 8), "XSDT");
}

static bool tool_missing(const char *name)
{
    char command[64];
    snprintf(command, sizeof(command), "command -v %s >/dev/null", name);
    return system(command) != 0;
}

static void file_write(const char *path, const uint8_t *bytes, size_t length)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    fclose(file);
}

/* iasl takes the table apart and puts it together again without an error. */
static void check_with_iasl(const struct fixture *fixture, const uint8_t *table)
{
    char path[64], command[256];
    snprintf(path, sizeof(path), "%s/table.dat", fixture->folder);
    file_write(path, table, load_le(table + 4, 4));
    snprintf(command, sizeof(command),
             "cd %s && iasl -d table.dat >log 2>&1 && iasl -oa table.dsl >>log 2>&1 || "
             "{ cat log; false; }",
             fixture->folder);
    assert_int_equal(system(command), 0);
}

static void test_acpi_tables(void **state)
{
    const struct fixture *fixture = *state;
    if (tool_missing("iasl"))
        skip();
    const uint8_t *xsdt = root_table(fixture);
    unsigned seen = 0;
    for (uint32_t at = HEADER_SIZE; at < load_le(xsdt + 4, 4); at += 8) {
        const uint8_t *table = table_at(fixture, load_le(xsdt + at, 8), NULL);
        check_with_iasl(fixture, table);
        if (!memcmp(table, "FACP", 4)) {
            check_with_iasl(fixture, table_at(fixture, load_le(table + 140, 8), "DSDT"));
            seen++;
        }
        seen += !memcmp(table, "APIC", 4) || !memcmp(table, "HPET", 4);
    }
    assert_int_equal(seen, 3);
}

static void test_smbios_entry_and_structures(void **state)
{
    const struct fixture *fixture = *state;
    const uint8_t *entry = memory_hva(fixture->memory, BOOT_SMBIOS, SMBIOS_HEADER);
    assert_memory_equal(entry, "_SM3_", 5);
    assert_sum_is_zero(entry, entry[6]);
    uint32_t size = (uint32_t)load_le(entry + 12, 4);
    const uint8_t *table = memory_hva(fixture->memory, load_le(entry + 16, 8), size);
    assert_non_null(table);
    unsigned processors = 0;
    uint32_t at = 0;
    while (table[at] != 127) {
        processors += table[at] == 4;
        at += table[at + 1];
        while (table[at] || table[at + 1])
            at++;
        at += 2;
        assert_in_range(at, 0, size - 4);
    }
    assert_int_equal(processors, 16);
    assert_int_equal(at + 6, size);
}

/* dmidecode reads a dump: the entry point, and at 32 the table that it then points to. */
static void test_smbios_by_dmidecode(void **state)
{
    const struct fixture *fixture = *state;
    if (tool_missing("dmidecode"))
        skip();
    const uint8_t *entry = memory_hva(fixture->memory, BOOT_SMBIOS, SMBIOS_HEADER);
    uint32_t size = (uint32_t)load_le(entry + 12, 4);
    uint8_t *dump = calloc(1, SMBIOS_HEADER + size);
    char path[64], command[400];
    memcpy(dump, entry, entry[6]);
    store_le(dump + 16, SMBIOS_HEADER, 8);
    for (unsigned i = dump[5] = 0; i < entry[6]; i++)
        if (i != 5)
            dump[5] = (uint8_t)(dump[5] - dump[i]);
    memcpy(dump + SMBIOS_HEADER, memory_hva(fixture->memory, load_le(entry + 16, 8), size), size);
    snprintf(path, sizeof(path), "%s/dmi", fixture->folder);
    file_write(path, dump, SMBIOS_HEADER + size);
    free(dump);
    snprintf(command, sizeof(command),
             "dmidecode --from-dump %s >%s/log 2>&1 && cd %s && grep -q 'Size: 5 GB' log && "
             "grep -q 'Range Size: 2 GB' log && grep -q 'Version: test CPU' log && "
             "! grep -Ei 'bad|invalid|broken|truncated|out of spec' log",
             path, fixture->folder, fixture->folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_acpi_tables, fixture_create, fixture_destroy),
        cmocka_unit_test_setup_teardown(test_smbios_entry_and_structures, fixture_create,
                                        fixture_destroy),
        cmocka_unit_test_setup_teardown(test_smbios_by_dmidecode, fixture_create, fixture_destroy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
