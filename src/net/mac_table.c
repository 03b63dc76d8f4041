/* SPDX-License-Identifier: Apache-2.0 */
#include "net/mac_table.h"

#include "base/bits.h"

#define WAYS 4 /* places where an address may lie; the longest unheard gives way */

uint64_t mac_load(const uint8_t *bytes)
{
    return load_le(bytes, 6);
}

bool mac_is_group(uint64_t mac)
{
    return mac & 1;
}

static unsigned first_place(uint64_t mac)
{
    return (unsigned)(mac * UINT64_C(0x9e3779b97f4a7c15) >> 40) % (MAC_TABLE_SIZE / WAYS) * WAYS;
}

void mac_table_learn(struct mac_table *table, uint64_t mac, unsigned port, uint64_t now_ns)
{
    struct mac_entry *set = &table->entries[first_place(mac)], *chosen = set;
    if (!mac || mac_is_group(mac))
        return;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].mac == mac) {
            chosen = &set[i];
            break;
        }
        if (set[i].seen_ns < chosen->seen_ns)
            chosen = &set[i];
    }
    *chosen = (struct mac_entry){.mac = mac, .seen_ns = now_ns, .port = port};
}

int mac_table_find(const struct mac_table *table, uint64_t mac, uint64_t now_ns)
{
    const struct mac_entry *set = &table->entries[first_place(mac)];
    for (unsigned i = 0; i < WAYS; i++)
        if (set[i].mac == mac && now_ns - set[i].seen_ns < MAC_TABLE_AGE_NS)
            return (int)set[i].port;
    return -1;
}

void mac_table_forget_port(struct mac_table *table, unsigned port)
{
    for (unsigned i = 0; i < MAC_TABLE_SIZE; i++)
        if (table->entries[i].port == port)
            table->entries[i] = (struct mac_entry){0};
}
