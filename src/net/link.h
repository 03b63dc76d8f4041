/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A back end behind a descriptor that keeps messages apart, a SOCK_SEQPACKET socket or a tap: each
 * message is a frame's header and bytes. On a socket an empty one says that the sender has ended.
 */
#ifndef NACRE_NET_LINK_H
#define NACRE_NET_LINK_H

#include "net/frame.h"

/* Bytes of a message that holds a frame of `length`. */
static inline size_t link_message_size(size_t length)
{
    return sizeof(struct frame_header) + length;
}

/* The frame's length in a message of `size` bytes that was received into *frame; 0: the other end
 * says that it has ended, or what came is no valid frame. */
size_t link_frame_length(const struct frame *frame, ssize_t size);

/* peer: who the other end is, for the message when it goes. Takes over the descriptor, also when it
 * fails: NULL with *error. */
struct frame_backend *link_open(int fd, const char *peer, const struct frame_host *host,
                                struct error *error);

#endif
