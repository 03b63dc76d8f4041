/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-net: virtio 1.2 §5.1. One queue pair, mergeable receive buffers, no offloads yet. */
#include "virtio/net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_NET       1
#define FEATURE_MAC    BIT(5)
#define FEATURE_MERGE  BIT(15)
#define FEATURE_STATUS BIT(16)
#define QUEUE_RECEIVE  0
#define QUEUE_TRANSMIT 1
#define HEADER_SIZE    12 /* struct virtio_net_hdr with num_buffers */
#define HEADER_BUFFERS 10
#define CONFIG_MAC     0
#define MAC_SIZE       6
#define CONFIG_STATUS  6
#define STATUS_LINK_UP 1
#define BUFFERS_MAX    64 /* one frame's mergeable buffers */

struct virtio_net {
    struct virtio_device virtio;
    struct frame_backend *backend;
    char name[16];
    uint8_t frame[FRAME_MAX];
};

static void transmit(struct virtio_net *net)
{
    struct virtqueue_chain chain;
    while (virtio_take(&net->virtio, QUEUE_TRANSMIT, &chain)) {
        uint64_t size = chain.readable_size;
        if (size > HEADER_SIZE && size - HEADER_SIZE <= sizeof(net->frame)) {
            vector_read(chain.readable, chain.readable_count, HEADER_SIZE, net->frame,
                        size - HEADER_SIZE);
            net->backend->ops->send(net->backend, net->frame, size - HEADER_SIZE);
        }
        virtio_give(&net->virtio, QUEUE_TRANSMIT, chain.head, 0);
    }
}

static void process(struct virtio_device *virtio, unsigned queue)
{
    struct virtio_net *net = (struct virtio_net *)virtio;
    if (queue == QUEUE_TRANSMIT)
        transmit(net);
    else
        net->backend->ops->ready(net->backend);
}

/* Where the count of buffers goes once it is known, and what each buffer got. */
struct filled {
    uint16_t heads[BUFFERS_MAX];
    uint32_t written[BUFFERS_MAX];
    unsigned count;
    uint8_t *header_buffers; /* num_buffers in the first buffer */
};

/* Spreads header and frame over as many buffers as they need. False: not enough of them. */
static bool fill_buffers(struct virtio_net *net, const uint8_t *frame, size_t length,
                         struct filled *filled)
{
    struct virtqueue_chain chain;
    struct memory *memory = virtio_memory(&net->virtio);
    const uint8_t header[HEADER_SIZE] = {0};
    bool merge = net->virtio.driver_features & FEATURE_MERGE;
    size_t done = 0;
    do {
        if (filled->count == BUFFERS_MAX || (filled->count && !merge) ||
            !virtio_take(&net->virtio, QUEUE_RECEIVE, &chain))
            return false;
        uint64_t skip = filled->count ? 0 : HEADER_SIZE;
        if (skip &&
            (chain.writable_size < HEADER_SIZE || chain.writable[0].iov_len < HEADER_SIZE)) {
            virtio_break(&net->virtio, "a receive buffer without room for the header");
            return false;
        }
        if (skip) {
            vector_write(chain.writable, chain.writable_count, 0, header, HEADER_SIZE);
            filled->header_buffers = (uint8_t *)chain.writable[0].iov_base + HEADER_BUFFERS;
        }
        uint64_t wrote =
            vector_write(chain.writable, chain.writable_count, skip, frame + done, length - done);
        vector_note_write(memory, chain.writable, chain.writable_count);
        done += wrote;
        filled->heads[filled->count] = chain.head;
        filled->written[filled->count++] = (uint32_t)(wrote + skip);
    } while (done < length);
    return true;
}

/* A frame for the guest; the caller holds no lock (back end) or the device's (from its own
 * ready()). */
static bool receive_locked(struct virtio_net *net, const uint8_t *frame, size_t length)
{
    struct virtqueue *queue = &net->virtio.queues[QUEUE_RECEIVE];
    struct filled filled = {0};
    uint16_t before = queue->next_available;
    if (!fill_buffers(net, frame, length, &filled)) {
        if (!(net->virtio.status & 64))
            queue->next_available = before; /* put back what was taken */
        return false;
    }
    store_le(filled.header_buffers, filled.count, 2);
    for (unsigned i = 0; i < filled.count; i++)
        virtio_give(&net->virtio, QUEUE_RECEIVE, filled.heads[i], filled.written[i]);
    return true;
}

static bool receive(void *opaque, const uint8_t *frame, size_t length)
{
    struct virtio_net *net = opaque;
    if (!length || length > FRAME_MAX)
        return true;
    pthread_mutex_lock(&net->virtio.lock);
    bool taken = receive_locked(net, frame, length);
    pthread_mutex_unlock(&net->virtio.lock);
    return taken;
}

static void destroy(struct virtio_device *virtio)
{
    struct virtio_net *net = (struct virtio_net *)virtio;
    net->backend->sink = (struct frame_sink){0};
    virtio_release(virtio);
    free(net);
}

/* The guest keeps the address that it knows. */
static int config_loaded(struct virtio_device *virtio, const uint8_t *saved, struct error *error)
{
    memcpy(virtio->config + CONFIG_MAC, saved + CONFIG_MAC, MAC_SIZE);
    return 0;
}

static const struct virtio_ops net_ops = {
    .type = TYPE_NET,
    .class_code = 0x020000,
    .queue_count = 2,
    .features = FEATURE_MAC | FEATURE_MERGE | FEATURE_STATUS,
    .process = process,
    .config_loaded = config_loaded,
    .destroy = destroy,
};
static const struct state_field fields[] = {
    STATE_NESTED(struct virtio_net, virtio, &virtio_device_state),
};
static const struct state_table net_state = STATE_TABLE("virtio-net", 1, fields);

int virtio_net_create(struct pci_bus *bus, struct frame_backend *backend, unsigned index,
                      struct error *error)
{
    const uint8_t mac[MAC_SIZE] = {0x52, 0x54, 0x00, 0x6e, 0x61, (uint8_t)(0x10 + index)};
    struct virtio_net *net = calloc(1, sizeof(*net));
    if (!net)
        return error_set(error, ENOMEM, "virtio-net: out of memory");
    net->backend = backend;
    snprintf(net->name, sizeof(net->name), "net%u", index);
    memcpy(net->virtio.config + CONFIG_MAC, mac, sizeof(mac));
    store_le(net->virtio.config + CONFIG_STATUS, STATUS_LINK_UP, 2);
    int result = virtio_add(bus, &net->virtio, net->name, &net_ops, &net_state, error);
    if (result == 0)
        backend->sink = (struct frame_sink){.receive = receive, .opaque = net};
    return result;
}
