/* SPDX-License-Identifier: Apache-2.0 */
/* Checksums and segmentation, against sums made the slow way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "net/offload.h"

#include <stdlib.h>
#include <string.h>

#define ETHERNET 14
#define TCP      20
#define SEQUENCE 0xfffffff0u                 /* wraps */
#define FIN_PSH  (0x80 | 0x10 | 0x08 | 0x01) /* with ACK and CWR */

/* RFC 1071, word by word. */
static uint16_t slow_sum(const uint8_t *bytes, size_t length, uint32_t sum)
{
    for (size_t i = 0; i < length; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static void put(uint8_t *bytes, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        bytes[i] = (uint8_t)(value >> 8 * (size - 1 - i));
}

static uint64_t get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value = value << 8 | bytes[i];
    return value;
}

struct packet {
    struct frame frame;
    size_t ip, transport, payload, length;
    bool is_ipv6;
};

static uint16_t pseudo_sum(const uint8_t *frame, const struct packet *packet, size_t length)
{
    const uint8_t *ip = frame + packet->ip;
    uint32_t sum = 6 + (uint32_t)(length - packet->transport);
    return packet->is_ipv6 ? slow_sum(ip + 8, 32, sum) : slow_sum(ip + 12, 8, sum);
}

/* One long TCP segment, as a driver with segmentation offload makes it. */
static struct packet *make_packet(bool is_ipv6, size_t vlan, size_t payload, uint16_t segment)
{
    struct packet *packet = calloc(1, sizeof(*packet));
    uint8_t *bytes = packet->frame.bytes;
    packet->is_ipv6 = is_ipv6;
    packet->ip = ETHERNET + vlan;
    packet->transport = packet->ip + (is_ipv6 ? 40 : 20);
    packet->payload = packet->transport + TCP;
    packet->length = packet->payload + payload;
    for (size_t i = 0; i < packet->length; i++)
        bytes[i] = (uint8_t)(i * 31 + 7);
    if (vlan)
        put(bytes + 12, 0x8100, 2);
    put(bytes + packet->ip - 2, is_ipv6 ? 0x86dd : 0x0800, 2);
    uint8_t *ip = bytes + packet->ip, *tcp = bytes + packet->transport;
    ip[0] = is_ipv6 ? 0x60 : 0x45;
    if (!is_ipv6) {
        ip[9] = 6;
        put(ip + 4, 0xffff, 2); /* identification: wraps */
    }
    put(tcp + 4, SEQUENCE, 4);
    tcp[12] = 0x50;
    tcp[13] = FIN_PSH;
    put(tcp + 16, pseudo_sum(bytes, packet, packet->length), 2);
    packet->frame.header = (struct frame_header){
        .flags = FRAME_NEEDS_CHECKSUM,
        .segment_type = segment ? is_ipv6 ? FRAME_SEGMENT_TCP6 : FRAME_SEGMENT_TCP4 : 0,
        .segment_size = segment,
        .checksum_start = (uint16_t)packet->transport,
        .checksum_offset = 16,
    };
    return packet;
}

static void checksum_is_that_of_the_rfc(void **state)
{
    uint8_t bytes[200];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 77 + 13) | (i % 3 ? 0xf0 : 0);
    for (size_t length = 0; length <= sizeof(bytes); length++)
        assert_int_equal(checksum_add(0x1234, bytes, length) % 0xffff,
                         slow_sum(bytes, length, 0x1234) % 0xffff);
}

static void a_checksum_is_filled_in(void **state)
{
    for (unsigned is_ipv6 = 0; is_ipv6 < 2; is_ipv6++) {
        struct packet *packet = make_packet(is_ipv6, 0, 1001, 0);
        const uint8_t *tcp = packet->frame.bytes + packet->transport;
        assert_true(frame_valid(&packet->frame, packet->length));
        frame_checksum(&packet->frame, packet->length);
        assert_int_equal(packet->frame.header.flags, 0);
        assert_int_equal(slow_sum(tcp, packet->length - packet->transport,
                                  pseudo_sum(packet->frame.bytes, packet, packet->length)),
                         0xffff);
        free(packet);
    }
}

struct seen {
    const struct packet *packet;
    size_t done, most; /* bytes of payload */
    unsigned count, stop_at;
};

/* Each segment must be a whole packet of its own, and carry on where the last ended. */
static bool look_at(void *opaque, const struct frame *segment, size_t length)
{
    struct seen *seen = opaque;
    const struct packet *packet = seen->packet;
    const uint8_t *ip = segment->bytes + packet->ip, *tcp = segment->bytes + packet->transport;
    size_t payload = length - packet->payload;
    bool last = seen->done + payload == packet->length - packet->payload;
    assert_int_equal(segment->header.flags, 0);
    assert_int_equal(segment->header.segment_type, 0);
    assert_true(payload && payload <= seen->most);
    assert_true(last || payload == seen->most);
    assert_memory_equal(segment->bytes + packet->payload,
                        packet->frame.bytes + packet->payload + seen->done, payload);
    assert_int_equal(get(tcp + 4, 4), (uint32_t)(SEQUENCE + seen->done));
    assert_int_equal(tcp[13], 0x10 | (last ? 0x09 : 0) | (seen->count ? 0 : 0x80));
    if (packet->is_ipv6) {
        assert_int_equal(get(ip + 4, 2), length - packet->transport);
    } else {
        assert_int_equal(get(ip + 2, 2), length - packet->ip);
        assert_int_equal(get(ip + 4, 2), (uint16_t)(0xffff + seen->count));
        assert_int_equal(slow_sum(ip, 20, 0), 0xffff);
    }
    assert_int_equal(
        slow_sum(tcp, length - packet->transport, pseudo_sum(segment->bytes, packet, length)),
        0xffff);
    seen->done += payload;
    return ++seen->count != seen->stop_at;
}

static void segments_are_whole_packets(void **state)
{
    static const size_t payloads[] = {1, 1448, 1449, 14480, 65000};
    for (unsigned form = 0; form < 4; form++) {
        for (unsigned i = 0; i < ARRAY_SIZE(payloads); i++) {
            struct packet *packet = make_packet(form & 1, form & 2 ? 4 : 0, payloads[i], 1448);
            struct seen seen = {.packet = packet, .most = 1448};
            assert_true(frame_valid(&packet->frame, packet->length));
            assert_true(frame_segment(&packet->frame, packet->length, look_at, &seen));
            assert_int_equal(seen.done, payloads[i]);
            free(packet);
        }
    }
}

static void segmentation_stops_when_told(void **state)
{
    struct packet *packet = make_packet(false, 0, 14480, 1448);
    struct seen seen = {.packet = packet, .most = 1448, .stop_at = 3};
    assert_true(frame_segment(&packet->frame, packet->length, look_at, &seen));
    assert_int_equal(seen.count, 3);
    free(packet);
}

static void hostile_headers_are_refused(void **state)
{
    struct packet *packet = make_packet(false, 0, 3000, 1448);
    struct frame *frame = &packet->frame;
    const struct frame_header good = frame->header;
    uint8_t *ip = frame->bytes + packet->ip, *tcp = frame->bytes + packet->transport;
    const struct frame_header bad[] = {
        {.segment_type = FRAME_SEGMENT_TCP4, .segment_size = 1448},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP4, 0, 0, 34, 16, 0},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP4, 0, 1, 34, 16, 0},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP4, 0, 1448, 33, 16, 0},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP4, 0, 1448, 34, 17, 0},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP4, 0, 1448, 0, 16, 0},
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_TCP6, 0, 1448, 34, 16, 0},
        {FRAME_NEEDS_CHECKSUM, 3, 0, 1448, 34, 16, 0}, /* UDP fragmentation: not offered */
        {FRAME_NEEDS_CHECKSUM, FRAME_SEGMENT_ECN, 0, 1448, 34, 16, 0},
        {FRAME_NEEDS_CHECKSUM, 0, 0, 0, 0xffff, 0xffff, 0},
        {FRAME_NEEDS_CHECKSUM, 0, 0, 0, 3053, 0, 0},
    };
    assert_true(frame_valid(frame, packet->length));
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        frame->header = bad[i];
        assert_false(frame_valid(frame, packet->length));
    }
    frame->header = good;
    assert_false(frame_valid(frame, packet->payload));
    assert_false(frame_valid(frame, FRAME_MAX + 1));
    tcp[12] = 0x40; /* a header shorter than TCP's */
    assert_false(frame_valid(frame, packet->length));
    tcp[12] = 0xf0;
    assert_false(frame_valid(frame, packet->transport + 60));
    tcp[12] = 0x50;
    ip[9] = 17;
    assert_false(frame_valid(frame, packet->length));
    ip[9] = 6;
    ip[0] = 0x46;
    assert_false(frame_valid(frame, packet->length));
    free(packet);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksum_is_that_of_the_rfc),
        cmocka_unit_test(a_checksum_is_filled_in),
        cmocka_unit_test(segments_are_whole_packets),
        cmocka_unit_test(segmentation_stops_when_told),
        cmocka_unit_test(hostile_headers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
