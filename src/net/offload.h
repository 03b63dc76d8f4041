/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a frame's header may leave to others: the TCP or UDP checksum, and cutting one long TCP
 * segment into many. Whoever cannot pass that on does it here.
 */
#ifndef NACRE_NET_OFFLOAD_H
#define NACRE_NET_OFFLOAD_H

#include "net/frame.h"

/* Does the header fit the frame? For whatever comes from a guest or from outside. */
bool frame_valid(const struct frame *frame, size_t length);

/* Fills in the checksum that the header leaves open. The frame is valid. */
void frame_checksum(struct frame *frame, size_t length);

/*
 * Calls emit with each segment of a frame with a segment_type, in order and with all checksums,
 * until it says false: the rest is dropped. The frame is valid. False: no memory; nothing came out.
 */
bool frame_segment(const struct frame *frame, size_t length,
                   bool (*emit)(void *opaque, const struct frame *frame, size_t length),
                   void *opaque);

/* Of a frame with a segment_type: fills in the IP header's length and sum, and the pseudo header's
 * sum, which some cards' drivers leave out. The frame is valid. */
void frame_complete_headers(struct frame *frame, size_t length);

/* RFC 1071: the sum of big-endian 16-bit words, folded, not complemented. */
uint16_t checksum_add(uint16_t sum, const uint8_t *bytes, size_t length);

#endif
