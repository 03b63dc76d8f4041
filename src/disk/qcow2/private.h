/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the qcow2 implementation share.
 *
 * `lock` guards all metadata. Data moves without it. Two things keep data and metadata together:
 *
 * - An allocation announces the guest clusters that it is about to fill; whoever else wants to
 *   change one of them waits until it is linked into the L2 table.
 * - Data in flight to or from clusters that are in use counts as a user of the current epoch. A
 *   cluster that is given up can be used again only when all users that might know it are gone.
 *
 * What a crash may find in the file: metadata_write_back() writes in the order refcounts, L2
 * tables, L1 table, given-up clusters, with a flush between, so that nothing on disk ever names a
 * cluster that the disk's refcounts call free. The worst is a cluster counted and not used: a leak.
 */
#ifndef NACRE_DISK_QCOW2_PRIVATE_H
#define NACRE_DISK_QCOW2_PRIVATE_H

#include "disk/qcow2/cache.h"
#include "disk/qcow2/format.h"
#include "disk/qcow2/qcow2.h"

#include <pthread.h>

#define L1_BYTES_MAX       MIB(32)
#define REFTABLE_BYTES_MAX MIB(8)
#define SNAPSHOTS_MAX      65536

struct qcow2_header {
    unsigned version;
    uint64_t size, l1_offset, refcount_offset, snapshots_offset;
    uint32_t l1_size, refcount_clusters, snapshot_count;
    uint64_t incompatible, compatible, autoclear;
    unsigned refcount_order, length, cluster_bits;
    enum qcow2_compression compression;
    char backing[BACKING_NAME_MAX + 1], backing_format[32];
};

/* Guest clusters [first, first + count) that are being filled. */
struct allocation {
    uint64_t first, count;
    struct allocation *next;
};

struct cluster_range {
    uint64_t first, count; /* clusters of the file */
};

/* Cluster ranges that were given up. */
struct freed {
    struct cluster_range *ranges;
    size_t count, room;
};

/* Clusters that hold metadata: an open-addressed hash set of cluster numbers + 1. */
struct cluster_set {
    uint64_t *slots;
    size_t count, room;
};

struct qcow2 {
    struct image image;
    struct log *log; /* NULL: silent */
    pthread_mutex_t lock;
    pthread_cond_t linked; /* an allocation has ended */
    struct qcow2_header header;
    unsigned cluster_bits, l2_entry_size;
    uint64_t cluster_size, l2_entries; /* bytes; entries in a table */
    bool writable, broken;             /* broken: metadata is not to be trusted, no more writes */
    bool unsynced;                     /* something was written since the last flush of ours */
    bool writing_back, lenient;

    uint64_t *l1; /* l1_room entries of which header.l1_size count */
    bool l1_dirty;
    struct cache l2_cache;

    uint64_t *refcount_table;     /* block offsets */
    uint64_t refcount_entries;    /* in memory */
    uint64_t refcount_new_offset; /* where a grown table goes; 0: not placed yet */
    bool refcount_table_dirty, refcount_table_grown;
    struct cache refcount_cache;
    uint64_t refcount_block_entries;

    uint64_t file_clusters; /* no cluster from here on was ever used */
    uint64_t free_hint;     /* no free cluster below, as far as is known */
    struct cluster_set metadata;
    struct freed freed, limbo; /* limbo: off the tables, users may still be on their way */
    atomic_uint users[2];
    unsigned epoch; /* of new users: index into users */

    struct allocation *allocations;
    struct qcow2_snapshot *snapshots;

    pthread_mutex_t unpack_lock; /* the last cluster unpacked */
    uint64_t unpacked_entry;
    uint8_t *unpacked, *packed;
};

static inline struct qcow2 *qcow2_of(struct image *image)
{
    return container_of(image, struct qcow2, image);
}

static inline uint64_t cluster_of(const struct qcow2 *qcow2, uint64_t offset)
{
    return offset >> qcow2->cluster_bits;
}

static inline uint64_t within_cluster(const struct qcow2 *qcow2, uint64_t offset)
{
    return offset & (qcow2->cluster_size - 1);
}

/* Lock held. Data is about to move; the answer is for users_leave. */
static inline unsigned users_enter(struct qcow2 *qcow2)
{
    atomic_fetch_add(&qcow2->users[qcow2->epoch], 1);
    return qcow2->epoch;
}

static inline void users_leave(struct qcow2 *qcow2, unsigned epoch)
{
    atomic_fetch_sub(&qcow2->users[epoch], 1);
}

/* --- header.c --- */

int header_parse(struct file *file, struct qcow2_header *header, struct error *error);
/* Into HEADER_OURS_LENGTH bytes. */
void header_pack(const struct qcow2_header *header, uint8_t *bytes);
/* Writes the fields back; extensions stay. Flushes before and after. */
int header_write(struct qcow2 *qcow2);
/* Writes header, extensions and backing file name anew. */
int header_write_whole(struct file *file, const struct qcow2_header *header, struct error *error);
/* Before the first change of an image: autoclear bits, and the dirty bit for lazy refcounts. */
int header_begin_changes(struct qcow2 *qcow2);

/* --- metadata.c --- */

/* Says that the image is corrupt, once, and stops writing to it. Returns -EIO. */
int metadata_corrupt(struct qcow2 *qcow2, const char *what, uint64_t offset);
int metadata_write_back(void *qcow2);
/* All that was written before lasts. */
int metadata_barrier(struct qcow2 *qcow2);
bool cluster_set_add(struct cluster_set *set, uint64_t cluster); /* false: there or no memory */
bool cluster_set_has(const struct cluster_set *set, uint64_t cluster);
void cluster_set_remove(struct cluster_set *set, uint64_t cluster);
/* Is [offset, + a cluster) a place for what nobody else has: aligned, in the file, no metadata? */
bool metadata_place_valid(const struct qcow2 *qcow2, uint64_t offset);
/* Reads and checks the tables; fills the set of metadata clusters. */
int metadata_load(struct qcow2 *qcow2, struct error *error);
int metadata_read_table(struct file *file, uint64_t offset, uint64_t entries, uint64_t *table);
int metadata_write_table(struct file *file, uint64_t offset, uint64_t entries,
                         const uint64_t *table);

/* --- l2.c --- */

/* The L2 entry of the guest offset: 0 where there is no table. `bitmap` (extended L2) may be NULL.
 */
int l2_get(struct qcow2 *qcow2, uint64_t offset, uint64_t *entry, uint64_t *bitmap);
/* Only after l2_prepare of the same table. */
int l2_set(struct qcow2 *qcow2, uint64_t offset, uint64_t entry);
/* Makes sure that the offset has an L2 table of its own. */
int l2_prepare(struct qcow2 *qcow2, uint64_t offset);

/* A run of guest bytes that lie alike. */
struct run {
    enum extent_kind kind;
    uint64_t length; /* bytes */
    uint64_t offset; /* DATA: in the file */
    uint64_t entry;  /* COMPRESSED: the table's entry */
    bool in_place;   /* DATA: may be written */
};
/* What lies at offset, at most `length` bytes long. -errno, -EIO for a corrupt entry. */
int run_find(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct run *run);
/* As run_find for one cluster of DATA, out of the caches only. */
bool run_peek(struct qcow2 *qcow2, uint64_t offset, struct run *run);

/* --- tree.c: all that an L1 table leads to --- */

/* Counts every cluster once more (change 1), or gives each up (-1). */
int tree_count(struct qcow2 *qcow2, const uint64_t *l1, uint32_t entries, int change);
/* ENTRY_COPIED in the active tables, by the refcounts. */
int tree_set_flags(struct qcow2 *qcow2);

/* --- refcount.c --- */

int refcount_get(struct qcow2 *qcow2, uint64_t cluster, uint64_t *count);
int refcount_set(struct qcow2 *qcow2, uint64_t cluster, uint64_t count);
int refcount_add(struct qcow2 *qcow2, uint64_t cluster, int change);
/* Up to `wanted` free clusters in a row, counted once each from now on; *count of them. */
int clusters_allocate(struct qcow2 *qcow2, uint64_t wanted, uint64_t *first, uint64_t *count);
/* Exactly so many, at the file's end. */
int clusters_allocate_row(struct qcow2 *qcow2, uint64_t count, uint64_t *first);
/* Given up: counted down when the tables on disk do not name them any more. */
void clusters_free(struct qcow2 *qcow2, uint64_t first, uint64_t count);
/* What the L2 entry holds is given up. */
void clusters_free_entry(struct qcow2 *qcow2, uint64_t entry);
/* The clusters of the file that a compressed entry's bytes lie in. */
struct cluster_range compressed_clusters(const struct qcow2 *qcow2, uint64_t entry);
/* Counts down what is given up and not used any more. */
int clusters_settle(struct qcow2 *qcow2);

/* --- read.c, write.c, zero.c, compress.c, snapshot.c --- */

int qcow2_read(struct qcow2 *qcow2, const struct block_request *request);
/* The request lies within the cluster of the entry. */
int compressed_read(struct qcow2 *qcow2, uint64_t entry, const struct block_request *request);
int qcow2_write(struct qcow2 *qcow2, const struct block_request *request);
/* DISCARD and WRITE_ZEROES. */
int qcow2_zero(struct qcow2 *qcow2, const struct block_request *request);
/* Lock held: waits until none of the guest clusters is being filled. */
void allocation_wait(struct qcow2 *qcow2, uint64_t first, uint64_t count);
int qcow2_resize(struct image *image, uint64_t size, struct error *error);
/* Bytes of the snapshot table. */
uint64_t snapshots_bytes(const struct qcow2 *qcow2);
int snapshots_load(struct qcow2 *qcow2, struct error *error);
/* Writes the list as it is in memory now; the one in the file takes old_bytes. Lock held. */
int snapshots_write(struct qcow2 *qcow2, uint64_t old_bytes);
void snapshots_destroy(struct qcow2 *qcow2);

#endif
