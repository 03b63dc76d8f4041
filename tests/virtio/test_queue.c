/* SPDX-License-Identifier: Apache-2.0 */
/* Split virtqueues with a driver of our own on the other side, well-behaved and hostile. */
#include "virtio/queue.h"

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
#define BUFFER      0x10000
#define NEXT        1
#define WRITE       2
#define INDIRECT    4

struct fixture {
    struct memory *memory;
    struct virtqueue queue;
    struct virtqueue_chain chain;
    uint16_t available;
};

static int setup(void **state)
{
    struct error error;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->memory = memory_create(MIB(1), &error);
    virtqueue_reset(&fixture->queue);
    fixture->queue.size = SIZE;
    fixture->queue.enabled = true;
    fixture->queue.descriptors = DESCRIPTORS;
    fixture->queue.available = AVAILABLE;
    fixture->queue.used = USED;
    *state = fixture;
    return fixture->memory ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    memory_destroy(fixture->memory);
    free(fixture);
    return 0;
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

static void descriptor(struct fixture *fixture, uint64_t table, unsigned index, uint64_t address,
                       uint32_t length, uint16_t flags, uint16_t next)
{
    put(fixture, table + index * 16, address, 8);
    put(fixture, table + index * 16 + 8, length, 4);
    put(fixture, table + index * 16 + 12, flags, 2);
    put(fixture, table + index * 16 + 14, next, 2);
}

static void offer(struct fixture *fixture, uint16_t head)
{
    put(fixture, AVAILABLE + 4 + fixture->available % SIZE * 2, head, 2);
    put(fixture, AVAILABLE + 2, ++fixture->available, 2);
}

static int give_one(struct fixture *fixture, uint16_t head, uint32_t written)
{
    const struct virtqueue_used used = {head, written};
    return virtqueue_give(&fixture->queue, fixture->memory, &used, 1);
}

static int take(struct fixture *fixture)
{
    return virtqueue_take(&fixture->queue, fixture->memory, &fixture->chain);
}

static void test_empty(void **state)
{
    assert_int_equal(take(*state), 0);
}

static void test_chain_is_taken_and_given(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, DESCRIPTORS, 3, BUFFER, 16, NEXT, 5);
    descriptor(fixture, DESCRIPTORS, 5, BUFFER + 0x100, 512, NEXT | WRITE, 1);
    descriptor(fixture, DESCRIPTORS, 1, BUFFER + 0x800, 1, WRITE, 0);
    offer(fixture, 3);
    assert_int_equal(take(fixture), 1);
    assert_int_equal(fixture->chain.head, 3);
    assert_int_equal(fixture->chain.readable_size, 16);
    assert_int_equal(fixture->chain.writable_size, 513);
    assert_int_equal(fixture->chain.writable_count, 2);
    assert_int_equal(give_one(fixture, 3, 513), 0);
    assert_int_equal(get(fixture, USED + 2, 2), 1);
    assert_int_equal(get(fixture, USED + 4, 4), 3);
    assert_int_equal(get(fixture, USED + 8, 4), 513);
    assert_int_equal(take(fixture), 0);
}

static void test_indices_wrap(void **state)
{
    struct fixture *fixture = *state;
    fixture->available = fixture->queue.next_available = fixture->queue.next_used = 0xfffe;
    descriptor(fixture, DESCRIPTORS, 0, BUFFER, 4, 0, 0);
    for (unsigned i = 0; i < 5; i++) {
        offer(fixture, 0);
        assert_int_equal(take(fixture), 1);
        assert_int_equal(give_one(fixture, 0, 0), 0);
    }
    assert_int_equal(get(fixture, USED + 2, 2), 3);
}

static void test_indirect_table(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, 0x5000, 0, BUFFER, 8, NEXT, 1);
    descriptor(fixture, 0x5000, 1, BUFFER + 64, 8, WRITE, 0);
    descriptor(fixture, DESCRIPTORS, 0, 0x5000, 32, INDIRECT, 0);
    offer(fixture, 0);
    assert_int_equal(take(fixture), 1);
    assert_int_equal(fixture->chain.readable_size, 8);
    assert_int_equal(fixture->chain.writable_size, 8);
}

/* Each of these must be refused, and none may touch memory that is not the guest's. */
static void expect_broken(struct fixture *fixture, uint16_t head)
{
    offer(fixture, head);
    assert_int_equal(take(fixture), -EINVAL);
}

static void test_loop_of_descriptors(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, DESCRIPTORS, 0, BUFFER, 4, NEXT, 1);
    descriptor(fixture, DESCRIPTORS, 1, BUFFER, 4, NEXT, 0);
    expect_broken(fixture, 0);
}

static void test_buffer_outside_memory(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, DESCRIPTORS, 0, MIB(1) - 8, 16, 0, 0);
    expect_broken(fixture, 0);
}

static void test_buffer_that_wraps_the_address_space(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, DESCRIPTORS, 0, ~UINT64_C(0) - 8, 64, 0, 0);
    expect_broken(fixture, 0);
}

static void test_head_beyond_the_table(void **state)
{
    expect_broken(*state, SIZE);
}

static void test_more_available_than_the_ring_holds(void **state)
{
    struct fixture *fixture = *state;
    put(fixture, AVAILABLE + 2, SIZE + 1, 2);
    assert_int_equal(take(fixture), -EINVAL);
}

static void test_rings_outside_memory(void **state)
{
    struct fixture *fixture = *state;
    fixture->queue.available = GIB(2);
    assert_int_equal(take(fixture), -EINVAL);
    fixture->queue.used = MIB(1) - 2;
    assert_int_equal(give_one(fixture, 0, 0), -EINVAL);
}

static void test_nested_indirect_table(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, 0x5000, 0, 0x5000, 16, INDIRECT, 0);
    descriptor(fixture, DESCRIPTORS, 0, 0x5000, 16, INDIRECT, 0);
    expect_broken(fixture, 0);
}

static void test_writable_before_readable(void **state)
{
    struct fixture *fixture = *state;
    descriptor(fixture, DESCRIPTORS, 0, BUFFER, 4, NEXT | WRITE, 1);
    descriptor(fixture, DESCRIPTORS, 1, BUFFER, 4, 0, 0);
    expect_broken(fixture, 0);
}

static void test_event_index_decides_about_interrupts(void **state)
{
    struct fixture *fixture = *state;
    fixture->queue.event_index = true;
    fixture->queue.signalled_valid = true;
    put(fixture, AVAILABLE + 4 + SIZE * 2, 1, 2); /* used_event: after the second */
    give_one(fixture, 0, 0);
    assert_false(virtqueue_wants_interrupt(&fixture->queue, fixture->memory));
    give_one(fixture, 0, 0);
    assert_true(virtqueue_wants_interrupt(&fixture->queue, fixture->memory));
}

#define QUEUE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(test_empty),
        QUEUE_TEST(test_chain_is_taken_and_given),
        QUEUE_TEST(test_indices_wrap),
        QUEUE_TEST(test_indirect_table),
        QUEUE_TEST(test_loop_of_descriptors),
        QUEUE_TEST(test_buffer_outside_memory),
        QUEUE_TEST(test_buffer_that_wraps_the_address_space),
        QUEUE_TEST(test_head_beyond_the_table),
        QUEUE_TEST(test_more_available_than_the_ring_holds),
        QUEUE_TEST(test_rings_outside_memory),
        QUEUE_TEST(test_nested_indirect_table),
        QUEUE_TEST(test_writable_before_readable),
        QUEUE_TEST(test_event_index_decides_about_interrupts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
