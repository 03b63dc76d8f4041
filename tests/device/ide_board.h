/* SPDX-License-Identifier: Apache-2.0 */
/* A board with an IDE controller and one drive, first on the primary channel. */
#ifndef NACRE_TESTS_DEVICE_IDE_BOARD_H
#define NACRE_TESTS_DEVICE_IDE_BOARD_H

#include "board.h"
#include "device/ide/ide.h"

enum {
    IDE_DATA = 0x1f0,
    IDE_ERROR = 0x1f1, /* read; features when written */
    IDE_COUNT = 0x1f2,
    IDE_LBA_LOW = 0x1f3,
    IDE_LBA_MID = 0x1f4,
    IDE_LBA_HIGH = 0x1f5,
    IDE_DEVICE = 0x1f6,
    IDE_STATUS = 0x1f7, /* read; the command when written */
};

#define STATUS_ERR  0x01
#define STATUS_DRQ  0x08
#define STATUS_IDLE 0x50
#define STATUS_BSY  0x80

#define ERROR_ABRT 0x04
#define ERROR_IDNF 0x10
#define ERROR_UNC  0x40

#define MASTER_ACTIVE 1
#define MASTER_ERR    2
#define MASTER_IRQ    4

struct ide_board {
    struct board *board;
    struct pci_bus *pci;
    struct ram_block *ram;
    uint16_t master; /* ports of the primary channel's bus master */
};

struct ide_descriptor {
    uint32_t address;
    uint16_t count;
    bool last;
};

struct ide_board *ide_board_create(uint64_t size, bool is_cdrom);
int ide_board_teardown(void **state);

uint8_t ide_in(struct ide_board *ide, uint16_t port);
void ide_out(struct ide_board *ide, uint16_t port, uint8_t value);
void ide_command(struct ide_board *ide, uint8_t code);
/* A 28-bit address and a count (0: 256 sectors). */
void ide_address(struct ide_board *ide, uint32_t sector, uint8_t count);
void ide_read_data(struct ide_board *ide, uint8_t *bytes, unsigned length);
void ide_write_data(struct ide_board *ide, const uint8_t *bytes, unsigned length);
/* Waits for the drive. */
void ide_settle(struct ide_board *ide);
bool ide_interrupts(const struct ide_board *ide);

/* Writes a table of descriptors, and tells the bus master. */
void ide_table(struct ide_board *ide, const struct ide_descriptor *descriptors, unsigned count);
void ide_master_table(struct ide_board *ide, uint32_t address);
void ide_master_start(struct ide_board *ide);
/* Stops it and acknowledges what it said. */
void ide_master_stop(struct ide_board *ide);
uint8_t ide_master_status(struct ide_board *ide);
void ide_allow_master(struct ide_board *ide, bool allowed);

#endif
