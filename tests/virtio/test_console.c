/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console over its PCI registers, with a back end of the test's own behind it. */
#include "virtio/console.h"

#include "console/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE             8u
#define REGISTERS_BAR    0x20
#define COMMAND_REGISTER 4
#define COMMAND_MEMORY   2
#define COMMAND_MASTER   4
#define NOTIFY           0x3000
#define CONFIG           0x2000
#define ISR              0x1000
#define USED_INDEX(q)    (ring(q) + 0x1002)

enum { RECEIVE, TRANSMIT };

struct fixture {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct console *console;
    uint64_t registers;
    uint16_t available[2];
    int host[2], guest[2]; /* pipes: what the guest gets and what it sends */
};

/* What the terminal behind the console measures; 0: it is none. */
struct test_console {
    struct console console;
    uint16_t columns;
};

static bool test_size(const struct console *console, uint16_t *columns, uint16_t *rows)
{
    *columns = ((const struct test_console *)console)->columns;
    *rows = 25;
    return true;
}

static int no_connect(struct console *console, struct error *error)
{
    return 0;
}

static const struct console_ops test_ops = {.name = "test",
                                            .size = sizeof(struct test_console),
                                            .output_max = KIB(64),
                                            .connect = no_connect,
                                            .terminal_size = test_size};

static void stop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs what is ready and what has been posted to the loop. */
static void settle(struct fixture *fixture)
{
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(loop_post(fixture->loop, stop, fixture->loop), 0);
        assert_int_equal(loop_run(fixture->loop), 0);
    }
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

static uint64_t ask(struct fixture *fixture, unsigned offset, unsigned size)
{
    return bus_read(&fixture->bus, BUS_MMIO, fixture->registers + offset, size);
}

/* Descriptors, available and used ring of a queue, a page each; then its buffers. */
static uint64_t ring(unsigned queue)
{
    return 0x10000 + queue * UINT64_C(0x10000);
}

static uint64_t buffer(unsigned queue, unsigned index)
{
    return ring(queue) + 0x4000 + index * UINT64_C(0x1000);
}

static void start_queue(struct fixture *fixture, unsigned queue)
{
    set(fixture, 22, queue, 2);
    set(fixture, 24, SIZE, 2);
    set(fixture, 32, ring(queue), 4);
    set(fixture, 40, ring(queue) + 0x800, 4);
    set(fixture, 48, ring(queue) + 0x1000, 4);
    set(fixture, 28, 1, 2);
}

static void start_driver(struct fixture *fixture)
{
    set(fixture, 20, 3, 1);
    set(fixture, 8, 0, 4);
    set(fixture, 12, 1, 4); /* F_SIZE */
    set(fixture, 8, 1, 4);
    set(fixture, 12, 1, 4); /* VERSION_1 */
    set(fixture, 20, 11, 1);
    assert_int_equal(ask(fixture, 20, 1), 11);
    start_queue(fixture, RECEIVE);
    start_queue(fixture, TRANSMIT);
    set(fixture, 20, 15, 1);
}

/* Offers one buffer. */
static void offer(struct fixture *fixture, unsigned queue, uint32_t length)
{
    unsigned slot = fixture->available[queue]++ % SIZE;
    put(fixture, ring(queue) + slot * 16, buffer(queue, slot), 8);
    put(fixture, ring(queue) + slot * 16 + 8, length, 4);
    put(fixture, ring(queue) + slot * 16 + 12, queue == RECEIVE ? 2 : 0, 2);
    put(fixture, ring(queue) + 0x800 + 4 + slot * 2, slot, 2);
    put(fixture, ring(queue) + 0x800 + 2, fixture->available[queue], 2);
    set(fixture, NOTIFY + 4 * queue, queue, 2);
    settle(fixture);
}

static int setup(void **state)
{
    struct error error;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    const struct console_config config = {.ops = &test_ops, .option = "console"};
    fixture->loop = loop_create(&error);
    fixture->memory = memory_create(MIB(1), &error);
    if (!fixture->loop || !fixture->memory || pipe(fixture->host) < 0 || pipe(fixture->guest) < 0 ||
        bus_init(&fixture->bus, fixture->memory, fixture->loop, NULL, &error) < 0)
        return -1;
    fixture->console = console_create(&config, fixture->loop, NULL, NULL, &error);
    ((struct test_console *)fixture->console)->columns = 80;
    struct pci_bus *pci = pci_bus_create(&fixture->bus, &error);
    if (!pci || virtio_console_create(pci, fixture->console, &error) < 0)
        return -1;
    console_attach(fixture->console, fixture->host[0], fixture->guest[1]);
    pci_assign_resources(pci);
    bus_write(&fixture->bus, BUS_PORT, 0xcf8, BIT(31) | REGISTERS_BAR, 4);
    fixture->registers = bus_read(&fixture->bus, BUS_PORT, 0xcfc, 4) & ~UINT64_C(15);
    bus_write(&fixture->bus, BUS_PORT, 0xcf8, BIT(31) | COMMAND_REGISTER, 4);
    bus_write(&fixture->bus, BUS_PORT, 0xcfc, COMMAND_MEMORY | COMMAND_MASTER, 2);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    bus_destroy(&fixture->bus);
    console_destroy(fixture->console);
    memory_destroy(fixture->memory);
    loop_destroy(fixture->loop);
    for (unsigned i = 0; i < 2; i++) {
        close(fixture->host[i]);
        close(fixture->guest[i]);
    }
    free(fixture);
    return 0;
}

static void test_output_of_the_guest(void **state)
{
    struct fixture *fixture = *state;
    char text[8] = "";
    start_driver(fixture);
    memory_write(fixture->memory, buffer(TRANSMIT, 0), "hello", 5);
    offer(fixture, TRANSMIT, 5);
    assert_int_equal(read(fixture->guest[0], text, sizeof(text)), 5);
    assert_string_equal(text, "hello");
    assert_int_equal(get(fixture, USED_INDEX(TRANSMIT), 2), 1);
}

/* Input waits until the guest offers buffers, and no byte of it is lost. */
static void test_input_fills_what_is_offered(void **state)
{
    struct fixture *fixture = *state;
    start_driver(fixture);
    assert_int_equal(write(fixture->host[1], "abcdef", 6), 6);
    settle(fixture);
    assert_int_equal(get(fixture, USED_INDEX(RECEIVE), 2), 0);
    offer(fixture, RECEIVE, 4);
    assert_int_equal(get(fixture, USED_INDEX(RECEIVE), 2), 1);
    assert_int_equal(get(fixture, ring(RECEIVE) + 0x1008, 4), 4);
    assert_int_equal(get(fixture, buffer(RECEIVE, 0), 4), 0x64636261);
    offer(fixture, RECEIVE, 4);
    assert_int_equal(get(fixture, ring(RECEIVE) + 0x1010, 4), 2);
    assert_int_equal(get(fixture, buffer(RECEIVE, 1), 2), 0x6665);
}

static void test_input_before_the_driver(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(write(fixture->host[1], "x", 1), 1);
    settle(fixture);
    start_driver(fixture);
    offer(fixture, RECEIVE, 1);
    assert_int_equal(get(fixture, buffer(RECEIVE, 0), 1), 'x');
}

static void test_size_and_its_change(void **state)
{
    struct fixture *fixture = *state;
    set(fixture, 0, 0, 4);
    assert_true(ask(fixture, 4, 4) & 1);
    assert_int_equal(ask(fixture, CONFIG, 2), 80);
    assert_int_equal(ask(fixture, CONFIG + 2, 2), 25);
    start_driver(fixture);
    uint64_t generation = ask(fixture, 21, 1);
    ((struct test_console *)fixture->console)->columns = 132;
    console_size_changed(fixture->console);
    assert_int_equal(ask(fixture, CONFIG, 2), 132);
    assert_int_not_equal(ask(fixture, 21, 1), generation);
    assert_int_equal(ask(fixture, ISR, 1), 2); /* configuration change */
    assert_int_equal(ask(fixture, ISR, 1), 0);
}

/* A transmit buffer that lies outside of memory breaks the device, and nothing else. */
static void test_wild_buffer(void **state)
{
    struct fixture *fixture = *state;
    start_driver(fixture);
    put(fixture, ring(TRANSMIT), UINT64_C(0xfffffffffffff000), 8);
    put(fixture, ring(TRANSMIT) + 8, 0xffffffff, 4);
    put(fixture, ring(TRANSMIT) + 0x800 + 2, 1, 2);
    set(fixture, NOTIFY + 4 * TRANSMIT, TRANSMIT, 2);
    settle(fixture);
    assert_true(ask(fixture, 20, 1) & 64); /* DEVICE_NEEDS_RESET */
}

#define CONSOLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSOLE_TEST(test_output_of_the_guest),
        CONSOLE_TEST(test_input_fills_what_is_offered),
        CONSOLE_TEST(test_input_before_the_driver),
        CONSOLE_TEST(test_size_and_its_change),
        CONSOLE_TEST(test_wild_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
