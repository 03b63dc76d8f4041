/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-blk over its PCI registers, with a back end that holds requests until it is told. */
#include "virtio/blk.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIZE        8u
#define DESCRIPTORS 0x1000
#define AVAILABLE   0x2000
#define USED        0x3000
#define HEADER      0x4000
#define DATA        0x5000
#define STATUS      0x6000
#define SECTORS     16

/* Common configuration and notification, as the capabilities place them. */
#define REGISTERS_BAR    0x20
#define COMMAND_REGISTER 0x04
#define COMMAND_MEMORY   2
#define COMMAND_MASTER   4
#define COMMON(x)        (x)
#define NOTIFY           0x3000

struct holder {
    struct block block;
    struct block_request *held;
    unsigned count;
};

struct fixture {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct holder holder;
    uint64_t registers;
    uint16_t available;
};

static void hold(struct block *block, struct block_request *request)
{
    struct holder *holder = (struct holder *)block;
    request->next = holder->held;
    holder->held = request;
    holder->count++;
}

static void drain(struct block *block)
{
    struct holder *holder = (struct holder *)block;
    struct block_request *request = holder->held;
    holder->held = NULL;
    holder->count = 0;
    while (request) {
        struct block_request *next = request->next;
        request->done(request, 0);
        request = next;
    }
}

static void finish_all(struct fixture *fixture)
{
    drain(&fixture->holder.block);
}

static void no_close(struct block *block)
{
}

static const struct block_ops holder_ops = {.submit = hold, .drain = drain, .close = no_close};

static void stop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs what has been posted to the loop. */
static void settle(struct fixture *fixture)
{
    assert_int_equal(loop_post(fixture->loop, stop, fixture->loop), 0);
    assert_int_equal(loop_run(fixture->loop), 0);
}

static void put(struct fixture *fixture, uint64_t gpa, uint64_t value, unsigned size)
{
    assert_int_equal(memory_write(fixture->memory, gpa, &value, size), 0);
}

static uint64_t get(struct fixture *fixture, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;
    assert_int_equal(memory_read(fixture->memory, gpa, &value, size), 0);
    return value;
}

static void set(struct fixture *fixture, unsigned offset, uint64_t value, unsigned size)
{
    bus_write(&fixture->bus, BUS_MMIO, fixture->registers + offset, value, size);
}

static uint64_t look(struct fixture *fixture, unsigned offset, unsigned size)
{
    return bus_read(&fixture->bus, BUS_MMIO, fixture->registers + offset, size);
}

static void set_command(struct fixture *fixture, uint16_t command)
{
    bus_write(&fixture->bus, BUS_PORT, 0xcf8, BIT(31) | COMMAND_REGISTER, 4);
    bus_write(&fixture->bus, BUS_PORT, 0xcfc, command, 2);
}

static void start_driver(struct fixture *fixture)
{
    set(fixture, COMMON(20), 3, 1);
    set(fixture, COMMON(8), 1, 4);
    set(fixture, COMMON(12), 1, 4); /* VERSION_1 */
    set(fixture, COMMON(20), 11, 1);
    set(fixture, COMMON(22), 0, 2);
    set(fixture, COMMON(24), SIZE, 2);
    set(fixture, COMMON(32), DESCRIPTORS, 4);
    set(fixture, COMMON(40), AVAILABLE, 4);
    set(fixture, COMMON(48), USED, 4);
    set(fixture, COMMON(28), 1, 2);
    set(fixture, COMMON(20), 15, 1);
    fixture->available = 0;
}

static int setup(void **state)
{
    struct error error;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->holder.block = (struct block){.ops = &holder_ops, .size = SECTORS * 512};
    fixture->holder.block.sector_size = 512;
    fixture->loop = loop_create(&error);
    fixture->memory = memory_create(MIB(1), &error);
    if (!fixture->loop || !fixture->memory ||
        bus_init(&fixture->bus, fixture->memory, fixture->loop, NULL, &error) < 0)
        return -1;
    struct pci_bus *pci = pci_bus_create(&fixture->bus, &error);
    if (!pci || virtio_blk_create(pci, &fixture->holder.block, 0, &error) < 0)
        return -1;
    pci_assign_resources(pci);
    bus_write(&fixture->bus, BUS_PORT, 0xcf8, BIT(31) | REGISTERS_BAR, 4);
    fixture->registers = bus_read(&fixture->bus, BUS_PORT, 0xcfc, 4) & ~UINT64_C(15);
    set_command(fixture, COMMAND_MEMORY | COMMAND_MASTER);
    start_driver(fixture);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    bus_destroy(&fixture->bus);
    memory_destroy(fixture->memory);
    loop_destroy(fixture->loop);
    free(fixture);
    return 0;
}

static void descriptor(struct fixture *fixture, unsigned index, uint64_t address, uint32_t length,
                       uint16_t flags)
{
    put(fixture, DESCRIPTORS + index * 16, address, 8);
    put(fixture, DESCRIPTORS + index * 16 + 8, length, 4);
    put(fixture, DESCRIPTORS + index * 16 + 12, flags, 2);
    put(fixture, DESCRIPTORS + index * 16 + 14, index + 1, 2);
}

/* Offers a read of one sector (the same chain each time) and notifies. */
static void read_sector(struct fixture *fixture, uint64_t sector)
{
    put(fixture, HEADER, 0, 8);
    put(fixture, HEADER + 8, sector, 8);
    put(fixture, STATUS, 0xff, 1);
    descriptor(fixture, 0, HEADER, 16, 1);
    descriptor(fixture, 1, DATA, 512, 3);
    descriptor(fixture, 2, STATUS, 1, 2);
    put(fixture, AVAILABLE + 4 + fixture->available % SIZE * 2, 0, 2);
    put(fixture, AVAILABLE + 2, ++fixture->available, 2);
    set(fixture, NOTIFY, 0, 2);
    settle(fixture);
}

static void test_read_completes(void **state)
{
    struct fixture *fixture = *state;
    read_sector(fixture, 2);
    assert_int_equal(fixture->holder.count, 1);
    assert_int_equal(fixture->holder.held->offset, 1024);
    assert_int_equal(fixture->holder.held->length, 512);
    assert_int_equal(get(fixture, USED + 2, 2), 0);
    finish_all(fixture);
    assert_int_equal(get(fixture, USED + 2, 2), 1);
    assert_int_equal(get(fixture, USED + 8, 4), 513);
    assert_int_equal(get(fixture, STATUS, 1), 0);
}

static void test_read_beyond_the_end(void **state)
{
    struct fixture *fixture = *state;
    read_sector(fixture, SECTORS);
    read_sector(fixture, UINT64_MAX);
    assert_int_equal(fixture->holder.count, 0);
    assert_int_equal(get(fixture, USED + 2, 2), 2);
    assert_int_equal(get(fixture, STATUS, 1), 1);
}

/* The device held as many requests as a driver cared to offer. */
static void test_requests_in_flight_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < VIRTQUEUE_SIZE_MAX + SIZE; i++)
        read_sector(fixture, 0);
    assert_int_equal(fixture->holder.count, VIRTQUEUE_SIZE_MAX);
    finish_all(fixture);
    assert_int_equal(fixture->holder.count, SIZE); /* and none is forgotten */
    finish_all(fixture);
    assert_int_equal(get(fixture, USED + 2, 2), VIRTQUEUE_SIZE_MAX + SIZE);
}

/* A read in flight at a reset once landed in memory that was no longer the driver's. */
static void test_reset_waits_for_requests_in_flight(void **state)
{
    struct fixture *fixture = *state;
    read_sector(fixture, 0);
    set(fixture, COMMON(20), 0, 1);
    assert_int_not_equal(look(fixture, COMMON(20), 1), 0);
    set(fixture, COMMON(20), 15, 1); /* too early: ignored */
    set(fixture, NOTIFY, 0, 2);
    settle(fixture);
    assert_int_equal(fixture->holder.count, 1);
    finish_all(fixture);
    assert_int_equal(look(fixture, COMMON(20), 1), 0);
    assert_int_equal(get(fixture, USED + 2, 2), 0);
    assert_int_equal(get(fixture, STATUS, 1), 0xff);
    start_driver(fixture);
    put(fixture, AVAILABLE + 2, 0, 2);
    read_sector(fixture, 0);
    finish_all(fixture);
    assert_int_equal(get(fixture, USED + 2, 2), 1);
}

static void test_machine_reset_drains(void **state)
{
    struct fixture *fixture = *state;
    read_sector(fixture, 0);
    bus_reset_devices(&fixture->bus);
    assert_int_equal(fixture->holder.count, 0);
    assert_int_equal(get(fixture, USED + 2, 2), 0);
    assert_int_equal(get(fixture, STATUS, 1), 0xff);
}

static void test_no_dma_without_bus_mastering(void **state)
{
    struct fixture *fixture = *state;
    set_command(fixture, COMMAND_MEMORY);
    read_sector(fixture, 0);
    assert_int_equal(fixture->holder.count, 0);
    set_command(fixture, COMMAND_MEMORY | COMMAND_MASTER);
    settle(fixture);
    assert_int_equal(fixture->holder.count, 1); /* what waited is taken up */
    set_command(fixture, COMMAND_MEMORY);
    finish_all(fixture);
    assert_int_equal(get(fixture, USED + 2, 2), 0);
    assert_int_equal(get(fixture, STATUS, 1), 0xff);
}

#define BLK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(test_read_completes),
        BLK_TEST(test_read_beyond_the_end),
        BLK_TEST(test_requests_in_flight_are_bounded),
        BLK_TEST(test_reset_waits_for_requests_in_flight),
        BLK_TEST(test_machine_reset_drains),
        BLK_TEST(test_no_dma_without_bus_mastering),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
