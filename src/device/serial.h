/* SPDX-License-Identifier: Apache-2.0 */
/* A 16550A UART. Its other end is whoever created it: a terminal, a file, a socket. */
#ifndef NACRE_DEVICE_SERIAL_H
#define NACRE_DEVICE_SERIAL_H

#include "bus/bus.h"

struct serial;

struct serial_config {
    unsigned index; /* 0 to 3: COM1 to COM4 */
    /* A byte from the guest. May be called on any vcpu thread; must not block. */
    void (*transmit)(void *opaque, uint8_t byte);
    /* The guest has read, or listens now: there is room (serial_room()). */
    void (*drained)(void *opaque);
    void *opaque;
};

/* The bus owns it. NULL with *error. */
struct serial *serial_create(struct bus *bus, const struct serial_config *config,
                             struct error *error);

/* Bytes that serial_receive() will take now: none until the guest listens. */
unsigned serial_room(struct serial *serial);
/* Bytes for the guest; takes at most serial_room() of them and returns how many. Any thread. */
unsigned serial_receive(struct serial *serial, const uint8_t *bytes, unsigned count);

#endif
