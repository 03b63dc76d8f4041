/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed clusters, by zlib (raw deflate) or zstd: read only. The last one unpacked is kept, because
 * guests read a cluster in several pieces.
 */
#include "disk/qcow2/private.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#define DEFLATE_WINDOW_BITS (-12) /* raw, no header */

/* True when exactly a cluster came out. What lies behind the packed bytes in their last sector is
 * not ours. */
static bool unpack_zlib(const uint8_t *packed, size_t size, uint8_t *to, size_t cluster_size)
{
    z_stream stream = {.next_in = (uint8_t *)packed,
                       .avail_in = (uInt)size,
                       .next_out = to,
                       .avail_out = (uInt)cluster_size};
    if (inflateInit2(&stream, DEFLATE_WINDOW_BITS) != Z_OK)
        return false;
    int result = inflate(&stream, Z_FINISH);
    /* Z_BUF_ERROR: the cluster is full and only the end mark is missing. */
    bool full = (result == Z_STREAM_END || result == Z_BUF_ERROR) && !stream.avail_out;
    inflateEnd(&stream);
    return full;
}

static bool unpack_zstd(const uint8_t *packed, size_t size, uint8_t *to, size_t cluster_size)
{
    ZSTD_DCtx *context = ZSTD_createDCtx();
    ZSTD_inBuffer input = {.src = packed, .size = size};
    ZSTD_outBuffer output = {.dst = to, .size = cluster_size};
    while (context && output.pos < output.size) {
        size_t before = output.pos, read = input.pos;
        size_t left = ZSTD_decompressStream(context, &output, &input);
        if (ZSTD_isError(left) || (output.pos == before && input.pos == read))
            break;
    }
    ZSTD_freeDCtx(context);
    return output.pos == output.size;
}

/* unpack_lock held. */
static int unpack(struct qcow2 *qcow2, uint64_t entry)
{
    unsigned offset_bits = 62 - (qcow2->cluster_bits - 8);
    uint64_t offset = entry & (BIT(offset_bits) - 1);
    uint64_t sectors = (entry & (ENTRY_COMPRESSED - 1)) >> offset_bits;
    uint64_t size = (sectors + 1) * SECTOR - offset % SECTOR;
    /* The cluster and one sector are the most that the length's bits can say. */
    if (!qcow2->packed)
        qcow2->packed = malloc(2 * qcow2->cluster_size + SECTOR);
    if (!qcow2->unpacked)
        qcow2->unpacked = malloc(qcow2->cluster_size);
    if (!qcow2->packed || !qcow2->unpacked)
        return -ENOMEM;
    if (size > 2 * qcow2->cluster_size + SECTOR)
        return -EIO;
    qcow2->unpacked_entry = 0;
    int result = file_read(qcow2->image.file, offset, qcow2->packed, size);
    if (result < 0)
        return result;
    bool zstd = qcow2->header.compression == COMPRESSION_ZSTD;
    if (!(zstd ? unpack_zstd : unpack_zlib)(qcow2->packed, size, qcow2->unpacked,
                                            qcow2->cluster_size))
        return -EIO;
    qcow2->unpacked_entry = entry;
    return 0;
}

int compressed_read(struct qcow2 *qcow2, uint64_t entry, const struct block_request *request)
{
    pthread_mutex_lock(&qcow2->unpack_lock);
    int result = qcow2->unpacked_entry == entry ? 0 : unpack(qcow2, entry);
    if (result == 0)
        vector_write(request->vector, request->vector_count, request->skip,
                     qcow2->unpacked + within_cluster(qcow2, request->offset), request->length);
    pthread_mutex_unlock(&qcow2->unpack_lock);
    return result;
}
