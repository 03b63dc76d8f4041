/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transmission: manual §3.3 to §3.5. Descriptors add up to a packet; its checksums are filled in
 * here, its segmentation is left to the back end.
 */
#include "device/e1000_private.h"
#include "net/offload.h"

#define BATCH_MAX 256 /* descriptors until other work of the loop gets its turn */
#define FRAME_PAD 60

/* The commands' byte: bits 24 to 31 of the second half */
#define COMMAND_END      BIT(0)
#define COMMAND_CHECKSUM BIT(2) /* legacy: insert one. Data: segmentation */
#define COMMAND_REPORT   BIT(3)
#define COMMAND_EXTENDED BIT(5)
#define COMMAND_VLAN     BIT(6)
#define CONTEXT_IPV4     BIT(1)
#define CONTEXT_SEGMENTS BIT(2)
#define OPTION_IP        BIT(0)
#define OPTION_TCP       BIT(1)
#define TYPE_CONTEXT     0
#define STATUS_DONE      1u
#define STATUS_OFFSET    12

/* A descriptor, both halves as they lie in memory. */
struct descriptor {
    uint64_t address, rest;
};

static void load_context(struct e1000_context *context, const struct descriptor *descriptor)
{
    uint64_t first = descriptor->address, second = descriptor->rest;
    *context = (struct e1000_context){
        .ip_start = (uint8_t)first,
        .ip_offset = (uint8_t)(first >> 8),
        .ip_end = (uint16_t)(first >> 16),
        .tcp_start = (uint8_t)(first >> 32),
        .tcp_offset = (uint8_t)(first >> 40),
        .tcp_end = (uint16_t)(first >> 48),
        .is_ipv4 = bits_get(second, 31, 24) & CONTEXT_IPV4,
        .segment_size = (uint16_t)(second >> 48),
    };
}

/* Sums [start, end] and stores the complement at `offset`; end 0: up to the packet's. */
static void insert_checksum(struct e1000 *e1000, size_t start, size_t end, size_t offset)
{
    size_t length = e1000->frame_length;
    end = end && end < length ? end + 1 : length;
    if (start >= end || offset + 2 > length)
        return;
    uint16_t sum = (uint16_t)~checksum_add(0, e1000->frame.bytes + start, end - start);
    e1000->frame.bytes[offset] = (uint8_t)(sum >> 8);
    e1000->frame.bytes[offset + 1] = (uint8_t)sum;
}

static void insert_tag(struct e1000 *e1000, uint16_t tag)
{
    uint8_t *place = e1000->frame.bytes + E1000_ADDRESSES;
    uint32_t type = *e1000_register(e1000, E1000_VET);
    if (e1000->frame_length < E1000_ADDRESSES || e1000->frame_length + E1000_TAG_SIZE > FRAME_MAX)
        return;
    memmove(place + E1000_TAG_SIZE, place, e1000->frame_length - E1000_ADDRESSES);
    place[0] = (uint8_t)(type >> 8);
    place[1] = (uint8_t)type;
    place[2] = (uint8_t)(tag >> 8);
    place[3] = (uint8_t)tag;
    e1000->frame_length += E1000_TAG_SIZE;
}

/* What the last descriptor of a packet asks for. False: the packet makes no sense. */
static bool finish_frame(struct e1000 *e1000, uint64_t rest)
{
    const struct e1000_context *context = &e1000->context;
    struct frame_header *header = &e1000->frame.header;
    unsigned command = (unsigned)bits_get(rest, 31, 24), options = (unsigned)bits_get(rest, 47, 40);
    unsigned tag = command & COMMAND_VLAN ? E1000_TAG_SIZE : 0;
    bool extended = command & COMMAND_EXTENDED;
    *header = (struct frame_header){0};
    if (extended && command & CONTEXT_SEGMENTS) {
        *header = (struct frame_header){
            .flags = FRAME_NEEDS_CHECKSUM,
            .segment_type = context->is_ipv4 ? FRAME_SEGMENT_TCP4 : FRAME_SEGMENT_TCP6,
            .segment_size = context->segment_size,
            .checksum_start = (uint16_t)(context->tcp_start + tag),
            .checksum_offset = (uint16_t)(context->tcp_offset - context->tcp_start),
        };
    } else if (extended) {
        if (options & OPTION_IP)
            insert_checksum(e1000, context->ip_start, context->ip_end, context->ip_offset);
        if (options & OPTION_TCP)
            insert_checksum(e1000, context->tcp_start, context->tcp_end, context->tcp_offset);
    } else if (command & COMMAND_CHECKSUM) {
        insert_checksum(e1000, options, 0, bits_get(rest, 23, 16));
    }
    if (tag)
        insert_tag(e1000, (uint16_t)(rest >> 48));
    while (e1000->frame_length < FRAME_PAD)
        e1000->frame.bytes[e1000->frame_length++] = 0;
    if (!frame_valid(&e1000->frame, e1000->frame_length))
        return false;
    frame_complete_headers(&e1000->frame, e1000->frame_length);
    return true;
}

static void add_data(struct e1000 *e1000, uint64_t address, uint64_t size)
{
    size_t length = e1000->frame_length;
    if (!range_within(length, size, FRAME_MAX - E1000_TAG_SIZE) ||
        memory_read(e1000_memory(e1000), address, e1000->frame.bytes + length, size) < 0)
        e1000->frame_state = FRAME_BROKEN;
    else
        e1000->frame_length += size;
}

/* False: the back end has no room; the frame stays as it is. */
static bool send_frame(struct e1000 *e1000)
{
    static const unsigned statistics[] = {E1000_GPTC, E1000_TPT, E1000_GOTCL, E1000_TOTL};
    if (e1000->frame_state == FRAME_READY) {
        if (!e1000->backend->ops->send(e1000->backend, &e1000->frame, e1000->frame_length))
            return false;
        e1000_count(e1000, statistics, e1000->frame_length);
    }
    e1000_drop_frame(e1000);
    return true;
}

/* False: the descriptor is to come again. */
static bool process(struct e1000 *e1000, const struct descriptor *descriptor)
{
    uint64_t rest = descriptor->rest;
    unsigned command = (unsigned)bits_get(rest, 31, 24);
    bool extended = command & COMMAND_EXTENDED;
    if (e1000->frame_state == FRAME_READY)
        return send_frame(e1000);
    if (extended && bits_get(rest, 23, 20) == TYPE_CONTEXT) {
        load_context(&e1000->context, descriptor);
        return true;
    }
    add_data(e1000, descriptor->address, extended ? bits_get(rest, 19, 0) : bits_get(rest, 15, 0));
    if (!(command & COMMAND_END))
        return true;
    if (e1000->frame_state == FRAME_GROWING && finish_frame(e1000, rest))
        e1000->frame_state = FRAME_READY;
    return send_frame(e1000);
}

void e1000_drop_frame(struct e1000 *e1000)
{
    e1000->frame_length = 0;
    e1000->frame_state = FRAME_GROWING;
}

bool e1000_transmit(struct e1000 *e1000)
{
    struct e1000_ring ring = e1000_ring_load(e1000, E1000_TDBAL);
    uint32_t causes = 0;
    unsigned count = 0;
    bool sent = true;
    if (!(*e1000_register(e1000, E1000_TCTL) & TCTL_ENABLE) || !pci_bus_master(&e1000->pci))
        return false;
    for (; sent && ring.next != ring.end && count < BATCH_MAX; count++) {
        struct descriptor descriptor;
        uint64_t address = ring.base + ring.next * E1000_DESCRIPTOR;
        if (memory_read(e1000_memory(e1000), address, &descriptor, sizeof(descriptor)) < 0)
            break;
        sent = process(e1000, &descriptor);
        if (!sent)
            break;
        if (descriptor.rest >> 24 & COMMAND_REPORT) {
            const uint8_t status = (uint8_t)(descriptor.rest >> 32 | STATUS_DONE);
            memory_write(e1000_memory(e1000), address + STATUS_OFFSET, &status, 1);
            causes |= (uint32_t)CAUSE_TRANSMITTED;
        }
        ring.next = e1000_ring_after(&ring, ring.next);
    }
    e1000_register(e1000, E1000_TDBAL)[RING_HEAD] = ring.next;
    if (count && ring.next == ring.end)
        causes |= (uint32_t)CAUSE_QUEUE_EMPTY;
    if (causes)
        e1000_interrupt(e1000, causes);
    return count == BATCH_MAX;
}

static const struct state_field fields[] = {
    STATE_FIELD(struct e1000_context, ip_start),     STATE_FIELD(struct e1000_context, ip_offset),
    STATE_FIELD(struct e1000_context, ip_end),       STATE_FIELD(struct e1000_context, tcp_start),
    STATE_FIELD(struct e1000_context, tcp_offset),   STATE_FIELD(struct e1000_context, tcp_end),
    STATE_FIELD(struct e1000_context, segment_size), STATE_FIELD(struct e1000_context, is_ipv4),
};
const struct state_table e1000_context_state = STATE_TABLE("e1000-context", 1, fields);
