/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A board for unit tests of devices: a bus with nothing on it, a probe on every interrupt line and
 * on the message bus, and the host's time in the test's hand.
 */
#ifndef NACRE_TESTS_DEVICE_BOARD_H
#define NACRE_TESTS_DEVICE_BOARD_H

#include "base/bits.h"
#include "bus/bus.h"
#include "device/devices.h"
#include "fake_time.h"
#include "ram_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* last: it needs the three above */

struct board {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    /* What the probes have seen. */
    unsigned rises[BUS_GSI_COUNT]; /* edges from low to high */
    uint32_t levels;               /* by GSI */
    int intr;                      /* output of the 8259 pair */
    unsigned messages;
    uint64_t message_address; /* of the last one */
    uint32_t message_data;
    unsigned power_requests;
    enum bus_power power;
};

struct board *board_create(void);
void board_destroy(struct board *board);
/* cmocka's fixture of a board without devices. */
int board_setup(void **state);
int board_teardown(void **state);

/* Lets the loop do what has been posted to it. */
void board_turn(struct board *board);
/* Lets the loop and a back end work until neither has anything left to do. */
void board_settle(struct board *board, struct ram_block *ram);

uint8_t board_in(struct board *board, uint16_t port);
void board_out(struct board *board, uint16_t port, uint8_t value);

/* The saved state of the device called `name`; the caller frees it. */
uint8_t *board_save(struct board *board, const char *name);
/* Loads it into the same device of another board, and frees it. Returns what after_load said. */
int board_load(struct board *board, const char *name, uint8_t *saved);

#endif
