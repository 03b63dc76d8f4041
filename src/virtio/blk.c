/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk: virtio 1.2 §5.2. Requests go to the back end as they come; it may finish them in any
 * order. */
#include "virtio/blk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_BLOCK  2
#define SECTOR_SIZE 512u

#define FEATURE_SEGMENT_MAX  BIT(2)
#define FEATURE_READ_ONLY    BIT(5)
#define FEATURE_BLOCK_SIZE   BIT(6)
#define FEATURE_FLUSH        BIT(9)
#define FEATURE_TOPOLOGY     BIT(10)
#define FEATURE_DISCARD      BIT(13)
#define FEATURE_WRITE_ZEROES BIT(14)

enum {
    REQUEST_IN = 0,
    REQUEST_OUT = 1,
    REQUEST_FLUSH = 4,
    REQUEST_GET_ID = 8,
    REQUEST_DISCARD = 11,
    REQUEST_WRITE_ZEROES = 13
};
enum { STATUS_OK = 0, STATUS_IO_ERROR = 1, STATUS_UNSUPPORTED = 2 };

/* Device configuration, §5.2.4 */
enum {
    CONFIG_CAPACITY = 0,
    CONFIG_SEGMENT_MAX = 12,
    CONFIG_BLOCK_SIZE = 20,
    CONFIG_PHYSICAL_EXPONENT = 24, /* log2 of logical blocks in a physical one */
    CONFIG_DISCARD_MAX = 36,
    CONFIG_DISCARD_SEGMENTS = 40,
    CONFIG_DISCARD_ALIGNMENT = 44,
    CONFIG_ZEROES_MAX = 48,
    CONFIG_ZEROES_SEGMENTS = 52,
    CONFIG_ZEROES_UNMAP = 56,
};
#define SEGMENT_UNMAP 1u /* flag of a write-zeroes segment, §5.2.6 */
#define ID_SIZE       20
#define DISCARD_MAX   (GIB(1) / SECTOR_SIZE)

/* No driver that waits for its buffers can have more requests under way; one that offers the same
 * chain again and again must not make us hold ever more of them. */
#define IN_FLIGHT_MAX VIRTQUEUE_SIZE_MAX

struct virtio_blk {
    struct virtio_device virtio;
    struct block *block;
    char name[16];
    char serial[ID_SIZE + 1];
    unsigned in_flight;
};

/* One request on its way through the back end. */
struct blk_request {
    struct block_request block;
    struct virtio_blk *blk;
    struct virtqueue_chain chain;
};

static void finish(struct blk_request *request, uint8_t status, uint32_t written)
{
    struct virtio_device *virtio = &request->blk->virtio;
    const struct virtqueue_chain *chain = &request->chain;
    /* The status is the last byte the driver lets us write. */
    vector_write(chain->writable, chain->writable_count, chain->writable_size - 1, &status, 1);
    vector_note_write(virtio_memory(virtio), chain->writable, chain->writable_count);
    virtio_give(virtio, 0, chain->head, written + 1);
    free(request);
}

static void process(struct virtio_device *virtio, unsigned queue);

/* The guest is resetting the device: nobody waits any more, but its memory was written. */
static void forget(struct blk_request *request)
{
    const struct virtqueue_chain *chain = &request->chain;
    if (request->block.operation == BLOCK_READ)
        vector_note_write(virtio_memory(&request->blk->virtio), chain->writable,
                          chain->writable_count);
    free(request);
}

/* Loop thread. */
static void request_done(struct block_request *block, int result)
{
    struct blk_request *request = container_of(block, struct blk_request, block);
    struct virtio_blk *blk = request->blk;
    pthread_mutex_lock(&blk->virtio.lock);
    bool was_full = blk->in_flight-- == IN_FLIGHT_MAX;
    if (!virtio_running(&blk->virtio))
        forget(request);
    else
        finish(request, result < 0 ? STATUS_IO_ERROR : STATUS_OK,
               block->operation == BLOCK_READ ? (uint32_t)block->length : 0);
    if (!blk->in_flight)
        virtio_settled(&blk->virtio);
    if (was_full)
        process(&blk->virtio, 0);
    pthread_mutex_unlock(&blk->virtio.lock);
}

static void submit(struct blk_request *request, enum block_operation operation, uint64_t offset,
                   uint64_t length)
{
    struct virtio_blk *blk = request->blk;
    request->block.operation = operation;
    request->block.offset = offset;
    request->block.length = length;
    request->block.done = request_done;
    blk->in_flight++;
    block_submit(blk->block, &request->block);
}

/* Cuts `bytes` off the front of a vector. */
static void vector_skip(struct iovec *vector, unsigned *count, uint64_t bytes)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < *count; i++) {
        uint64_t cut = bytes < vector[i].iov_len ? bytes : vector[i].iov_len;
        bytes -= cut;
        if (vector[i].iov_len == cut)
            continue;
        vector[kept++] = (struct iovec){.iov_base = (uint8_t *)vector[i].iov_base + cut,
                                        .iov_len = vector[i].iov_len - cut};
    }
    *count = kept;
}

static bool range_valid(const struct virtio_blk *blk, uint64_t sector, uint64_t length)
{
    return sector <= blk->block->size / SECTOR_SIZE && !(length % SECTOR_SIZE) &&
           range_within(sector * SECTOR_SIZE, length, blk->block->size);
}

static void submit_read(struct blk_request *request, uint64_t sector)
{
    struct virtqueue_chain *chain = &request->chain;
    uint64_t length = chain->writable_size - 1;
    if (!range_valid(request->blk, sector, length)) {
        finish(request, STATUS_IO_ERROR, 0);
        return;
    }
    /* The back end fills all but the status byte; the chain itself stays whole. */
    request->block.vector = chain->writable;
    request->block.vector_count = chain->writable_count;
    submit(request, BLOCK_READ, sector * SECTOR_SIZE, length);
}

static void submit_write(struct blk_request *request, uint64_t sector)
{
    struct virtqueue_chain *chain = &request->chain;
    uint64_t length = chain->readable_size - 16;
    if (request->blk->block->read_only || !range_valid(request->blk, sector, length)) {
        finish(request, STATUS_IO_ERROR, 0);
        return;
    }
    vector_skip(chain->readable, &chain->readable_count, 16);
    request->block.vector = chain->readable;
    request->block.vector_count = chain->readable_count;
    submit(request, BLOCK_WRITE, sector * SECTOR_SIZE, length);
}

/* One segment a request, as the configuration says. */
static void submit_range(struct blk_request *request, enum block_operation operation)
{
    const struct virtqueue_chain *chain = &request->chain;
    uint32_t allowed = operation == BLOCK_WRITE_ZEROES ? SEGMENT_UNMAP : 0;
    struct {
        uint64_t sector;
        uint32_t sectors, flags;
    } segment;
    if (vector_read(chain->readable, chain->readable_count, 16, &segment, sizeof(segment)) !=
            sizeof(segment) ||
        segment.flags & ~allowed || segment.sectors > DISCARD_MAX) {
        finish(request, STATUS_UNSUPPORTED, 0);
        return;
    }
    uint64_t length = (uint64_t)segment.sectors * SECTOR_SIZE;
    request->block.may_unmap = segment.flags & SEGMENT_UNMAP;
    if (request->blk->block->read_only || !range_valid(request->blk, segment.sector, length))
        finish(request, STATUS_IO_ERROR, 0);
    else
        submit(request, operation, segment.sector * SECTOR_SIZE, length);
}

static void get_id(struct blk_request *request)
{
    const struct virtqueue_chain *chain = &request->chain;
    uint64_t room = chain->writable_size - 1;
    uint64_t size = room < ID_SIZE ? room : ID_SIZE;
    vector_write(chain->writable, chain->writable_count, 0, request->blk->serial, size);
    finish(request, STATUS_OK, (uint32_t)size);
}

static void start(struct blk_request *request)
{
    const struct virtqueue_chain *chain = &request->chain;
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header;
    vector_read(chain->readable, chain->readable_count, 0, &header, sizeof(header));
    switch (header.type) {
    case REQUEST_IN:
        submit_read(request, header.sector);
        break;
    case REQUEST_OUT:
        submit_write(request, header.sector);
        break;
    case REQUEST_FLUSH:
        submit(request, BLOCK_FLUSH, 0, 0);
        break;
    case REQUEST_GET_ID:
        get_id(request);
        break;
    case REQUEST_DISCARD:
        submit_range(request, BLOCK_DISCARD);
        break;
    case REQUEST_WRITE_ZEROES:
        submit_range(request, BLOCK_WRITE_ZEROES);
        break;
    default:
        finish(request, STATUS_UNSUPPORTED, 0);
    }
}

/* Takes one request off the ring. False: there is none. */
static bool take(struct virtio_blk *blk, unsigned queue)
{
    struct blk_request *request = calloc(1, sizeof(*request));
    if (!request || !virtio_take(&blk->virtio, queue, &request->chain)) {
        free(request);
        return false;
    }
    request->blk = blk;
    if (request->chain.readable_size < 16 || !request->chain.writable_size) {
        virtio_break(&blk->virtio, "a block request without header or status");
        free(request);
        return false;
    }
    start(request);
    return true;
}

static void process(struct virtio_device *virtio, unsigned queue)
{
    struct virtio_blk *blk = (struct virtio_blk *)virtio;
    /* When it is full, the next completion carries on here. */
    while (blk->in_flight < IN_FLIGHT_MAX && take(blk, queue))
        ;
    block_kick(blk->block);
}

static bool busy(const struct virtio_device *virtio)
{
    return ((const struct virtio_blk *)virtio)->in_flight;
}

static void drain(struct virtio_device *virtio)
{
    block_drain(((struct virtio_blk *)virtio)->block);
}

static void destroy(struct virtio_device *virtio)
{
    virtio_release(virtio);
    free(virtio);
}

static int config_loaded(struct virtio_device *virtio, const uint8_t *saved, struct error *error)
{
    uint64_t was = load_le(saved + CONFIG_CAPACITY, 8);
    uint64_t is = load_le(virtio->config + CONFIG_CAPACITY, 8);
    if (was == is)
        return 0;
    return error_set(error, EINVAL,
                     "state of %s: had %llu sectors, the image has %llu: not its image",
                     virtio->pci.device.name, (unsigned long long)was, (unsigned long long)is);
}

static const struct virtio_ops blk_ops = {
    .type = TYPE_BLOCK,
    .class_code = 0x010000,
    .queue_count = 1,
    .features = FEATURE_SEGMENT_MAX | FEATURE_BLOCK_SIZE | FEATURE_FLUSH | FEATURE_TOPOLOGY,
    .process = process,
    .busy = busy,
    .drain = drain,
    .config_loaded = config_loaded,
    .destroy = destroy,
};
static const struct state_field fields[] = {
    STATE_NESTED(struct virtio_blk, virtio, &virtio_device_state),
};
static const struct state_table blk_state = STATE_TABLE("virtio-blk", 1, fields);

static void fill_config(struct virtio_blk *blk)
{
    uint8_t *config = blk->virtio.config;
    store_le(config + CONFIG_CAPACITY, blk->block->size / SECTOR_SIZE, 8);
    store_le(config + CONFIG_SEGMENT_MAX, VIRTQUEUE_CHAIN_MAX - 2, 4);
    store_le(config + CONFIG_BLOCK_SIZE, blk->block->sector_size, 4);
    while (blk->block->sector_size << config[CONFIG_PHYSICAL_EXPONENT] <
           blk->block->physical_sector_size)
        config[CONFIG_PHYSICAL_EXPONENT]++;
    if (blk->block->read_only) {
        blk->virtio.features |= FEATURE_READ_ONLY;
        return;
    }
    blk->virtio.features |= FEATURE_WRITE_ZEROES;
    store_le(config + CONFIG_ZEROES_MAX, DISCARD_MAX, 4);
    store_le(config + CONFIG_ZEROES_SEGMENTS, 1, 4);
    config[CONFIG_ZEROES_UNMAP] = 1;
    if (!blk->block->can_discard)
        return;
    blk->virtio.features |= FEATURE_DISCARD;
    store_le(config + CONFIG_DISCARD_MAX, DISCARD_MAX, 4);
    store_le(config + CONFIG_DISCARD_SEGMENTS, 1, 4);
    store_le(config + CONFIG_DISCARD_ALIGNMENT, blk->block->sector_size / SECTOR_SIZE, 4);
}

int virtio_blk_create(struct pci_bus *bus, struct block *block, unsigned index, struct error *error)
{
    struct virtio_blk *blk = calloc(1, sizeof(*blk));
    if (!blk)
        return error_set(error, ENOMEM, "virtio-blk: out of memory");
    blk->block = block;
    snprintf(blk->name, sizeof(blk->name), "disk%u", index);
    snprintf(blk->serial, sizeof(blk->serial), "nacre-disk%u", index);
    fill_config(blk);
    return virtio_add(bus, &blk->virtio, blk->name, &blk_ops, &blk_state, error);
}
