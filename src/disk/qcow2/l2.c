/* SPDX-License-Identifier: Apache-2.0 */
/* From a guest offset to its place in the file: L1 table, L2 tables, and runs of clusters. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

struct position {
    uint64_t l1_index;
    uint64_t in_table; /* byte offset of the entry within its L2 table */
};

static struct position position_of(const struct qcow2 *qcow2, uint64_t offset)
{
    uint64_t cluster = cluster_of(qcow2, offset);
    return (struct position){.l1_index = cluster / qcow2->l2_entries,
                             .in_table = cluster % qcow2->l2_entries * qcow2->l2_entry_size};
}

int l2_get(struct qcow2 *qcow2, uint64_t offset, uint64_t *entry, uint64_t *bitmap)
{
    struct position position = position_of(qcow2, offset);
    uint64_t table = qcow2->l1[position.l1_index] & ENTRY_OFFSET;
    uint8_t *bytes;
    *entry = 0;
    if (bitmap)
        *bitmap = 0;
    if (!table)
        return 0;
    int result = cache_load(&qcow2->l2_cache, table + position.in_table, &bytes);
    if (result < 0)
        return result;
    *entry = load_be(bytes, 8);
    if (bitmap && qcow2->l2_entry_size == 16)
        *bitmap = load_be(bytes + 8, 8);
    return 0;
}

int l2_set(struct qcow2 *qcow2, uint64_t offset, uint64_t entry)
{
    struct position position = position_of(qcow2, offset);
    uint8_t *bytes;
    int result =
        cache_change(&qcow2->l2_cache,
                     (qcow2->l1[position.l1_index] & ENTRY_OFFSET) + position.in_table, &bytes);
    if (result == 0)
        store_be(bytes, entry, 8);
    return result;
}

/* A new table: empty, or with what the old one says. */
static int fill_table(struct qcow2 *qcow2, uint64_t to, uint64_t from)
{
    uint8_t *bytes = calloc(1, qcow2->cluster_size);
    int result = bytes ? 0 : -ENOMEM;
    if (result == 0 && from)
        result = file_read(qcow2->image.file, from, bytes, qcow2->cluster_size);
    if (result == 0)
        result = file_write(qcow2->image.file, to, bytes, qcow2->cluster_size);
    cache_forget(&qcow2->l2_cache, to, qcow2->cluster_size);
    qcow2->unsynced = true;
    free(bytes);
    return result;
}

int l2_prepare(struct qcow2 *qcow2, uint64_t offset)
{
    uint64_t *l1 = &qcow2->l1[position_of(qcow2, offset).l1_index];
    uint64_t old = *l1 & ENTRY_OFFSET, first, count;
    if (*l1 & ENTRY_COPIED)
        return 0;
    /* The table is shared with a snapshot; what we changed in it must be in the file to copy. */
    int result = old && qcow2->l2_cache.dirty_count ? metadata_write_back(qcow2) : 0;
    if (result == 0)
        result = clusters_allocate(qcow2, 1, &first, &count);
    if (result < 0)
        return result;
    result = fill_table(qcow2, first << qcow2->cluster_bits, old);
    if (result == 0 && !cluster_set_add(&qcow2->metadata, first))
        result = -ENOMEM;
    if (result < 0) {
        clusters_free(qcow2, first, 1);
        return result;
    }
    *l1 = first << qcow2->cluster_bits | ENTRY_COPIED;
    qcow2->l1_dirty = true;
    if (old)
        clusters_free(qcow2, cluster_of(qcow2, old), 1);
    return 0;
}

/* --- runs --- */

/* The kind of the piece of a cluster at offset, and how long the piece is: in an extended L2 entry
 * each of 32 subclusters has two bits. */
static enum extent_kind piece_kind(const struct qcow2 *qcow2, uint64_t entry, uint64_t bitmap,
                                   uint64_t offset, uint64_t *length)
{
    uint64_t size = qcow2->cluster_size;
    bool has_data = entry & ENTRY_OFFSET, is_zero = entry & ENTRY_ZERO;
    if (entry & ENTRY_COMPRESSED) {
        *length = size - within_cluster(qcow2, offset);
        return EXTENT_COMPRESSED;
    }
    if (qcow2->l2_entry_size == 16) {
        size /= SUBCLUSTERS;
        uint64_t index = within_cluster(qcow2, offset) / size;
        has_data = bitmap >> index & 1;
        is_zero = bitmap >> (32 + index) & 1;
    }
    *length = size - offset % size;
    return is_zero ? EXTENT_ZERO : has_data ? EXTENT_DATA : EXTENT_BACKING;
}

static int check_entry(struct qcow2 *qcow2, uint64_t entry, uint64_t bitmap)
{
    uint64_t reserved = L2_RESERVED;
    if (entry & ENTRY_COMPRESSED) {
        struct cluster_range range = compressed_clusters(qcow2, entry);
        for (uint64_t i = 0; i < range.count; i++)
            if (range.first + i >= qcow2->file_clusters ||
                cluster_set_has(&qcow2->metadata, range.first + i))
                return metadata_corrupt(qcow2, "a compressed cluster is misplaced",
                                        range.first << qcow2->cluster_bits);
        return 0;
    }
    if (qcow2->header.version < 3 || qcow2->l2_entry_size == 16)
        reserved |= ENTRY_ZERO;
    if (entry & reserved)
        return metadata_corrupt(qcow2, "an L2 entry has reserved bits set", entry);
    if (entry & ENTRY_OFFSET && !metadata_place_valid(qcow2, entry & ENTRY_OFFSET))
        return metadata_corrupt(qcow2, "a data cluster is misplaced", entry & ENTRY_OFFSET);
    if (!(entry & ENTRY_OFFSET) && bitmap & UINT32_MAX)
        return metadata_corrupt(qcow2, "a subcluster has no place", bitmap);
    if (bitmap & bitmap >> 32 & UINT32_MAX)
        return metadata_corrupt(qcow2, "a subcluster is zero and data at once", bitmap);
    return 0;
}

static int find_piece(struct qcow2 *qcow2, uint64_t offset, struct run *run)
{
    uint64_t bitmap;
    int result = l2_get(qcow2, offset, &run->entry, &bitmap);
    if (result == 0)
        result = check_entry(qcow2, run->entry, bitmap);
    if (result < 0)
        return result;
    run->kind = piece_kind(qcow2, run->entry, bitmap, offset, &run->length);
    run->offset = (run->entry & ENTRY_OFFSET) + within_cluster(qcow2, offset);
    run->in_place = run->kind == EXTENT_DATA && run->entry & ENTRY_COPIED;
    return 0;
}

int run_find(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct run *run)
{
    int result = find_piece(qcow2, offset, run);
    while (result == 0 && run->length < length && run->kind != EXTENT_COMPRESSED) {
        struct run next;
        result = find_piece(qcow2, offset + run->length, &next);
        if (result < 0 || next.kind != run->kind || next.in_place != run->in_place ||
            (run->kind == EXTENT_DATA && next.offset != run->offset + run->length))
            break;
        run->length += next.length;
    }
    if (run->length > length)
        run->length = length;
    return result;
}

bool run_peek(struct qcow2 *qcow2, uint64_t offset, struct run *run)
{
    struct position position = position_of(qcow2, offset);
    uint64_t table = qcow2->l1[position.l1_index] & ENTRY_OFFSET;
    return table && cache_peek(&qcow2->l2_cache, table + position.in_table) &&
           find_piece(qcow2, offset, run) == 0 && run->kind == EXTENT_DATA;
}
