/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net: virtio 1.2 §5.1. Checksums and segmentation are offered whatever the back end: what
 * it cannot pass on is done in software (net/offload.h). Several pairs of queues come with a
 * control queue.
 */
#include "virtio/net.h"

#include "net/offload.h"
#include "virtio/net_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define TYPE_NET       1
#define CONFIG_MAC     0
#define CONFIG_STATUS  6
#define CONFIG_PAIRS   8
#define STATUS_LINK_UP 1
#define BATCH_MAX      256 /* frames until other work of the loop gets its turn */

/* Control commands, §5.1.6.5 */
#define CONTROL_PAIRS     4
#define CONTROL_PAIRS_SET 0
#define CONTROL_SIZE      4 /* class, command, pairs */
#define CONTROL_OK        0
#define CONTROL_ERROR     1

static void destroy(struct virtio_device *virtio)
{
    struct virtio_net *net = (struct virtio_net *)virtio;
    net->backend->sink = (struct frame_sink){0};
    virtio_release(virtio);
    free(net);
}

/* --- frames from the guest --- */

/* What the driver asks for must have been negotiated, and fit the frame. */
static bool check_frame(struct virtio_net *net, size_t length)
{
    struct frame_header *header = &net->frame.header;
    unsigned type = header->segment_type & ~FRAME_SEGMENT_ECN;
    header->buffer_count = 0;
    header->flags &= FRAME_NEEDS_CHECKSUM;
    if (!net_negotiated(net, NET_CHECKSUM))
        *header = (struct frame_header){0};
    if ((type == FRAME_SEGMENT_TCP4 && !net_negotiated(net, NET_HOST_TSO4)) ||
        (type == FRAME_SEGMENT_TCP6 && !net_negotiated(net, NET_HOST_TSO6)))
        return false;
    return frame_valid(&net->frame, length);
}

/* False: the back end has no room. */
static bool transmit_one(struct virtio_net *net, unsigned pair, const struct virtqueue_chain *chain)
{
    uint64_t size = chain->readable_size;
    if (size <= NET_HEADER_SIZE || size > sizeof(net->frame))
        return true;
    vector_read(chain->readable, chain->readable_count, 0, &net->frame, size);
    size -= NET_HEADER_SIZE;
    if (!check_frame(net, size))
        return true;
    net->flows[net_flow(net->frame.bytes, size)] = (uint8_t)pair;
    return net->backend->ops->send(net->backend, &net->frame, size);
}

static void transmit(struct virtio_net *net, unsigned pair)
{
    unsigned queue = NET_TRANSMIT(pair);
    struct virtqueue_chain chain;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        if (!virtio_take(&net->virtio, queue, &chain))
            return;
        if (!transmit_one(net, pair, &chain)) {
            virtqueue_untake(&net->virtio.queues[queue]);
            return;
        }
        virtio_give(&net->virtio, queue, chain.head, 0);
    }
    virtio_notify(&net->virtio, queue);
}

/* The back end takes frames again. */
static void writable(void *opaque)
{
    struct virtio_net *net = opaque;
    pthread_mutex_lock(&net->virtio.lock);
    for (unsigned pair = 0; pair < net->pair_count; pair++)
        if (net->virtio.queues[NET_TRANSMIT(pair)].enabled)
            transmit(net, pair);
    pthread_mutex_unlock(&net->virtio.lock);
}

/* --- the control queue --- */

static uint8_t control(struct virtio_net *net, const struct virtqueue_chain *chain)
{
    uint8_t command[CONTROL_SIZE] = {0};
    vector_read(chain->readable, chain->readable_count, 0, command, sizeof(command));
    uint64_t pairs = load_le(command + 2, 2);
    if (command[0] != CONTROL_PAIRS || command[1] != CONTROL_PAIRS_SET || !pairs ||
        pairs > net->pair_count)
        return CONTROL_ERROR;
    net->active_pairs = (uint8_t)pairs;
    return CONTROL_OK;
}

static void process_control(struct virtio_net *net, unsigned queue)
{
    struct virtqueue_chain chain;
    while (virtio_take(&net->virtio, queue, &chain)) {
        uint8_t status = control(net, &chain);
        vector_write(chain.writable, chain.writable_count, 0, &status, 1);
        vector_note_write(virtio_memory(&net->virtio), chain.writable, chain.writable_count);
        virtio_give(&net->virtio, queue, chain.head, 1);
    }
}

/* --- the device --- */

static void process(struct virtio_device *virtio, unsigned queue)
{
    struct virtio_net *net = (struct virtio_net *)virtio;
    unsigned pairs = net_negotiated(net, NET_QUEUE_PAIRS) ? net->pair_count : 1;
    if (queue == 2 * pairs)
        process_control(net, queue);
    else if (queue & 1)
        transmit(net, queue / 2);
    else
        net->backend->ops->ready(net->backend);
}

/* The guest keeps the address that it knows; a clone's finds the new one when its driver starts
 * again. */
static int config_loaded(struct virtio_device *virtio, const uint8_t *saved, struct error *error)
{
    const struct virtio_net *net = (const struct virtio_net *)virtio;
    if (!net->active_pairs || net->active_pairs > net->pair_count)
        return error_set(error, EINVAL, "state of %s: the guest uses %u pairs of queues, not %u",
                         net->name, net->active_pairs, net->pair_count);
    if (!net->new_card)
        memcpy(virtio->config + CONFIG_MAC, saved + CONFIG_MAC, MAC_SIZE);
    return 0;
}

static const struct virtio_ops net_ops = {
    .type = TYPE_NET,
    .class_code = 0x020000,
    .queue_count = 2,
    .features = NET_CHECKSUM | NET_GUEST_CHECKSUM | NET_MAC | NET_GUEST_TSO4 | NET_GUEST_TSO6 |
                NET_GUEST_ECN | NET_HOST_TSO4 | NET_HOST_TSO6 | NET_HOST_ECN | NET_MERGE |
                NET_STATUS,
    .process = process,
    .config_loaded = config_loaded,
    .destroy = destroy,
};
static const struct state_field fields[] = {
    STATE_NESTED(struct virtio_net, virtio, &virtio_device_state),
    STATE_FIELD(struct virtio_net, active_pairs),
};
static const struct state_table net_state = STATE_TABLE("virtio-net", 2, fields);

static void configure(struct virtio_net *net, const struct net_options *options, unsigned index)
{
    uint8_t *config = net->virtio.config;
    snprintf(net->name, sizeof(net->name), "net%u", index);
    net->pair_count = (uint8_t)options->queue_pairs;
    net->active_pairs = 1;
    net->new_card = options->new_card;
    if (net->pair_count > 1) {
        net->virtio.features = NET_CONTROL | NET_QUEUE_PAIRS;
        net->virtio.queue_count = 2u * net->pair_count + 1;
    }
    memcpy(config + CONFIG_MAC, options->mac, MAC_SIZE);
    store_le(config + CONFIG_STATUS, STATUS_LINK_UP, 2);
    store_le(config + CONFIG_PAIRS, net->pair_count, 2);
}

int virtio_net_create(struct pci_bus *bus, const struct net_options *options,
                      struct frame_backend *backend, unsigned index, struct error *error)
{
    struct virtio_net *net = calloc(1, sizeof(*net));
    if (!net)
        return error_set(error, ENOMEM, "virtio-net: out of memory");
    net->backend = backend;
    configure(net, options, index);
    int result = virtio_add(bus, &net->virtio, net->name, &net_ops, &net_state, error);
    if (result == 0)
        backend->sink = (struct frame_sink){virtio_net_receive, writable, net};
    return result;
}
