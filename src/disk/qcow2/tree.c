/* SPDX-License-Identifier: Apache-2.0 */
/* Walks over everything that an L1 table leads to. All tables have been written back. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

static int count_entry(struct qcow2 *qcow2, uint64_t entry, int change)
{
    struct cluster_range range = {.first = cluster_of(qcow2, entry & ENTRY_OFFSET)};
    int result = 0;
    range.count = entry & ENTRY_OFFSET ? 1 : 0;
    if (entry & ENTRY_COMPRESSED)
        range = compressed_clusters(qcow2, entry);
    if (!range_within(range.first, range.count, qcow2->file_clusters))
        return metadata_corrupt(qcow2, "a cluster is not in the file", entry);
    if (change < 0)
        clusters_free(qcow2, range.first, range.count);
    for (uint64_t i = 0; i < range.count && change > 0 && result == 0; i++)
        result = refcount_add(qcow2, range.first + i, change);
    return result;
}

static int count_table(struct qcow2 *qcow2, uint64_t offset, uint8_t *table, int change)
{
    int result = file_read(qcow2->image.file, offset, table, qcow2->cluster_size);
    for (uint64_t i = 0; i < qcow2->l2_entries && result == 0; i++)
        result = count_entry(qcow2, load_be(table + i * qcow2->l2_entry_size, 8), change);
    return result < 0 ? result : count_entry(qcow2, offset, change);
}

int tree_count(struct qcow2 *qcow2, const uint64_t *l1, uint32_t entries, int change)
{
    uint8_t *table = malloc(qcow2->cluster_size);
    int result = table ? 0 : -ENOMEM;
    for (uint32_t i = 0; i < entries && result == 0; i++)
        if (l1[i] & ENTRY_OFFSET)
            result = count_table(qcow2, l1[i] & ENTRY_OFFSET, table, change);
    free(table);
    return result;
}

/* What the flag of an entry with this content should be. */
static int flag_of(struct qcow2 *qcow2, uint64_t entry, uint64_t *flag)
{
    uint64_t count;
    int result = refcount_get(qcow2, cluster_of(qcow2, entry & ENTRY_OFFSET), &count);
    *flag = count == 1 ? ENTRY_COPIED : 0;
    return result;
}

static int set_table_flags(struct qcow2 *qcow2, uint32_t l1_index)
{
    uint64_t span = qcow2->l2_entries << qcow2->cluster_bits, flag = 0;
    int result = 0;
    for (uint64_t i = 0; i < qcow2->l2_entries && result == 0; i++) {
        uint64_t entry, offset = l1_index * span + (i << qcow2->cluster_bits);
        result = l2_get(qcow2, offset, &entry, NULL);
        if (result < 0 || entry & ENTRY_COMPRESSED || !(entry & ENTRY_OFFSET))
            continue;
        result = flag_of(qcow2, entry, &flag);
        if (result == 0 && (entry & ENTRY_COPIED) != flag)
            result = l2_set(qcow2, offset, (entry & ~ENTRY_COPIED) | flag);
    }
    return result;
}

int tree_set_flags(struct qcow2 *qcow2)
{
    int result = 0;
    for (uint32_t i = 0; i < qcow2->header.l1_size && result == 0; i++) {
        uint64_t *entry = &qcow2->l1[i], flag = 0;
        if (!(*entry & ENTRY_OFFSET))
            continue;
        result = set_table_flags(qcow2, i);
        if (result == 0)
            result = flag_of(qcow2, *entry, &flag);
        if (result < 0 || (*entry & ENTRY_COPIED) == flag)
            continue;
        *entry = (*entry & ~ENTRY_COPIED) | flag;
        qcow2->l1_dirty = true;
    }
    return result;
}
