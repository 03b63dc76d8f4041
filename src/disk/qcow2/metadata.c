/* SPDX-License-Identifier: Apache-2.0 */
/* Loading the tables, and writing them back in the order that survives a crash (private.h). */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"

int metadata_corrupt(struct qcow2 *qcow2, const char *what, uint64_t offset)
{
    if (!qcow2->broken && qcow2->log)
        log_message(qcow2->log, LOG_ERROR,
                    "%s: is corrupt: %s at %#llx; it takes no more writes: run nacre image check",
                    qcow2->image.file->path, what, (unsigned long long)offset);
    qcow2->broken = true;
    return -EIO;
}

bool metadata_place_valid(const struct qcow2 *qcow2, uint64_t offset)
{
    return offset && !within_cluster(qcow2, offset) &&
           cluster_of(qcow2, offset) < qcow2->file_clusters &&
           !cluster_set_has(&qcow2->metadata, cluster_of(qcow2, offset));
}

int metadata_barrier(struct qcow2 *qcow2)
{
    if (!qcow2->unsynced)
        return 0;
    int result = file_flush(qcow2->image.file);
    if (result == 0)
        qcow2->unsynced = false;
    return result;
}

int metadata_read_table(struct file *file, uint64_t offset, uint64_t entries, uint64_t *table)
{
    int result = file_read(file, offset, table, entries * 8);
    for (uint64_t i = 0; i < entries; i++)
        table[i] = be64toh(table[i]);
    return result;
}

int metadata_write_table(struct file *file, uint64_t offset, uint64_t entries,
                         const uint64_t *table)
{
    uint64_t bytes[512];
    int result = 0;
    for (uint64_t at = 0; at < entries && result == 0; at += ARRAY_SIZE(bytes)) {
        uint64_t count = entries - at < ARRAY_SIZE(bytes) ? entries - at : ARRAY_SIZE(bytes);
        for (uint64_t i = 0; i < count; i++)
            bytes[i] = htobe64(table[at + i]);
        result = file_write(file, offset + at * 8, bytes, count * 8);
    }
    return result;
}

/* --- writing back --- */

/* A grown refcount table has a new place: the header turns to it when all of it lasts. */
static int move_refcount_table(struct qcow2 *qcow2)
{
    struct qcow2_header *header = &qcow2->header;
    const struct qcow2_header before = *header;
    uint64_t old = cluster_of(qcow2, header->refcount_offset), count = header->refcount_clusters;
    header->refcount_offset = qcow2->refcount_new_offset;
    header->refcount_clusters = (uint32_t)(qcow2->refcount_entries * 8 >> qcow2->cluster_bits);
    int result = header_write(qcow2);
    if (result < 0) {
        *header = before;
        qcow2->refcount_table_dirty = true;
        return result;
    }
    qcow2->refcount_table_grown = false;
    qcow2->refcount_new_offset = 0;
    for (uint64_t i = 0; i < count; i++)
        cluster_set_remove(&qcow2->metadata, old + i);
    clusters_free(qcow2, old, count);
    return 0;
}

static int write_refcounts(struct qcow2 *qcow2)
{
    if (!qcow2->refcount_cache.dirty_count && !qcow2->refcount_table_dirty)
        return 0;
    int result = cache_write_back(&qcow2->refcount_cache);
    qcow2->unsynced = true;
    if (result < 0 || !qcow2->refcount_table_dirty)
        return result;
    result = metadata_barrier(qcow2);
    uint64_t offset =
        qcow2->refcount_table_grown ? qcow2->refcount_new_offset : qcow2->header.refcount_offset;
    if (result == 0)
        result = metadata_write_table(qcow2->image.file, offset, qcow2->refcount_entries,
                                      qcow2->refcount_table);
    if (result < 0)
        return result;
    qcow2->refcount_table_dirty = false;
    qcow2->unsynced = true;
    return qcow2->refcount_table_grown ? move_refcount_table(qcow2) : 0;
}

static int write_l2_tables(struct qcow2 *qcow2)
{
    if (!qcow2->l2_cache.dirty_count)
        return 0;
    int result = metadata_barrier(qcow2);
    if (result == 0)
        result = cache_write_back(&qcow2->l2_cache);
    qcow2->unsynced = true;
    return result;
}

static int write_l1_table(struct qcow2 *qcow2)
{
    if (!qcow2->l1_dirty)
        return 0;
    int result = metadata_barrier(qcow2);
    if (result == 0)
        result = metadata_write_table(qcow2->image.file, qcow2->header.l1_offset,
                                      qcow2->header.l1_size, qcow2->l1);
    if (result < 0)
        return result;
    qcow2->l1_dirty = false;
    qcow2->unsynced = true;
    return 0;
}

int metadata_write_back(void *opaque)
{
    struct qcow2 *qcow2 = opaque;
    /* A table that is growing has blocks which nothing on disk names yet: those may be written. */
    if (qcow2->refcount_table_grown && !qcow2->refcount_new_offset)
        return cache_write_back(&qcow2->refcount_cache);
    /* Called back to make room while counting down what no table on disk names any more. */
    if (qcow2->writing_back)
        return cache_write_back(&qcow2->refcount_cache);
    qcow2->writing_back = true;
    bool lazy = qcow2->header.incompatible & INCOMPATIBLE_DIRTY;
    /* With the dirty bit set refcounts are rebuilt after a crash; they need not be first. */
    int result = lazy && !qcow2->refcount_table_dirty ? 0 : write_refcounts(qcow2);
    if (result == 0)
        result = write_l2_tables(qcow2);
    if (result == 0)
        result = write_l1_table(qcow2);
    if (result == 0 && qcow2->freed.count)
        result = metadata_barrier(qcow2);
    if (result == 0)
        result = clusters_settle(qcow2);
    if (result == 0 && lazy &&
        qcow2->refcount_cache.dirty_count > qcow2->refcount_cache.page_count / 2)
        result = write_refcounts(qcow2);
    qcow2->writing_back = false;
    return result;
}

/* --- loading --- */

static int corrupt_image(const struct qcow2 *qcow2, const char *what, struct error *error)
{
    return error_set(error, EINVAL, "%s: is corrupt: %s; run nacre image check",
                     qcow2->image.file->path, what);
}

/* Metadata clusters must be in the file, and each be only one thing. */
static int claim(struct qcow2 *qcow2, uint64_t offset, uint64_t clusters, const char *what,
                 struct error *error)
{
    if (qcow2->lenient)
        return 0; /* the check looks for itself */
    if (within_cluster(qcow2, offset) ||
        !range_within(cluster_of(qcow2, offset), clusters, qcow2->file_clusters))
        return corrupt_image(qcow2, what, error);
    for (uint64_t i = 0; i < clusters; i++)
        if (!cluster_set_add(&qcow2->metadata, cluster_of(qcow2, offset) + i))
            return corrupt_image(qcow2, what, error);
    return 0;
}

static int load_l1(struct qcow2 *qcow2, struct error *error)
{
    const struct qcow2_header *header = &qcow2->header;
    qcow2->l1 = calloc((size_t)header->l1_size + 1, 8);
    if (!qcow2->l1)
        return error_set(error, ENOMEM, "%s: out of memory", qcow2->image.file->path);
    if (!header->l1_size)
        return 0;
    uint64_t clusters =
        align_up((uint64_t)header->l1_size * 8, qcow2->cluster_size) >> qcow2->cluster_bits;
    int result = claim(qcow2, header->l1_offset, clusters, "the L1 table is misplaced", error);
    if (result == 0 &&
        metadata_read_table(qcow2->image.file, header->l1_offset, header->l1_size, qcow2->l1) < 0)
        result = error_set(error, EIO, "%s: its L1 table cannot be read", qcow2->image.file->path);
    for (uint32_t i = 0; i < header->l1_size && result == 0; i++) {
        uint64_t offset = qcow2->l1[i] & ENTRY_OFFSET;
        if (qcow2->l1[i] & L1_RESERVED && !qcow2->lenient)
            result = corrupt_image(qcow2, "an L1 entry has reserved bits set", error);
        else if (offset)
            result = claim(qcow2, offset, 1, "an L2 table is misplaced", error);
    }
    return result;
}

static int load_refcount_table(struct qcow2 *qcow2, struct error *error)
{
    const struct qcow2_header *header = &qcow2->header;
    qcow2->refcount_entries = (uint64_t)header->refcount_clusters << (header->cluster_bits - 3);
    qcow2->refcount_table = calloc(qcow2->refcount_entries, 8);
    if (!qcow2->refcount_table)
        return error_set(error, ENOMEM, "%s: out of memory", qcow2->image.file->path);
    int result = claim(qcow2, header->refcount_offset, header->refcount_clusters,
                       "the refcount table is misplaced", error);
    if (result == 0 && metadata_read_table(qcow2->image.file, header->refcount_offset,
                                           qcow2->refcount_entries, qcow2->refcount_table) < 0)
        result =
            error_set(error, EIO, "%s: its refcount table cannot be read", qcow2->image.file->path);
    for (uint64_t i = 0; i < qcow2->refcount_entries && result == 0; i++) {
        if (qcow2->lenient)
            qcow2->refcount_table[i] &= REFTABLE_OFFSET;
        if (qcow2->refcount_table[i] & ~REFTABLE_OFFSET)
            result = corrupt_image(qcow2, "a refcount table entry has reserved bits set", error);
        else if (qcow2->refcount_table[i])
            result =
                claim(qcow2, qcow2->refcount_table[i], 1, "a refcount block is misplaced", error);
    }
    return result;
}

int metadata_load(struct qcow2 *qcow2, struct error *error)
{
    int result = claim(qcow2, 0, 1, "the file is empty", error);
    if (result == 0)
        result = load_refcount_table(qcow2, error);
    return result < 0 ? result : load_l1(qcow2, error);
}
