/* SPDX-License-Identifier: Apache-2.0 */
/* Frames on their way to the guest: virtio 1.2 §5.1.6.3 and §5.1.6.4. */
#include "net/offload.h"
#include "virtio/net_private.h"

#define BUFFERS_MAX   64     /* one frame's mergeable buffers */
#define ETHERNET_IPV4 0x0008 /* as read from the frame by a little-endian host */
#define ETHERNET_IPV6 0xdd86
#define FLOW_MIN      58 /* Ethernet, IPv6, ports */

enum placed { PLACED, NO_ROOM, DROPPED };

/* The buffers that one frame fills. */
struct filled {
    struct virtqueue_used used[BUFFERS_MAX];
    unsigned count;
};

unsigned net_flow(const uint8_t *bytes, size_t length)
{
    if (length < FLOW_MIN)
        return 0;
    uint64_t type = load_le(bytes + 12, 2), hash = 0;
    if (type == ETHERNET_IPV4)
        hash = load_le(bytes + 26, 4) ^ load_le(bytes + 30, 4) ^ load_le(bytes + 34, 2) ^
               load_le(bytes + 36, 2);
    else if (type == ETHERNET_IPV6)
        for (unsigned i = 22; i < FLOW_MIN; i += 4)
            hash ^= load_le(bytes + i, 4);
    hash ^= hash >> 16;
    return (unsigned)(hash ^ hash >> 8) % NET_FLOWS;
}

/* Takes the next buffer. The first of a frame needs room for the header in one piece. */
static enum placed take_buffer(struct virtio_net *net, unsigned queue, bool first,
                               struct virtqueue_chain *chain)
{
    if (!virtio_take(&net->virtio, queue, chain))
        return NO_ROOM;
    if (!first || (chain->writable_count && chain->writable[0].iov_len >= NET_HEADER_SIZE))
        return PLACED;
    virtio_break(&net->virtio, "a receive buffer without room for the header");
    return DROPPED;
}

/* Spreads the frame over as many buffers as it needs. */
static enum placed fill_buffers(struct virtio_net *net, unsigned queue, const struct frame *frame,
                                size_t length, struct filled *filled)
{
    struct virtqueue_chain chain;
    struct frame_header header = frame->header;
    uint8_t *header_place = NULL;
    unsigned most = net_negotiated(net, NET_MERGE) ? BUFFERS_MAX : 1;
    if (most > net->virtio.queues[queue].size)
        most = net->virtio.queues[queue].size;
    for (size_t done = 0; done < length;) {
        bool first = !header_place;
        if (filled->count == most)
            return DROPPED; /* no driver that takes such frames has so little room */
        enum placed taken = take_buffer(net, queue, first, &chain);
        if (taken != PLACED)
            return taken;
        if (first)
            header_place = chain.writable[0].iov_base;
        uint64_t skip = first ? NET_HEADER_SIZE : 0;
        uint64_t wrote = vector_write(chain.writable, chain.writable_count, skip,
                                      frame->bytes + done, length - done);
        done += wrote;
        filled->used[filled->count++] =
            (struct virtqueue_used){chain.head, (uint32_t)(wrote + skip)};
        vector_note_write(virtio_memory(&net->virtio), chain.writable, chain.writable_count);
    }
    header.buffer_count = (uint16_t)filled->count;
    if (header_place)
        memcpy(header_place, &header, sizeof(header));
    return PLACED;
}

/* Where the guest last sent frames of the same flow, if the driver uses that pair (still). */
static unsigned choose_queue(const struct virtio_net *net, const struct frame *frame, size_t length)
{
    unsigned pair = net->flows[net_flow(frame->bytes, length)];
    bool used = net_negotiated(net, NET_QUEUE_PAIRS) && pair < net->active_pairs &&
                net->virtio.queues[NET_RECEIVE(pair)].enabled;
    return NET_RECEIVE(used ? pair : 0);
}

static enum placed place(struct virtio_net *net, const struct frame *frame, size_t length)
{
    unsigned queue = choose_queue(net, frame, length);
    struct filled filled = {.count = 0};
    uint16_t before = net->virtio.queues[queue].next_available;
    enum placed result = fill_buffers(net, queue, frame, length, &filled);
    if (result == PLACED)
        virtio_give_many(&net->virtio, queue, filled.used, filled.count);
    else if (virtio_running(&net->virtio))
        net->virtio.queues[queue].next_available = before; /* put back what was taken */
    return result;
}

/* The segments of a frame that the driver wants in pieces. */
struct pieces {
    struct virtio_net *net;
    unsigned count;
    enum placed last;
};

static bool place_segment(void *opaque, const struct frame *segment, size_t length)
{
    struct pieces *pieces = opaque;
    pieces->last = place(pieces->net, segment, length);
    if (pieces->last == PLACED)
        pieces->count++;
    return pieces->last == PLACED;
}

static bool accepts_segments(const struct virtio_net *net, uint8_t type)
{
    uint64_t needed = type & FRAME_SEGMENT_ECN ? NET_GUEST_ECN : 0;
    needed |= (type & ~FRAME_SEGMENT_ECN) == FRAME_SEGMENT_TCP6 ? NET_GUEST_TSO6 : NET_GUEST_TSO4;
    return net_negotiated(net, NET_GUEST_CHECKSUM | needed);
}

/* False: the back end is to keep the frame. */
static bool receive_locked(struct virtio_net *net, const struct frame *frame, size_t length)
{
    if (!virtio_running(&net->virtio))
        return true; /* nobody is there to take it, ever */
    if (frame->header.segment_type != FRAME_SEGMENT_NONE &&
        !accepts_segments(net, frame->header.segment_type)) {
        struct pieces pieces = {.net = net};
        frame_segment(frame, length, place_segment, &pieces);
        return pieces.count || pieces.last != NO_ROOM; /* the rest is lost, as on a wire */
    }
    if (frame->header.flags && !net_negotiated(net, NET_GUEST_CHECKSUM)) {
        memcpy(&net->plain, frame, sizeof(frame->header) + length);
        frame_checksum(&net->plain, length);
        net->plain.header = (struct frame_header){0};
        frame = &net->plain;
    }
    return place(net, frame, length) != NO_ROOM;
}

bool virtio_net_receive(void *opaque, const struct frame *frame, size_t length)
{
    struct virtio_net *net = opaque;
    pthread_mutex_lock(&net->virtio.lock);
    bool taken = receive_locked(net, frame, length);
    pthread_mutex_unlock(&net->virtio.lock);
    return taken;
}
