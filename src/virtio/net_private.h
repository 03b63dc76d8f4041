/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of virtio-net share. */
#ifndef NACRE_VIRTIO_NET_PRIVATE_H
#define NACRE_VIRTIO_NET_PRIVATE_H

#include "net/net.h"
#include "virtio/virtio.h"

/* Feature bits, §5.1.3 */
#define NET_CHECKSUM       BIT(0)
#define NET_GUEST_CHECKSUM BIT(1)
#define NET_MAC            BIT(5)
#define NET_GUEST_TSO4     BIT(7)
#define NET_GUEST_TSO6     BIT(8)
#define NET_GUEST_ECN      BIT(9)
#define NET_HOST_TSO4      BIT(11)
#define NET_HOST_TSO6      BIT(12)
#define NET_HOST_ECN       BIT(13)
#define NET_MERGE          BIT(15)
#define NET_STATUS         BIT(16)
#define NET_CONTROL        BIT(17)
#define NET_QUEUE_PAIRS    BIT(22)

#define NET_HEADER_SIZE sizeof(struct frame_header)

/* Queues of pair n */
#define NET_RECEIVE(pair)  ((pair)*2)
#define NET_TRANSMIT(pair) ((pair)*2 + 1)

#define NET_FLOWS 256 /* a power of two */

struct virtio_net {
    struct virtio_device virtio;
    struct frame_backend *backend;
    char name[16];
    uint8_t pair_count;   /* that the card has */
    bool new_card;        /* as of struct net_options */
    uint8_t active_pairs; /* that the driver uses */
    uint8_t
        flows[NET_FLOWS]; /* the pair on which the guest last sent frames of a flow: §5.1.6.5.6.1 */
    struct frame frame;   /* on its way out */
    struct frame plain;   /* on its way in, with its checksum */
};

static inline bool net_negotiated(const struct virtio_net *net, uint64_t features)
{
    return (net->virtio.driver_features & features) == features;
}

/* Which of the flows a frame belongs to: the same in both directions. */
unsigned net_flow(const uint8_t *bytes, size_t length);

/* A frame for the guest, for the back end: struct frame_sink. */
bool virtio_net_receive(void *opaque, const struct frame *frame, size_t length);

#endif
