/* SPDX-License-Identifier: Apache-2.0 */
#include "ide_board.h"

#include "device/bridges.h"

#include <stdlib.h>

#define TABLE          0x80000
#define FUNCTION       (1 << 11 | 1 << 8)
#define CONFIG_MASTER  0x20
#define CONFIG_COMMAND 0x04

static void config_address(struct ide_board *ide, unsigned offset)
{
    bus_write(&ide->board->bus, BUS_PORT, 0xcf8, BIT(31) | FUNCTION | offset, 4);
}

void ide_allow_master(struct ide_board *ide, bool allowed)
{
    config_address(ide, CONFIG_COMMAND);
    bus_write(&ide->board->bus, BUS_PORT, 0xcfc, allowed ? 5 : 1, 2);
}

struct ide_board *ide_board_create(uint64_t size, bool is_cdrom)
{
    struct error error = {0};
    struct ide_board *ide = calloc(1, sizeof(*ide));
    struct ide_config config = {0};
    assert_non_null(ide);
    fake_time_reset();
    ide->board = board_create();
    ide->ram = ram_block_create(size);
    ide->pci = pci_bus_create(&ide->board->bus, &error);
    config.drives[0].block = &ide->ram->block;
    config.drives[0].is_cdrom = is_cdrom;
    assert_non_null(ide->pci);
    assert_int_equal(bridges_create(ide->pci, &error), 0);
    assert_int_equal(ide_create(ide->pci, &config, &error), 0);
    pci_assign_resources(ide->pci);
    config_address(ide, CONFIG_MASTER);
    ide->master = (uint16_t)(bus_read(&ide->board->bus, BUS_PORT, 0xcfc, 2) & 0xfffc);
    ide_allow_master(ide, true);
    return ide;
}

int ide_board_teardown(void **state)
{
    struct ide_board *ide = *state;
    board_destroy(ide->board);
    ram_block_destroy(ide->ram);
    free(ide);
    return 0;
}

uint8_t ide_in(struct ide_board *ide, uint16_t port)
{
    return board_in(ide->board, port);
}

void ide_out(struct ide_board *ide, uint16_t port, uint8_t value)
{
    board_out(ide->board, port, value);
}

void ide_command(struct ide_board *ide, uint8_t code)
{
    board_out(ide->board, IDE_STATUS, code);
}

void ide_address(struct ide_board *ide, uint32_t sector, uint8_t count)
{
    ide_out(ide, IDE_COUNT, count);
    ide_out(ide, IDE_LBA_LOW, (uint8_t)sector);
    ide_out(ide, IDE_LBA_MID, (uint8_t)(sector >> 8));
    ide_out(ide, IDE_LBA_HIGH, (uint8_t)(sector >> 16));
    ide_out(ide, IDE_DEVICE, (uint8_t)(0x40 | sector >> 24));
}

void ide_read_data(struct ide_board *ide, uint8_t *bytes, unsigned length)
{
    for (unsigned i = 0; i < length; i += 2)
        store_le(bytes + i, bus_read(&ide->board->bus, BUS_PORT, IDE_DATA, 2), 2);
}

void ide_write_data(struct ide_board *ide, const uint8_t *bytes, unsigned length)
{
    for (unsigned i = 0; i < length; i += 2)
        bus_write(&ide->board->bus, BUS_PORT, IDE_DATA, load_le(bytes + i, 2), 2);
}

void ide_settle(struct ide_board *ide)
{
    board_settle(ide->board, ide->ram);
}

bool ide_interrupts(const struct ide_board *ide)
{
    return ide->board->levels & BIT(14);
}

void ide_master_table(struct ide_board *ide, uint32_t address)
{
    bus_write(&ide->board->bus, BUS_PORT, ide->master + 4u, address, 4);
}

void ide_table(struct ide_board *ide, const struct ide_descriptor *descriptors, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const uint32_t words[] = {descriptors[i].address,
                                  descriptors[i].count | (uint32_t)descriptors[i].last << 31};
        assert_int_equal(
            memory_write(ide->board->memory, TABLE + i * sizeof(words), words, sizeof(words)), 0);
    }
    ide_master_table(ide, TABLE);
}

void ide_master_start(struct ide_board *ide)
{
    ide_out(ide, ide->master, 1);
}

void ide_master_stop(struct ide_board *ide)
{
    ide_out(ide, ide->master, 0);
    ide_out(ide, ide->master + 2u, MASTER_IRQ | MASTER_ERR);
}

uint8_t ide_master_status(struct ide_board *ide)
{
    return ide_in(ide, ide->master + 2u);
}
