/* SPDX-License-Identifier: Apache-2.0 */
/* The host's network interfaces and bridges: netdevice(7), Linux' sockios.h. All return -errno with
 * *error. */
#ifndef NACRE_NET_INTERFACE_H
#define NACRE_NET_INTERFACE_H

#include "base/error.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

/* What the kernel takes as a name, and no more than letters, digits, dots, dashes, underscores. */
int interface_check_name(const char *name, struct error *error);
bool interface_exists(const char *name);
bool interface_is_up(const char *name);
int interface_set_up(const char *name, bool up, struct error *error);
int interface_set_address(const char *name, struct in_addr address, struct in_addr mask,
                          struct error *error);

int bridge_create(const char *name, struct error *error);
/* Takes it down first. */
int bridge_delete(const char *name, struct error *error);
/* 0 as well when the interface is a port of it already. */
int bridge_add_port(const char *bridge, const char *interface, struct error *error);

#endif
