/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of an IDE disk. ATA/ATAPI-6 (T13/1410D) §8. */
#include "device/ide/private.h"

#define MULTIPLE_MAX 16 /* sectors in a block */

enum ata_flag {
    ATA_EXTENDED = 1 << 0, /* 48-bit addresses, 16-bit counts */
    ATA_DMA = 1 << 1,
    ATA_MULTIPLE = 1 << 2, /* an interrupt for several sectors */
};

static unsigned register_pair(const struct ide_task_file *file, enum ide_register index)
{
    return (unsigned)file->previous[index] << 8 | file->registers[index];
}

static uint64_t address_extended(const struct ide_task_file *file)
{
    uint64_t low = file->registers[IDE_LBA_LOW] | (uint64_t)file->registers[IDE_LBA_MID] << 8 |
                   (uint64_t)file->registers[IDE_LBA_HIGH] << 16;
    uint64_t high = file->previous[IDE_LBA_LOW] | (uint64_t)file->previous[IDE_LBA_MID] << 8 |
                    (uint64_t)file->previous[IDE_LBA_HIGH] << 16;
    return high << 24 | low;
}

/* Cylinder, head, sector. Sectors count from 1. */
static bool address_geometry(const struct ide_drive *drive, uint64_t *sector)
{
    const uint8_t *registers = drive->file.registers;
    unsigned cylinder = registers[IDE_LBA_MID] | (unsigned)registers[IDE_LBA_HIGH] << 8;
    unsigned head = registers[IDE_DEVICE] & 15;
    if (!registers[IDE_LBA_LOW] || registers[IDE_LBA_LOW] > drive->track_sectors ||
        head >= drive->heads)
        return false;
    *sector = ((uint64_t)cylinder * drive->heads + head) * drive->track_sectors +
              registers[IDE_LBA_LOW] - 1;
    return true;
}

/* The first sector and how many; false when the disk has no such sectors. */
static bool address(const struct ide_drive *drive, unsigned flags, uint64_t *sector,
                    unsigned *count)
{
    const struct ide_task_file *file = &drive->file;
    if (flags & ATA_EXTENDED) {
        *sector = address_extended(file);
        *count = register_pair(file, IDE_COUNT);
        *count = *count ? *count : 65536;
    } else {
        *count = file->registers[IDE_COUNT] ? file->registers[IDE_COUNT] : 256;
        if (file->registers[IDE_DEVICE] & DEVICE_LBA)
            *sector = (address_extended(file) & 0xffffff) |
                      (uint64_t)(file->registers[IDE_DEVICE] & 15) << 24;
        else if (!address_geometry(drive, sector))
            return false;
    }
    return range_within(*sector, *count, drive->block->size / IDE_SECTOR);
}

struct ata_range {
    uint64_t offset, length;
    uint32_t block_size;
};

/* False: the command has failed. */
static bool range_of(struct ide_channel *channel, unsigned flags, struct ata_range *range)
{
    const struct ide_drive *drive = ide_active(channel);
    uint64_t sector;
    unsigned count;
    if (flags & ATA_MULTIPLE && !drive->multiple) {
        ide_fail(channel, ERROR_ABORTED);
        return false;
    }
    if (!address(drive, flags, &sector, &count)) {
        ide_fail(channel, ERROR_NOT_FOUND);
        return false;
    }
    range->offset = sector * IDE_SECTOR;
    range->length = (uint64_t)count * IDE_SECTOR;
    range->block_size = (flags & ATA_MULTIPLE ? drive->multiple : 1) * IDE_SECTOR;
    return true;
}

static void read_sectors(struct ide_channel *channel, unsigned flags)
{
    struct ata_range range;
    if (range_of(channel, flags, &range))
        ide_read(channel, range.offset, range.length, range.block_size, flags & ATA_DMA);
}

static void write_sectors(struct ide_channel *channel, unsigned flags)
{
    struct ata_range range;
    if (ide_active(channel)->block->read_only)
        ide_fail(channel, ERROR_ABORTED);
    else if (range_of(channel, flags, &range))
        ide_write(channel, range.offset, range.length, range.block_size, flags & ATA_DMA);
}

/* What could be read wrongly is found when it is read. */
static void verify(struct ide_channel *channel, unsigned flags)
{
    struct ata_range range;
    if (range_of(channel, flags, &range))
        ide_succeed(channel, true);
}

static void identify(struct ide_channel *channel, unsigned flags)
{
    identify_disk(ide_active(channel), channel->buffer);
    ide_send(channel, IDE_SECTOR, IDE_SECTOR, false);
}

static void flush(struct ide_channel *channel, unsigned flags)
{
    ide_flush(channel);
}

static void nothing(struct ide_channel *channel, unsigned flags)
{
    ide_succeed(channel, true);
}

static void set_geometry(struct ide_channel *channel, unsigned flags)
{
    struct ide_drive *drive = ide_active(channel);
    if (!drive->file.registers[IDE_COUNT]) {
        ide_fail(channel, ERROR_ABORTED);
        return;
    }
    drive->heads = (drive->file.registers[IDE_DEVICE] & 15) + 1;
    drive->track_sectors = drive->file.registers[IDE_COUNT];
    ide_succeed(channel, true);
}

static void set_multiple(struct ide_channel *channel, unsigned flags)
{
    struct ide_drive *drive = ide_active(channel);
    uint8_t count = drive->file.registers[IDE_COUNT];
    if (count > MULTIPLE_MAX || count & (count - 1)) {
        ide_fail(channel, ERROR_ABORTED);
        return;
    }
    drive->multiple = count;
    ide_succeed(channel, true);
}

/* Features that are accepted: transfer modes (none is slower here than another), the write cache,
 * read-ahead, and that settings outlive a reset. */
static void set_features(struct ide_channel *channel, unsigned flags)
{
    static const uint8_t known[] = {0x02, 0x03, 0x55, 0x66, 0x82, 0xaa, 0xcc};
    uint8_t feature = ide_active(channel)->file.registers[IDE_ERROR_FEATURES];
    for (unsigned i = 0; i < ARRAY_SIZE(known); i++) {
        if (known[i] != feature)
            continue;
        ide_succeed(channel, true);
        return;
    }
    ide_fail(channel, ERROR_ABORTED);
}

/* The last sector's address. */
static void read_native_maximum(struct ide_channel *channel, unsigned flags)
{
    struct ide_drive *drive = ide_active(channel);
    struct ide_task_file *file = &drive->file;
    uint64_t last = drive->block->size / IDE_SECTOR - 1;
    if (!(flags & ATA_EXTENDED)) {
        if (last > 0xfffffff)
            last = 0xfffffff;
        file->registers[IDE_DEVICE] =
            (uint8_t)((file->registers[IDE_DEVICE] & 0xf0) | (last >> 24 & 15));
    }
    for (unsigned i = 0; i < 3; i++) {
        file->registers[IDE_LBA_LOW + i] = (uint8_t)(last >> (8 * i));
        file->previous[IDE_LBA_LOW + i] = (uint8_t)(last >> (24 + 8 * i));
    }
    ide_succeed(channel, true);
}

static void check_power_mode(struct ide_channel *channel, unsigned flags)
{
    ide_active(channel)->file.registers[IDE_COUNT] = 0xff; /* active or idle */
    ide_succeed(channel, true);
}

static const struct {
    uint8_t first, last; /* command codes */
    uint8_t flags;       /* enum ata_flag */
    void (*start)(struct ide_channel *channel, unsigned flags);
} commands[] = {
    {0x10, 0x1f, 0, nothing}, /* RECALIBRATE */
    {0x20, 0x21, 0, read_sectors},
    {0x24, 0x24, ATA_EXTENDED, read_sectors},
    {0x25, 0x25, ATA_EXTENDED | ATA_DMA, read_sectors},
    {0x27, 0x27, ATA_EXTENDED, read_native_maximum},
    {0x29, 0x29, ATA_EXTENDED | ATA_MULTIPLE, read_sectors},
    {0x30, 0x31, 0, write_sectors},
    {0x34, 0x34, ATA_EXTENDED, write_sectors},
    {0x35, 0x35, ATA_EXTENDED | ATA_DMA, write_sectors},
    {0x39, 0x39, ATA_EXTENDED | ATA_MULTIPLE, write_sectors},
    {0x40, 0x41, 0, verify},
    {0x42, 0x42, ATA_EXTENDED, verify},
    {0x70, 0x7f, 0, nothing}, /* SEEK */
    {0x91, 0x91, 0, set_geometry},
    {0xc4, 0xc4, ATA_MULTIPLE, read_sectors},
    {0xc5, 0xc5, ATA_MULTIPLE, write_sectors},
    {0xc6, 0xc6, 0, set_multiple},
    {0xc8, 0xc9, ATA_DMA, read_sectors},
    {0xca, 0xcb, ATA_DMA, write_sectors},
    {0xe0, 0xe3, 0, nothing}, /* standby and idle: it wakes by itself */
    {0xe5, 0xe5, 0, check_power_mode},
    {0xe6, 0xe6, 0, nothing}, /* SLEEP */
    {0xe7, 0xe7, 0, flush},
    {0xea, 0xea, ATA_EXTENDED, flush},
    {0xec, 0xec, 0, identify},
    {0xef, 0xef, 0, set_features},
    {0xf8, 0xf8, 0, read_native_maximum},
};

void ata_command(struct ide_channel *channel, uint8_t code)
{
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (code < commands[i].first || code > commands[i].last)
            continue;
        commands[i].start(channel, commands[i].flags);
        return;
    }
    ide_fail(channel, ERROR_ABORTED);
}
