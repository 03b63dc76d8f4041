/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where ACPI tables go: to a fixed place, when a kernel is booted directly; or into files of fw_cfg
 * with commands for the firmware that chooses a place, links and sums them up (QEMU,
 * hw/acpi/bios-linker-loader; SeaBIOS, src/fw/romfile_loader.h).
 */
#include "boot/acpi.h"
#include "boot/acpi_tables.h"
#include "boot/layout.h"

#include <errno.h>

/* The root system description pointer, revision 2. ACPI 6.4 §5.2.5.3 */
enum {
    RSDP_CHECKSUM = 8,
    RSDP_OEM = 9,
    RSDP_REVISION = 15,
    RSDP_SIZE_1 = 20, /* of revision 1: the checksum's range; the length follows */
    RSDP_XSDT = 24,
    RSDP_CHECKSUM_ALL = 32,
    RSDP_SIZE = 36,
};

/* A table's header. ACPI 6.4 §5.2.6 */
enum { TABLE_LENGTH = 4, TABLE_CHECKSUM = 9 };

static uint8_t checksum(const uint8_t *bytes, size_t length)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return (uint8_t)-sum;
}

static void rsdp_fill(uint8_t rsdp[RSDP_SIZE], uint64_t xsdt)
{
    memset(rsdp, 0, RSDP_SIZE);
    memcpy(rsdp, "RSD PTR ", RSDP_CHECKSUM);
    memcpy(rsdp + RSDP_OEM, "NACRE ", 6);
    rsdp[RSDP_REVISION] = 2;
    store_le(rsdp + RSDP_SIZE_1, RSDP_SIZE, 4);
    store_le(rsdp + RSDP_XSDT, xsdt, 8);
}

int acpi_tables_place(struct acpi_tables *tables, struct memory *memory, struct error *error)
{
    const uint64_t base = BOOT_RSDP + 64;
    uint8_t rsdp[RSDP_SIZE];
    for (unsigned i = 0; i < tables->pointer_count; i++) {
        const struct acpi_pointer *pointer = &tables->pointers[i];
        uint8_t *field = tables->bytes + pointer->field;
        store_le(field, load_le(field, pointer->size) + base, pointer->size);
    }
    for (unsigned i = 0; i < tables->table_count; i++) {
        uint8_t *table = tables->bytes + tables->tables[i];
        table[TABLE_CHECKSUM] = checksum(table, load_le(table + TABLE_LENGTH, 4));
    }
    rsdp_fill(rsdp, base + tables->xsdt);
    rsdp[RSDP_CHECKSUM] = checksum(rsdp, RSDP_SIZE_1);
    rsdp[RSDP_CHECKSUM_ALL] = checksum(rsdp, RSDP_SIZE);
    if (base + tables->length > BOOT_TABLES_END ||
        memory_write(memory, base, tables->bytes, tables->length) < 0 ||
        memory_write(memory, BOOT_RSDP, rsdp, RSDP_SIZE) < 0)
        return error_set(error, ENOSPC, "ACPI tables do not fit below 1 MiB");
    return 0;
}

/* --- commands for firmware --- */

enum command { COMMAND_ALLOCATE = 1, COMMAND_ADD_POINTER = 2, COMMAND_ADD_CHECKSUM = 3 };
enum zone { ZONE_HIGH = 1, ZONE_BELOW_1M = 2 };
#define COMMAND_SIZE 128
#define NAME_SIZE    56

#define FILE_RSDP   "etc/acpi/rsdp"
#define FILE_TABLES "etc/acpi/tables"

/* Room for the next command, with its kind and file filled in; what follows the name is at +60. */
static uint8_t *command_add(struct acpi_files *files, enum command command, const char *file)
{
    uint8_t *bytes = files->loader + files->loader_size;
    files->loader_size += COMMAND_SIZE;
    memset(bytes, 0, COMMAND_SIZE);
    store_le(bytes, command, 4);
    memcpy(bytes + 4, file, strlen(file));
    return bytes + 4 + NAME_SIZE;
}

static void add_allocate(struct acpi_files *files, const char *file, uint32_t alignment,
                         enum zone zone)
{
    uint8_t *bytes = command_add(files, COMMAND_ALLOCATE, file);
    store_le(bytes, alignment, 4);
    bytes[4] = (uint8_t)zone;
}

/* The field of `file` becomes an address in the tables. */
static void add_pointer(struct acpi_files *files, const char *file, uint32_t field, uint8_t size)
{
    uint8_t *bytes = command_add(files, COMMAND_ADD_POINTER, file);
    memcpy(bytes, FILE_TABLES, sizeof(FILE_TABLES));
    store_le(bytes + NAME_SIZE, field, 4);
    bytes[NAME_SIZE + 4] = size;
}

static void add_checksum(struct acpi_files *files, const char *file, uint32_t field, uint32_t start,
                         uint32_t length)
{
    uint8_t *bytes = command_add(files, COMMAND_ADD_CHECKSUM, file);
    store_le(bytes, field, 4);
    store_le(bytes + 4, start, 4);
    store_le(bytes + 8, length, 4);
}

_Static_assert(sizeof(((struct acpi_files *)0)->loader) >=
                   COMMAND_SIZE * (2 + 1 + 2 + ACPI_POINTERS_MAX + ACPI_TABLES_MAX),
               "room for every command");
_Static_assert(sizeof(((struct acpi_files *)0)->rsdp) == RSDP_SIZE, "the file is the pointer");

void acpi_tables_files(const struct acpi_tables *tables, struct acpi_files *files)
{
    files->tables = tables->bytes;
    files->tables_size = tables->length;
    files->loader_size = 0;
    rsdp_fill(files->rsdp, tables->xsdt);
    add_allocate(files, FILE_RSDP, 16, ZONE_BELOW_1M);
    add_allocate(files, FILE_TABLES, 64, ZONE_HIGH);
    for (unsigned i = 0; i < tables->pointer_count; i++)
        add_pointer(files, FILE_TABLES, tables->pointers[i].field, tables->pointers[i].size);
    for (unsigned i = 0; i < tables->table_count; i++) {
        uint32_t start = tables->tables[i];
        add_checksum(files, FILE_TABLES, start + TABLE_CHECKSUM, start,
                     (uint32_t)load_le(tables->bytes + start + TABLE_LENGTH, 4));
    }
    add_pointer(files, FILE_RSDP, RSDP_XSDT, 8);
    add_checksum(files, FILE_RSDP, RSDP_CHECKSUM, 0, RSDP_SIZE_1);
    add_checksum(files, FILE_RSDP, RSDP_CHECKSUM_ALL, 0, RSDP_SIZE);
}
