/* SPDX-License-Identifier: Apache-2.0 */
/* DMTF DSP0134, SMBIOS 3.0: §5.2.2 the 64-bit entry point, §7 the structures. */
#include "boot/smbios.h"

#include "boot/layout.h"

#include <errno.h>
#include <stdio.h>

#define TABLE_START 32 /* behind the entry point */

enum {
    ENTRY_CHECKSUM = 5,
    ENTRY_LENGTH = 6,
    ENTRY_MAJOR = 7,
    ENTRY_REVISION = 10,
    ENTRY_TABLE_SIZE = 12,
    ENTRY_TABLE = 16,
    ENTRY_SIZE = sizeof(((struct smbios *)0)->entry),
};

enum structure_type {
    TYPE_FIRMWARE = 0,
    TYPE_SYSTEM = 1,
    TYPE_CHASSIS = 3,
    TYPE_PROCESSOR = 4,
    TYPE_MEMORY_ARRAY = 16,
    TYPE_MEMORY_DEVICE = 17,
    TYPE_MEMORY_MAPPED = 19,
    TYPE_BOOT = 32,
    TYPE_END = 127,
};
/* A handle is type << 8 plus a number among its kind. */
#define HANDLE(type, number) (((type) << 8) | (number))

#define NO_HANDLE       0xffff
#define NO_ERROR_HANDLE 0xfffe

/* Structures that grow in order: header and fields, then the strings they number from 1. */
struct builder {
    uint8_t bytes[sizeof(((struct smbios *)0)->bytes)];
    size_t used;
    size_t start; /* of the structure being written */
    bool failed;
};

static void put(struct builder *builder, uint64_t value, unsigned size)
{
    if (!range_within(builder->used, size, sizeof(builder->bytes))) {
        builder->failed = true;
        return;
    }
    store_le(builder->bytes + builder->used, value, size);
    builder->used += size;
}

static void structure_begin(struct builder *builder, enum structure_type type, unsigned number)
{
    builder->start = builder->used;
    put(builder, type, 1);
    put(builder, 0, 1); /* length: known at the end */
    put(builder, HANDLE(type, number), 2);
}

/* strings: what the fields number 1, 2 ...; ended by NULL. */
static void structure_end(struct builder *builder, const char *const *strings)
{
    if (builder->failed)
        return;
    builder->bytes[builder->start + 1] = (uint8_t)(builder->used - builder->start);
    if (!*strings)
        put(builder, 0, 1);
    for (; *strings; strings++)
        for (const char *c = *strings;; c++) {
            put(builder, (uint8_t)*c, 1);
            if (!*c)
                break;
        }
    put(builder, 0, 1);
}

static void add_firmware(struct builder *builder)
{
    structure_begin(builder, TYPE_FIRMWARE, 0);
    put(builder, 1, 1);      /* vendor */
    put(builder, 2, 1);      /* version */
    put(builder, 0xe000, 2); /* segment */
    put(builder, 3, 1);      /* date */
    put(builder, 0, 1);      /* ROM size: 64 KiB */
    put(builder, BIT(3), 8); /* characteristics are not supported */
    put(builder, BIT(0), 1); /* ACPI */
    put(builder, BIT(4), 1); /* a virtual machine */
    put(builder, 0, 2);      /* release */
    put(builder, 0xffff, 2); /* embedded controller: none */
    structure_end(builder, (const char *const[]){"nacre", "0", "01/01/2026", NULL});
}

static void add_system(struct builder *builder)
{
    structure_begin(builder, TYPE_SYSTEM, 0);
    put(builder, 1, 1); /* manufacturer */
    put(builder, 2, 1); /* product */
    put(builder, 3, 1); /* version */
    put(builder, 0, 1); /* serial number: none */
    put(builder, 0, 8); /* UUID: not set */
    put(builder, 0, 8);
    put(builder, 6, 1); /* woken by the power switch */
    put(builder, 0, 2); /* SKU, family: none */
    structure_end(builder, (const char *const[]){"nacre", "virtual machine", "pc-i440fx", NULL});
}

static void add_chassis(struct builder *builder)
{
    structure_begin(builder, TYPE_CHASSIS, 0);
    put(builder, 1, 1); /* manufacturer */
    put(builder, 1, 1); /* type: other */
    put(builder, 0, 3); /* version, serial number, tag: none */
    put(builder, 3, 1); /* boot, power supply, thermal state: safe */
    put(builder, 3, 1);
    put(builder, 3, 1);
    put(builder, 2, 1); /* security: unknown */
    put(builder, 0, 4); /* OEM */
    put(builder, 0, 5); /* height, cords, contained elements, SKU: none */
    structure_end(builder, (const char *const[]){"nacre", NULL});
}

static void add_processor(struct builder *builder, const struct smbios_config *config,
                          unsigned number)
{
    char socket[16];
    snprintf(socket, sizeof(socket), "CPU %u", number);
    structure_begin(builder, TYPE_PROCESSOR, number);
    put(builder, 1, 1); /* socket */
    put(builder, 3, 1); /* central processor */
    put(builder, 1, 1); /* family: other */
    put(builder, 2, 1); /* manufacturer */
    put(builder, config->cpu_signature, 4);
    put(builder, config->cpu_features, 4);
    put(builder, 3, 1);    /* version */
    put(builder, 0, 1);    /* voltage: unknown */
    put(builder, 0, 6);    /* clock, maximum and current speed: unknown */
    put(builder, 0x41, 1); /* populated, enabled */
    put(builder, 1, 1);    /* upgrade: other */
    for (unsigned cache = 0; cache < 3; cache++)
        put(builder, NO_HANDLE, 2);
    put(builder, 0, 3);      /* serial number, tag, part: none */
    put(builder, 1, 1);      /* cores */
    put(builder, 1, 1);      /* enabled cores */
    put(builder, 1, 1);      /* threads */
    put(builder, BIT(2), 2); /* 64-bit */
    put(builder, 1, 2);      /* family: other */
    put(builder, 1, 2);      /* the counts again, wider */
    put(builder, 1, 2);
    put(builder, 1, 2);
    structure_end(builder, (const char *const[]){socket, "nacre", config->cpu_name, NULL});
}

static void add_memory(struct builder *builder, const struct memory *memory)
{
    const uint64_t size = memory->low_size + memory->high_size;
    structure_begin(builder, TYPE_MEMORY_ARRAY, 0);
    put(builder, 1, 1);                 /* location: other */
    put(builder, 3, 1);                 /* system memory */
    put(builder, 3, 1);                 /* no error correction */
    put(builder, UINT32_C(1) << 31, 4); /* capacity: in the extended field */
    put(builder, NO_ERROR_HANDLE, 2);
    put(builder, 1, 2); /* devices */
    put(builder, size, 8);
    structure_end(builder, (const char *const[]){NULL});

    structure_begin(builder, TYPE_MEMORY_DEVICE, 0);
    put(builder, HANDLE(TYPE_MEMORY_ARRAY, 0), 2);
    put(builder, NO_ERROR_HANDLE, 2);
    put(builder, 0xffff, 2); /* widths: unknown */
    put(builder, 0xffff, 2);
    put(builder, 0x7fff, 2); /* size: in the extended field */
    put(builder, 9, 1);      /* DIMM */
    put(builder, 0, 1);      /* no set */
    put(builder, 1, 1);      /* locator */
    put(builder, 0, 1);      /* bank: none */
    put(builder, 7, 1);      /* RAM */
    put(builder, BIT(1), 2); /* detail: other */
    put(builder, 0, 2);      /* speed: unknown */
    put(builder, 2, 1);      /* manufacturer */
    put(builder, 0, 4);      /* serial number, tag, part, rank: none */
    put(builder, size >> 20, 4);
    put(builder, 0, 8); /* configured speed, voltages: unknown */
    structure_end(builder, (const char *const[]){"DIMM 0", "nacre", NULL});
}

/* One range of RAM; addresses in bytes, the last included. */
static void add_mapped_range(struct builder *builder, unsigned number, uint64_t start,
                             uint64_t size)
{
    if (!size)
        return;
    structure_begin(builder, TYPE_MEMORY_MAPPED, number);
    put(builder, UINT32_C(0xffffffff), 4); /* addresses: in the extended fields */
    put(builder, UINT32_C(0xffffffff), 4);
    put(builder, HANDLE(TYPE_MEMORY_ARRAY, 0), 2);
    put(builder, 1, 1); /* devices that form a row */
    put(builder, start, 8);
    put(builder, start + size - 1, 8);
    structure_end(builder, (const char *const[]){NULL});
}

static void add_end(struct builder *builder)
{
    structure_begin(builder, TYPE_BOOT, 0);
    put(builder, 0, 6); /* reserved */
    put(builder, 0, 1); /* no errors */
    structure_end(builder, (const char *const[]){NULL});
    structure_begin(builder, TYPE_END, 0);
    structure_end(builder, (const char *const[]){NULL});
}

static void fill_entry(uint8_t entry[ENTRY_SIZE], size_t table_size)
{
    memset(entry, 0, ENTRY_SIZE);
    memcpy(entry, "_SM3_", 5);
    entry[ENTRY_LENGTH] = ENTRY_SIZE;
    entry[ENTRY_MAJOR] = 3; /* version 3.0 */
    entry[ENTRY_REVISION] = 1;
    store_le(entry + ENTRY_TABLE_SIZE, table_size, 4);
}

int smbios_build(const struct smbios_config *config, const struct memory *memory,
                 struct smbios *smbios, struct error *error)
{
    struct builder builder = {.used = 0};
    if (!config->firmware)
        add_firmware(&builder);
    add_system(&builder);
    add_chassis(&builder);
    for (unsigned i = 0; i < config->cpu_count; i++)
        add_processor(&builder, config, i);
    add_memory(&builder, memory);
    add_mapped_range(&builder, 0, 0, memory->low_size);
    add_mapped_range(&builder, 1, MEMORY_HIGH_START, memory->high_size);
    add_end(&builder);
    if (builder.failed)
        return error_set(error, ENOSPC, "SMBIOS tables: do not fit");
    fill_entry(smbios->entry, builder.used);
    memcpy(smbios->bytes, builder.bytes, builder.used);
    smbios->size = (uint32_t)builder.used;
    return 0;
}

int smbios_place(struct smbios *smbios, struct memory *memory, struct error *error)
{
    uint8_t *entry = smbios->entry, sum = 0;
    store_le(entry + ENTRY_TABLE, BOOT_SMBIOS + TABLE_START, 8);
    for (unsigned i = 0; i < ENTRY_SIZE; i++)
        sum = (uint8_t)(sum + entry[i]);
    entry[ENTRY_CHECKSUM] = (uint8_t)-sum;
    if (memory_write(memory, BOOT_SMBIOS, entry, ENTRY_SIZE) < 0 ||
        memory_write(memory, BOOT_SMBIOS + TABLE_START, smbios->bytes, smbios->size) < 0)
        return error_set(error, ENOMEM, "--memory: too little for the SMBIOS tables");
    return 0;
}
