/* SPDX-License-Identifier: Apache-2.0 */
#include "board.h"

#include <stdlib.h>
#include <string.h>

static void probe_gsi(void *opaque, unsigned number, int level)
{
    struct board *board = opaque;
    uint32_t bit = 1u << number;
    board->rises[number] += level && !(board->levels & bit);
    board->levels = level ? board->levels | bit : board->levels & ~bit;
}

static void probe_intr(void *opaque, unsigned number, int level)
{
    ((struct board *)opaque)->intr = level;
}

static void probe_message(void *opaque, uint64_t address, uint32_t data)
{
    struct board *board = opaque;
    board->messages++;
    board->message_address = address;
    board->message_data = data;
}

static void probe_power(void *opaque, enum bus_power request)
{
    struct board *board = opaque;
    board->power_requests++;
    board->power = request;
}

struct board *board_create(void)
{
    struct error error = {0};
    struct board *board = calloc(1, sizeof(*board));
    board->loop = loop_create(&error);
    board->memory = memory_create(MIB(1), &error);
    if (!board->loop || !board->memory ||
        bus_init(&board->bus, board->memory, board->loop, NULL, &error) < 0)
        abort();
    board->bus.gsi_sinks[1].set = probe_gsi;
    board->bus.gsi_sinks[1].opaque = board;
    board->bus.intr = (struct irq_line){.set = probe_intr, .opaque = board};
    board->bus.message_sink = probe_message;
    board->bus.message_opaque = board;
    board->bus.power_sink = probe_power;
    board->bus.power_opaque = board;
    return board;
}

void board_destroy(struct board *board)
{
    bus_destroy(&board->bus);
    memory_destroy(board->memory);
    loop_destroy(board->loop);
    free(board);
}

int board_setup(void **state)
{
    fake_time_reset();
    *state = board_create();
    return 0;
}

int board_teardown(void **state)
{
    board_destroy(*state);
    return 0;
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

void board_turn(struct board *board)
{
    assert_int_equal(loop_post(board->loop, stop, board->loop), 0);
    assert_int_equal(loop_run(board->loop), 0);
}

void board_settle(struct board *board, struct ram_block *ram)
{
    do {
        block_drain(&ram->block);
        board_turn(board);
    } while (ram->held.first);
}

uint8_t board_in(struct board *board, uint16_t port)
{
    return (uint8_t)bus_read(&board->bus, BUS_PORT, port, 1);
}

void board_out(struct board *board, uint16_t port, uint8_t value)
{
    bus_write(&board->bus, BUS_PORT, port, value, 1);
}

static struct device *device_find(struct board *board, const char *name)
{
    struct device *device = board->bus.devices;
    while (device && strcmp(device->name, name))
        device = device->next;
    assert_non_null(device);
    return device;
}

uint8_t *board_save(struct board *board, const char *name)
{
    struct device *device = device_find(board, name);
    uint8_t *saved = malloc(state_size(device->state));
    device_save(device, saved);
    return saved;
}

int board_load(struct board *board, const char *name, uint8_t *saved)
{
    struct error error = {0};
    struct device *device = device_find(board, name);
    int result =
        device_load(device, device->state->version, saved, state_size(device->state), &error);
    free(saved);
    return result;
}
