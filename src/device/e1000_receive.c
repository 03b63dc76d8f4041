/* SPDX-License-Identifier: Apache-2.0 */
/* Reception: filters (manual §3.2.1, §13.5) and descriptors (§3.2.3). */
#include "device/e1000_private.h"
#include "net/offload.h"

#include <zlib.h>

#define FRAME_PAD       60
#define FRAME_SHORT_MAX 1518 /* without the CRC, with a VLAN's tag */
#define CRC_SIZE        4
#define ADDRESS_COUNT   16

#define STATUS_DONE        BIT(0)
#define STATUS_END         BIT(1)
#define STATUS_NO_CHECKSUM BIT(2) /* not looked at */
#define STATUS_VLAN        BIT(3)

struct descriptor {
    uint64_t address;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};

static bool is_own_address(struct e1000 *e1000, const uint8_t *mac)
{
    const uint32_t *address = e1000_register(e1000, E1000_RAL);
    for (unsigned i = 0; i < ADDRESS_COUNT; i++, address += 2) {
        if (address[1] & ADDRESS_VALID && address[0] == load_le(mac, 4) &&
            (uint16_t)address[1] == load_le(mac + 4, 2))
            return true;
    }
    return false;
}

/* 12 bits of the address, chosen by RCTL.MO, are a place in the table. */
static bool is_in_hash(struct e1000 *e1000, const uint8_t *mac)
{
    static const uint8_t shifts[] = {4, 3, 2, 0};
    unsigned offset = (unsigned)bits_get(*e1000_register(e1000, E1000_RCTL), 13, 12);
    unsigned hash = (unsigned)load_le(mac + 4, 2) >> shifts[offset] & 0xfff;
    return e1000_register(e1000, E1000_MTA)[hash >> 5] >> (hash & 31) & 1;
}

static bool is_for_guest(struct e1000 *e1000, const uint8_t *mac)
{
    static const uint8_t everybody[MAC_SIZE] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t control = *e1000_register(e1000, E1000_RCTL);
    if (!memcmp(mac, everybody, MAC_SIZE) && control & RCTL_BROADCAST)
        return true;
    if (mac[0] & 1)
        return control & RCTL_MULTICAST_ALL || is_in_hash(e1000, mac) || is_own_address(e1000, mac);
    return control & RCTL_UNICAST_ALL || is_own_address(e1000, mac);
}

/* The frame's tag, or -1. */
static int find_tag(struct e1000 *e1000, const uint8_t *bytes, size_t length)
{
    uint32_t type = *e1000_register(e1000, E1000_VET);
    if (length < E1000_ADDRESSES + E1000_TAG_SIZE ||
        (uint32_t)(bytes[E1000_ADDRESSES] << 8 | bytes[E1000_ADDRESSES + 1]) != type)
        return -1;
    return bytes[E1000_ADDRESSES + 2] << 8 | bytes[E1000_ADDRESSES + 3];
}

static bool is_own_vlan(struct e1000 *e1000, int tag)
{
    uint32_t control = *e1000_register(e1000, E1000_RCTL);
    if (!(control & RCTL_VLAN_FILTER) || tag < 0)
        return true;
    return e1000_register(e1000, E1000_VFTA)[(tag & 0xfff) >> 5] >> (tag & 31) & 1;
}

static size_t buffer_size(uint32_t control)
{
    unsigned shift = (unsigned)bits_get(control, 17, 16);
    if (control & RCTL_SIZE_EXTENSION && shift)
        return (size_t)32768 >> shift;
    return (size_t)2048 >> shift;
}

/* Pads the copy in `received`, takes its tag out, adds its CRC. Returns its length. */
static size_t dress(struct e1000 *e1000, size_t length, int tag)
{
    uint8_t *bytes = e1000->received.bytes;
    if (tag >= 0 && *e1000_register(e1000, E1000_CTRL) & CTRL_VLAN) {
        length -= E1000_TAG_SIZE;
        memmove(bytes + E1000_ADDRESSES, bytes + E1000_ADDRESSES + E1000_TAG_SIZE,
                length - E1000_ADDRESSES);
    }
    while (length < FRAME_PAD)
        bytes[length++] = 0;
    if (*e1000_register(e1000, E1000_RCTL) & RCTL_STRIP_CRC)
        return length;
    store_le(bytes + length, crc32(0, bytes, (uInt)length), CRC_SIZE);
    return length + CRC_SIZE;
}

/* Fills descriptors with what is in `received`. False: there are too few now. */
static bool place(struct e1000 *e1000, size_t length, int tag)
{
    struct e1000_ring ring = e1000_ring_load(e1000, E1000_RDBAL);
    struct memory *memory = e1000_memory(e1000);
    size_t size = buffer_size(*e1000_register(e1000, E1000_RCTL));
    uint32_t offered = (ring.end + ring.count - ring.next) % (ring.count ? ring.count : 1);
    bool stripped = tag >= 0 && *e1000_register(e1000, E1000_CTRL) & CTRL_VLAN;
    if (offered * size < length)
        return false;
    for (size_t done = 0; done < length;) {
        struct descriptor descriptor;
        uint64_t address = ring.base + ring.next * E1000_DESCRIPTOR;
        size_t piece = length - done < size ? length - done : size;
        if (memory_read(memory, address, &descriptor, sizeof(descriptor)) < 0)
            return true; /* a ring outside memory: nobody to tell */
        memory_write(memory, descriptor.address, e1000->received.bytes + done, piece);
        done += piece;
        descriptor.length = (uint16_t)piece;
        descriptor.checksum = 0;
        descriptor.errors = 0;
        descriptor.status = STATUS_DONE | STATUS_NO_CHECKSUM;
        descriptor.status |= (done == length ? STATUS_END : 0) | (stripped ? STATUS_VLAN : 0);
        descriptor.special = (uint16_t)(stripped ? tag : 0);
        memory_write(memory, address, &descriptor, sizeof(descriptor));
        ring.next = e1000_ring_after(&ring, ring.next);
    }
    e1000_register(e1000, E1000_RDBAL)[RING_HEAD] = ring.next;
    e1000_interrupt(e1000, CAUSE_RECEIVED);
    return true;
}

/* One packet. False: the back end is to keep it. */
static bool take(struct e1000 *e1000, const struct frame *frame, size_t length)
{
    static const unsigned statistics[] = {E1000_GPRC, E1000_TPR, E1000_GORCL, E1000_TORL};
    uint32_t control = *e1000_register(e1000, E1000_RCTL);
    int tag = find_tag(e1000, frame->bytes, length);
    if (!is_for_guest(e1000, frame->bytes) || !is_own_vlan(e1000, tag) ||
        (length > FRAME_SHORT_MAX && !(control & RCTL_LONG)))
        return true;
    memcpy(&e1000->received, frame, sizeof(frame->header) + length);
    frame_checksum(&e1000->received, length);
    if (!place(e1000, dress(e1000, length, tag), tag))
        return false;
    e1000_count(e1000, statistics, length);
    return true;
}

struct pieces {
    struct e1000 *e1000;
    unsigned count;
};

static bool take_segment(void *opaque, const struct frame *segment, size_t length)
{
    struct pieces *pieces = opaque;
    bool taken = take(pieces->e1000, segment, length);
    pieces->count += taken;
    return taken;
}

static bool receive_locked(struct e1000 *e1000, const struct frame *frame, size_t length)
{
    struct pieces pieces = {.e1000 = e1000};
    if (!(*e1000_register(e1000, E1000_RCTL) & RCTL_ENABLE) || !pci_bus_master(&e1000->pci))
        return true;
    if (frame->header.segment_type == FRAME_SEGMENT_NONE)
        return length + CRC_SIZE > FRAME_MAX || take(e1000, frame, length);
    /* When some have gone in, the others are lost, as on a wire. */
    return !frame_segment(frame, length, take_segment, &pieces) || pieces.count;
}

bool e1000_receive(void *opaque, const struct frame *frame, size_t length)
{
    struct e1000 *e1000 = opaque;
    pthread_mutex_lock(&e1000->lock);
    bool taken = receive_locked(e1000, frame, length);
    pthread_mutex_unlock(&e1000->lock);
    return taken;
}
