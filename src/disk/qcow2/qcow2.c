/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, and what image.h asks of a format. */
#include "disk/qcow2/qcow2.h"

#include "disk/qcow2/private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGE_SIZE_MAX 4096
#define L2_CACHE      MIB(2) /* of the image that is written; 16 GiB of disk in clusters of 64 KiB */
#define BACKING_CACHE KIB(256)
#define COUNTS_CACHE  KIB(256)

static int qcow2_flush(struct qcow2 *qcow2)
{
    pthread_mutex_lock(&qcow2->lock);
    int result = qcow2->broken ? -EIO : metadata_write_back(qcow2);
    pthread_mutex_unlock(&qcow2->lock);
    return result < 0 ? result : file_flush(qcow2->image.file);
}

/* Everything into the file, as nobody uses the image any more. Once; after that it takes no writes.
 */
static int finish(struct qcow2 *qcow2)
{
    int result = 0;
    pthread_mutex_lock(&qcow2->lock);
    if (qcow2->writable && !qcow2->broken && !qcow2->lenient) {
        result = metadata_write_back(qcow2);
        qcow2->header.incompatible &= ~INCOMPATIBLE_DIRTY;
        /* Once more for what was counted down by the first. */
        if (result == 0)
            result = metadata_write_back(qcow2);
        if (result == 0 && qcow2->header.compatible & COMPATIBLE_LAZY_REFCOUNTS)
            result = header_write(qcow2);
        if (result == 0)
            result = file_flush(qcow2->image.file);
    }
    if (result < 0 && qcow2->log)
        log_message(qcow2->log, LOG_ERROR, "%s: its tables could not be written: %s",
                    qcow2->image.file->path, strerror(-result));
    qcow2->writable = false;
    pthread_mutex_unlock(&qcow2->lock);
    return result;
}

static int qcow2_execute(struct image *image, const struct block_request *request)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    if (request->operation == BLOCK_READ)
        return qcow2_read(qcow2, request);
    if (request->operation == BLOCK_FINISH)
        return finish(qcow2);
    if (!qcow2->writable)
        return request->operation == BLOCK_FLUSH ? 0 : -EROFS;
    if (request->operation == BLOCK_FLUSH)
        return qcow2_flush(qcow2);
    int result = request->operation == BLOCK_WRITE ? qcow2_write(qcow2, request)
                                                   : qcow2_zero(qcow2, request);
    if (result == 0 && image->file->cache == BLOCK_CACHE_WRITETHROUGH)
        result = qcow2_flush(qcow2);
    return result;
}

/* All of the request in one piece of the file, and known without reading. Lock held. */
static bool is_plain(struct qcow2 *qcow2, const struct block_request *request, uint64_t *offset)
{
    struct run run, next;
    bool write = request->operation == BLOCK_WRITE;
    if (!request->length || !run_peek(qcow2, request->offset, &run) || (write && !run.in_place))
        return false;
    for (uint64_t done = run.length; done < request->length; done += next.length)
        if (!run_peek(qcow2, request->offset + done, &next) || (write && !next.in_place) ||
            next.offset != run.offset + done)
            return false;
    *offset = run.offset;
    return true;
}

static bool qcow2_locate(struct image *image, struct block_request *request, uint64_t *offset)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    bool write = request->operation == BLOCK_WRITE;
    if (request->operation == BLOCK_FLUSH || (write && (!qcow2->writable || qcow2->broken)))
        return false;
    /* Who holds it may be waiting for the disk; the caller must not. */
    if (pthread_mutex_trylock(&qcow2->lock))
        return false;
    bool plain = is_plain(qcow2, request, offset);
    if (plain)
        request->epoch = users_enter(qcow2);
    pthread_mutex_unlock(&qcow2->lock);
    return plain;
}

static void qcow2_release(struct image *image, struct block_request *request)
{
    users_leave(qcow2_of(image), request->epoch);
}

static int qcow2_extent(struct image *image, uint64_t offset, uint64_t length,
                        struct extent *extent)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    struct run run;
    pthread_mutex_lock(&qcow2->lock);
    int result = run_find(qcow2, offset, length, &run);
    pthread_mutex_unlock(&qcow2->lock);
    if (result == 0)
        *extent = (struct extent){.kind = run.kind, .length = run.length, .offset = run.offset};
    return result;
}

/* --- closing --- */

static void destroy(struct qcow2 *qcow2)
{
    if (qcow2->image.backing)
        image_close(qcow2->image.backing);
    file_close(qcow2->image.file);
    cache_destroy(&qcow2->l2_cache);
    cache_destroy(&qcow2->refcount_cache);
    snapshots_destroy(qcow2);
    free(qcow2->l1);
    free(qcow2->refcount_table);
    free(qcow2->metadata.slots);
    free(qcow2->freed.ranges);
    free(qcow2->limbo.ranges);
    free(qcow2->packed);
    free(qcow2->unpacked);
    pthread_mutex_destroy(&qcow2->lock);
    pthread_mutex_destroy(&qcow2->unpack_lock);
    pthread_cond_destroy(&qcow2->linked);
    free(qcow2);
}

static int qcow2_close(struct image *image)
{
    struct qcow2 *qcow2 = qcow2_of(image);
    int result = finish(qcow2);
    destroy(qcow2);
    return result;
}

static const struct image_ops qcow2_ops = {
    .format = "qcow2",
    .execute = qcow2_execute,
    .locate = qcow2_locate,
    .release = qcow2_release,
    .extent = qcow2_extent,
    .resize = qcow2_resize,
    .close = qcow2_close,
};

bool image_is_qcow2(const struct image *image)
{
    return image->ops == &qcow2_ops;
}

/* --- opening --- */

/* A relative name counts from the image's own folder. */
static int backing_path(const char *image, const char *name, char *path, struct error *error)
{
    const char *slash = name[0] == '/' ? NULL : strrchr(image, '/');
    int folder = slash ? (int)(slash - image + 1) : 0;
    size_t colon = strcspn(name, ":"), first_slash = strcspn(name, "/");
    if (colon < first_slash && name[colon])
        return error_set(error, ENOTSUP,
                         "%s: its backing image %s is not a plain file, which nacre does not "
                         "support",
                         image, name);
    if (snprintf(path, PATH_MAX, "%.*s%s", folder, image, name) >= PATH_MAX)
        return error_set(error, ENAMETOOLONG, "%s: its backing image's name is too long", image);
    return 0;
}

int qcow2_backing_path(struct image *image, char *path, struct error *error)
{
    const char *name = qcow2_of(image)->header.backing;
    if (!*name)
        return error_set(error, ENOENT, "%s: has no backing image", image->file->path);
    return backing_path(image->file->path, name, path, error);
}

static int open_backing(struct qcow2 *qcow2, const struct block_options *options,
                        struct error *error)
{
    char path[PATH_MAX];
    const struct qcow2_header *header = &qcow2->header;
    struct block_options backing = *options;
    if (!header->backing[0] || options->no_backing)
        return 0;
    if (options->depth >= IMAGE_DEPTH_MAX)
        return error_set(error, ELOOP,
                         "%s: is the end of a chain of more than %d backing images; does it go "
                         "round in a circle?",
                         options->path, IMAGE_DEPTH_MAX);
    int result = backing_path(options->path, header->backing, path, error);
    if (result < 0)
        return result;
    backing.path = path;
    backing.format = header->backing_format[0] ? header->backing_format : NULL;
    backing.read_only = true;
    backing.lenient = false;
    backing.depth++;
    qcow2->image.backing = image_open(&backing, error);
    if (qcow2->image.backing)
        return 0;
    /* Once, for the image that the user has named. */
    return options->depth ? -error->code
                          : error_prefix(error, "backing image of %s", options->path);
}

static int check_writable(const struct qcow2 *qcow2, struct error *error)
{
    const char *path = qcow2->image.file->path;
    if (qcow2->header.incompatible & INCOMPATIBLE_CORRUPT)
        return error_set(error, EINVAL,
                         "%s: is marked as corrupt; run nacre image check --repair all, or use "
                         "readonly=on",
                         path);
    if (qcow2->header.incompatible & INCOMPATIBLE_EXTENDED_L2)
        return error_set(error, ENOTSUP,
                         "%s: has subclusters (extended L2 entries), which nacre can only read; "
                         "use readonly=on",
                         path);
    return 0;
}

static int create_caches(struct qcow2 *qcow2, const struct block_options *options)
{
    unsigned page =
        qcow2->cluster_size < PAGE_SIZE_MAX ? (unsigned)qcow2->cluster_size : PAGE_SIZE_MAX;
    unsigned l2_bytes = options->depth ? BACKING_CACHE : L2_CACHE;
    struct file *file = qcow2->image.file;
    int result =
        cache_create(&qcow2->l2_cache, file, page, l2_bytes / page, metadata_write_back, qcow2);
    if (result == 0)
        result = cache_create(&qcow2->refcount_cache, file, page, COUNTS_CACHE / page,
                              metadata_write_back, qcow2);
    return result;
}

static int load(struct qcow2 *qcow2, const struct block_options *options, struct error *error)
{
    struct file *file = qcow2->image.file;
    struct qcow2_header *header = &qcow2->header;
    file->grows = true;
    int result = header_parse(file, header, error);
    if (result < 0)
        return result;
    qcow2->cluster_bits = header->cluster_bits;
    qcow2->cluster_size = UINT64_C(1) << header->cluster_bits;
    qcow2->l2_entry_size = header->incompatible & INCOMPATIBLE_EXTENDED_L2 ? 16 : 8;
    qcow2->l2_entries = qcow2->cluster_size / qcow2->l2_entry_size;
    qcow2->refcount_block_entries = qcow2->cluster_size * 8 >> header->refcount_order;
    qcow2->file_clusters = cluster_of(qcow2, file->size + qcow2->cluster_size - 1);
    qcow2->image.size = align_down(header->size, SECTOR);
    qcow2->lenient = options->lenient;
    qcow2->writable = !options->read_only;
    if (qcow2->writable && !options->lenient)
        result = check_writable(qcow2, error);
    if (result == 0 && create_caches(qcow2, options) < 0)
        result = error_set(error, ENOMEM, "%s: out of memory", file->path);
    if (result == 0)
        result = metadata_load(qcow2, error);
    if (result == 0)
        result = snapshots_load(qcow2, error);
    return result < 0 ? result : open_backing(qcow2, options, error);
}

/* Lazy refcounts, and nobody closed the image: they are counted anew. */
static int recover(struct qcow2 *qcow2, struct error *error)
{
    struct qcow2_check check;
    if (!qcow2->writable || qcow2->lenient || !(qcow2->header.incompatible & INCOMPATIBLE_DIRTY))
        return 0;
    if (qcow2->log)
        log_message(qcow2->log, LOG_WARNING, "%s: was not closed; counting its clusters",
                    qcow2->image.file->path);
    int result = qcow2_check(&qcow2->image, QCOW2_REPAIR_ALL, &check, error);
    if (result == 0 && check.corruptions > check.repaired)
        result = error_set(error, EINVAL, "%s: is corrupt: %s; run nacre image check",
                           qcow2->image.file->path, check.first);
    return result;
}

struct image *qcow2_open(struct file *file, const struct block_options *options,
                         struct error *error)
{
    struct qcow2 *qcow2 = calloc(1, sizeof(*qcow2));
    if (!qcow2) {
        error_set(error, ENOMEM, "%s: out of memory", file->path);
        file_close(file);
        return NULL;
    }
    qcow2->image = (struct image){.ops = &qcow2_ops, .file = file, .read_only = options->read_only};
    qcow2->log = options->log;
    pthread_mutex_init(&qcow2->lock, NULL);
    pthread_mutex_init(&qcow2->unpack_lock, NULL);
    pthread_cond_init(&qcow2->linked, NULL);
    if (load(qcow2, options, error) < 0 || recover(qcow2, error) < 0) {
        destroy(qcow2);
        return NULL;
    }
    return &qcow2->image;
}

void qcow2_get_info(struct image *image, struct qcow2_info *info)
{
    struct qcow2_header *header = &qcow2_of(image)->header;
    *info = (struct qcow2_info){
        .version = header->version,
        .cluster_size = 1u << header->cluster_bits,
        .refcount_bits = 1u << header->refcount_order,
        .lazy_refcounts = header->compatible & COMPATIBLE_LAZY_REFCOUNTS,
        .extended_l2 = header->incompatible & INCOMPATIBLE_EXTENDED_L2,
        .is_dirty = header->incompatible & INCOMPATIBLE_DIRTY,
        .is_corrupt = header->incompatible & INCOMPATIBLE_CORRUPT,
        .uses_zstd = header->compression == COMPRESSION_ZSTD,
        .backing = header->backing,
        .backing_format = header->backing_format,
        .snapshot_count = header->snapshot_count,
    };
}
