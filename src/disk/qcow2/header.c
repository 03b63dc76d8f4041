/* SPDX-License-Identifier: Apache-2.0 */
/* The header and its extensions: read with suspicion, written in one sector. */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Fields alone: [at, at + size) as a number. */
static uint64_t field(const uint8_t *bytes, unsigned at, unsigned size)
{
    return load_be(bytes + at, size);
}

static void unpack(struct qcow2_header *header, const uint8_t *bytes)
{
    *header = (struct qcow2_header){
        .version = (unsigned)field(bytes, HEADER_VERSION, 4),
        .cluster_bits = (unsigned)field(bytes, HEADER_CLUSTER_BITS, 4),
        .size = field(bytes, HEADER_SIZE, 8),
        .l1_size = (uint32_t)field(bytes, HEADER_L1_SIZE, 4),
        .l1_offset = field(bytes, HEADER_L1_OFFSET, 8),
        .refcount_offset = field(bytes, HEADER_REFCOUNT_OFFSET, 8),
        .refcount_clusters = (uint32_t)field(bytes, HEADER_REFCOUNT_CLUSTERS, 4),
        .snapshot_count = (uint32_t)field(bytes, HEADER_SNAPSHOT_COUNT, 4),
        .snapshots_offset = field(bytes, HEADER_SNAPSHOT_OFFSET, 8),
        .refcount_order = 4,
        .length = HEADER_V2_LENGTH,
    };
    if (header->version < 3)
        return;
    header->incompatible = field(bytes, HEADER_INCOMPATIBLE, 8);
    header->compatible = field(bytes, HEADER_COMPATIBLE, 8);
    header->autoclear = field(bytes, HEADER_AUTOCLEAR, 8);
    header->refcount_order = (unsigned)field(bytes, HEADER_REFCOUNT_ORDER, 4);
    header->length = (unsigned)field(bytes, HEADER_LENGTH, 4);
    if (header->length > HEADER_COMPRESSION)
        header->compression = (enum qcow2_compression)bytes[HEADER_COMPRESSION];
}

void header_pack(const struct qcow2_header *header, uint8_t *bytes)
{
    memset(bytes, 0, HEADER_OURS_LENGTH);
    store_be(bytes + HEADER_MAGIC, QCOW2_MAGIC, 4);
    store_be(bytes + HEADER_VERSION, header->version, 4);
    store_be(bytes + HEADER_CLUSTER_BITS, header->cluster_bits, 4);
    store_be(bytes + HEADER_SIZE, header->size, 8);
    store_be(bytes + HEADER_L1_SIZE, header->l1_size, 4);
    store_be(bytes + HEADER_L1_OFFSET, header->l1_offset, 8);
    store_be(bytes + HEADER_REFCOUNT_OFFSET, header->refcount_offset, 8);
    store_be(bytes + HEADER_REFCOUNT_CLUSTERS, header->refcount_clusters, 4);
    store_be(bytes + HEADER_SNAPSHOT_COUNT, header->snapshot_count, 4);
    store_be(bytes + HEADER_SNAPSHOT_OFFSET, header->snapshots_offset, 8);
    if (header->version < 3)
        return;
    store_be(bytes + HEADER_INCOMPATIBLE, header->incompatible, 8);
    store_be(bytes + HEADER_COMPATIBLE, header->compatible, 8);
    store_be(bytes + HEADER_AUTOCLEAR, header->autoclear, 8);
    store_be(bytes + HEADER_REFCOUNT_ORDER, header->refcount_order, 4);
    store_be(bytes + HEADER_LENGTH, header->length, 4);
    bytes[HEADER_COMPRESSION] = (uint8_t)header->compression;
}

/* The name of incompatible feature `bit`, from the image's own table. */
static void feature_name(const uint8_t *table, size_t length, unsigned bit, char *name, size_t room)
{
    snprintf(name, room, "bit %u", bit);
    for (size_t at = 0; at + FEATURE_NAME_SIZE <= length; at += FEATURE_NAME_SIZE)
        if (table[at] == 0 && table[at + 1] == bit)
            snprintf(name, room, "%.46s", (const char *)table + at + 2);
    for (char *letter = name; *letter; letter++)
        if (*letter < ' ' || *letter > '~')
            *letter = '?';
}

static int refuse_features(const char *path, uint64_t unknown, const uint8_t *table, size_t length,
                           struct error *error)
{
    char name[64];
    if (unknown & INCOMPATIBLE_EXTERNAL_DATA)
        return error_set(error, ENOTSUP,
                         "%s: keeps its data in a second file, which nacre does not support; "
                         "convert it with qemu-img convert",
                         path);
    feature_name(table, length, (unsigned)__builtin_ctzll(unknown), name, sizeof(name));
    return error_set(error, ENOTSUP, "%s: needs the feature \"%s\", which nacre does not know",
                     path, name);
}

/* Header extensions, in the first cluster. `end` bytes of it are there. */
static int parse_extensions(const char *path, const uint8_t *bytes, uint64_t end,
                            struct qcow2_header *header, struct error *error)
{
    uint64_t at = header->length, unknown = header->incompatible & ~INCOMPATIBLE_KNOWN;
    const uint8_t *names = NULL;
    size_t names_length = 0;
    while (range_within(at, 8, end)) {
        uint64_t type = load_be(bytes + at, 4), length = load_be(bytes + at + 4, 4);
        at += 8;
        if (type == EXTENSION_END)
            break;
        if (!range_within(at, length, end))
            return error_set(error, EINVAL, "%s: a header extension runs out of the header", path);
        if (type == EXTENSION_BACKING_FORMAT) {
            if (length >= sizeof(header->backing_format))
                return error_set(error, EINVAL, "%s: its backing format has no proper name", path);
            memcpy(header->backing_format, bytes + at, length);
        } else if (type == EXTENSION_FEATURE_NAMES) {
            names = bytes + at;
            names_length = length;
        }
        at += align_up(length, 8);
    }
    return unknown ? refuse_features(path, unknown, names, names_length, error) : 0;
}

static int check_fields(const char *path, const struct qcow2_header *header, struct error *error)
{
    uint64_t mask = (UINT64_C(1) << header->cluster_bits) - 1;
    uint64_t l1_bytes = (uint64_t)header->l1_size * 8;
    unsigned l2_bits = header->cluster_bits - 3;
    if (header->incompatible & INCOMPATIBLE_EXTENDED_L2)
        l2_bits--;
    uint64_t per_l1 = UINT64_C(1) << (header->cluster_bits + l2_bits);
    uint64_t needed = header->size / per_l1 + (header->size % per_l1 != 0);
    const struct {
        bool wrong;
        const char *what;
    } checks[] = {
        {header->refcount_order > REFCOUNT_ORDER_MAX, "its refcounts are wider than 64 bits"},
        {header->size > INT64_MAX - mask, "its disk is too large"},
        {l1_bytes > L1_BYTES_MAX, "its L1 table is too large"},
        {header->l1_size < needed, "its L1 table is too small for its disk"},
        {header->l1_offset & mask || header->l1_offset > INT64_MAX - L1_BYTES_MAX,
         "its L1 table is not where one can be"},
        {header->refcount_offset & mask || header->refcount_offset > INT64_MAX / 2 ||
             !header->refcount_offset,
         "its refcount table is not where one can be"},
        {!header->refcount_clusters ||
             (uint64_t)header->refcount_clusters << header->cluster_bits > REFTABLE_BYTES_MAX,
         "its refcount table has an impossible size"},
        {header->snapshot_count > SNAPSHOTS_MAX, "it has too many snapshots"},
        {header->snapshot_count &&
             (header->snapshots_offset & mask || header->snapshots_offset > INT64_MAX / 2),
         "its snapshot table is not where one can be"},
        {header->compression > COMPRESSION_ZSTD, "its compression is neither zlib nor zstd"},
        {(header->compression != COMPRESSION_ZLIB) !=
             !!(header->incompatible & INCOMPATIBLE_COMPRESSION),
         "its compression contradicts its features"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(checks); i++)
        if (checks[i].wrong)
            return error_set(error, EINVAL, "%s: is corrupt: %s", path, checks[i].what);
    return 0;
}

static int parse_backing(const char *path, const uint8_t *bytes, uint64_t end,
                         struct qcow2_header *header, struct error *error)
{
    uint64_t offset = field(bytes, HEADER_BACKING_OFFSET, 8);
    uint64_t length = field(bytes, HEADER_BACKING_SIZE, 4);
    if (!offset)
        return 0;
    if (length > BACKING_NAME_MAX || !range_within(offset, length, end) ||
        memchr(bytes + offset, 0, length))
        return error_set(error, EINVAL, "%s: is corrupt: its backing file has no proper name",
                         path);
    memcpy(header->backing, bytes + offset, length);
    return 0;
}

/* The fixed part, as far as it says how to read the rest. */
static int parse_start(struct file *file, struct qcow2_header *header, struct error *error)
{
    uint8_t bytes[HEADER_OURS_LENGTH] = {0};
    const char *path = file->path;
    if (file_read(file, 0, bytes, sizeof(bytes)) < 0)
        return error_set(error, EIO, "%s: cannot be read", path);
    if (field(bytes, HEADER_MAGIC, 4) != QCOW2_MAGIC)
        return error_set(error, EINVAL, "%s: is no qcow2 image; say format=raw if it is a raw one",
                         path);
    unpack(header, bytes);
    if (header->version != 2 && header->version != 3)
        return error_set(error, ENOTSUP, "%s: is qcow2 version %u; nacre knows 2 and 3", path,
                         header->version);
    if (field(bytes, HEADER_CRYPT, 4))
        return error_set(error, ENOTSUP,
                         "%s: is encrypted, which nacre does not support; decrypt it with "
                         "qemu-img convert",
                         path);
    if (header->cluster_bits < CLUSTER_BITS_MIN || header->cluster_bits > CLUSTER_BITS_MAX)
        return error_set(error, EINVAL, "%s: is corrupt: clusters of 2^%u bytes", path,
                         header->cluster_bits);
    if (header->version == 3 &&
        (header->length < HEADER_V3_LENGTH || header->length >> header->cluster_bits))
        return error_set(error, EINVAL, "%s: is corrupt: a header of %u bytes", path,
                         header->length);
    return 0;
}

int header_parse(struct file *file, struct qcow2_header *header, struct error *error)
{
    int result = parse_start(file, header, error);
    if (result < 0)
        return result;
    uint64_t end = UINT64_C(1) << header->cluster_bits;
    uint8_t *bytes = malloc(end);
    if (!bytes)
        return error_set(error, ENOMEM, "%s: out of memory", file->path);
    if (file_read(file, 0, bytes, end) < 0)
        result = error_set(error, EIO, "%s: cannot be read", file->path);
    if (result == 0)
        result = parse_extensions(file->path, bytes, end, header, error);
    if (result == 0)
        result = check_fields(file->path, header, error);
    if (result == 0)
        result = parse_backing(file->path, bytes, end, header, error);
    free(bytes);
    return result;
}

int header_write(struct qcow2 *qcow2)
{
    uint8_t bytes[HEADER_OURS_LENGTH], old[HEADER_OURS_LENGTH];
    int result = metadata_barrier(qcow2);
    if (result == 0)
        result = file_read(qcow2->image.file, 0, old, sizeof(old));
    if (result < 0)
        return result;
    header_pack(&qcow2->header, bytes);
    memcpy(bytes + HEADER_BACKING_OFFSET, old + HEADER_BACKING_OFFSET, 12);
    unsigned length =
        qcow2->header.length < HEADER_OURS_LENGTH ? qcow2->header.length : HEADER_OURS_LENGTH;
    result = file_write(qcow2->image.file, 0, bytes, length);
    qcow2->unsynced = true;
    return result < 0 ? result : metadata_barrier(qcow2);
}

int header_write_whole(struct file *file, const struct qcow2_header *header, struct error *error)
{
    uint64_t size = UINT64_C(1) << header->cluster_bits, at = header->length;
    size_t name = strlen(header->backing), format = strlen(header->backing_format);
    if (header->length + 16 + align_up(format, 8) + name > size)
        return error_set(error, EINVAL, "%s: the backing file's name is too long", file->path);
    uint8_t *bytes = calloc(1, size);
    if (!bytes)
        return error_set(error, ENOMEM, "%s: out of memory", file->path);
    header_pack(header, bytes);
    if (name && format) {
        store_be(bytes + at, EXTENSION_BACKING_FORMAT, 4);
        store_be(bytes + at + 4, format, 4);
        memcpy(bytes + at + 8, header->backing_format, format);
        at += 8 + align_up(format, 8);
    }
    at += 8; /* the end of the extensions: zeroes */
    if (name) {
        store_be(bytes + HEADER_BACKING_OFFSET, at, 8);
        store_be(bytes + HEADER_BACKING_SIZE, name, 4);
        memcpy(bytes + at, header->backing, name);
    }
    int result = file_write(file, 0, bytes, size);
    free(bytes);
    return result < 0 ? error_set(error, -result, "%s: %s", file->path, strerror(-result)) : 0;
}

int header_begin_changes(struct qcow2 *qcow2)
{
    struct qcow2_header *header = &qcow2->header;
    const uint64_t incompatible = header->incompatible, autoclear = header->autoclear;
    bool lazy = header->compatible & COMPATIBLE_LAZY_REFCOUNTS;
    if (!header->autoclear && (!lazy || header->incompatible & INCOMPATIBLE_DIRTY))
        return 0;
    header->autoclear = 0;
    if (lazy)
        header->incompatible |= INCOMPATIBLE_DIRTY;
    int result = header_write(qcow2);
    if (result < 0) {
        header->incompatible = incompatible;
        header->autoclear = autoclear;
    }
    return result;
}
