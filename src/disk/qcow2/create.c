/* SPDX-License-Identifier: Apache-2.0 */
/* New images, larger and smaller ones, and other backing images. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int copy_names(struct qcow2_header *header, const char *backing, const char *format,
                      const char *path, struct error *error)
{
    backing = backing ? backing : "";
    format = format ? format : "";
    if (strlen(backing) >= sizeof(header->backing) ||
        strlen(format) >= sizeof(header->backing_format))
        return error_set(error, ENAMETOOLONG, "%s: the backing image's name is too long", path);
    memset(header->backing, 0, sizeof(header->backing));
    memset(header->backing_format, 0, sizeof(header->backing_format));
    memcpy(header->backing, backing, strlen(backing));
    memcpy(header->backing_format, format, strlen(format));
    return 0;
}

static int fill_header(struct qcow2_header *header, const struct qcow2_create_options *options,
                       const char *path, struct error *error)
{
    unsigned cluster = options->cluster_size ? options->cluster_size : KIB(64);
    unsigned bits = options->refcount_bits ? options->refcount_bits : 16;
    unsigned version = options->version ? options->version : 3;
    if (cluster < 512 || cluster > MIB(2) || cluster & (cluster - 1))
        return error_set(error, EINVAL,
                         "%s: clusters must be a power of two from 512 bytes to 2 MiB", path);
    if (bits > 64 || bits & (bits - 1) || (version == 2 && bits != 16))
        return error_set(error, EINVAL, "%s: refcounts cannot have %u bits", path, bits);
    if (version == 2 && options->lazy_refcounts)
        return error_set(error, EINVAL, "%s: lazy refcounts need version 3", path);
    if (!options->size || options->size % SECTOR || options->size > INT64_MAX / 2)
        return error_set(error, EINVAL, "%s: the size must be whole sectors of 512 bytes", path);
    *header = (struct qcow2_header){
        .version = version,
        .cluster_bits = (unsigned)__builtin_ctz(cluster),
        .size = options->size,
        .refcount_order = (unsigned)__builtin_ctz(bits),
        .length = version == 2 ? HEADER_V2_LENGTH : HEADER_OURS_LENGTH,
        .compatible = options->lazy_refcounts ? COMPATIBLE_LAZY_REFCOUNTS : 0,
        .refcount_clusters = 1,
    };
    uint64_t span = (uint64_t)cluster * (cluster / 8);
    uint64_t entries = options->size / span + (options->size % span != 0);
    if (entries * 8 > L1_BYTES_MAX)
        return error_set(error, EFBIG, "%s: is too large for clusters of %u bytes", path, cluster);
    header->l1_size = (uint32_t)entries;
    return copy_names(header, options->backing, options->backing_format, path, error);
}

/* Layout: header, refcount table, one refcount block, then the L1 table, counted when the image is
 * opened: its clusters may be more than one block counts. */
enum { TABLE_CLUSTER = 1, BLOCK_CLUSTER = 2, L1_CLUSTER = 3 };

static int write_first_clusters(struct file *file, struct qcow2_header *header, struct error *error)
{
    uint64_t size = UINT64_C(1) << header->cluster_bits;
    uint8_t *bytes = calloc(1, 2 * size);
    if (!bytes)
        return error_set(error, ENOMEM, "%s: out of memory", file->path);
    unsigned bits = 1u << header->refcount_order;
    store_be(bytes, BLOCK_CLUSTER * size, 8);
    for (unsigned i = 0; i < L1_CLUSTER; i++) {
        if (bits >= 8)
            store_be(bytes + size + i * bits / 8, 1, bits / 8);
        else
            bytes[size + i * bits / 8] |= (uint8_t)(1u << (i * bits & 7));
    }
    int result = file_write(file, TABLE_CLUSTER * size, bytes, 2 * size);
    free(bytes);
    header->refcount_offset = TABLE_CLUSTER * size;
    header->l1_offset = L1_CLUSTER * size;
    return result < 0 ? error_set(error, -result, "%s: %s", file->path, strerror(-result)) : 0;
}

/* An image without a disk, to grow in the usual way. */
static int write_seed(const char *path, struct qcow2_header *header, struct error *error)
{
    const struct block_options options = {.path = path};
    struct file *file = file_open(&options, error);
    if (!file)
        return -error->code;
    file->grows = true;
    int result = write_first_clusters(file, header, error);
    header->size = 0;
    header->l1_size = 0;
    if (result == 0)
        result = header_write_whole(file, header, error);
    file_close(file);
    return result;
}

int qcow2_create(const char *path, const struct qcow2_create_options *options, struct error *error)
{
    struct qcow2_header header;
    const struct block_options open = {.path = path, .format = "qcow2", .no_backing = true};
    int result = fill_header(&header, options, path, error);
    if (result == 0)
        result = write_seed(path, &header, error);
    struct image *image = result == 0 ? image_open(&open, error) : NULL;
    if (!image)
        return result < 0 ? result : -error->code;
    result = qcow2_resize(image, options->size, error);
    int closed = image_close(image);
    if (result == 0 && closed < 0)
        result = error_set(error, -closed, "%s: %s", path, strerror(-closed));
    return result;
}

/* --- resizing --- */

/* An L1 table of `entries` at a new place. Lock held. */
static int grow_l1(struct qcow2 *qcow2, uint64_t entries)
{
    struct qcow2_header *header = &qcow2->header, before = *header;
    uint64_t first, count = align_up(entries * 8, qcow2->cluster_size) >> qcow2->cluster_bits;
    uint64_t old_count =
        align_up((uint64_t)header->l1_size * 8, qcow2->cluster_size) >> qcow2->cluster_bits;
    uint64_t *l1 = realloc(qcow2->l1, entries * 8);
    if (!l1)
        return -ENOMEM;
    memset(l1 + header->l1_size, 0, (entries - header->l1_size) * 8);
    qcow2->l1 = l1;
    int result = clusters_allocate_row(qcow2, count, &first);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0)
        result = metadata_write_table(qcow2->image.file, first << qcow2->cluster_bits, entries, l1);
    if (result < 0)
        return result;
    header->l1_offset = first << qcow2->cluster_bits;
    header->l1_size = (uint32_t)entries;
    qcow2->unsynced = true;
    result = header_write(qcow2);
    if (result < 0) {
        *header = before;
        return result;
    }
    for (uint64_t i = 0; i < count; i++)
        cluster_set_add(&qcow2->metadata, first + i);
    clusters_free(qcow2, cluster_of(qcow2, before.l1_offset), old_count);
    return 0;
}

int qcow2_resize(struct image *image, uint64_t size, struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    uint64_t span = qcow2->l2_entries << qcow2->cluster_bits;
    uint64_t entries = size / span + (size % span != 0), old = image->size;
    const char *path = image->file->path;
    int result = 0;
    if (entries * 8 > L1_BYTES_MAX || size > INT64_MAX / 2)
        return error_set(error, EFBIG, "%s: is too large for its cluster size", path);
    if (size < old && qcow2->header.snapshot_count)
        return error_set(error, EINVAL, "%s: has snapshots and cannot shrink", path);
    if (size < old)
        result = image_execute(image, &(struct block_request){.operation = BLOCK_DISCARD,
                                                              .offset = size,
                                                              .length = old - size});
    pthread_mutex_lock(&qcow2->lock);
    if (result == 0)
        result = header_begin_changes(qcow2);
    if (result == 0 && entries > qcow2->header.l1_size)
        result = grow_l1(qcow2, entries);
    if (result == 0)
        result = metadata_write_back(qcow2);
    if (result == 0) {
        qcow2->header.size = image->size = size;
        result = header_write(qcow2);
    }
    pthread_mutex_unlock(&qcow2->lock);
    /* Neither what lies below nor what was cut off before may come to light. */
    if (result == 0 && size > old)
        result = image_execute(image, &(struct block_request){.operation = BLOCK_WRITE_ZEROES,
                                                              .may_unmap = true,
                                                              .offset = old,
                                                              .length = size - old});
    return result < 0 ? error_set(error, -result, "%s: %s", path, strerror(-result)) : 0;
}

int qcow2_set_backing(struct image *image, const char *backing, const char *format,
                      struct error *error)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    struct qcow2_header header = qcow2->header;
    int result = copy_names(&header, backing, format, image->file->path, error);
    if (result < 0)
        return result;
    header.length = header.version == 2 ? HEADER_V2_LENGTH : HEADER_OURS_LENGTH;
    header.autoclear = 0;
    result = image_flush(image);
    if (result < 0)
        return error_set(error, -result, "%s: %s", image->file->path, strerror(-result));
    result = header_write_whole(image->file, &header, error);
    if (result == 0)
        qcow2->header = header;
    return result;
}
