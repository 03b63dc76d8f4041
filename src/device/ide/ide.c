/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PIIX3's IDE function (82371SB data sheet 290550 §2.3, §2.7): two channels at their legacy ports
 * and interrupts, with up to two drives each.
 */
#include "device/ide/private.h"

#include <errno.h>
#include <stdlib.h>

#define VENDOR_INTEL 0x8086
#define DEVICE_IDE   0x7010
#define CLASS_IDE    0x010180 /* bus master; both channels at legacy ports */

#define SLOT     1
#define FUNCTION 1

#define TIMING        0x40 /* IDETIM of both channels; kept for guests, changes nothing */
#define TIMING_SIZE   4
#define TIMING_DECODE 0x80 /* in the high byte: the channel is there */
#define MASTER_BAR    4
#define MASTER_SIZE   16

#define HEADS         16
#define TRACK_SECTORS 63

/* Firmware finds out which channels have drives and turns them on. */
static void configure(struct pci_device *device)
{
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        device->config[TIMING + 2 * i + 1] |= TIMING_DECODE;
}

static void drain(struct ide_channel *channel)
{
    for (unsigned i = 0; i < ARRAY_SIZE(channel->drives); i++)
        if (channel->drives[i].block)
            block_drain(channel->drives[i].block);
}

static void channel_power_on(struct ide_channel *channel)
{
    pthread_mutex_lock(&channel->lock);
    ide_channel_reset(channel);
    pthread_mutex_unlock(&channel->lock);
    drain(channel); /* completes a reset that had to wait */
    pthread_mutex_lock(&channel->lock);
    channel->control = 0;
    channel->master = (struct ide_bus_master){0};
    for (unsigned i = 0; i < ARRAY_SIZE(channel->drives); i++) {
        struct ide_drive *drive = &channel->drives[i];
        drive->heads = HEADS;
        drive->track_sectors = TRACK_SECTORS;
        drive->tray_open = drive->tray_locked = false;
    }
    pthread_mutex_unlock(&channel->lock);
}

static void ide_reset(struct device *device)
{
    struct ide *ide = (struct ide *)device;
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        channel_power_on(&ide->channels[i]);
    pci_reset_config(&ide->pci);
    memset(ide->pci.config + TIMING, 0, TIMING_SIZE);
}

static void ide_destroy(struct device *device)
{
    struct ide *ide = (struct ide *)device;
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        pthread_mutex_destroy(&ide->channels[i].lock);
    free(ide);
}

/* --- state --- */

static void ide_before_save(struct device *device)
{
    pci_before_save(&((struct ide *)device)->pci);
}

static bool state_sound(const struct ide_channel *channel)
{
    const struct ide_transfer *transfer = &channel->transfer;
    const struct ide_drive *drive = &channel->drives[channel->active & 1];
    bool packet = channel->phase == IDE_PACKET;
    if (channel->active > 1 || channel->phase >= IDE_PHASE_COUNT ||
        transfer->operation > BLOCK_FLUSH || transfer->end > IDE_BUFFER_SIZE ||
        transfer->block_end > transfer->end ||
        transfer->position > (packet ? IDE_PACKET_SIZE - 1 : transfer->block_end))
        return false;
    if (channel->phase != IDE_IDLE && !drive->block)
        return false;
    return !drive->block || range_within(transfer->offset, transfer->left,
                                         align_down(drive->block->size, IDE_SECTOR));
}

static int channel_after_load(struct ide_channel *channel, struct error *error)
{
    pthread_mutex_lock(&channel->lock);
    bool sound = state_sound(channel);
    if (!sound)
        channel->phase = IDE_IDLE;
    channel->active &= 1;
    ide_transfer_continue(channel);
    pthread_mutex_unlock(&channel->lock);
    return sound ? 0 : error_set(error, EINVAL, "state of ide: no such transfer: file damaged");
}

static int ide_after_load(struct device *device, struct error *error)
{
    struct ide *ide = (struct ide *)device;
    int result = pci_after_load(&ide->pci, error);
    for (unsigned i = 0; i < IDE_CHANNELS && result == 0; i++)
        result = channel_after_load(&ide->channels[i], error);
    return result;
}

static const struct state_field drive_fields[] = {
    STATE_ARRAY(struct ide_drive, file.registers),  STATE_ARRAY(struct ide_drive, file.previous),
    STATE_FIELD(struct ide_drive, file.error),      STATE_FIELD(struct ide_drive, ready),
    STATE_FIELD(struct ide_drive, failed),          STATE_FIELD(struct ide_drive, multiple),
    STATE_FIELD(struct ide_drive, heads),           STATE_FIELD(struct ide_drive, track_sectors),
    STATE_FIELD(struct ide_drive, sense.key),       STATE_FIELD(struct ide_drive, sense.code),
    STATE_FIELD(struct ide_drive, sense.qualifier), STATE_FIELD(struct ide_drive, tray_open),
    STATE_FIELD(struct ide_drive, tray_locked),
};
static const struct state_table drive_state = STATE_TABLE("ide-drive", 1, drive_fields);

static const struct state_field channel_fields[] = {
    STATE_STRUCT_ARRAY(struct ide_channel, drives, &drive_state),
    STATE_FIELD(struct ide_channel, control),
    STATE_FIELD(struct ide_channel, phase),
    STATE_FIELD(struct ide_channel, active),
    STATE_FIELD(struct ide_channel, resetting),
    STATE_FIELD(struct ide_channel, packets),
    STATE_FIELD(struct ide_channel, interrupt),
    STATE_ARRAY(struct ide_channel, packet),
    STATE_FIELD(struct ide_channel, transfer.operation),
    STATE_FIELD(struct ide_channel, transfer.dma),
    STATE_FIELD(struct ide_channel, transfer.offset),
    STATE_FIELD(struct ide_channel, transfer.left),
    STATE_FIELD(struct ide_channel, transfer.block_size),
    STATE_FIELD(struct ide_channel, transfer.position),
    STATE_FIELD(struct ide_channel, transfer.block_end),
    STATE_FIELD(struct ide_channel, transfer.end),
    STATE_FIELD(struct ide_channel, master.command),
    STATE_FIELD(struct ide_channel, master.status),
    STATE_FIELD(struct ide_channel, master.table),
    STATE_FIELD(struct ide_channel, master.next),
    STATE_FIELD(struct ide_channel, master.address),
    STATE_FIELD(struct ide_channel, master.left),
    STATE_FIELD(struct ide_channel, master.last),
    STATE_BLOB(struct ide_channel, buffer),
};
static const struct state_table channel_state = STATE_TABLE("ide-channel", 1, channel_fields);

static const struct state_field ide_fields[] = {
    STATE_NESTED(struct ide, pci, &pci_device_state),
    STATE_STRUCT_ARRAY(struct ide, channels, &channel_state),
};
static const struct state_table ide_state = STATE_TABLE("ide", 1, ide_fields);

static const struct device_ops ide_ops = {
    .reset = ide_reset,
    .destroy = ide_destroy,
    .before_save = ide_before_save,
    .after_load = ide_after_load,
};

/* --- creation --- */

static void channel_init(struct ide *ide, unsigned index, struct bus *bus,
                         const struct ide_config *config)
{
    struct ide_channel *channel = &ide->channels[index];
    channel->ide = ide;
    pthread_mutex_init(&channel->lock, NULL);
    channel->irq = bus_gsi(bus, 14 + index);
    for (unsigned i = 0; i < ARRAY_SIZE(channel->drives); i++) {
        unsigned number = 2 * index + i;
        channel->drives[i].index = number;
        channel->drives[i].block = config->drives[number].block;
        channel->drives[i].is_cdrom = config->drives[number].is_cdrom;
    }
}

static int channel_connect(struct ide_channel *channel, unsigned index, struct bus *bus,
                           struct error *error)
{
    static const uint16_t command_ports[] = {0x1f0, 0x170}, control_ports[] = {0x3f6, 0x376};
    channel->command_region = (struct bus_region){
        "ide", BUS_PORT, command_ports[index], IDE_REGISTERS, 4, &ide_command_ops, channel};
    channel->control_region = (struct bus_region){
        "ide-control", BUS_PORT, control_ports[index], 1, 1, &ide_control_ops, channel};
    int result = bus_add_region(bus, &channel->command_region, error);
    return result == 0 ? bus_add_region(bus, &channel->control_region, error) : result;
}

int ide_create(struct pci_bus *bus, const struct ide_config *config, struct error *error)
{
    static const struct pci_identity identity = {
        .vendor = VENDOR_INTEL, .device = DEVICE_IDE, .class_code = CLASS_IDE};
    struct ide *ide = calloc(1, sizeof(*ide));
    if (!ide)
        return error_set(error, ENOMEM, "ide: out of memory");
    ide->pci.device = (struct device){.name = "ide", .ops = &ide_ops, .state = &ide_state};
    ide->pci.configure = configure;
    memset(ide->pci.writable + TIMING, 0xff, TIMING_SIZE);
    pci_add_bar(&ide->pci, MASTER_BAR, BUS_PORT, MASTER_SIZE, false, &ide_master_ops, ide,
                "ide-master");
    int result = pci_add_device(bus, &ide->pci, &identity, SLOT, FUNCTION, error);
    if (result < 0) {
        free(ide);
        return result;
    }
    struct bus *ports = pci_device_bus(&ide->pci);
    for (unsigned i = 0; i < IDE_CHANNELS; i++)
        channel_init(ide, i, ports, config);
    ide_reset(&ide->pci.device);
    for (unsigned i = 0; i < IDE_CHANNELS && result == 0; i++)
        result = channel_connect(&ide->channels[i], i, ports, error);
    return result;
}
