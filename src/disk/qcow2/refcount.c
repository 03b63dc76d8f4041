/* SPDX-License-Identifier: Apache-2.0 */
/* Reference counts: a table of blocks of counts of 1 to 64 bits, one for each cluster. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

/* Counts of less than a byte lie from the low bits up. */
static uint64_t count_load(const struct qcow2 *qcow2, const uint8_t *bytes, uint64_t index)
{
    unsigned bits = 1u << qcow2->header.refcount_order;
    if (bits >= 8)
        return load_be(bytes, bits / 8);
    return *bytes >> (index * bits & 7) & ((1u << bits) - 1);
}

static void count_store(const struct qcow2 *qcow2, uint8_t *bytes, uint64_t index, uint64_t count)
{
    unsigned bits = 1u << qcow2->header.refcount_order, shift = index * bits & 7;
    if (bits >= 8)
        store_be(bytes, count, bits / 8);
    else
        *bytes = (uint8_t)((*bytes & ~(((1u << bits) - 1) << shift)) | count << shift);
}

/* Where the cluster's count lies in the file; 0: in a block that is not there. */
static uint64_t count_place(const struct qcow2 *qcow2, uint64_t cluster)
{
    uint64_t block = cluster / qcow2->refcount_block_entries;
    uint64_t index = cluster % qcow2->refcount_block_entries;
    if (block >= qcow2->refcount_entries || !qcow2->refcount_table[block])
        return 0;
    return qcow2->refcount_table[block] + (index << qcow2->header.refcount_order >> 3);
}

int refcount_get(struct qcow2 *qcow2, uint64_t cluster, uint64_t *count)
{
    uint64_t place = count_place(qcow2, cluster);
    uint8_t *bytes;
    *count = 0;
    int result = place ? cache_load(&qcow2->refcount_cache, place, &bytes) : 0;
    if (place && result == 0)
        *count = count_load(qcow2, bytes, cluster);
    return result;
}

/* The cluster's block exists. */
static int count_write(struct qcow2 *qcow2, uint64_t cluster, uint64_t count)
{
    uint8_t *bytes;
    unsigned bits = 1u << qcow2->header.refcount_order;
    if (bits < 64 && count >> bits)
        return -EOVERFLOW;
    int result = cache_change(&qcow2->refcount_cache, count_place(qcow2, cluster), &bytes);
    if (result == 0)
        count_store(qcow2, bytes, cluster, count);
    return result;
}

/* --- making blocks --- */

static int find_free(struct qcow2 *qcow2, uint64_t *cluster)
{
    uint64_t count = 1;
    for (;; qcow2->free_hint++) {
        int result = refcount_get(qcow2, qcow2->free_hint, &count);
        if (result < 0)
            return result;
        if (!count && !cluster_set_has(&qcow2->metadata, qcow2->free_hint))
            break;
        /* What is in use as metadata and counted as free would be given away here. */
        if (!count)
            return metadata_corrupt(qcow2, "metadata is counted as free",
                                    qcow2->free_hint << qcow2->cluster_bits);
    }
    *cluster = qcow2->free_hint;
    return 0;
}

/* Room in memory for the entry of `block`. Its place in the file follows. */
static int grow_table(struct qcow2 *qcow2, uint64_t block)
{
    uint64_t entries = qcow2->refcount_entries * 2;
    while (entries <= block)
        entries *= 2;
    if (entries * 8 > REFTABLE_BYTES_MAX)
        return -EFBIG;
    uint64_t *table = realloc(qcow2->refcount_table, entries * 8);
    if (!table)
        return -ENOMEM;
    memset(table + qcow2->refcount_entries, 0, (entries - qcow2->refcount_entries) * 8);
    qcow2->refcount_table = table;
    qcow2->refcount_entries = entries;
    qcow2->refcount_table_grown = qcow2->refcount_table_dirty = true;
    return 0;
}

static void note_used(struct qcow2 *qcow2, uint64_t end)
{
    if (qcow2->file_clusters < end)
        qcow2->file_clusters = end;
}

/* An empty block at `cluster` for table entry `block`. */
static int install_block(struct qcow2 *qcow2, uint64_t block, uint64_t cluster)
{
    uint64_t offset = cluster << qcow2->cluster_bits;
    uint8_t *zeroes = calloc(1, qcow2->cluster_size);
    int result =
        zeroes ? file_write(qcow2->image.file, offset, zeroes, qcow2->cluster_size) : -ENOMEM;
    free(zeroes);
    if (result == 0 && !cluster_set_add(&qcow2->metadata, cluster))
        result = -ENOMEM;
    if (result < 0)
        return result;
    cache_forget(&qcow2->refcount_cache, offset, qcow2->cluster_size);
    note_used(qcow2, cluster + 1);
    qcow2->unsynced = true;
    qcow2->refcount_table[block] = offset;
    qcow2->refcount_table_dirty = true;
    return 0;
}

/*
 * Makes the block that counts `cluster`. The new block takes the first free cluster, which it may
 * have to count itself; a free cluster whose own block is missing gets that block first.
 */
static int ensure_block(struct qcow2 *qcow2, uint64_t cluster)
{
    uint64_t block = cluster / qcow2->refcount_block_entries, place;
    while (!count_place(qcow2, cluster)) {
        int result = block >= qcow2->refcount_entries ? grow_table(qcow2, block) : 0;
        if (result == 0)
            result = find_free(qcow2, &place);
        if (result < 0)
            return result;
        uint64_t own = place / qcow2->refcount_block_entries;
        if (own >= qcow2->refcount_entries)
            result = grow_table(qcow2, own);
        else
            result = install_block(qcow2, qcow2->refcount_table[own] ? block : own, place);
        if (result == 0 && count_place(qcow2, place))
            result = count_write(qcow2, place, 1);
        if (result < 0)
            return result;
    }
    return 0;
}

/* --- taking clusters --- */

/* Takes the cluster if it is free. 1: it is not. */
static int take(struct qcow2 *qcow2, uint64_t cluster)
{
    uint64_t used = 0;
    /* First: the new block may take the very cluster. */
    int result = ensure_block(qcow2, cluster);
    if (result == 0)
        result = refcount_get(qcow2, cluster, &used);
    if (result < 0)
        return result;
    if (used || cluster_set_has(&qcow2->metadata, cluster))
        return 1;
    note_used(qcow2, cluster + 1);
    return count_write(qcow2, cluster, 1);
}

/* Clusters behind the file's end that a damaged image may say are in use before it is given up. */
#define ROW_TRIES_MAX 1024u

static int take_row(struct qcow2 *qcow2, uint64_t wanted, uint64_t *first)
{
    uint64_t count;
    unsigned tries = 0;
    int result;
    do {
        *first = qcow2->file_clusters;
        result = 0;
        for (count = 0; count < wanted && result == 0; count += result == 0)
            result = take(qcow2, *first + count);
        /* A block came in between: again behind it. Nobody has seen what was taken. */
        if (result > 0)
            note_used(qcow2, *first + count + 1);
        if (result > 0 && ++tries > ROW_TRIES_MAX)
            result = metadata_corrupt(qcow2, "clusters behind the file's end are in use",
                                      *first << qcow2->cluster_bits);
        while (result && count && count_write(qcow2, *first + count - 1, 0) == 0)
            count--;
    } while (result > 0);
    return result;
}

/* A table that has grown in memory gets a place in the file, which may make it grow again. */
static int place_table(struct qcow2 *qcow2)
{
    int result = 0;
    while (result == 0 && qcow2->refcount_table_grown && !qcow2->refcount_new_offset) {
        uint64_t first, entries = qcow2->refcount_entries;
        uint64_t count = align_up(entries * 8, qcow2->cluster_size) >> qcow2->cluster_bits;
        result = take_row(qcow2, count, &first);
        if (result < 0)
            break;
        if (entries != qcow2->refcount_entries) {
            clusters_free(qcow2, first, count);
            continue;
        }
        for (uint64_t i = 0; i < count; i++)
            cluster_set_add(&qcow2->metadata, first + i);
        qcow2->refcount_new_offset = first << qcow2->cluster_bits;
    }
    return result;
}

int refcount_set(struct qcow2 *qcow2, uint64_t cluster, uint64_t count)
{
    int result = ensure_block(qcow2, cluster);
    if (result == 0)
        result = count_write(qcow2, cluster, count);
    return result < 0 ? result : place_table(qcow2);
}

int refcount_add(struct qcow2 *qcow2, uint64_t cluster, int change)
{
    uint64_t count;
    int result = refcount_get(qcow2, cluster, &count);
    if (result < 0)
        return result;
    if (change < 0 && !count)
        return metadata_corrupt(qcow2, "a cluster in use is counted as free",
                                cluster << qcow2->cluster_bits);
    return refcount_set(qcow2, cluster, count + (uint64_t)(int64_t)change);
}

int clusters_allocate(struct qcow2 *qcow2, uint64_t wanted, uint64_t *first, uint64_t *count)
{
    int result = header_begin_changes(qcow2);
    *count = 0;
    while (result == 0 && !*count) {
        result = find_free(qcow2, first);
        while (result == 0 && *count < wanted) {
            result = take(qcow2, *first + *count);
            if (result)
                break;
            ++*count;
        }
        if (result > 0)
            result = 0;
    }
    if (*count)
        qcow2->free_hint = *first + *count;
    if (result == 0)
        result = place_table(qcow2);
    if (result < 0 && *count)
        clusters_free(qcow2, *first, *count);
    return result;
}

int clusters_allocate_row(struct qcow2 *qcow2, uint64_t count, uint64_t *first)
{
    int result = header_begin_changes(qcow2);
    if (result == 0)
        result = take_row(qcow2, count, first);
    return result < 0 ? result : place_table(qcow2);
}

/* --- giving up --- */

/* Without memory to remember them the clusters are lost to the file: a leak, no damage. */
static void freed_add(struct freed *freed, uint64_t first, uint64_t count)
{
    if (!count)
        return;
    if (freed->count &&
        freed->ranges[freed->count - 1].first + freed->ranges[freed->count - 1].count == first) {
        freed->ranges[freed->count - 1].count += count;
        return;
    }
    if (freed->count == freed->room) {
        size_t room = freed->room ? freed->room * 2 : 64;
        struct cluster_range *ranges = realloc(freed->ranges, room * sizeof(*ranges));
        if (!ranges)
            return;
        freed->ranges = ranges;
        freed->room = room;
    }
    freed->ranges[freed->count++] = (struct cluster_range){first, count};
}

void clusters_free(struct qcow2 *qcow2, uint64_t first, uint64_t count)
{
    freed_add(&qcow2->freed, first, count);
}

struct cluster_range compressed_clusters(const struct qcow2 *qcow2, uint64_t entry)
{
    unsigned offset_bits = 62 - (qcow2->cluster_bits - 8);
    uint64_t offset = entry & (BIT(offset_bits) - 1);
    uint64_t sectors = (entry & (ENTRY_COMPRESSED - 1)) >> offset_bits;
    /* The length counts from the start of the offset's sector, less one. */
    uint64_t last = align_down(offset, SECTOR) + (sectors + 1) * SECTOR - 1;
    uint64_t first = cluster_of(qcow2, offset);
    return (struct cluster_range){first, cluster_of(qcow2, last) - first + 1};
}

void clusters_free_entry(struct qcow2 *qcow2, uint64_t entry)
{
    if (entry & ENTRY_COMPRESSED) {
        struct cluster_range range = compressed_clusters(qcow2, entry);
        clusters_free(qcow2, range.first, range.count);
    } else if (entry & ENTRY_OFFSET) {
        clusters_free(qcow2, cluster_of(qcow2, entry & ENTRY_OFFSET), 1);
    }
}

/* Counts the cluster down. 1: nobody uses it any more. */
static int count_down(struct qcow2 *qcow2, uint64_t cluster)
{
    uint64_t count = 0;
    int result = refcount_add(qcow2, cluster, -1);
    if (result == 0)
        result = refcount_get(qcow2, cluster, &count);
    if (result < 0 || count)
        return result;
    cluster_set_remove(&qcow2->metadata, cluster);
    if (cluster < qcow2->free_hint)
        qcow2->free_hint = cluster;
    return 1;
}

static void give_back(struct qcow2 *qcow2, uint64_t first, uint64_t end)
{
    if (end > first)
        file_discard(qcow2->image.file, first << qcow2->cluster_bits,
                     (end - first) << qcow2->cluster_bits);
}

/* From the end down. What fails is not tried again: a leak is better. */
static int settle_range(struct qcow2 *qcow2, struct cluster_range *range)
{
    uint64_t end = range->first + range->count;
    int result = 0;
    while (range->count && result >= 0) {
        uint64_t cluster = range->first + --range->count;
        result = count_down(qcow2, cluster);
        if (result == 1)
            continue;
        give_back(qcow2, cluster + 1, end);
        end = cluster;
    }
    give_back(qcow2, range->first, end);
    return result < 0 ? result : 0;
}

static int settle_limbo(struct qcow2 *qcow2)
{
    int result = 0;
    while (qcow2->limbo.count && result == 0) {
        result = settle_range(qcow2, &qcow2->limbo.ranges[qcow2->limbo.count - 1]);
        if (result == 0)
            qcow2->limbo.count--;
    }
    return result;
}

/* The tables on disk name none of `freed` any more. Who began before may still write to them: they
 * wait in limbo until the last of these users has gone. */
int clusters_settle(struct qcow2 *qcow2)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        unsigned old = !qcow2->epoch;
        if (atomic_load(&qcow2->users[old]))
            return 0;
        int result = settle_limbo(qcow2);
        if (result < 0 || !qcow2->freed.count)
            return result;
        struct freed empty = qcow2->limbo;
        qcow2->limbo = qcow2->freed;
        qcow2->freed = empty;
        qcow2->epoch = old;
    }
    return 0;
}
