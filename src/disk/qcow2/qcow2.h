/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images: a disk's content in clusters, allocated when written, on top of a backing image.
 * What image.h declares works on them; here is what only they can do. Any thread, one call at a
 * time unless said otherwise.
 */
#ifndef NACRE_DISK_QCOW2_QCOW2_H
#define NACRE_DISK_QCOW2_QCOW2_H

#include "disk/image.h"

struct qcow2_create_options {
    uint64_t size;          /* bytes, whole sectors */
    unsigned cluster_size;  /* bytes, a power of two from 512 to 2 MiB; 0: 64 KiB */
    unsigned version;       /* 2 or 3; 0: 3 */
    unsigned refcount_bits; /* a power of two from 1 to 64; 0: 16 */
    bool lazy_refcounts;
    const char *backing, *backing_format; /* NULL: none */
};

/* Fills an existing empty file. The backing image is not looked at. */
int qcow2_create(const char *path, const struct qcow2_create_options *options, struct error *error);

/* The image takes the file over, also when it fails. */
struct image *qcow2_open(struct file *file, const struct block_options *options,
                         struct error *error);

bool image_is_qcow2(const struct image *image);

struct qcow2_info {
    unsigned version, cluster_size, refcount_bits;
    bool lazy_refcounts, extended_l2, is_dirty, is_corrupt, uses_zstd;
    char *backing, *backing_format; /* "" when there is none; the image's own */
    unsigned snapshot_count;
};
void qcow2_get_info(struct image *image, struct qcow2_info *info);

/* Where the backing image lies, with relative names resolved: PATH_MAX bytes. -ENOENT: there is
 * none. */
int qcow2_backing_path(struct image *image, char *path, struct error *error);
/* The image holds nothing any more: all of it shows its backing image. Not with snapshots. */
int qcow2_empty(struct image *image, struct error *error);
/* Sets what the image is based on, by name only; backing NULL: nothing. */
int qcow2_set_backing(struct image *image, const char *backing, const char *format,
                      struct error *error);

struct qcow2_snapshot {
    char *id, *name;
    uint8_t *extra; /* extra data as it stands in the file */
    uint32_t extra_length;
    uint64_t l1_offset, disk_size, vm_state_size, vm_clock_ns;
    uint32_t l1_size, seconds, nanoseconds;
};
/* The image's own; valid until a snapshot is made or deleted. */
const struct qcow2_snapshot *qcow2_snapshot_at(struct image *image, unsigned index);
int qcow2_snapshot_create(struct image *image, const char *name, struct error *error);
int qcow2_snapshot_apply(struct image *image, const char *name, struct error *error);
int qcow2_snapshot_delete(struct image *image, const char *name, struct error *error);

struct qcow2_check {
    uint64_t clusters;    /* in the file */
    uint64_t leaks;       /* clusters that nothing uses: lost space */
    uint64_t corruptions; /* what can damage data */
    uint64_t slow;        /* entries that call shared what is not: harmless, but costs copies */
    uint64_t repaired;
    char first[160]; /* the first thing found */
};
enum qcow2_repair { QCOW2_REPAIR_NONE, QCOW2_REPAIR_LEAKS, QCOW2_REPAIR_ALL };
/* 0 when the check could be made, whatever it found. */
int qcow2_check(struct image *image, enum qcow2_repair repair, struct qcow2_check *check,
                struct error *error);

#endif
