/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums (RFC 1071) and TCP segmentation as virtio 1.2 §5.1.6.2 describes them. IPv4: RFC 791,
 * IPv6: RFC 8200, TCP: RFC 9293, CWR: RFC 3168 §6.1.2.
 */
#include "net/offload.h"

#include "base/bits.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define ETHERNET_SIZE FRAME_MIN
#define VLAN_SIZE     4
#define TYPE_VLAN     0x8100
#define IPV4_MIN      20
#define IPV6_SIZE     40
#define IP_TCP        6
#define TCP_MIN       20
#define TCP_SEQUENCE  4
#define TCP_HEADER    12 /* the header's length in the upper half */
#define TCP_FLAGS     13
#define TCP_CHECKSUM  16
#define FLAG_FIN      0x01u
#define FLAG_PSH      0x08u
#define FLAG_CWR      0x80u
/* No real path has less; less would make a thousand times the work of one frame. */
#define SEGMENT_MIN 48

static uint16_t load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void store_be16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static uint16_t fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

/* Sums in the host's byte order, two words at a time: the order only swaps the sum's bytes. */
uint16_t checksum_add(uint16_t sum, const uint8_t *bytes, size_t length)
{
    uint64_t low = 0, high = 0;
    size_t i = 0;
    for (; i + 8 <= length; i += 8) {
        low += (uint32_t)load_le(bytes + i, 4);
        high += (uint32_t)load_le(bytes + i + 4, 4);
    }
    for (; i + 2 <= length; i += 2)
        low += load_le(bytes + i, 2);
    if (i < length)
        low += bytes[i];
    uint16_t here = fold((uint64_t)fold(low) + fold(high));
    return fold((uint64_t)sum + ntohs(here));
}

/* Where the parts of a frame begin. */
struct layout {
    bool is_ipv6;
    size_t ip, transport, payload;
};

static bool find_ip(const struct frame *frame, size_t length, struct layout *layout)
{
    layout->ip = ETHERNET_SIZE;
    if (length >= ETHERNET_SIZE + VLAN_SIZE && load_be16(frame->bytes + 12) == TYPE_VLAN)
        layout->ip += VLAN_SIZE;
    layout->is_ipv6 = (frame->header.segment_type & ~FRAME_SEGMENT_ECN) == FRAME_SEGMENT_TCP6;
    layout->transport = frame->header.checksum_start;
    size_t least = layout->is_ipv6 ? IPV6_SIZE : IPV4_MIN;
    if (layout->transport < layout->ip + least || layout->transport + TCP_MIN > length)
        return false;
    const uint8_t *ip = frame->bytes + layout->ip;
    if (ip[0] >> 4 != (layout->is_ipv6 ? 6 : 4))
        return false;
    return layout->is_ipv6 ||
           (ip[9] == IP_TCP && layout->ip + (ip[0] & 15) * 4u == layout->transport);
}

static bool find_parts(const struct frame *frame, size_t length, struct layout *layout)
{
    if (!find_ip(frame, length, layout))
        return false;
    const uint8_t *tcp = frame->bytes + layout->transport;
    size_t header = (tcp[TCP_HEADER] >> 4) * 4u;
    layout->payload = layout->transport + header;
    return header >= TCP_MIN && layout->payload < length;
}

bool frame_valid(const struct frame *frame, size_t length)
{
    const struct frame_header *header = &frame->header;
    unsigned type = header->segment_type & ~FRAME_SEGMENT_ECN;
    if (length < FRAME_MIN || length > FRAME_MAX)
        return false;
    if (header->flags & FRAME_NEEDS_CHECKSUM &&
        (size_t)header->checksum_start + header->checksum_offset + 2 > length)
        return false;
    if (header->segment_type == FRAME_SEGMENT_NONE)
        return true;
    struct layout layout;
    return (type == FRAME_SEGMENT_TCP4 || type == FRAME_SEGMENT_TCP6) &&
           header->segment_size >= SEGMENT_MIN && header->flags & FRAME_NEEDS_CHECKSUM &&
           header->checksum_offset == TCP_CHECKSUM && find_parts(frame, length, &layout);
}

void frame_checksum(struct frame *frame, size_t length)
{
    struct frame_header *header = &frame->header;
    if (!(header->flags & FRAME_NEEDS_CHECKSUM))
        return;
    size_t start = header->checksum_start;
    uint8_t *field = frame->bytes + start + header->checksum_offset;
    /* The field holds the sum of the pseudo header, and so counts with the rest. */
    uint16_t sum = (uint16_t)~checksum_add(0, frame->bytes + start, length - start);
    store_be16(field, sum ? sum : 0xffff); /* 0 would mean "none" in UDP, and is the same in TCP */
    header->flags = 0;
}

/* Lengths, identification and sum of one segment's IP header. */
static void finish_ip(struct frame *segment, const struct layout *layout, size_t length,
                      unsigned index)
{
    uint8_t *ip = segment->bytes + layout->ip;
    if (layout->is_ipv6) {
        store_be16(ip + 4, (uint16_t)(length - layout->ip - IPV6_SIZE));
        return;
    }
    store_be16(ip + 2, (uint16_t)(length - layout->ip));
    store_be16(ip + 4, (uint16_t)(load_be16(ip + 4) + index));
    store_be16(ip + 10, 0);
    store_be16(ip + 10, (uint16_t)~checksum_add(0, ip, layout->transport - layout->ip));
}

static uint16_t pseudo_header(const struct frame *segment, const struct layout *layout,
                              size_t length)
{
    const uint8_t *ip = segment->bytes + layout->ip;
    uint8_t last[4] = {0, IP_TCP};
    store_be16(last + 2, (uint16_t)(length - layout->transport));
    uint16_t sum = layout->is_ipv6 ? checksum_add(0, ip + 8, 32) : checksum_add(0, ip + 12, 8);
    return checksum_add(sum, last, sizeof(last));
}

static void finish_tcp(struct frame *segment, const struct layout *layout, size_t length,
                       size_t done, bool last)
{
    uint8_t *tcp = segment->bytes + layout->transport;
    uint32_t sequence;
    memcpy(&sequence, tcp + TCP_SEQUENCE, 4);
    sequence = htonl(ntohl(sequence) + (uint32_t)done);
    memcpy(tcp + TCP_SEQUENCE, &sequence, 4);
    if (!last)
        tcp[TCP_FLAGS] &= (uint8_t) ~(FLAG_FIN | FLAG_PSH);
    if (done)
        tcp[TCP_FLAGS] &= (uint8_t)~FLAG_CWR;
    store_be16(tcp + TCP_CHECKSUM, pseudo_header(segment, layout, length));
    segment->header = (struct frame_header){
        .flags = FRAME_NEEDS_CHECKSUM,
        .checksum_start = (uint16_t)layout->transport,
        .checksum_offset = TCP_CHECKSUM,
    };
    frame_checksum(segment, length);
}

void frame_complete_headers(struct frame *frame, size_t length)
{
    struct layout layout;
    if (frame->header.segment_type == FRAME_SEGMENT_NONE || !find_parts(frame, length, &layout))
        return;
    finish_ip(frame, &layout, length, 0);
    store_be16(frame->bytes + layout.transport + TCP_CHECKSUM,
               pseudo_header(frame, &layout, length));
}

bool frame_segment(const struct frame *frame, size_t length,
                   bool (*emit)(void *opaque, const struct frame *frame, size_t length),
                   void *opaque)
{
    struct layout layout;
    size_t each = frame->header.segment_size, piece;
    if (!find_parts(frame, length, &layout))
        return false;
    struct frame *segment = malloc(sizeof(*segment));
    if (!segment)
        return false;
    unsigned index = 0;
    for (size_t done = 0; layout.payload + done < length; done += piece, index++) {
        size_t left = length - layout.payload - done;
        piece = left < each ? left : each;
        memcpy(segment->bytes, frame->bytes, layout.payload);
        memcpy(segment->bytes + layout.payload, frame->bytes + layout.payload + done, piece);
        finish_ip(segment, &layout, layout.payload + piece, index);
        finish_tcp(segment, &layout, layout.payload + piece, done, piece == left);
        if (!emit(opaque, segment, layout.payload + piece))
            break;
    }
    free(segment);
    return true;
}
