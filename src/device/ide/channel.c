/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of an IDE channel. ATA/ATAPI-6 (T13/1410D) §7 and the state machines of §9. */
#include "device/ide/private.h"

#define COMMAND_DEVICE_RESET 0x08
#define COMMAND_DIAGNOSTIC   0x90
#define DIAGNOSTIC_GOOD      1

static unsigned selected(const struct ide_channel *channel)
{
    return channel->drives[0].file.registers[IDE_DEVICE] & DEVICE_SECOND ? 1 : 0;
}

static bool channel_empty(const struct ide_channel *channel)
{
    return !channel->drives[0].block && !channel->drives[1].block;
}

/* --- interrupts --- */

static void drive_line(struct ide_channel *channel)
{
    irq_set(&channel->irq, channel->interrupt && !(channel->control & CONTROL_NO_INTERRUPT));
}

void ide_interrupt(struct ide_channel *channel)
{
    channel->interrupt = true;
    channel->master.status |= IDE_MASTER_INTERRUPT;
    drive_line(channel);
}

static void interrupt_seen(struct ide_channel *channel)
{
    channel->interrupt = false;
    drive_line(channel);
}

void ide_succeed(struct ide_channel *channel, bool interrupt)
{
    channel->phase = IDE_IDLE;
    if (interrupt)
        ide_interrupt(channel);
}

void ide_fail(struct ide_channel *channel, uint8_t error)
{
    struct ide_drive *drive = ide_active(channel);
    drive->failed = true;
    drive->file.error = error;
    channel->phase = IDE_IDLE;
    ide_interrupt(channel);
}

/* --- reset --- */

void ide_put_signature(struct ide_drive *drive)
{
    uint8_t *registers = drive->file.registers;
    registers[IDE_COUNT] = registers[IDE_LBA_LOW] = 1;
    registers[IDE_LBA_MID] = drive->is_cdrom ? 0x14 : 0;
    registers[IDE_LBA_HIGH] = drive->is_cdrom ? 0xeb : 0;
}

static void drive_reset(struct ide_drive *drive)
{
    drive->file.registers[IDE_DEVICE] = 0;
    ide_put_signature(drive);
    drive->file.error = DIAGNOSTIC_GOOD;
    drive->failed = false;
    drive->ready = !drive->is_cdrom;
    drive->multiple = 0;
    drive->sense = (struct ide_sense){0};
}

void ide_channel_reset(struct ide_channel *channel)
{
    channel->resetting = channel->phase == IDE_IN_FLIGHT;
    if (channel->resetting)
        return; /* its completion comes back here */
    channel->phase = IDE_IDLE;
    drive_reset(&channel->drives[0]);
    drive_reset(&channel->drives[1]);
    interrupt_seen(channel);
}

/* --- commands --- */

static bool busy(const struct ide_channel *channel)
{
    return channel->resetting || channel->control & CONTROL_RESET || channel->phase == IDE_POSTED ||
           channel->phase == IDE_IN_FLIGHT;
}

/* Both drives carry this one out, whichever is selected. */
static void run_diagnostic(struct ide_channel *channel)
{
    ide_channel_reset(channel);
    ide_interrupt(channel);
}

static void command_write(struct ide_channel *channel, uint8_t code)
{
    struct ide_drive *drive = &channel->drives[selected(channel)];
    if (code == COMMAND_DEVICE_RESET && drive->block && drive->is_cdrom)
        ide_channel_reset(channel);
    if (busy(channel) || code == COMMAND_DEVICE_RESET)
        return;
    interrupt_seen(channel);
    if (code == COMMAND_DIAGNOSTIC) {
        run_diagnostic(channel);
        return;
    }
    channel->phase = IDE_IDLE; /* a new command ends one that waits for the guest */
    if (!drive->block)
        return;
    channel->active = (uint8_t)selected(channel);
    channel->packets = false;
    drive->failed = false;
    drive->file.error = 0;
    drive->ready = true;
    if (drive->is_cdrom)
        packet_command(channel, code);
    else
        ata_command(channel, code);
}

/* --- status --- */

static uint8_t status_read(struct ide_channel *channel)
{
    const struct ide_drive *drive = &channel->drives[selected(channel)];
    if (busy(channel))
        return STATUS_BUSY;
    if (!drive->block)
        return 0;
    uint8_t status = drive->ready ? STATUS_READY | STATUS_SEEK : 0;
    if (channel->phase != IDE_IDLE && drive == ide_active(channel))
        status |= STATUS_REQUEST;
    return drive->failed ? status | STATUS_ERROR : status;
}

/* --- data port --- */

/* The bytes that the data port moves now; *size may become less. NULL: it moves none. */
static uint8_t *data_place(struct ide_channel *channel, enum ide_phase phase, unsigned *size)
{
    struct ide_transfer *transfer = &channel->transfer;
    if (channel->phase != phase)
        return NULL;
    if (*size > transfer->block_end - transfer->position)
        *size = transfer->block_end - transfer->position;
    uint8_t *place = channel->buffer + transfer->position;
    transfer->position += *size;
    return place;
}

static void data_moved(struct ide_channel *channel)
{
    if (channel->transfer.position == channel->transfer.block_end)
        ide_block_done(channel);
}

static uint64_t data_read(struct ide_channel *channel, unsigned size)
{
    const uint8_t *place = data_place(channel, IDE_TO_GUEST, &size);
    if (!place)
        return bytes_mask(size);
    uint64_t value = load_le(place, size);
    data_moved(channel);
    return value;
}

static void packet_write(struct ide_channel *channel, uint64_t value, unsigned size)
{
    uint32_t room = IDE_PACKET_SIZE - channel->transfer.position;
    if (size > room)
        size = room;
    store_le(channel->packet + channel->transfer.position, value, size);
    channel->transfer.position += size;
    if (channel->transfer.position == IDE_PACKET_SIZE)
        packet_execute(channel);
}

static void data_write(struct ide_channel *channel, uint64_t value, unsigned size)
{
    if (channel->phase == IDE_PACKET) {
        packet_write(channel, value, size);
        return;
    }
    uint8_t *place = data_place(channel, IDE_FROM_GUEST, &size);
    if (!place)
        return;
    store_le(place, value, size);
    data_moved(channel);
}

/* --- the command block --- */

static uint8_t register_read(struct ide_channel *channel, unsigned index)
{
    const struct ide_task_file *file = &channel->drives[selected(channel)].file;
    if (index == IDE_STATUS_COMMAND) {
        interrupt_seen(channel);
        return status_read(channel);
    }
    if (index == IDE_ERROR_FEATURES)
        return file->error;
    if (index == IDE_DEVICE)
        return file->registers[index] | 0xa0; /* two bits that are always set */
    return channel->control & CONTROL_HIGH_ORDER ? file->previous[index] : file->registers[index];
}

static void register_write(struct ide_channel *channel, unsigned index, uint8_t value)
{
    if (index == IDE_STATUS_COMMAND) {
        command_write(channel, value);
        return;
    }
    if (busy(channel))
        return;
    channel->control &= (uint8_t)~CONTROL_HIGH_ORDER;
    for (unsigned i = 0; i < ARRAY_SIZE(channel->drives); i++) {
        struct ide_task_file *file = &channel->drives[i].file;
        file->previous[index] = file->registers[index];
        file->registers[index] = value;
    }
}

static uint64_t command_block_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *channel = opaque;
    uint64_t value = 0;
    if (channel_empty(channel))
        return bytes_mask(size);
    pthread_mutex_lock(&channel->lock);
    if (offset == IDE_DATA)
        value = data_read(channel, size);
    else
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)register_read(channel, (unsigned)offset + i) << (8 * i);
    pthread_mutex_unlock(&channel->lock);
    return value;
}

static void command_block_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_channel *channel = opaque;
    pthread_mutex_lock(&channel->lock);
    if (offset == IDE_DATA)
        data_write(channel, value, size);
    else
        for (unsigned i = 0; i < size; i++)
            register_write(channel, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    pthread_mutex_unlock(&channel->lock);
}

/* --- the control block: one register --- */

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide_channel *channel = opaque;
    if (channel_empty(channel))
        return bytes_mask(size);
    pthread_mutex_lock(&channel->lock);
    uint64_t value = status_read(channel);
    pthread_mutex_unlock(&channel->lock);
    return value;
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide_channel *channel = opaque;
    pthread_mutex_lock(&channel->lock);
    bool was_reset = channel->control & CONTROL_RESET;
    channel->control = (uint8_t)value;
    if (value & CONTROL_RESET && !was_reset)
        ide_channel_reset(channel);
    drive_line(channel);
    pthread_mutex_unlock(&channel->lock);
}

const struct bus_ops ide_command_ops = {command_block_read, command_block_write};
const struct bus_ops ide_control_ops = {control_read, control_write};
