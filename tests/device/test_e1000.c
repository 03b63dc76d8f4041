/* SPDX-License-Identifier: Apache-2.0 */
/* The 82540EM over its registers, with a back end that keeps what it is sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "board.h"
#include "device/e1000_private.h"
#include "net/offload.h"

#include <stdlib.h>

#define TX_RING   0x1000
#define RX_RING   0x2000
#define BUFFERS   0x10000 /* one each 4 KiB */
#define RING_SIZE 8
#define SLOT      0

static const uint8_t own[MAC_SIZE] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};

struct wire {
    struct frame_backend backend;
    struct frame frame;
    size_t length;
    unsigned count, ready_count;
    bool full;
};

struct fixture {
    struct board *board;
    struct pci_bus *pci;
    struct wire wire;
    uint64_t registers, ports;
    unsigned tx_tail, rx_tail;
};

static bool wire_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct wire *wire = (struct wire *)backend;
    if (wire->full)
        return false;
    assert_true(frame_valid(frame, length));
    memcpy(&wire->frame, frame, sizeof(frame->header) + length);
    wire->length = length;
    wire->count++;
    return true;
}

static void wire_ready(struct frame_backend *backend)
{
    ((struct wire *)backend)->ready_count++;
}

static const struct frame_ops wire_ops = {"wire", wire_send, wire_ready, wire_ready};

static uint32_t get(struct fixture *fixture, unsigned offset)
{
    return (uint32_t)bus_read(&fixture->board->bus, BUS_MMIO, fixture->registers + offset, 4);
}

static void put(struct fixture *fixture, unsigned offset, uint32_t value)
{
    bus_write(&fixture->board->bus, BUS_MMIO, fixture->registers + offset, value, 4);
}

static uint64_t config(struct fixture *fixture, unsigned offset, unsigned size, int64_t value)
{
    struct bus *bus = &fixture->board->bus;
    bus_write(bus, BUS_PORT, 0xcf8, BIT(31) | SLOT << 11 | (offset & ~3u), 4);
    if (value >= 0)
        bus_write(bus, BUS_PORT, 0xcfc + (offset & 3), (uint64_t)value, size);
    return bus_read(bus, BUS_PORT, 0xcfc + (offset & 3), size);
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

static void turn(struct fixture *fixture)
{
    for (unsigned i = 0; i < 3; i++) {
        loop_post(fixture->board->loop, stop, fixture->board->loop);
        loop_run(fixture->board->loop);
    }
}

static void start_driver(struct fixture *fixture)
{
    put(fixture, E1000_TDBAL, TX_RING);
    put(fixture, E1000_TDBAL + 8, RING_SIZE * E1000_DESCRIPTOR);
    put(fixture, E1000_RDBAL, RX_RING);
    put(fixture, E1000_RDBAL + 8, RING_SIZE * E1000_DESCRIPTOR);
    put(fixture, E1000_TCTL, TCTL_ENABLE);
    put(fixture, E1000_RCTL, (uint32_t)(RCTL_ENABLE | RCTL_BROADCAST));
    for (unsigned i = 0; i < RING_SIZE; i++) {
        const uint64_t descriptor[2] = {BUFFERS + i * PAGE_SIZE, 0};
        memory_write(fixture->board->memory, RX_RING + i * E1000_DESCRIPTOR, descriptor, 16);
    }
    put(fixture, E1000_RDT, RING_SIZE - 1);
    turn(fixture);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct net_options options = {.queue_pairs = 1};
    struct error error = {0};
    memcpy(options.mac, own, MAC_SIZE);
    fixture->board = board_create();
    fixture->pci = pci_bus_create(&fixture->board->bus, &error);
    assert_non_null(fixture->pci);
    fixture->wire.backend.ops = &wire_ops;
    assert_int_equal(e1000_create(fixture->pci, &options, &fixture->wire.backend, 0, &error), 0);
    pci_assign_resources(fixture->pci);
    fixture->registers = config(fixture, 0x10, 4, -1) & ~UINT64_C(15);
    fixture->ports = config(fixture, 0x14, 4, -1) & ~UINT64_C(3);
    config(fixture, 4, 2, 7);
    start_driver(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    board_destroy(fixture->board);
    free(fixture);
    return 0;
}

/* --- what hangs on the card --- */

static unsigned eeprom_bit(struct fixture *fixture, unsigned in)
{
    uint32_t lines = 0x42u | in << 2;
    put(fixture, E1000_EECD, lines);
    put(fixture, E1000_EECD, lines | 1);
    unsigned out = get(fixture, E1000_EECD) >> 3 & 1;
    put(fixture, E1000_EECD, lines);
    return out;
}

/* As a driver reads it, bit by bit. */
static uint16_t eeprom_read(struct fixture *fixture, unsigned word)
{
    unsigned command = 6u << 6 | word, value = 0;
    put(fixture, E1000_EECD, 0x40);
    assert_true(get(fixture, E1000_EECD) & 0x80); /* granted */
    put(fixture, E1000_EECD, 0x42);
    for (unsigned i = 9; i-- > 0;)
        eeprom_bit(fixture, command >> i & 1);
    for (unsigned i = 0; i < 16; i++)
        value = value << 1 | eeprom_bit(fixture, 0);
    put(fixture, E1000_EECD, 0x40);
    return (uint16_t)value;
}

static void the_eeprom_holds_the_address(void **state)
{
    struct fixture *fixture = *state;
    uint16_t sum = 0;
    for (unsigned i = 0; i < EEPROM_WORDS; i++) {
        uint16_t word = eeprom_read(fixture, i);
        put(fixture, E1000_EERD, i << 8 | 1);
        assert_int_equal(get(fixture, E1000_EERD), (uint32_t)word << 16 | i << 8 | 0x10);
        if (i < 3)
            assert_int_equal(word, load_le(own + i * 2, 2));
        sum = (uint16_t)(sum + word);
    }
    assert_int_equal(sum, 0xbaba);
    assert_int_equal(get(fixture, E1000_RAL), load_le(own, 4));
    assert_int_equal(get(fixture, E1000_RAL + 4), load_le(own + 4, 2) | ADDRESS_VALID);
}

static uint32_t phy(struct fixture *fixture, uint32_t command)
{
    put(fixture, E1000_MDIC, command);
    assert_true(get(fixture, E1000_MDIC) & BIT(28));
    return get(fixture, E1000_MDIC);
}

static void the_link_is_up(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(phy(fixture, 2u << 26 | 1u << 21 | 2u << 16) & 0xffff, 0x0141);
    assert_int_equal(phy(fixture, 2u << 26 | 1u << 21 | 1u << 16) & 0x24, 0x24);
    phy(fixture, 1u << 26 | 1u << 21 | 0xb140); /* reset and power down: the reset is over */
    assert_int_equal(phy(fixture, 2u << 26 | 1u << 21) & 0xffff, 0x3140);
    assert_true(phy(fixture, 2u << 26 | 2u << 21) & BIT(30)); /* another PHY is not there */
    assert_true(get(fixture, E1000_STATUS) & STATUS_LINK_UP);
}

static void interrupts_are_masked_and_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    get(fixture, E1000_ICR);
    put(fixture, E1000_ICS, (uint32_t)CAUSE_LINK);
    assert_int_equal(fixture->board->levels, 0);
    put(fixture, E1000_IMS, (uint32_t)CAUSE_LINK);
    assert_int_not_equal(fixture->board->levels, 0);
    put(fixture, E1000_IMC, (uint32_t)CAUSE_LINK);
    assert_int_equal(fixture->board->levels, 0);
    put(fixture, E1000_IMS, (uint32_t)CAUSE_LINK);
    assert_int_equal(get(fixture, E1000_ICR), CAUSE_LINK);
    assert_int_equal(fixture->board->levels, 0);
    assert_int_equal(get(fixture, E1000_ICR), 0);
}

static void registers_are_reached_by_ports(void **state)
{
    struct fixture *fixture = *state;
    struct bus *bus = &fixture->board->bus;
    bus_write(bus, BUS_PORT, fixture->ports, E1000_VET, 4);
    assert_int_equal(bus_read(bus, BUS_PORT, fixture->ports + 4, 4), 0x8100);
    bus_write(bus, BUS_PORT, fixture->ports + 4, 0x88a8, 4);
    assert_int_equal(get(fixture, E1000_VET), 0x88a8);
    bus_write(bus, BUS_PORT, fixture->ports, 0xfffffffc, 4); /* behind the end */
    assert_int_equal(bus_read(bus, BUS_PORT, fixture->ports + 4, 4), 0);
}

/* --- transmission --- */

static void offer(struct fixture *fixture, uint64_t address, uint64_t rest)
{
    const uint64_t descriptor[2] = {address, rest};
    uint64_t place = TX_RING + fixture->tx_tail * E1000_DESCRIPTOR;
    memory_write(fixture->board->memory, place, descriptor, sizeof(descriptor));
    fixture->tx_tail = (fixture->tx_tail + 1) % RING_SIZE;
}

static void send_offered(struct fixture *fixture)
{
    put(fixture, E1000_TDT, fixture->tx_tail);
    turn(fixture);
}

/* Bytes of a packet at the start of the guest's buffers. */
static void fill(struct fixture *fixture, const uint8_t *bytes, size_t length)
{
    memory_write(fixture->board->memory, BUFFERS, bytes, length);
}

static void a_packet_of_two_pieces_goes_out(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[100], status;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 3);
    fill(fixture, bytes, sizeof(bytes));
    get(fixture, E1000_ICR);
    offer(fixture, BUFFERS, 0x02u << 24 | 40);
    offer(fixture, BUFFERS + 40, 0x0bu << 24 | 60); /* end, report */
    send_offered(fixture);
    assert_int_equal(fixture->wire.count, 1);
    assert_int_equal(fixture->wire.length, 100);
    assert_memory_equal(fixture->wire.frame.bytes, bytes, 100);
    memory_read(fixture->board->memory, TX_RING + 16 + 12, &status, 1);
    assert_int_equal(status, 1);
    assert_int_equal(get(fixture, E1000_TDBAL + 16), 2);
    assert_int_equal(get(fixture, E1000_ICR), CAUSE_TRANSMITTED | CAUSE_QUEUE_EMPTY);
    assert_int_equal(get(fixture, E1000_GPTC), 1);
    assert_int_equal(get(fixture, E1000_GPTC), 0); /* reading clears */
}

static void short_packets_are_padded(void **state)
{
    struct fixture *fixture = *state;
    offer(fixture, BUFFERS, 0x0bu << 24 | 20);
    send_offered(fixture);
    assert_int_equal(fixture->wire.length, 60);
}

static void packets_that_are_too_long_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 5; i++)
        offer(fixture, BUFFERS, (i == 4 ? 0x0bu : 2u) << 24 | 0xffff);
    offer(fixture, BUFFERS, 0x0bu << 24 | 64);
    send_offered(fixture);
    assert_int_equal(fixture->wire.count, 1);
    assert_int_equal(fixture->wire.length, 64);
}

static void a_full_back_end_gets_it_later(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[100];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    fill(fixture, bytes, sizeof(bytes));
    fixture->wire.full = true;
    offer(fixture, BUFFERS, 0x02u << 24 | 40);
    offer(fixture, BUFFERS + 40, 0x4bu << 24 | 60); /* with a tag */
    send_offered(fixture);
    assert_int_equal(get(fixture, E1000_TDBAL + 16), 1);
    fixture->wire.full = false;
    frame_writable(&fixture->wire.backend.sink);
    turn(fixture);
    assert_int_equal(fixture->wire.count, 1);
    assert_int_equal(fixture->wire.length, 104);
    assert_memory_equal(fixture->wire.frame.bytes, bytes, 12);
    assert_memory_equal(fixture->wire.frame.bytes + 16, bytes + 12, 88);
    assert_int_equal(get(fixture, E1000_TDBAL + 16), 2);
}

/* Linux leaves the lengths out of what the card is to cut. */
static void segments_are_left_to_the_back_end(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t start[54] = {
        [12] = 8, [14] = 0x45, [23] = 6, [26] = 10, [30] = 10, [46] = 0x50};
    struct frame *frame = &fixture->wire.frame;
    fill(fixture, start, sizeof(start));
    offer(fixture, 34 | 24 << 8 | 33u << 16 | UINT64_C(34) << 32 | UINT64_C(50) << 40,
          0x27u << 24 | UINT64_C(54) << 40 | UINT64_C(1460) << 48);
    offer(fixture, BUFFERS, 0x26u << 24 | 1u << 20 | 3000);
    offer(fixture, BUFFERS, 0x2fu << 24 | 1u << 20 | 1000);
    send_offered(fixture);
    assert_int_equal(fixture->wire.length, 4000);
    assert_int_equal(frame->header.segment_type, FRAME_SEGMENT_TCP4);
    assert_int_equal(frame->header.segment_size, 1460);
    assert_int_equal(frame->bytes[16] << 8 | frame->bytes[17], 4000 - 14);
    assert_int_equal(checksum_add(0, frame->bytes + 14, 20), 0xffff);
    const uint8_t pseudo[12] = {
        10, 0, 0, 0, 10, 0, 0, 0, 0, 6, (4000 - 34) >> 8, (4000 - 34) & 0xff};
    assert_int_equal(frame->bytes[50] << 8 | frame->bytes[51], checksum_add(0, pseudo, 12));
}

static void checksums_and_tags_are_put_in(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[100];
    memset(bytes, 0x5a, sizeof(bytes));
    bytes[24] = bytes[25] = bytes[50] = bytes[51] = 0;
    fill(fixture, bytes, sizeof(bytes));
    offer(fixture, 14 | 24 << 8 | 33u << 16 | UINT64_C(34) << 32 | UINT64_C(50) << 40, 0x20u << 24);
    offer(fixture, BUFFERS,
          0x6bu << 24 | 1u << 20 | 100 | UINT64_C(3) << 40 | UINT64_C(0x2123) << 48);
    send_offered(fixture);
    const uint8_t *sent = fixture->wire.frame.bytes;
    static const uint8_t tag[] = {0x81, 0, 0x21, 0x23};
    assert_int_equal(fixture->wire.length, 104);
    assert_memory_equal(sent + 12, tag, 4);
    assert_int_equal(checksum_add(0, sent + 18, 20), 0xffff);
    assert_int_equal(checksum_add(0, sent + 38, 66), 0xffff);
}

/* --- reception --- */

static bool deliver(struct fixture *fixture, const uint8_t *to, size_t length)
{
    struct frame *frame = calloc(1, sizeof(*frame));
    memcpy(frame->bytes, to, MAC_SIZE);
    for (size_t i = MAC_SIZE; i < length; i++)
        frame->bytes[i] = (uint8_t)i;
    bool taken = frame_deliver(&fixture->wire.backend.sink, frame, length);
    free(frame);
    return taken;
}

struct received {
    uint64_t address;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};

static struct received received(struct fixture *fixture, unsigned index)
{
    struct received result;
    memory_read(fixture->board->memory, RX_RING + index * E1000_DESCRIPTOR, &result,
                sizeof(result));
    return result;
}

static void a_frame_comes_in_with_its_crc(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[64];
    get(fixture, E1000_ICR);
    assert_true(deliver(fixture, own, 50));
    struct received first = received(fixture, 0);
    assert_int_equal(first.length, 64); /* padded, and four bytes of CRC */
    assert_int_equal(first.status & 3, 3);
    memory_read(fixture->board->memory, first.address, bytes, sizeof(bytes));
    assert_memory_equal(bytes, own, MAC_SIZE);
    assert_int_equal(bytes[49], 49);
    assert_int_equal(bytes[50], 0);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 1);
    assert_int_equal(get(fixture, E1000_ICR), CAUSE_RECEIVED);
    assert_int_equal(get(fixture, E1000_GPRC), 1);
}

static void filters_let_through_what_they_should(void **state)
{
    struct fixture *fixture = *state;
    static const uint8_t everybody[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t other[] = {0x52, 0x54, 0, 0, 0, 1}, group[] = {1, 0, 0x5e, 0, 0, 0xfb};
    deliver(fixture, other, 60);
    deliver(fixture, group, 60);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 0);
    deliver(fixture, everybody, 60);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 1);
    put(fixture, E1000_MTA + (0xfb0 >> 5) * 4, 1u << (0xfb0 & 31));
    deliver(fixture, group, 60);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 2);
    put(fixture, E1000_RCTL, (uint32_t)(RCTL_ENABLE | RCTL_UNICAST_ALL));
    deliver(fixture, other, 60);
    deliver(fixture, everybody, 60);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 3);
    deliver(fixture, own, 1600); /* long packets are off */
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 3);
}

static void a_long_frame_takes_several_descriptors(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, E1000_RCTL, (uint32_t)(RCTL_ENABLE | RCTL_LONG | RCTL_STRIP_CRC));
    assert_true(deliver(fixture, own, 5000));
    assert_int_equal(received(fixture, 0).length, 2048);
    assert_int_equal(received(fixture, 1).status & 3, 1);
    assert_int_equal(received(fixture, 2).length, 5000 - 2 * 2048);
    assert_int_equal(received(fixture, 2).status & 3, 3);
}

static void without_room_frames_wait(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < RING_SIZE - 1; i++)
        assert_true(deliver(fixture, own, 60));
    assert_false(deliver(fixture, own, 60));
    unsigned before = fixture->wire.ready_count;
    put(fixture, E1000_RDT, 2);
    turn(fixture);
    assert_true(fixture->wire.ready_count > before);
    assert_true(deliver(fixture, own, 60));
}

static void tags_are_taken_out_and_filtered(void **state)
{
    struct fixture *fixture = *state;
    struct frame *frame = calloc(1, sizeof(*frame));
    memcpy(frame->bytes, own, MAC_SIZE);
    frame->bytes[12] = 0x81;
    frame->bytes[14] = 0x20;
    frame->bytes[15] = 0x07;
    frame->bytes[16] = 0x08;
    put(fixture, E1000_CTRL, (uint32_t)CTRL_VLAN);
    put(fixture, E1000_RCTL, (uint32_t)(RCTL_ENABLE | RCTL_VLAN_FILTER));
    frame_deliver(&fixture->wire.backend.sink, frame, 100);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 0);
    put(fixture, E1000_VFTA, 1 << 7);
    frame_deliver(&fixture->wire.backend.sink, frame, 100);
    assert_int_equal(get(fixture, E1000_RDBAL + 16), 1);
    assert_int_equal(received(fixture, 0).special, 0x2007);
    assert_int_equal(received(fixture, 0).length, 100);
    assert_int_equal(received(fixture, 0).status & 8, 8);
    free(frame);
}

static void nonsense_in_the_rings_is_harmless(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, E1000_TDBAL + 8, 0);
    put(fixture, E1000_TDT, 5);
    turn(fixture);
    put(fixture, E1000_TDBAL + 8, 0xfff80);
    put(fixture, E1000_TDBAL + 4, 0xffffffff);
    put(fixture, E1000_TDT, 0xffff);
    turn(fixture);
    put(fixture, E1000_RDBAL + 4, 0xffffffff);
    assert_true(deliver(fixture, own, 60));
    put(fixture, E1000_RDBAL + 8, 0);
    assert_false(deliver(fixture, own, 60));
    put(fixture, E1000_CTRL, (uint32_t)CTRL_RESET);
    assert_int_equal(get(fixture, E1000_TDBAL + 4), 0);
    assert_true(deliver(fixture, own, 60)); /* off: nobody is there */
    assert_int_equal(fixture->wire.count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_eeprom_holds_the_address),           TEST(the_link_is_up),
        TEST(interrupts_are_masked_and_acknowledged), TEST(registers_are_reached_by_ports),
        TEST(a_packet_of_two_pieces_goes_out),        TEST(short_packets_are_padded),
        TEST(packets_that_are_too_long_are_dropped),  TEST(a_full_back_end_gets_it_later),
        TEST(segments_are_left_to_the_back_end),      TEST(checksums_and_tags_are_put_in),
        TEST(a_frame_comes_in_with_its_crc),          TEST(filters_let_through_what_they_should),
        TEST(a_long_frame_takes_several_descriptors), TEST(without_room_frames_wait),
        TEST(tags_are_taken_out_and_filtered),        TEST(nonsense_in_the_rings_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
