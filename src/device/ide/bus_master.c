/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bus master: 82371SB (PIIX3) data sheet 290550 §2.7, and the Programming Interface for Bus
 * Master IDE Controller 1.0. A table of descriptors in guest memory says where the data go. The
 * table may form a loop: each descriptor moves at least two bytes, so the transfer's length bounds
 * it.
 */
#include "device/ide/private.h"

#define REGISTERS 8 /* a channel's */

enum { MASTER_COMMAND = 0, MASTER_STATUS = 2, MASTER_TABLE = 4 };

#define COMMAND_START BIT(0)
#define COMMAND_WRITE BIT(3) /* to memory */

#define STATUS_ACTIVE       BIT(0)
#define STATUS_MASTER_ERROR BIT(1)
#define STATUS_CAPABLE      (BIT(5) | BIT(6)) /* of each drive; for software's notes */

#define DESCRIPTOR_LAST BIT(31)

bool ide_master_started(const struct ide_channel *channel)
{
    return channel->master.command & COMMAND_START;
}

static bool fetch(struct ide_channel *channel)
{
    struct ide_bus_master *master = &channel->master;
    uint32_t descriptor[2];
    if (master->last || memory_read(pci_device_bus(&channel->ide->pci)->memory, master->next,
                                    descriptor, sizeof(descriptor)) < 0)
        return false;
    master->next += (uint32_t)sizeof(descriptor);
    master->address = descriptor[0] & ~1u;
    master->left = descriptor[1] & 0xfffe;
    if (!master->left)
        master->left = (uint32_t)KIB(64);
    master->last = descriptor[1] & DESCRIPTOR_LAST;
    return true;
}

bool ide_master_move(struct ide_channel *channel, uint8_t *bytes, uint32_t length, bool to_guest)
{
    struct ide_bus_master *master = &channel->master;
    struct memory *memory = pci_device_bus(&channel->ide->pci)->memory;
    if (!pci_bus_master(&channel->ide->pci))
        return false;
    while (length) {
        if (!master->left && !fetch(channel))
            return false;
        uint32_t part = length < master->left ? length : master->left;
        int result = to_guest ? memory_write(memory, master->address, bytes, part)
                              : memory_read(memory, master->address, bytes, part);
        if (result < 0)
            return false;
        bytes += part;
        length -= part;
        master->address += part;
        master->left -= part;
    }
    return true;
}

/* Stays active when the table has room for more than the drive had. */
void ide_master_done(struct ide_channel *channel, bool good)
{
    struct ide_bus_master *master = &channel->master;
    if (!good)
        master->status |= STATUS_MASTER_ERROR;
    if (!good || (master->last && !master->left))
        master->status &= (uint8_t)~STATUS_ACTIVE;
}

static void command_write(struct ide_channel *channel, uint8_t value)
{
    struct ide_bus_master *master = &channel->master;
    bool start = value & ~master->command & COMMAND_START;
    master->command = value & (COMMAND_START | COMMAND_WRITE);
    if (!(value & COMMAND_START))
        master->status &= (uint8_t)~STATUS_ACTIVE;
    if (!start)
        return;
    master->status |= STATUS_ACTIVE;
    master->next = master->table;
    master->left = 0;
    master->last = false;
    if (channel->phase == IDE_DMA_WAIT)
        ide_dma_go(channel);
}

static uint8_t register_read(const struct ide_channel *channel, unsigned index)
{
    const struct ide_bus_master *master = &channel->master;
    if (index == MASTER_COMMAND)
        return master->command;
    if (index == MASTER_STATUS)
        return master->status;
    return index >= MASTER_TABLE ? (uint8_t)(master->table >> 8 * (index - MASTER_TABLE)) : 0;
}

static void register_write(struct ide_channel *channel, unsigned index, uint8_t value)
{
    struct ide_bus_master *master = &channel->master;
    if (index == MASTER_COMMAND) {
        command_write(channel, value);
    } else if (index == MASTER_STATUS) {
        master->status &= (uint8_t) ~(value & (STATUS_MASTER_ERROR | IDE_MASTER_INTERRUPT));
        master->status = (master->status & (uint8_t)~STATUS_CAPABLE) | (value & STATUS_CAPABLE);
    } else if (index >= MASTER_TABLE) {
        unsigned shift = 8 * (index - MASTER_TABLE);
        master->table &= ~(UINT32_C(0xff) << shift);
        master->table |= (uint32_t)value << shift;
        master->table &= ~UINT32_C(3);
    }
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    struct ide *ide = opaque;
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        struct ide_channel *channel = &ide->channels[(offset + i) / REGISTERS];
        pthread_mutex_lock(&channel->lock);
        value |= (uint64_t)register_read(channel, (unsigned)(offset + i) % REGISTERS) << (8 * i);
        pthread_mutex_unlock(&channel->lock);
    }
    return value;
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct ide *ide = opaque;
    for (unsigned i = 0; i < size; i++) {
        struct ide_channel *channel = &ide->channels[(offset + i) / REGISTERS];
        pthread_mutex_lock(&channel->lock);
        register_write(channel, (unsigned)(offset + i) % REGISTERS, (uint8_t)(value >> (8 * i)));
        pthread_mutex_unlock(&channel->lock);
    }
}

const struct bus_ops ide_master_ops = {master_read, master_write};
