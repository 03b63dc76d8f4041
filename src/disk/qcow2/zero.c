/* SPDX-License-Identifier: Apache-2.0 */
/* Discard and write-zeroes: whole clusters by their table entries, the rest of a zeroed range by
 * writing. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

#define FREED_MAX 4096 /* ranges to remember before the tables are written */

/* What a cluster's entry becomes; `old` when it stays. 1: zeroes must be written as data. */
static int new_entry(const struct qcow2 *qcow2, const struct block_request *request,
                     const struct run *run, uint64_t offset, uint64_t *entry)
{
    const struct image *backing = qcow2->image.backing;
    bool shines = backing && offset < backing->size;
    bool has_zero_flag = qcow2->header.version >= 3;
    *entry = run->entry;
    if (request->operation == BLOCK_DISCARD) {
        /* What was discarded must not show what lies below. */
        if (run->kind != EXTENT_BACKING && (!shines || has_zero_flag))
            *entry = shines ? ENTRY_ZERO : 0;
        return 0;
    }
    if (run->kind == EXTENT_BACKING && !shines)
        return 0;
    if (run->kind == EXTENT_ZERO && (!request->may_unmap || !(run->entry & ENTRY_OFFSET)))
        return 0;
    if (has_zero_flag)
        *entry = run->in_place && !request->may_unmap ? run->entry | ENTRY_ZERO : ENTRY_ZERO;
    else if (!shines)
        *entry = 0;
    else
        return 1;
    return 0;
}

/* Lock held. */
static int zero_cluster(struct qcow2 *qcow2, const struct block_request *request, uint64_t offset)
{
    struct run run;
    uint64_t entry;
    int result = run_find(qcow2, offset, 1, &run);
    if (result < 0)
        return result;
    result = new_entry(qcow2, request, &run, offset, &entry);
    if (result || entry == run.entry)
        return result;
    result = header_begin_changes(qcow2);
    if (result == 0)
        result = l2_prepare(qcow2, offset);
    if (result == 0)
        result = l2_set(qcow2, offset, entry);
    if (result == 0 && !(entry & ENTRY_OFFSET))
        clusters_free_entry(qcow2, run.entry);
    return result;
}

static int write_zeroes(struct qcow2 *qcow2, uint64_t offset, uint64_t length)
{
    static const uint8_t zeroes[65536];
    int result = 0;
    for (uint64_t done = 0; done < length && result == 0;) {
        uint64_t size = length - done < sizeof(zeroes) ? length - done : sizeof(zeroes);
        const struct iovec vector = {.iov_base = (void *)zeroes, .iov_len = size};
        const struct block_request request = {
            .offset = offset + done, .length = size, .vector = &vector, .vector_count = 1};
        result = qcow2_write(qcow2, &request);
        done += size;
    }
    return result;
}

/* Has the whole table's range nothing to change? Then *offset moves behind it. */
static bool skip_table(const struct qcow2 *qcow2, const struct block_request *request,
                       uint64_t *offset)
{
    uint64_t span = qcow2->l2_entries << qcow2->cluster_bits;
    if (qcow2->l1[*offset / span] & ENTRY_OFFSET ||
        (request->operation == BLOCK_WRITE_ZEROES && qcow2->image.backing))
        return false;
    *offset += span - *offset % span;
    return true;
}

static int zero_clusters(struct qcow2 *qcow2, const struct block_request *request, uint64_t start,
                         uint64_t end)
{
    int result = 0;
    pthread_mutex_lock(&qcow2->lock);
    for (uint64_t offset = start; offset < end && result == 0;) {
        if (skip_table(qcow2, request, &offset))
            continue;
        allocation_wait(qcow2, cluster_of(qcow2, offset), 1);
        result = qcow2->broken ? -EIO : zero_cluster(qcow2, request, offset);
        if (result == 1) {
            pthread_mutex_unlock(&qcow2->lock);
            result = write_zeroes(qcow2, offset, qcow2->cluster_size);
            pthread_mutex_lock(&qcow2->lock);
        }
        if (result == 0 && qcow2->freed.count > FREED_MAX)
            result = metadata_write_back(qcow2);
        offset += qcow2->cluster_size;
    }
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}

int qcow2_zero(struct qcow2 *qcow2, const struct block_request *request)
{
    uint64_t end = request->offset + request->length;
    uint64_t first = align_up(request->offset, qcow2->cluster_size);
    /* The disk's last cluster may be cut off. */
    uint64_t last = end == qcow2->image.size ? align_up(end, qcow2->cluster_size)
                                             : align_down(end, qcow2->cluster_size);
    bool write = request->operation == BLOCK_WRITE_ZEROES;
    if (first >= last)
        return write ? write_zeroes(qcow2, request->offset, request->length) : 0;
    int result = write ? write_zeroes(qcow2, request->offset, first - request->offset) : 0;
    if (result == 0)
        result = zero_clusters(qcow2, request, first, last);
    if (result == 0 && write && end > last)
        result = write_zeroes(qcow2, last, end - last);
    return result;
}
