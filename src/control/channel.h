/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a machine's process and the one that supervises it talk: a pair of sockets, a JSON object a
 * message, and descriptors of files with it, which a jailed machine cannot open by itself.
 *
 *   {"id": 1, "operation": "vm.pause", "body": ...}    asks the machine; "body" may be missing
 *   {"id": 1, "body": ...}, {"id": 1, "error": "..."}  answers, in any order
 *   {"event": "booted", "properties": ...}             what happens by itself
 *
 * The machine's side may be a guest's by now: what it sends is bounded and checked like any input.
 */
#ifndef NACRE_CONTROL_CHANNEL_H
#define NACRE_CONTROL_CHANNEL_H

#include "base/error.h"

#include <jansson.h>

#define CHANNEL_MESSAGE_MAX     65536 /* bytes of a message */
#define CHANNEL_DESCRIPTORS_MAX 18    /* with a message: a snapshot with eight disks */

struct channel_message {
    json_t *json;
    int fds[CHANNEL_DESCRIPTORS_MAX]; /* the receiver's; -1: taken over by somebody */
    unsigned fd_count;
};

/* Makes both ends, closed on exec. -errno with *error. */
int channel_pair(int ends[2], struct error *error);

/* The descriptors stay the sender's. -errno; -EMSGSIZE when it is too long. */
int channel_send(int end, const struct channel_message *message);
/* 1: there is a message, and channel_release() is due; 0: the other side has gone; -errno, -EAGAIN
 * and -EBADMSG among them. */
int channel_receive(int end, struct channel_message *message);
/* Frees the message, and closes what nobody took over. */
void channel_release(struct channel_message *message);

#endif
