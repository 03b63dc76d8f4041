/* SPDX-License-Identifier: Apache-2.0 */
/* Internal snapshots: an L1 table of their own each, sharing all clusters until one is written. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int find(const struct qcow2 *qcow2, const char *name)
{
    for (uint32_t i = 0; i < qcow2->header.snapshot_count; i++)
        if (!strcmp(qcow2->snapshots[i].name, name) || !strcmp(qcow2->snapshots[i].id, name))
            return (int)i;
    return -1;
}

const struct qcow2_snapshot *qcow2_snapshot_at(struct image *image, unsigned index)
{
    return &qcow2_of(image)->snapshots[index];
}

static int fail(const struct qcow2 *qcow2, int result, const char *name, struct error *error)
{
    return error_set(error, -result, "%s: snapshot %s: %s", qcow2->image.file->path, name,
                     strerror(-result));
}

/* An id that no other has. */
static char *new_id(const struct qcow2 *qcow2)
{
    unsigned long highest = 0;
    char *id = malloc(24);
    for (uint32_t i = 0; i < qcow2->header.snapshot_count; i++) {
        unsigned long number = strtoul(qcow2->snapshots[i].id, NULL, 10);
        highest = number > highest ? number : highest;
    }
    if (id)
        snprintf(id, 24, "%lu", highest + 1);
    return id;
}

static void entry_free(struct qcow2_snapshot *snapshot)
{
    free(snapshot->id);
    free(snapshot->name);
    free(snapshot->extra);
}

static int fill_entry(const struct qcow2 *qcow2, struct qcow2_snapshot *snapshot, const char *name)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *snapshot = (struct qcow2_snapshot){
        .id = new_id(qcow2),
        .name = strdup(name),
        .extra = calloc(1, SNAPSHOT_EXTRA_OURS),
        .extra_length = SNAPSHOT_EXTRA_OURS,
        .l1_size = qcow2->header.l1_size,
        .disk_size = qcow2->header.size,
        .seconds = (uint32_t)now.tv_sec,
        .nanoseconds = (uint32_t)now.tv_nsec,
    };
    if (!snapshot->id || !snapshot->name || !snapshot->extra) {
        entry_free(snapshot);
        return -ENOMEM;
    }
    store_be(snapshot->extra + SNAPSHOT_EXTRA_DISK_SIZE, snapshot->disk_size, 8);
    return 0;
}

/* A copy of the active L1 table. */
static int copy_l1(struct qcow2 *qcow2, struct qcow2_snapshot *snapshot)
{
    uint64_t bytes = (uint64_t)snapshot->l1_size * 8, first;
    uint64_t count = align_up(bytes ? bytes : 1, qcow2->cluster_size) >> qcow2->cluster_bits;
    int result = clusters_allocate_row(qcow2, count, &first);
    if (result < 0)
        return result;
    snapshot->l1_offset = first << qcow2->cluster_bits;
    for (uint64_t i = 0; i < count; i++)
        cluster_set_add(&qcow2->metadata, first + i);
    result =
        metadata_write_table(qcow2->image.file, snapshot->l1_offset, snapshot->l1_size, qcow2->l1);
    qcow2->unsynced = true;
    return result;
}

/* Lock held. All is counted once more and shared before the list names the snapshot. */
static int create(struct qcow2 *qcow2, const char *name)
{
    uint32_t count = qcow2->header.snapshot_count;
    uint64_t old_bytes = snapshots_bytes(qcow2);
    struct qcow2_snapshot *list =
        realloc(qcow2->snapshots, (count + 1) * sizeof(*qcow2->snapshots));
    if (!list)
        return -ENOMEM;
    qcow2->snapshots = list;
    int result = header_begin_changes(qcow2);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = tree_count(qcow2, qcow2->l1, qcow2->header.l1_size, 1);
    if (result == 0)
        result = tree_set_flags(qcow2);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = fill_entry(qcow2, &list[count], name);
    if (result < 0)
        return result;
    qcow2->header.snapshot_count++;
    result = copy_l1(qcow2, &list[count]);
    if (result == 0)
        result = snapshots_write(qcow2, old_bytes);
    if (result < 0) {
        /* What was counted stays so: a leak. */
        qcow2->header.snapshot_count--;
        entry_free(&list[count]);
    }
    return result;
}

int qcow2_snapshot_create(struct image *image, const char *name, struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    if (!*name || strlen(name) > 255)
        return error_set(error, EINVAL, "%s: a snapshot's name has 1 to 255 bytes",
                         image->file->path);
    if (find(qcow2, name) >= 0)
        return error_set(error, EEXIST, "%s: has a snapshot %s already", image->file->path, name);
    if (qcow2->header.snapshot_count >= SNAPSHOTS_MAX)
        return error_set(error, ENOSPC, "%s: has too many snapshots", image->file->path);
    pthread_mutex_lock(&qcow2->lock);
    int result = create(qcow2, name);
    pthread_mutex_unlock(&qcow2->lock);
    return result < 0 ? fail(qcow2, result, name, error) : 0;
}

/* Lock held. `l1`, counted for, becomes the active table; then what the former one led to is given
 * up. */
static int replace_l1(struct qcow2 *qcow2, uint64_t *l1)
{
    uint64_t *old = qcow2->l1;
    for (uint32_t i = 0; i < qcow2->header.l1_size; i++)
        l1[i] &= ~ENTRY_COPIED;
    qcow2->l1 = l1;
    qcow2->l1_dirty = true;
    int result = metadata_write_back(qcow2);
    if (result == 0)
        result = tree_count(qcow2, old, qcow2->header.l1_size, -1);
    if (result == 0)
        result = metadata_write_back(qcow2);
    free(old);
    return result;
}

static int apply(struct qcow2 *qcow2, const struct qcow2_snapshot *snapshot)
{
    uint32_t entries = qcow2->header.l1_size;
    uint64_t *l1 = calloc((size_t)entries + 1, 8);
    int result = l1 ? header_begin_changes(qcow2) : -ENOMEM;
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = metadata_read_table(qcow2->image.file, snapshot->l1_offset, snapshot->l1_size, l1);
    if (result == 0)
        result = tree_count(qcow2, l1, entries, 1);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result < 0) {
        free(l1);
        return result;
    }
    result = replace_l1(qcow2, l1);
    qcow2->header.size = snapshot->disk_size;
    qcow2->image.size = align_down(qcow2->header.size, SECTOR);
    if (result == 0)
        result = tree_set_flags(qcow2);
    return result < 0 ? result : header_write(qcow2);
}

int qcow2_empty(struct image *image, struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    if (qcow2->header.snapshot_count)
        return error_set(error, EINVAL, "%s: has snapshots; delete them first", image->file->path);
    uint64_t *l1 = calloc((size_t)qcow2->header.l1_size + 1, 8);
    pthread_mutex_lock(&qcow2->lock);
    int result = l1 ? header_begin_changes(qcow2) : -ENOMEM;
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = replace_l1(qcow2, l1);
    else
        free(l1);
    pthread_mutex_unlock(&qcow2->lock);
    return result < 0 ? error_set(error, -result, "%s: %s", image->file->path, strerror(-result))
                      : 0;
}

int qcow2_snapshot_apply(struct image *image, const char *name, struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    int index = find(qcow2, name), result = 0;
    if (index < 0)
        return error_set(error, ENOENT, "%s: has no snapshot %s", image->file->path, name);
    const struct qcow2_snapshot *snapshot = &qcow2->snapshots[index];
    if (snapshot->l1_size > qcow2->header.l1_size || snapshot->disk_size > image->size)
        result = qcow2_resize(image, snapshot->disk_size, error);
    if (result < 0)
        return result;
    if (snapshot->l1_size > qcow2->header.l1_size)
        return error_set(error, EINVAL, "%s: snapshot %s is larger than its disk",
                         image->file->path, name);
    pthread_mutex_lock(&qcow2->lock);
    result = apply(qcow2, snapshot);
    pthread_mutex_unlock(&qcow2->lock);
    return result < 0 ? fail(qcow2, result, name, error) : 0;
}

/* What the snapshot had is given up; clusters may belong to the active tables alone now. */
static int release(struct qcow2 *qcow2, const struct qcow2_snapshot *gone, const uint64_t *l1)
{
    uint64_t bytes = (uint64_t)gone->l1_size * 8;
    uint64_t count = align_up(bytes ? bytes : 1, qcow2->cluster_size) >> qcow2->cluster_bits;
    int result = tree_count(qcow2, l1, gone->l1_size, -1);
    if (result == 0)
        clusters_free(qcow2, cluster_of(qcow2, gone->l1_offset), count);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = tree_set_flags(qcow2);
    return result < 0 ? result : metadata_write_back(qcow2);
}

/* Takes the entry out of the list, in memory and in the file. */
static int forget(struct qcow2 *qcow2, uint32_t index)
{
    struct qcow2_snapshot *list = qcow2->snapshots, gone = list[index];
    uint64_t old_bytes = snapshots_bytes(qcow2);
    uint32_t behind = --qcow2->header.snapshot_count - index;
    memmove(&list[index], &list[index + 1], behind * sizeof(gone));
    int result = snapshots_write(qcow2, old_bytes);
    if (result < 0) {
        memmove(&list[index + 1], &list[index], behind * sizeof(gone));
        list[index] = gone;
        qcow2->header.snapshot_count++;
    }
    return result;
}

/* Lock held. The list forgets the snapshot first, then its clusters are given up. */
static int delete (struct qcow2 *qcow2, uint32_t index)
{
    struct qcow2_snapshot gone = qcow2->snapshots[index];
    uint64_t *l1 = malloc((size_t)gone.l1_size * 8 + 8);
    int result = l1 ? header_begin_changes(qcow2) : -ENOMEM;
    if (result == 0)
        result = metadata_read_table(qcow2->image.file, gone.l1_offset, gone.l1_size, l1);
    if (result == 0)
        result = forget(qcow2, index);
    if (result == 0) {
        result = release(qcow2, &gone, l1);
        entry_free(&gone);
    }
    free(l1);
    return result;
}

int qcow2_snapshot_delete(struct image *image, const char *name, struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    int index = find(qcow2, name);
    if (index < 0)
        return error_set(error, ENOENT, "%s: has no snapshot %s", image->file->path, name);
    pthread_mutex_lock(&qcow2->lock);
    int result = delete (qcow2, (uint32_t)index);
    pthread_mutex_unlock(&qcow2->lock);
    return result < 0 ? fail(qcow2, result, name, error) : 0;
}
