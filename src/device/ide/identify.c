/* SPDX-License-Identifier: Apache-2.0 */
/* What IDE drives say of themselves: 256 words. ATA/ATAPI-6 §8.15, §8.16. */
#include "device/ide/private.h"

#include <stdio.h>

#define HEADS         16
#define TRACK_SECTORS 63
#define CYLINDERS_MAX 16383
#define LBA28_MAX     UINT64_C(0xfffffff)

static void put(uint8_t *bytes, unsigned word, unsigned value)
{
    store_le(bytes + word * 2, value, 2);
}

/* Text fills its words from the high byte, and blanks the rest. */
static void put_text(uint8_t *bytes, unsigned word, unsigned words, const char *text)
{
    for (unsigned i = 0; i < words * 2; i++)
        bytes[(word * 2 + i) ^ 1] = (uint8_t)(*text ? *text++ : ' ');
}

/* What both kinds have. */
static void put_common(const struct ide_drive *drive, uint8_t *bytes, const char *model)
{
    char serial[20];
    memset(bytes, 0, IDE_SECTOR);
    snprintf(serial, sizeof(serial), "nacre-ide%u", drive->index);
    put_text(bytes, 10, 10, serial);
    put_text(bytes, 23, 4, "1");
    put_text(bytes, 27, 20, model);
    put(bytes, 49, 1 << 9 | 1 << 8); /* LBA, DMA */
    put(bytes, 53, 1 << 2 | 1 << 1); /* words 64 to 70 and 88 hold something */
    put(bytes, 63, 7);               /* multiword DMA 0 to 2: PIIX3 does no faster ones */
    put(bytes, 64, 3);               /* PIO 3 and 4 */
    for (unsigned word = 65; word <= 68; word++)
        put(bytes, word, 120); /* ns a cycle */
    put(bytes, 80, 0x7e);      /* ATA-1 to ATA/ATAPI-6 */
}

void identify_disk(const struct ide_drive *drive, uint8_t *bytes)
{
    uint64_t sectors = drive->block->size / IDE_SECTOR;
    uint64_t cylinders = sectors / (HEADS * TRACK_SECTORS);
    unsigned current = drive->heads * drive->track_sectors;
    put_common(drive, bytes, "nacre disk");
    cylinders = cylinders < CYLINDERS_MAX ? cylinders : CYLINDERS_MAX;
    put(bytes, 0, 1 << 6); /* not removable */
    put(bytes, 1, (unsigned)cylinders);
    put(bytes, 3, HEADS);
    put(bytes, 6, TRACK_SECTORS);
    put(bytes, 47, 0x8000 | 16); /* sectors in a block of READ MULTIPLE, at most */
    put(bytes, 53, 7);           /* words 54 to 58, too */
    cylinders = current ? sectors / current : 0;
    cylinders = cylinders < UINT16_MAX ? cylinders : UINT16_MAX;
    put(bytes, 54, (unsigned)cylinders);
    put(bytes, 55, drive->heads);
    put(bytes, 56, drive->track_sectors);
    store_le(bytes + 57 * 2, cylinders * current, 4);
    put(bytes, 59, drive->multiple ? 0x100u | drive->multiple : 0);
    store_le(bytes + 60 * 2, sectors < LBA28_MAX ? sectors : LBA28_MAX, 4);
    /* Supported and enabled: write cache, look-ahead; 48-bit addresses, flushes. */
    for (unsigned word = 82; word <= 85; word += 3)
        put(bytes, word, 1 << 5 | 1 << 6);
    put(bytes, 83, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10);
    put(bytes, 84, 1 << 14);
    put(bytes, 86, 1 << 13 | 1 << 12 | 1 << 10);
    put(bytes, 87, 1 << 14);
    store_le(bytes + 100 * 2, sectors, 8);
}

void identify_cdrom(const struct ide_drive *drive, uint8_t *bytes)
{
    put_common(drive, bytes, "nacre CD-ROM");
    put(bytes, 0, 2u << 14 | 5 << 8 | 1 << 7 | 2 << 5); /* packets of 12 bytes, CD-ROM, removable */
    put(bytes, 82, 1 << 4 | 1 << 9);                    /* packets, DEVICE RESET */
    put(bytes, 83, 1 << 14);
    put(bytes, 84, 1 << 14);
    put(bytes, 85, 1 << 4 | 1 << 9);
    put(bytes, 87, 1 << 14);
}
