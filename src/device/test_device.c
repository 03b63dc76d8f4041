/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What test suites of kernels expect of a PC's virtual machine monitor (kvm-unit-tests,
 * docs/testdev.txt; QEMU's isa-debug-exit and pc-testdev): an exit with a number, ports and memory
 * that keep what is written at any width, and all interrupt lines.
 */
#include "device/test_device.h"

#include <errno.h>
#include <stdlib.h>

#define EXIT_PORT   0xf4
#define WORD_PORT   0xe0
#define FLUSH_PORT  0xe4 /* takes a page away and gives it back: there is nothing to see of it */
#define LINE_PORT   0x2000
#define MEMORY_GPA  UINT64_C(0xff000000)
#define MEMORY_SIZE KIB(64)

struct test_device {
    struct device device;
    struct bus *bus;
    struct test_device_config config;
    pthread_mutex_t lock;
    uint8_t word[4];
    uint8_t memory[MEMORY_SIZE];
    struct bus_region regions[5];
};

static void exit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct test_device *test = opaque;
    test->config.ended(test->config.opaque, (uint32_t)value);
}

static uint64_t nothing_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void nothing_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static uint64_t bytes_read(struct test_device *test, const uint8_t *bytes, unsigned size)
{
    pthread_mutex_lock(&test->lock);
    uint64_t value = load_le(bytes, size);
    pthread_mutex_unlock(&test->lock);
    return value;
}

static void bytes_write(struct test_device *test, uint8_t *bytes, uint64_t value, unsigned size)
{
    pthread_mutex_lock(&test->lock);
    store_le(bytes, value, size);
    pthread_mutex_unlock(&test->lock);
}

static uint64_t word_read(void *opaque, uint64_t offset, unsigned size)
{
    struct test_device *test = opaque;
    return bytes_read(test, test->word + offset, size);
}

static void word_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct test_device *test = opaque;
    bytes_write(test, test->word + offset, value, size);
}

static uint64_t memory_region_read(void *opaque, uint64_t offset, unsigned size)
{
    struct test_device *test = opaque;
    return bytes_read(test, test->memory + offset, size);
}

static void memory_region_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct test_device *test = opaque;
    bytes_write(test, test->memory + offset, value, size);
}

static void line_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct test_device *test = opaque;
    struct irq_line line = bus_gsi(test->bus, (unsigned)offset);
    irq_set(&line, value != 0);
}

static const struct bus_ops exit_ops = {nothing_read, exit_write};
static const struct bus_ops word_ops = {word_read, word_write};
static const struct bus_ops flush_ops = {nothing_read, nothing_write};
static const struct bus_ops line_ops = {nothing_read, line_write};
static const struct bus_ops memory_ops = {memory_region_read, memory_region_write};

static void test_device_reset(struct device *device)
{
    struct test_device *test = (struct test_device *)device;
    pthread_mutex_lock(&test->lock);
    memset(test->word, 0, sizeof(test->word));
    memset(test->memory, 0, sizeof(test->memory));
    pthread_mutex_unlock(&test->lock);
}

static void test_device_destroy(struct device *device)
{
    struct test_device *test = (struct test_device *)device;
    pthread_mutex_destroy(&test->lock);
    free(test);
}

static const struct device_ops test_device_ops = {
    .reset = test_device_reset,
    .destroy = test_device_destroy,
};
static const struct state_field test_device_fields[] = {
    STATE_BLOB(struct test_device, word),
    STATE_BLOB(struct test_device, memory),
};
static const struct state_table test_device_state =
    STATE_TABLE("test-device", 1, test_device_fields);

int test_device_create(struct bus *bus, const struct test_device_config *config,
                       struct error *error)
{
    struct test_device *test = calloc(1, sizeof(*test));
    if (!test)
        return error_set(error, ENOMEM, "test device: out of memory");
    test->device = (struct device){
        .name = "test-device", .ops = &test_device_ops, .state = &test_device_state};
    test->bus = bus;
    test->config = *config;
    pthread_mutex_init(&test->lock, NULL);
    bus_add_device(bus, &test->device);
    const struct bus_region regions[] = {
        {"test-exit", BUS_PORT, EXIT_PORT, 4, 4, &exit_ops, test},
        {"test-word", BUS_PORT, WORD_PORT, sizeof(test->word), 4, &word_ops, test},
        {"test-flush", BUS_PORT, FLUSH_PORT, 4, 4, &flush_ops, test},
        {"test-lines", BUS_PORT, LINE_PORT, BUS_GSI_COUNT, 1, &line_ops, test},
        {"test-memory", BUS_MMIO, MEMORY_GPA, MEMORY_SIZE, 8, &memory_ops, test},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
        test->regions[i] = regions[i];
        if (bus_add_region(bus, &test->regions[i], error) < 0)
            return -EBUSY;
    }
    return 0;
}
