/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CD-ROM drive: packet commands over ATAPI (ATA/ATAPI-6 §9.8, SFF-8020i) that carry the SCSI
 * commands of MMC-3. A command that fails leaves a sense, which REQUEST SENSE fetches.
 */
#include "device/ide/private.h"

#define FEATURE_DMA BIT(0)
#define LIMIT_MOST  0xfffe /* bytes between two interrupts */

static const struct ide_sense tray_is_open = {0x02, 0x3a, 0x02};
static const struct ide_sense unreadable = {0x03, 0x11, 0x00};
static const struct ide_sense unknown_command = {0x05, 0x20, 0x00};
static const struct ide_sense beyond_end = {0x05, 0x21, 0x00};
static const struct ide_sense wrong_field = {0x05, 0x24, 0x00};
static const struct ide_sense tray_is_locked = {0x05, 0x53, 0x02};

/* --- how a command ends --- */

void packet_announce(struct ide_channel *channel, uint8_t reason, uint32_t length)
{
    uint8_t *registers = ide_active(channel)->file.registers;
    registers[IDE_COUNT] = reason;
    registers[IDE_LBA_MID] = (uint8_t)length;
    registers[IDE_LBA_HIGH] = (uint8_t)(length >> 8);
}

static void fail(struct ide_channel *channel, struct ide_sense sense)
{
    ide_active(channel)->sense = sense;
    packet_announce(channel, REASON_IN | REASON_COMMAND, 0);
    ide_fail(channel, (uint8_t)(sense.key << 4 | ERROR_ABORTED));
}

void packet_fail_medium(struct ide_channel *channel)
{
    fail(channel, unreadable);
}

static void succeed(struct ide_channel *channel)
{
    packet_announce(channel, REASON_IN | REASON_COMMAND, 0);
    ide_succeed(channel, true);
}

static bool wants_dma(struct ide_channel *channel)
{
    return ide_active(channel)->file.registers[IDE_ERROR_FEATURES] & FEATURE_DMA;
}

/* What the host takes at a time: even, as the data port moves words. */
static uint32_t byte_limit(struct ide_channel *channel)
{
    const uint8_t *registers = ide_active(channel)->file.registers;
    uint32_t limit = (registers[IDE_LBA_MID] | (uint32_t)registers[IDE_LBA_HIGH] << 8) & LIMIT_MOST;
    return limit ? limit : LIMIT_MOST;
}

/* Sends what is in the buffer, but no more than the host has room for. */
static void answer(struct ide_channel *channel, uint32_t length, uint64_t allowed)
{
    length = length < allowed ? length : (uint32_t)allowed;
    if (length)
        ide_send(channel, length, byte_limit(channel), wants_dma(channel));
    else
        succeed(channel);
}

static uint32_t sector_count(struct ide_channel *channel)
{
    return (uint32_t)(ide_active(channel)->block->size / IDE_CDROM_SECTOR);
}

/* From the sector in bytes 2 to 5 of the packet, as many as the bytes at `place` say. */
static void read_blocks(struct ide_channel *channel, const uint8_t *packet, unsigned place,
                        unsigned size)
{
    uint64_t first = load_be(packet + 2, 4), count = load_be(packet + place, size);
    if (!range_within(first, count, sector_count(channel)))
        fail(channel, beyond_end);
    else if (!count)
        succeed(channel);
    else
        ide_read(channel, first * IDE_CDROM_SECTOR, count * IDE_CDROM_SECTOR, byte_limit(channel),
                 wants_dma(channel));
}

/* --- commands --- */

static void test_unit_ready(struct ide_channel *channel, const uint8_t *packet)
{
    succeed(channel);
}

static void request_sense(struct ide_channel *channel, const uint8_t *packet)
{
    struct ide_drive *drive = ide_active(channel);
    uint8_t *bytes = channel->buffer;
    memset(bytes, 0, 18);
    bytes[0] = 0x70; /* current error, fixed format */
    bytes[2] = drive->sense.key;
    bytes[7] = 10; /* bytes behind this one */
    bytes[12] = drive->sense.code;
    bytes[13] = drive->sense.qualifier;
    drive->sense = (struct ide_sense){0};
    answer(channel, 18, packet[4]);
}

static void inquiry(struct ide_channel *channel, const uint8_t *packet)
{
    static const char names[] = "nacre   CD-ROM          1   "; /* vendor, product, revision */
    uint8_t *bytes = channel->buffer;
    if (packet[1] & 1 || packet[2]) { /* vital product data: none */
        fail(channel, wrong_field);
        return;
    }
    memset(bytes, 0, 8);
    bytes[0] = 5;    /* CD or DVD */
    bytes[1] = 0x80; /* removable */
    bytes[3] = 0x21; /* ATAPI, response format 1 */
    bytes[4] = 31;
    memcpy(bytes + 8, names, 28);
    answer(channel, 36, load_be(packet + 3, 2));
}

static void start_stop(struct ide_channel *channel, const uint8_t *packet)
{
    struct ide_drive *drive = ide_active(channel);
    bool load_or_eject = packet[4] & 2, start = packet[4] & 1;
    if (load_or_eject && !start && drive->tray_locked) {
        fail(channel, tray_is_locked);
        return;
    }
    if (load_or_eject)
        drive->tray_open = !start;
    succeed(channel);
}

static void prevent_removal(struct ide_channel *channel, const uint8_t *packet)
{
    ide_active(channel)->tray_locked = packet[4] & 1;
    succeed(channel);
}

static void read_capacity(struct ide_channel *channel, const uint8_t *packet)
{
    store_be(channel->buffer, sector_count(channel) - 1, 4);
    store_be(channel->buffer + 4, IDE_CDROM_SECTOR, 4);
    answer(channel, 8, 8);
}

static void read_10(struct ide_channel *channel, const uint8_t *packet)
{
    read_blocks(channel, packet, 7, 2);
}

static void read_12(struct ide_channel *channel, const uint8_t *packet)
{
    read_blocks(channel, packet, 6, 4);
}

/* Only what an image of 2048-byte sectors has: their user data. */
static void read_cd(struct ide_channel *channel, const uint8_t *packet)
{
    if ((packet[9] & 0xf8) == 0x10)
        read_blocks(channel, packet, 6, 3);
    else if ((packet[9] & 0xf8) == 0)
        succeed(channel);
    else
        fail(channel, wrong_field);
}

static void seek(struct ide_channel *channel, const uint8_t *packet)
{
    if (load_be(packet + 2, 4) < sector_count(channel))
        succeed(channel);
    else
        fail(channel, beyond_end);
}

/* An address in a table of contents, as a sector or as minutes, seconds and frames. */
static void put_address(uint8_t *bytes, uint32_t sector, bool in_time)
{
    uint32_t frames = sector + 150; /* time starts two seconds before the first sector */
    store_be(bytes, sector, 4);
    if (in_time)
        store_be(bytes, (frames / 75 / 60 & 0xff) << 16 | frames / 75 % 60 << 8 | frames % 75, 4);
}

/* One entry: control, track number, address. Formats of MMC-3 §6.25. */
static uint8_t *put_track(uint8_t *entry, unsigned track, uint32_t sector, bool in_time)
{
    memset(entry, 0, 8);
    entry[1] = 0x14; /* data track */
    entry[2] = (uint8_t)track;
    put_address(entry + 4, sector, in_time);
    return entry + 8;
}

/* One session with one track. */
static void read_toc(struct ide_channel *channel, const uint8_t *packet)
{
    enum { TRACKS = 0, SESSIONS = 1, TRACK_LEADOUT = 0xaa };
    unsigned format = packet[2] & 15 ? packet[2] & 15 : packet[9] >> 6;
    bool in_time = packet[1] & 2;
    uint8_t *bytes = channel->buffer, *entry = bytes + 4;
    if (format > SESSIONS || (format == TRACKS && packet[6] > 1 && packet[6] != TRACK_LEADOUT)) {
        fail(channel, wrong_field);
        return;
    }
    if (format == SESSIONS || packet[6] <= 1)
        entry = put_track(entry, 1, 0, in_time);
    if (format == TRACKS)
        entry = put_track(entry, TRACK_LEADOUT, sector_count(channel), in_time);
    store_be(bytes, (uint32_t)(entry - bytes) - 2, 2);
    bytes[2] = bytes[3] = 1; /* first and last track or session */
    answer(channel, (uint32_t)(entry - bytes), load_be(packet + 7, 2));
}

/* The profile, and nothing of the features beyond it. MMC-3 §6.6 */
static void get_configuration(struct ide_channel *channel, const uint8_t *packet)
{
    static const uint8_t features[] = {
        0, 0, 0, 12, 0, 0, 0, 8, /* length, current profile: CD-ROM */
        0, 0, 3, 4,  0, 8, 1, 0, /* the list of profiles: that one, and whether it is current */
    };
    memcpy(channel->buffer, features, sizeof(features));
    if (ide_active(channel)->tray_open)
        channel->buffer[7] = channel->buffer[14] = 0;
    answer(channel, sizeof(features), load_be(packet + 7, 2));
}

/* Asked again and again by guests that wait for a medium. MMC-3 §6.7 */
static void get_event_status(struct ide_channel *channel, const uint8_t *packet)
{
    enum { POLLED = 1, CLASS_MEDIA = 4 };
    const struct ide_drive *drive = ide_active(channel);
    uint8_t *bytes = channel->buffer;
    bool media = packet[4] & 1 << CLASS_MEDIA;
    if (!(packet[1] & POLLED)) {
        fail(channel, wrong_field);
        return;
    }
    memset(bytes, 0, 8);
    store_be(bytes, media ? 6 : 2, 2);
    bytes[2] = media ? CLASS_MEDIA : 0x80;
    bytes[3] = 1 << CLASS_MEDIA;
    bytes[5] = drive->tray_open ? 1 : 2; /* open, or a medium is in */
    answer(channel, media ? 8 : 4, load_be(packet + 7, 2));
}

/* Complete, one session of one track, not erasable. MMC-3 §6.22 */
static void read_disc_information(struct ide_channel *channel, const uint8_t *packet)
{
    uint8_t *bytes = channel->buffer;
    memset(bytes, 0, 34);
    store_be(bytes, 32, 2);
    bytes[2] = 0x0e;
    bytes[3] = bytes[4] = bytes[5] = bytes[6] = 1;
    bytes[7] = 0x20;
    answer(channel, 34, load_be(packet + 7, 2));
}

/* What the drive can do. MMC-3 §5.5.10 */
static void put_capabilities(const struct ide_drive *drive, uint8_t *page)
{
    memset(page, 0, 20);
    page[0] = 0x2a;
    page[1] = 18;
    page[2] = 0x03;                                   /* reads CD-R and CD-RW */
    page[6] = 0x29 | (drive->tray_locked ? 0x02 : 0); /* a tray that locks and ejects */
    store_be(page + 8, 706, 2);                       /* kB/s: four times a CD's */
    store_be(page + 14, 706, 2);
}

static void mode_sense(struct ide_channel *channel, const uint8_t *packet)
{
    static const uint8_t recovery[8] = {0x01, 6};
    uint8_t *bytes = channel->buffer, *page = bytes + 8;
    unsigned wanted = packet[2] & 0x3f, control = packet[2] >> 6;
    bool all = wanted == 0x3f;
    if (control == 3 || (!all && wanted != 0x01 && wanted != 0x2a)) {
        fail(channel, wrong_field);
        return;
    }
    memset(bytes, 0, 8);
    if (all || wanted == 0x01) {
        memcpy(page, recovery, sizeof(recovery));
        page += sizeof(recovery);
    }
    if (all || wanted == 0x2a) {
        put_capabilities(ide_active(channel), page);
        page += 20;
    }
    store_be(bytes, (uint32_t)(page - bytes) - 2, 2);
    bytes[2] = ide_active(channel)->tray_open ? 0x71 : 0x01; /* door open; data CD */
    answer(channel, (uint32_t)(page - bytes), load_be(packet + 7, 2));
}

static void mechanism_status(struct ide_channel *channel, const uint8_t *packet)
{
    uint8_t *bytes = channel->buffer;
    memset(bytes, 0, 8);
    bytes[1] = ide_active(channel)->tray_open ? 1 << 4 : 0;
    bytes[5] = 1; /* slots */
    answer(channel, 8, load_be(packet + 8, 2));
}

static const struct {
    uint8_t code;
    bool needs_medium;
    void (*start)(struct ide_channel *channel, const uint8_t *packet);
} commands[] = {
    {0x00, true, test_unit_ready},   {0x03, false, request_sense},
    {0x12, false, inquiry},          {0x1b, false, start_stop},
    {0x1e, false, prevent_removal},  {0x25, true, read_capacity},
    {0x28, true, read_10},           {0x2b, true, seek},
    {0x43, true, read_toc},          {0x46, false, get_configuration},
    {0x4a, false, get_event_status}, {0x51, true, read_disc_information},
    {0x5a, false, mode_sense},       {0xa8, true, read_12},
    {0xbd, false, mechanism_status}, {0xbe, true, read_cd},
};

void packet_execute(struct ide_channel *channel)
{
    const uint8_t *packet = channel->packet;
    channel->phase = IDE_IDLE;
    for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
        if (commands[i].code != packet[0])
            continue;
        if (commands[i].needs_medium && ide_active(channel)->tray_open)
            fail(channel, tray_is_open);
        else
            commands[i].start(channel, packet);
        return;
    }
    fail(channel, unknown_command);
}

/* --- the command register --- */

static void take_packet(struct ide_channel *channel)
{
    channel->phase = IDE_PACKET;
    channel->packets = true;
    channel->transfer.position = 0;
    ide_active(channel)->file.registers[IDE_COUNT] = REASON_COMMAND;
}

static void identify(struct ide_channel *channel)
{
    identify_cdrom(ide_active(channel), channel->buffer);
    ide_send(channel, IDE_SECTOR, IDE_SECTOR, false);
}

/* A disk's IDENTIFY and READ: it is none. */
static void refuse_as_disk(struct ide_channel *channel)
{
    ide_put_signature(ide_active(channel));
    ide_fail(channel, ERROR_ABORTED);
}

/* Transfer modes: none is slower here than another. */
static void accept(struct ide_channel *channel)
{
    ide_succeed(channel, true);
}

static const struct {
    uint8_t code;
    void (*start)(struct ide_channel *channel);
} register_commands[] = {
    {0x20, refuse_as_disk}, {0xa0, take_packet},    {0xa1, identify}, {0xe0, accept},
    {0xe1, accept},         {0xec, refuse_as_disk}, {0xef, accept},
};

void packet_command(struct ide_channel *channel, uint8_t code)
{
    for (unsigned i = 0; i < ARRAY_SIZE(register_commands); i++) {
        if (register_commands[i].code != code)
            continue;
        register_commands[i].start(channel);
        return;
    }
    ide_fail(channel, ERROR_ABORTED);
}
