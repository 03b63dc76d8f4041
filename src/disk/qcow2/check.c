/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checking an image: every reference to a cluster is counted and compared with the refcounts. It
 * trusts nothing: the image may have been opened leniently.
 */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define CLUSTERS_MAX (UINT64_C(1) << 28) /* a counter each */

struct counting {
    struct qcow2 *qcow2;
    struct qcow2_check *check;
    uint32_t *counts; /* references found, by cluster */
    uint8_t *table;   /* a cluster to read into */
};

static void note(struct counting *counting, const char *what, uint64_t where)
{
    if (!counting->check->first[0])
        snprintf(counting->check->first, sizeof(counting->check->first), "%s at %#llx", what,
                 (unsigned long long)where);
}

static void corruption(struct counting *counting, const char *what, uint64_t where)
{
    if (!counting->check->corruptions)
        counting->check->first[0] = 0; /* worse than the leak that is there */
    counting->check->corruptions++;
    note(counting, what, where);
}

/* False: no such clusters. */
static bool refer(struct counting *counting, uint64_t offset, uint64_t clusters, const char *what)
{
    const struct qcow2 *qcow2 = counting->qcow2;
    if (within_cluster(qcow2, offset) ||
        !range_within(cluster_of(qcow2, offset), clusters, counting->check->clusters)) {
        corruption(counting, what, offset);
        return false;
    }
    for (uint64_t i = 0; i < clusters; i++)
        counting->counts[cluster_of(qcow2, offset) + i]++;
    return true;
}

static void refer_data(struct counting *counting, uint64_t entry)
{
    const struct qcow2 *qcow2 = counting->qcow2;
    if (entry & ENTRY_COMPRESSED) {
        struct cluster_range range = compressed_clusters(qcow2, entry);
        refer(counting, range.first << qcow2->cluster_bits, range.count,
              "a compressed cluster is not in the file");
        return;
    }
    if (entry & L2_RESERVED)
        corruption(counting, "an L2 entry has reserved bits set", entry);
    if (entry & ENTRY_OFFSET)
        refer(counting, entry & ENTRY_OFFSET, 1, "a data cluster is not in the file");
}

static int refer_tree(struct counting *counting, const uint64_t *l1, uint32_t entries)
{
    const struct qcow2 *qcow2 = counting->qcow2;
    for (uint32_t i = 0; i < entries; i++) {
        uint64_t offset = l1[i] & ENTRY_OFFSET;
        if (l1[i] & L1_RESERVED)
            corruption(counting, "an L1 entry has reserved bits set", l1[i]);
        if (!offset || !refer(counting, offset, 1, "an L2 table is not in the file"))
            continue;
        int result = file_read(qcow2->image.file, offset, counting->table, qcow2->cluster_size);
        if (result < 0)
            return result;
        for (uint64_t j = 0; j < qcow2->l2_entries; j++)
            refer_data(counting, load_be(counting->table + j * qcow2->l2_entry_size, 8));
    }
    return 0;
}

static uint64_t table_clusters(const struct qcow2 *qcow2, uint64_t bytes)
{
    return align_up(bytes, qcow2->cluster_size) >> qcow2->cluster_bits;
}

static int refer_snapshot(struct counting *counting, const struct qcow2_snapshot *snapshot)
{
    const struct qcow2 *qcow2 = counting->qcow2;
    uint64_t bytes = (uint64_t)snapshot->l1_size * 8;
    if (!refer(counting, snapshot->l1_offset, table_clusters(qcow2, bytes),
               "a snapshot's L1 table is not in the file"))
        return 0;
    uint64_t *l1 = malloc(bytes + 8);
    int result =
        l1 ? metadata_read_table(qcow2->image.file, snapshot->l1_offset, snapshot->l1_size, l1)
           : -ENOMEM;
    if (result == 0)
        result = refer_tree(counting, l1, snapshot->l1_size);
    free(l1);
    return result;
}

static int refer_all(struct counting *counting)
{
    struct qcow2 *qcow2 = counting->qcow2;
    const struct qcow2_header *header = &qcow2->header;
    refer(counting, 0, 1, "the header is not in the file");
    refer(counting, header->refcount_offset, header->refcount_clusters,
          "the refcount table is not in the file");
    for (uint64_t i = 0; i < qcow2->refcount_entries; i++)
        if (qcow2->refcount_table[i])
            refer(counting, qcow2->refcount_table[i], 1, "a refcount block is not in the file");
    if (header->l1_size)
        refer(counting, header->l1_offset, table_clusters(qcow2, (uint64_t)header->l1_size * 8),
              "the L1 table is not in the file");
    int result = refer_tree(counting, qcow2->l1, header->l1_size);
    if (header->snapshot_count)
        refer(counting, header->snapshots_offset, table_clusters(qcow2, snapshots_bytes(qcow2)),
              "the snapshot table is not in the file");
    for (uint32_t i = 0; i < header->snapshot_count && result == 0; i++)
        result = refer_snapshot(counting, &qcow2->snapshots[i]);
    return result;
}

/* --- what the refcounts say --- */

static bool may_repair(enum qcow2_repair repair, uint64_t stored, uint64_t counted)
{
    return repair == QCOW2_REPAIR_ALL || (repair == QCOW2_REPAIR_LEAKS && stored > counted);
}

static int compare_refcounts(struct counting *counting, enum qcow2_repair repair)
{
    struct qcow2 *qcow2 = counting->qcow2;
    struct qcow2_check *check = counting->check;
    int result = 0;
    for (uint64_t i = 0; i < check->clusters && result == 0; i++) {
        uint64_t stored = 0;
        result = refcount_get(qcow2, i, &stored);
        if (result < 0 || stored == counting->counts[i])
            continue;
        if (stored < counting->counts[i]) {
            corruption(counting, "a cluster in use is counted too low", i << qcow2->cluster_bits);
        } else {
            check->leaks++;
            note(counting, "a cluster is counted and not used", i << qcow2->cluster_bits);
        }
        if (!may_repair(repair, stored, counting->counts[i]))
            continue;
        result = refcount_set(qcow2, i, counting->counts[i]);
        check->repaired += result == 0;
    }
    return result;
}

/* ENTRY_COPIED must be set exactly where the count is one. */
static void compare_flag(struct counting *counting, uint64_t entry)
{
    uint64_t cluster = cluster_of(counting->qcow2, entry & ENTRY_OFFSET);
    if (entry & ENTRY_COMPRESSED || !cluster || cluster >= counting->check->clusters)
        return;
    bool alone = counting->counts[cluster] == 1;
    if (entry & ENTRY_COPIED && !alone)
        corruption(counting, "an entry calls a shared cluster its own", entry);
    counting->check->slow += !(entry & ENTRY_COPIED) && alone;
}

static int compare_flags(struct counting *counting)
{
    const struct qcow2 *qcow2 = counting->qcow2;
    for (uint32_t i = 0; i < qcow2->header.l1_size; i++) {
        uint64_t offset = qcow2->l1[i] & ENTRY_OFFSET;
        compare_flag(counting, qcow2->l1[i]);
        if (!offset || cluster_of(qcow2, offset) >= counting->check->clusters)
            continue;
        int result = file_read(qcow2->image.file, offset, counting->table, qcow2->cluster_size);
        if (result < 0)
            return result;
        for (uint64_t j = 0; j < qcow2->l2_entries; j++)
            compare_flag(counting, load_be(counting->table + j * qcow2->l2_entry_size, 8));
    }
    return 0;
}

/* Counts first, then the flags that trust them, then the marks in the header. */
static int repair_rest(struct counting *counting, uint64_t wrong_flags)
{
    struct qcow2 *qcow2 = counting->qcow2;
    int result = metadata_write_back(qcow2);
    if (result == 0)
        result = tree_set_flags(qcow2);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result < 0)
        return result;
    counting->check->repaired += wrong_flags;
    if (counting->check->repaired <
        counting->check->corruptions + counting->check->leaks + counting->check->slow)
        return 0;
    qcow2->header.incompatible &= ~(INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT);
    return header_write(qcow2);
}

static int run_check(struct counting *counting, enum qcow2_repair repair)
{
    struct qcow2 *qcow2 = counting->qcow2;
    struct qcow2_check *check = counting->check;
    int result = refer_all(counting);
    uint64_t structural = check->corruptions;
    /* With tables that cannot be trusted nothing is counted anew. */
    if (structural)
        repair = QCOW2_REPAIR_NONE;
    /* New blocks go to the end: what is counted as free may be in use. */
    qcow2->free_hint = check->clusters;
    if (result == 0)
        result = compare_refcounts(counting, repair);
    uint64_t before = check->corruptions;
    if (result == 0)
        result = compare_flags(counting);
    if (result == 0 && repair == QCOW2_REPAIR_ALL)
        result = repair_rest(counting, check->corruptions - before + check->slow);
    if (result == 0 && repair == QCOW2_REPAIR_LEAKS)
        result = metadata_write_back(qcow2);
    qcow2->free_hint = 0;
    return result;
}

int qcow2_check(struct image *image, enum qcow2_repair repair, struct qcow2_check *check,
                struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    const char *path = image->file->path;
    *check = (struct qcow2_check){.clusters = qcow2->file_clusters};
    if (check->clusters > CLUSTERS_MAX)
        return error_set(error, EFBIG, "%s: has too many clusters to count", path);
    if (repair != QCOW2_REPAIR_NONE && !qcow2->writable)
        return error_set(error, EROFS, "%s: is open for reading only", path);
    struct counting counting = {.qcow2 = qcow2,
                                .check = check,
                                .counts = calloc(check->clusters + 1, sizeof(uint32_t)),
                                .table = malloc(qcow2->cluster_size)};
    int result = counting.counts && counting.table ? 0 : -ENOMEM;
    pthread_mutex_lock(&qcow2->lock);
    if (result == 0 && qcow2->writable && !qcow2->lenient)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = run_check(&counting, repair);
    pthread_mutex_unlock(&qcow2->lock);
    free(counting.counts);
    free(counting.table);
    return result < 0 ? error_set(error, -result, "%s: %s", path, strerror(-result)) : 0;
}
