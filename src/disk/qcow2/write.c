/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing: in place where the cluster is ours alone, else into new clusters, with what the guest
 * did not write copied from where it was. The L2 table names a new cluster only when it is full.
 */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

#define ALLOCATION_MAX MIB(2) /* guest bytes that one step fills */

static bool overlaps(const struct allocation *allocation, uint64_t first, uint64_t count)
{
    return allocation->first < first + count && first < allocation->first + allocation->count;
}

static bool is_being_filled(const struct qcow2 *qcow2, uint64_t first, uint64_t count)
{
    for (const struct allocation *other = qcow2->allocations; other; other = other->next)
        if (overlaps(other, first, count))
            return true;
    return false;
}

void allocation_wait(struct qcow2 *qcow2, uint64_t first, uint64_t count)
{
    while (is_being_filled(qcow2, first, count))
        pthread_cond_wait(&qcow2->linked, &qcow2->lock);
}

static void allocation_end(struct qcow2 *qcow2, struct allocation *allocation)
{
    struct allocation **link = &qcow2->allocations;
    while (*link != allocation)
        link = &(*link)->next;
    *link = allocation->next;
    pthread_cond_broadcast(&qcow2->linked);
}

/* --- filling new clusters --- */

static bool reads_as_zeroes(struct qcow2 *qcow2, uint64_t offset, uint64_t length)
{
    struct run run;
    const struct image *backing = qcow2->image.backing;
    pthread_mutex_lock(&qcow2->lock);
    bool found = run_find(qcow2, offset, length, &run) == 0 && run.length == length;
    pthread_mutex_unlock(&qcow2->lock);
    if (!found)
        return false;
    return run.kind == EXTENT_ZERO ||
           (run.kind == EXTENT_BACKING && (!backing || offset >= backing->size));
}

/* Copies guest bytes that the request does not bring to their new place. A place where nothing was
 * ever written is zero already. */
static int copy_old(struct qcow2 *qcow2, uint64_t offset, uint64_t length, uint64_t to, bool fresh)
{
    if (!length || (fresh && reads_as_zeroes(qcow2, offset, length)))
        return 0;
    uint8_t *bytes = aligned_alloc(4096, align_up(length, 4096));
    if (!bytes)
        return -ENOMEM;
    const struct iovec vector = {.iov_base = bytes, .iov_len = length};
    const struct block_request request = {
        .offset = offset, .length = length, .vector = &vector, .vector_count = 1};
    int result = qcow2_read(qcow2, &request);
    if (result == 0)
        result = file_write(qcow2->image.file, to, bytes, length);
    free(bytes);
    return result;
}

/* part: what the request brings, all within the clusters. */
static int fill(struct qcow2 *qcow2, const struct allocation *allocation, uint64_t host, bool fresh,
                const struct block_request *part)
{
    uint64_t start = allocation->first << qcow2->cluster_bits;
    uint64_t end = start + (allocation->count << qcow2->cluster_bits);
    uint64_t part_end = part->offset + part->length;
    struct block_request data = *part;
    data.offset = host + (part->offset - start);
    int result = copy_old(qcow2, start, part->offset - start, host, fresh);
    if (result == 0)
        result = file_execute(qcow2->image.file, &data);
    if (result == 0)
        result = copy_old(qcow2, part_end, end - part_end, host + (part_end - start), fresh);
    return result;
}

static int link_clusters(struct qcow2 *qcow2, const struct allocation *allocation, uint64_t host)
{
    for (uint64_t i = 0; i < allocation->count; i++) {
        uint64_t offset = (allocation->first + i) << qcow2->cluster_bits, old;
        int result = l2_get(qcow2, offset, &old, NULL);
        if (result == 0)
            result = l2_set(qcow2, offset, (host + (i << qcow2->cluster_bits)) | ENTRY_COPIED);
        if (result < 0)
            return result; /* the rest leaks */
        clusters_free_entry(qcow2, old);
    }
    return 0;
}

/* How many clusters from offset on need a new place: within one L2 table, and nobody else's. */
static int count_needed(struct qcow2 *qcow2, uint64_t offset, uint64_t length, uint64_t *count)
{
    uint64_t first = cluster_of(qcow2, offset);
    uint64_t last = cluster_of(qcow2, offset + length - 1);
    uint64_t table_end = (first / qcow2->l2_entries + 1) * qcow2->l2_entries;
    uint64_t most = (ALLOCATION_MAX >> qcow2->cluster_bits) + 1;
    for (*count = 1; first + *count <= last && first + *count < table_end && *count < most;
         ++*count) {
        struct run run;
        uint64_t next = first + *count;
        int result = run_find(qcow2, next << qcow2->cluster_bits, 1, &run);
        if (result < 0)
            return result;
        if (run.in_place || is_being_filled(qcow2, next, 1))
            break;
    }
    return 0;
}

/* Lock held, released while data moves. part->length becomes what was done. */
static int write_new(struct qcow2 *qcow2, struct block_request *part)
{
    struct allocation allocation = {.first = cluster_of(qcow2, part->offset)};
    uint64_t host, count, unused = qcow2->file_clusters;
    int result = count_needed(qcow2, part->offset, part->length, &count);
    if (result == 0)
        result = clusters_allocate(qcow2, count, &host, &allocation.count);
    if (result < 0)
        return result;
    bool fresh = host >= unused;
    host <<= qcow2->cluster_bits;
    uint64_t room = (allocation.count << qcow2->cluster_bits) - within_cluster(qcow2, part->offset);
    if (part->length > room)
        part->length = room;
    allocation.next = qcow2->allocations;
    /* cppcheck-suppress autoVariables ; allocation_end() takes it out again */
    qcow2->allocations = &allocation;
    pthread_mutex_unlock(&qcow2->lock);
    result = fill(qcow2, &allocation, host, fresh, part);
    pthread_mutex_lock(&qcow2->lock);
    qcow2->unsynced = true;
    if (result < 0)
        clusters_free(qcow2, cluster_of(qcow2, host), allocation.count);
    else
        result = link_clusters(qcow2, &allocation, host);
    allocation_end(qcow2, &allocation);
    return result;
}

static int write_in_place(struct qcow2 *qcow2, struct block_request part)
{
    unsigned epoch = users_enter(qcow2);
    pthread_mutex_unlock(&qcow2->lock);
    int result = file_execute(qcow2->image.file, &part);
    users_leave(qcow2, epoch);
    pthread_mutex_lock(&qcow2->lock);
    return result;
}

/* Lock held. Does the first part of `part`; its length becomes what was done. */
static int write_part(struct qcow2 *qcow2, struct block_request *part)
{
    struct run run = {0};
    allocation_wait(qcow2, cluster_of(qcow2, part->offset), 1);
    if (qcow2->broken)
        return -EIO;
    int result = l2_prepare(qcow2, part->offset);
    if (result == 0)
        result = run_find(qcow2, part->offset, part->length, &run);
    if (result < 0)
        return result;
    if (!run.in_place)
        return write_new(qcow2, part);
    struct block_request data = *part;
    part->length = data.length = run.length;
    data.offset = run.offset;
    return write_in_place(qcow2, data);
}

int qcow2_write(struct qcow2 *qcow2, const struct block_request *request)
{
    int result = 0;
    pthread_mutex_lock(&qcow2->lock);
    for (uint64_t done = 0; done < request->length && result == 0;) {
        struct block_request part = *request;
        part.operation = BLOCK_WRITE;
        part.offset += done;
        part.skip += done;
        part.length -= done;
        result = write_part(qcow2, &part);
        done += part.length;
    }
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}
