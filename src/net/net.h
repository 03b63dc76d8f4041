/* SPDX-License-Identifier: Apache-2.0 */
/* What --net asks for, and opening it. */
#ifndef NACRE_NET_NET_H
#define NACRE_NET_NET_H

#include "base/rate_limit.h"
#include "net/frame.h"

#define MAC_SIZE       6
#define NET_QUEUES_MAX 8 /* pairs of a receive and a transmit queue */

enum net_model { NET_MODEL_VIRTIO, NET_MODEL_E1000 };

struct net_options {
    char *text; /* what the pointers below point into */
    const struct frame_kind *kind;
    char *settings; /* of the back end; NULL: none */
    enum net_model model;
    uint8_t mac[MAC_SIZE];
    bool new_card; /* in a restored machine: not the card of its snapshot, whose address another has
                    */
    unsigned queue_pairs;
    const char *pcap; /* the file for a capture; NULL: none */
    struct rate_limit_config limit;
};

/*
 * text: what follows --net: "user,hostfwd=tcp:127.0.0.1:2222-:22,mac=52:54:00:00:00:01". index: of
 * the card in its machine. -errno with *error.
 */
int net_options_parse(struct net_options *options, const char *text, unsigned index,
                      struct error *error);
void net_options_free(struct net_options *options);

/* May fork: early, before there are threads. Cuts the options' settings up: once. NULL with
 * *error. */
struct frame_backend *net_open(const struct net_options *options, const struct frame_host *host,
                               struct error *error);

#endif
