/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the IDE controller share. A channel does one thing at a time; `phase` says
 * which. Guest accesses come on vcpu threads, completions on the event loop's, which also submits
 * all requests to the back end; the channel's lock is held in each of the functions below.
 */
#ifndef NACRE_DEVICE_IDE_PRIVATE_H
#define NACRE_DEVICE_IDE_PRIVATE_H

#include "base/bits.h"
#include "device/ide/ide.h"

#define IDE_CHANNELS    2
#define IDE_BUFFER_SIZE KIB(64)
#define IDE_SECTOR      512u
#define IDE_PACKET_SIZE 12

/* Registers of the command block. ATA/ATAPI-6 §7 */
enum ide_register {
    IDE_DATA,
    IDE_ERROR_FEATURES,
    IDE_COUNT, /* of a packet command: why it interrupts */
    IDE_LBA_LOW,
    IDE_LBA_MID, /* of a packet command: byte count, low half */
    IDE_LBA_HIGH,
    IDE_DEVICE,
    IDE_STATUS_COMMAND,
    IDE_REGISTERS
};

#define STATUS_ERROR   BIT(0)
#define STATUS_REQUEST BIT(3) /* DRQ: data wait to be moved */
#define STATUS_SEEK    BIT(4)
#define STATUS_READY   BIT(6)
#define STATUS_BUSY    BIT(7)

#define ERROR_ABORTED       BIT(2)
#define ERROR_NOT_FOUND     BIT(4)
#define ERROR_UNCORRECTABLE BIT(6)

#define DEVICE_SECOND BIT(4)
#define DEVICE_LBA    BIT(6)

#define CONTROL_NO_INTERRUPT BIT(1)
#define CONTROL_RESET        BIT(2)
#define CONTROL_HIGH_ORDER   BIT(7) /* what is read are the bytes written before the last */

/* Interrupt reason: the count register of packet commands. ATA/ATAPI-6 §7.11.5 */
#define REASON_COMMAND BIT(0)
#define REASON_IN      BIT(1)

enum ide_phase {
    IDE_IDLE,
    IDE_PACKET,     /* takes the bytes of a command packet */
    IDE_TO_GUEST,   /* a block of data waits to be read */
    IDE_FROM_GUEST, /* a block of data waits to be written */
    IDE_DMA_WAIT,   /* until the guest starts the bus master */
    IDE_POSTED,     /* the loop is to submit a request */
    IDE_IN_FLIGHT,  /* the back end has it */
    IDE_PHASE_COUNT
};

/* SCSI sense: key, additional code and its qualifier. MMC-3 annex; SPC-3 §4.5.6 */
struct ide_sense {
    uint8_t key, code, qualifier;
};

/* What the guest has written, and what a command leaves to be read. Each drive of a channel has its
 * own; writes go to both. */
struct ide_task_file {
    uint8_t registers[IDE_REGISTERS], previous[IDE_REGISTERS];
    uint8_t error;
};

struct ide_drive {
    struct block *block; /* NULL: no drive */
    bool is_cdrom;
    unsigned index; /* among all of the controller */
    struct ide_task_file file;
    bool ready;                   /* a packet drive is not before its first command */
    bool failed;                  /* the last command */
    uint8_t multiple;             /* sectors in a block of READ MULTIPLE; 0: not set */
    uint8_t heads, track_sectors; /* of the geometry in use */
    /* CD-ROM */
    struct ide_sense sense;
    bool tray_open, tray_locked;
};

/* Data on their way between the medium, the buffer and the guest. */
struct ide_transfer {
    uint8_t operation; /* enum block_operation: READ, WRITE or FLUSH */
    bool dma;
    uint64_t offset;                   /* bytes on the medium: of the next request */
    uint64_t left;                     /* bytes that the medium has yet to give or to take */
    uint32_t block_size;               /* bytes between two interrupts, without DMA */
    uint32_t position, block_end, end; /* in the buffer: next byte, end of this block, of all */
};

#define IDE_MASTER_INTERRUPT BIT(2) /* in its status: the drive has interrupted */

/* The channel's half of the bus master. PIIX3 data sheet §2.7 */
struct ide_bus_master {
    uint8_t command, status;
    uint32_t table;
    uint32_t next;          /* address of the next descriptor */
    uint32_t address, left; /* of the current one: bytes */
    bool last;              /* the current one ends the table */
};

struct ide;

struct ide_channel {
    struct ide *ide;
    pthread_mutex_t lock;
    struct ide_drive drives[2];
    uint8_t control;
    uint8_t phase;
    uint8_t active; /* the drive whose command it is: the guest may select the other meanwhile */
    bool resetting; /* reset as soon as the request in flight is back */
    bool packets;   /* the command in progress came as a packet */
    bool interrupt; /* what the drive asks for, let through or not */
    uint8_t packet[IDE_PACKET_SIZE];
    struct ide_transfer transfer;
    struct ide_bus_master master;
    uint8_t buffer[IDE_BUFFER_SIZE];
    struct irq_line irq;
    struct block_request request;
    struct iovec vector;
    struct bus_region command_region, control_region;
};

struct ide {
    struct pci_device pci;
    struct ide_channel channels[IDE_CHANNELS];
};

/* --- channel.c: registers --- */

extern const struct bus_ops ide_command_ops, ide_control_ops; /* opaque: the channel */

static inline struct ide_drive *ide_active(struct ide_channel *channel)
{
    return &channel->drives[channel->active];
}

void ide_interrupt(struct ide_channel *channel);
/* The command is over; the drive interrupts if asked to. */
void ide_succeed(struct ide_channel *channel, bool interrupt);
/* error: ERROR_ bits, or what a packet drive puts there. */
void ide_fail(struct ide_channel *channel, uint8_t error);
/* As after power-on, with both drives' signatures; what is in flight is waited for. */
void ide_channel_reset(struct ide_channel *channel);
/* What the registers of a drive say after a reset: what kind of drive it is. */
void ide_put_signature(struct ide_drive *drive);

/* --- transfer.c: data --- */

/* `length` bytes, up to IDE_BUFFER_SIZE, lie in the buffer for the guest. */
void ide_send(struct ide_channel *channel, uint32_t length, uint32_t block_size, bool dma);
/* The range of the medium has been checked. */
void ide_read(struct ide_channel *channel, uint64_t offset, uint64_t length, uint32_t block_size,
              bool dma);
void ide_write(struct ide_channel *channel, uint64_t offset, uint64_t length, uint32_t block_size,
               bool dma);
void ide_flush(struct ide_channel *channel);
/* The guest has moved a block through the data port. */
void ide_block_done(struct ide_channel *channel);
/* The guest has started the bus master. */
void ide_dma_go(struct ide_channel *channel);
/* Takes up a transfer again that was saved in the middle. */
void ide_transfer_continue(struct ide_channel *channel);

/* --- bus_master.c --- */

extern const struct bus_ops ide_master_ops; /* opaque: struct ide */

bool ide_master_started(const struct ide_channel *channel);
/* Moves bytes as the descriptors say. False: they end too early or point nowhere. */
bool ide_master_move(struct ide_channel *channel, uint8_t *bytes, uint32_t length, bool to_guest);
void ide_master_done(struct ide_channel *channel, bool good);

/* --- ata.c, packet.c: commands --- */

void ata_command(struct ide_channel *channel, uint8_t code);
/* The command register of a packet drive. */
void packet_command(struct ide_channel *channel, uint8_t code);
/* All of the packet has arrived. */
void packet_execute(struct ide_channel *channel);
/* The medium could not be read. */
void packet_fail_medium(struct ide_channel *channel);
/* Tells the host of the next block's size, and why the drive interrupts. */
void packet_announce(struct ide_channel *channel, uint8_t reason, uint32_t length);

/* identify.c: both fill IDE_SECTOR bytes. */
void identify_disk(const struct ide_drive *drive, uint8_t *bytes);
void identify_cdrom(const struct ide_drive *drive, uint8_t *bytes);

#endif
