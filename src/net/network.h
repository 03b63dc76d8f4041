/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Networks of the host's for guests with taps: a bridge, and with nat an address, DHCP and DNS by
 * dnsmasq and masquerading by nftables. What was made is written down in a file a network, so that
 * all of it can be removed again. For root.
 */
#ifndef NACRE_NET_NETWORK_H
#define NACRE_NET_NETWORK_H

#include "base/error.h"
#include "base/runtime_folder.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>

#define NETWORK_PATH_MAX (RUNTIME_FOLDER_MAX + IFNAMSIZ + 16)

struct network {
    char name[IFNAMSIZ];
    bool nat;
    struct in_addr address; /* of the bridge; 0: none */
    unsigned prefix;        /* bits of its network */
    char uplink[IFNAMSIZ];  /* the interface that is a port of the bridge; "": none */
};

/* "10.1.2.1/24": address and prefix. -EINVAL with *error. */
int network_parse_address(struct network *network, const char *text, struct error *error);

/* Makes all of it, or nothing. A nat without an address gets one that is free. -errno with
 * *error. */
int network_create(struct network *network, struct error *error);
/* Removes what is still there of it; can be repeated. -ENOENT: no such network. */
int network_delete(const char *name, struct error *error);

/* Calls `show` for each network, in no order. -errno with *error. */
int network_list(void (*show)(void *opaque, const struct network *network), void *opaque,
                 struct error *error);
/* How many interfaces the bridge joins; -1: the bridge is gone. */
int network_port_count(const char *name);

#endif
