/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's serial port between the machine and whoever wants to see it: any number of clients on
 * a unix socket, who come and go. A new one gets what was said lately first. All that is said also
 * goes into a file of bounded size.
 */
#ifndef NACRE_MANAGE_SERIAL_HUB_H
#define NACRE_MANAGE_SERIAL_HUB_H

#include "base/loop.h"

struct serial_hub;

/* Serves a socket at a path, and appends to a file; NULL: there is none. NULL with *error. */
struct serial_hub *serial_hub_create(const char *socket_path, const char *file_path,
                                     struct loop *loop, struct error *error);
void serial_hub_destroy(struct serial_hub *hub);

/* A new machine's end of the line; the hub takes it over. */
void serial_hub_connect(struct serial_hub *hub, int machine);
/* The machine has ended: its last words are read. */
void serial_hub_disconnect(struct serial_hub *hub);

#endif
