/* SPDX-License-Identifier: Apache-2.0 */
/* What a switch has learned: behind which port a station is. IEEE 802.1D-2004 §7.8, §7.9. */
#ifndef NACRE_NET_MAC_TABLE_H
#define NACRE_NET_MAC_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#define MAC_TABLE_SIZE   1024 /* a power of two */
#define MAC_TABLE_AGE_NS (300 * UINT64_C(1000000000))

struct mac_entry {
    uint64_t mac; /* 0: free */
    uint64_t seen_ns;
    unsigned port;
};

struct mac_table {
    struct mac_entry entries[MAC_TABLE_SIZE];
};

/* The six bytes of an address as a number. */
uint64_t mac_load(const uint8_t *bytes);
bool mac_is_group(uint64_t mac);

/* A frame from `mac` came in at the port. Groups and zero are not learned. */
void mac_table_learn(struct mac_table *table, uint64_t mac, unsigned port, uint64_t now_ns);
/* The port, or -1: not known, or not heard of for too long. */
int mac_table_find(const struct mac_table *table, uint64_t mac, uint64_t now_ns);
/* The port is gone. */
void mac_table_forget_port(struct mac_table *table, unsigned port);

#endif
