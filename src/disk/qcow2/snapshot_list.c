/* SPDX-License-Identifier: Apache-2.0 */
/* The list of snapshots in the file: read with suspicion, always written anew at another place. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>

#define EXTRA_MAX    1024
#define TABLE_MAX    MIB(16)  /* bytes of the list */
#define ALL_L1_BYTES MIB(256) /* of all snapshots together */

void snapshots_destroy(struct qcow2 *qcow2)
{
    for (uint32_t i = 0; qcow2->snapshots && i < qcow2->header.snapshot_count; i++) {
        free(qcow2->snapshots[i].id);
        free(qcow2->snapshots[i].name);
        free(qcow2->snapshots[i].extra);
    }
    free(qcow2->snapshots);
    qcow2->snapshots = NULL;
}

static uint64_t entry_bytes(const struct qcow2_snapshot *snapshot)
{
    return align_up(SNAPSHOT_ENTRY_LENGTH + snapshot->extra_length + strlen(snapshot->id) +
                        strlen(snapshot->name),
                    8);
}

uint64_t snapshots_bytes(const struct qcow2 *qcow2)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < qcow2->header.snapshot_count; i++)
        bytes += entry_bytes(&qcow2->snapshots[i]);
    return bytes;
}

/* --- loading --- */

static char *load_text(struct file *file, uint64_t offset, uint64_t length)
{
    char *text = calloc(1, length + 1);
    if (text && file_read(file, offset, text, length) < 0) {
        free(text);
        text = NULL;
    }
    return text;
}

/* The entry at *offset, which moves behind it. */
static int load_entry(struct qcow2 *qcow2, uint64_t *offset, struct qcow2_snapshot *snapshot)
{
    uint8_t bytes[SNAPSHOT_ENTRY_LENGTH];
    struct file *file = qcow2->image.file;
    int result = file_read(file, *offset, bytes, sizeof(bytes));
    if (result < 0)
        return result;
    *snapshot = (struct qcow2_snapshot){
        .l1_offset = load_be(bytes + SNAPSHOT_L1_OFFSET, 8),
        .l1_size = (uint32_t)load_be(bytes + SNAPSHOT_L1_SIZE, 4),
        .seconds = (uint32_t)load_be(bytes + SNAPSHOT_SECONDS, 4),
        .nanoseconds = (uint32_t)load_be(bytes + SNAPSHOT_NANOSECONDS, 4),
        .vm_clock_ns = load_be(bytes + SNAPSHOT_VM_CLOCK, 8),
        .vm_state_size = load_be(bytes + SNAPSHOT_VM_STATE_SIZE, 4),
        .extra_length = (uint32_t)load_be(bytes + SNAPSHOT_EXTRA_LENGTH, 4),
        .disk_size = qcow2->header.size,
    };
    uint64_t id = load_be(bytes + SNAPSHOT_ID_LENGTH, 2);
    uint64_t name = load_be(bytes + SNAPSHOT_NAME_LENGTH, 2), extra = snapshot->extra_length;
    if (extra > EXTRA_MAX || (uint64_t)snapshot->l1_size * 8 > L1_BYTES_MAX)
        return -EINVAL;
    uint64_t at = *offset + sizeof(bytes);
    snapshot->extra = (uint8_t *)load_text(file, at, extra);
    snapshot->id = load_text(file, at + extra, id);
    snapshot->name = load_text(file, at + extra + id, name);
    if (!snapshot->extra || !snapshot->id || !snapshot->name)
        return -ENOMEM;
    /* A zero in them would make another length of them. */
    if (strlen(snapshot->id) != id || strlen(snapshot->name) != name)
        return -EINVAL;
    if (extra >= SNAPSHOT_EXTRA_DISK_SIZE)
        snapshot->vm_state_size = load_be(snapshot->extra, 8);
    if (extra >= SNAPSHOT_EXTRA_OURS)
        snapshot->disk_size = load_be(snapshot->extra + SNAPSHOT_EXTRA_DISK_SIZE, 8);
    *offset += entry_bytes(snapshot);
    return 0;
}

/* Its tables are metadata too, shared with others as they may be. */
static int claim_tables(struct qcow2 *qcow2, const struct qcow2_snapshot *snapshot)
{
    uint64_t bytes = (uint64_t)snapshot->l1_size * 8;
    uint64_t first = cluster_of(qcow2, snapshot->l1_offset);
    uint64_t count = align_up(bytes, qcow2->cluster_size) >> qcow2->cluster_bits;
    if (within_cluster(qcow2, snapshot->l1_offset) ||
        !range_within(first, count, qcow2->file_clusters))
        return -EINVAL;
    uint64_t *l1 = malloc(bytes + 8);
    int result =
        l1 ? metadata_read_table(qcow2->image.file, snapshot->l1_offset, snapshot->l1_size, l1)
           : -ENOMEM;
    for (uint64_t i = 0; i < count && result == 0; i++)
        cluster_set_add(&qcow2->metadata, first + i);
    for (uint32_t i = 0; i < snapshot->l1_size && result == 0; i++) {
        uint64_t offset = l1[i] & ENTRY_OFFSET;
        if (within_cluster(qcow2, offset) || cluster_of(qcow2, offset) >= qcow2->file_clusters)
            result = -EINVAL;
        else if (offset)
            cluster_set_add(&qcow2->metadata, cluster_of(qcow2, offset));
    }
    free(l1);
    return result;
}

static int load_all(struct qcow2 *qcow2)
{
    uint64_t start = qcow2->header.snapshots_offset, offset = start, l1_bytes = 0;
    int result = 0;
    for (uint32_t i = 0; i < qcow2->header.snapshot_count && result == 0; i++) {
        struct qcow2_snapshot *snapshot = &qcow2->snapshots[i];
        result = load_entry(qcow2, &offset, snapshot);
        l1_bytes += (uint64_t)snapshot->l1_size * 8;
        if (result == 0 && (offset - start > TABLE_MAX || l1_bytes > ALL_L1_BYTES))
            result = -EINVAL;
        if (result == 0 && qcow2->writable && !qcow2->lenient)
            result = claim_tables(qcow2, snapshot);
    }
    for (uint64_t at = start; at < offset && result == 0; at += qcow2->cluster_size)
        cluster_set_add(&qcow2->metadata, cluster_of(qcow2, at));
    return result;
}

int snapshots_load(struct qcow2 *qcow2, struct error *error)
{
    if (!qcow2->header.snapshot_count)
        return 0;
    qcow2->snapshots = calloc(qcow2->header.snapshot_count, sizeof(*qcow2->snapshots));
    int result = qcow2->snapshots ? load_all(qcow2) : -ENOMEM;
    if (result == -EINVAL)
        return error_set(error, EINVAL, "%s: is corrupt: its snapshot table makes no sense",
                         qcow2->image.file->path);
    return result < 0
               ? error_set(error, -result, "%s: %s", qcow2->image.file->path, strerror(-result))
               : 0;
}

/* --- writing the list --- */

static void pack_entry(const struct qcow2_snapshot *snapshot, uint8_t *bytes)
{
    size_t id = strlen(snapshot->id), name = strlen(snapshot->name);
    store_be(bytes + SNAPSHOT_L1_OFFSET, snapshot->l1_offset, 8);
    store_be(bytes + SNAPSHOT_L1_SIZE, snapshot->l1_size, 4);
    store_be(bytes + SNAPSHOT_ID_LENGTH, id, 2);
    store_be(bytes + SNAPSHOT_NAME_LENGTH, name, 2);
    store_be(bytes + SNAPSHOT_SECONDS, snapshot->seconds, 4);
    store_be(bytes + SNAPSHOT_NANOSECONDS, snapshot->nanoseconds, 4);
    store_be(bytes + SNAPSHOT_VM_CLOCK, snapshot->vm_clock_ns, 8);
    store_be(bytes + SNAPSHOT_VM_STATE_SIZE,
             snapshot->vm_state_size > UINT32_MAX ? 0 : snapshot->vm_state_size, 4);
    store_be(bytes + SNAPSHOT_EXTRA_LENGTH, snapshot->extra_length, 4);
    bytes += SNAPSHOT_ENTRY_LENGTH;
    memcpy(bytes, snapshot->extra, snapshot->extra_length);
    memcpy(bytes + snapshot->extra_length, snapshot->id, id);
    memcpy(bytes + snapshot->extra_length + id, snapshot->name, name);
}

static int write_list_at(struct qcow2 *qcow2, uint64_t offset, uint64_t size)
{
    uint8_t *bytes = calloc(1, size), *at = bytes;
    if (!bytes)
        return -ENOMEM;
    for (uint32_t i = 0; i < qcow2->header.snapshot_count; i++) {
        pack_entry(&qcow2->snapshots[i], at);
        at += entry_bytes(&qcow2->snapshots[i]);
    }
    int result = file_write(qcow2->image.file, offset, bytes, size);
    qcow2->unsynced = true;
    free(bytes);
    return result;
}

int snapshots_write(struct qcow2 *qcow2, uint64_t old_bytes)
{
    uint64_t old = qcow2->header.snapshots_offset, size = snapshots_bytes(qcow2), first = 0;
    uint64_t old_count = align_up(old_bytes, qcow2->cluster_size) >> qcow2->cluster_bits;
    uint64_t count = align_up(size, qcow2->cluster_size) >> qcow2->cluster_bits;
    int result = size ? clusters_allocate_row(qcow2, count, &first) : 0;
    if (result == 0 && size)
        result = write_list_at(qcow2, first << qcow2->cluster_bits, size);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result < 0)
        return result;
    qcow2->header.snapshots_offset = first << qcow2->cluster_bits;
    result = header_write(qcow2);
    /* Whichever list the file names then, both are there. */
    if (result < 0)
        qcow2->header.snapshots_offset = old;
    for (uint64_t i = 0; i < count && size; i++)
        cluster_set_add(&qcow2->metadata, first + i);
    if (result == 0 && old_bytes)
        clusters_free(qcow2, cluster_of(qcow2, old), old_count);
    return result;
}
