/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of cluster numbers: open addressing, linear probing, at most half full. */
#include "disk/qcow2/private.h"

#include <stdlib.h>

static size_t slot_of(const struct cluster_set *set, uint64_t cluster)
{
    return (size_t)((cluster * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (set->room - 1);
}

static bool grow(struct cluster_set *set)
{
    struct cluster_set larger = {.room = set->room ? set->room * 2 : 64};
    larger.slots = calloc(larger.room, sizeof(*larger.slots));
    if (!larger.slots)
        return false;
    for (size_t i = 0; i < set->room; i++)
        if (set->slots[i])
            cluster_set_add(&larger, set->slots[i] - 1);
    free(set->slots);
    *set = larger;
    return true;
}

bool cluster_set_add(struct cluster_set *set, uint64_t cluster)
{
    if (set->count * 2 >= set->room && !grow(set))
        return false;
    size_t slot = slot_of(set, cluster);
    for (; set->slots[slot]; slot = (slot + 1) & (set->room - 1))
        if (set->slots[slot] == cluster + 1)
            return false;
    set->slots[slot] = cluster + 1;
    set->count++;
    return true;
}

bool cluster_set_has(const struct cluster_set *set, uint64_t cluster)
{
    if (!set->count)
        return false;
    for (size_t slot = slot_of(set, cluster); set->slots[slot]; slot = (slot + 1) & (set->room - 1))
        if (set->slots[slot] == cluster + 1)
            return true;
    return false;
}

void cluster_set_remove(struct cluster_set *set, uint64_t cluster)
{
    if (!cluster_set_has(set, cluster))
        return;
    size_t slot = slot_of(set, cluster);
    while (set->slots[slot] != cluster + 1)
        slot = (slot + 1) & (set->room - 1);
    set->slots[slot] = 0;
    set->count--;
    /* What was pushed past the hole moves back. */
    for (slot = (slot + 1) & (set->room - 1); set->slots[slot];
         slot = (slot + 1) & (set->room - 1)) {
        uint64_t moved = set->slots[slot] - 1;
        set->slots[slot] = 0;
        set->count--;
        cluster_set_add(set, moved);
    }
}
