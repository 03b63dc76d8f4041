/* SPDX-License-Identifier: Apache-2.0 */
/* A disk that goes on in an overlay: what it was stays, what it is can be read. */
#include "disk/block.h"
#include "disk/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE  (UINT64_C(1) << 20)
#define BLOCK 4096

struct fixture {
    struct block_options options; /* of the disk below */
    char below[64], above[64];
    struct loop *loop;
    struct block *block;
    int prepared;
};

static struct fixture *start(const char *format, enum block_aio aio)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    struct error error = {0};
    snprintf(fixture->below, sizeof(fixture->below), "nacre-test-below-%d", (int)getpid());
    snprintf(fixture->above, sizeof(fixture->above), "nacre-test-above-%d", (int)getpid());
    fixture->options = (struct block_options){.path = fixture->below, .format = format, .aio = aio};
    assert_int_equal(file_create(fixture->below, strcmp(format, "raw") ? 0 : SIZE, true, &error),
                     0);
    if (strcmp(format, "raw"))
        assert_int_equal(
            qcow2_create(fixture->below, &(struct qcow2_create_options){.size = SIZE}, &error), 0);
    fixture->loop = loop_create(&error);
    fixture->block = block_open(&fixture->options, fixture->loop, &error);
    assert_non_null(fixture->block);
    return fixture;
}

static void end(struct fixture *fixture)
{
    if (fixture->block)
        block_close(fixture->block);
    loop_destroy(fixture->loop);
    unlink(fixture->below);
    unlink(fixture->above);
    free(fixture);
}

static void done(struct block_request *request, int result)
{
    assert_int_equal(result, 0);
}

static void transfer(struct block *block, enum block_operation operation, uint64_t offset,
                     uint8_t bytes[BLOCK])
{
    const struct iovec vector = {bytes, BLOCK};
    struct block_request request = {.operation = operation,
                                    .offset = offset,
                                    .length = BLOCK,
                                    .vector = &vector,
                                    .vector_count = 1,
                                    .done = done};
    block_submit(block, &request);
    block_kick(block);
    block_drain(block);
}

static void put(struct block *block, uint64_t offset, uint8_t value)
{
    uint8_t bytes[BLOCK];
    memset(bytes, value, sizeof(bytes));
    transfer(block, BLOCK_WRITE, offset, bytes);
}

static void expect(struct block *block, uint64_t offset, uint8_t value)
{
    uint8_t bytes[BLOCK], expected[BLOCK];
    memset(expected, value, sizeof(expected));
    transfer(block, BLOCK_READ, offset, bytes);
    assert_memory_equal(bytes, expected, BLOCK);
}

/* What a supervisor does: makes the overlay, opens and locks both. */
static struct block_overlay make_overlay(struct fixture *fixture, uint64_t size)
{
    struct error error = {0};
    struct stat status;
    char below[PATH_MAX];
    assert_non_null(realpath(fixture->below, below));
    const struct qcow2_create_options options = {
        .size = size, .backing = below, .backing_format = fixture->options.format};
    assert_int_equal(file_create(fixture->above, 0, true, &error), 0);
    assert_int_equal(qcow2_create(fixture->above, &options, &error), 0);
    struct block_overlay overlay = {.path = fixture->above,
                                    .fd = open(fixture->above, O_RDWR | O_CLOEXEC),
                                    .below_fd = open(fixture->below, O_RDONLY | O_CLOEXEC)};
    assert_int_equal(flock(overlay.fd, LOCK_EX | LOCK_NB), 0);
    assert_int_equal(fstat(overlay.fd, &status), 0);
    overlay.size = (uint64_t)status.st_size;
    return overlay;
}

static void prepared(void *opaque, int result)
{
    ((struct fixture *)opaque)->prepared = result;
}

static int prepare(struct fixture *fixture, uint64_t size)
{
    struct block_overlay overlay = make_overlay(fixture, size);
    fixture->prepared = 1;
    fixture->block->ops->prepare_overlay(fixture->block, &overlay, prepared, fixture);
    block_drain(fixture->block);
    return fixture->prepared;
}

static struct block *open_path(struct fixture *fixture, const char *path, const char *format,
                               bool read_only, struct error *error)
{
    const struct block_options options = {
        .path = path, .format = format, .read_only = read_only, .aio = BLOCK_AIO_THREADS};
    return block_open(&options, fixture->loop, error);
}

static void check(const char *format, enum block_aio aio)
{
    struct fixture *fixture = start(format, aio);
    struct error error = {0};
    put(fixture->block, 0, 1);
    put(fixture->block, BLOCK, 2);
    assert_int_equal(prepare(fixture, SIZE), 0);
    put(fixture->block, 3 * BLOCK, 3); /* still below */
    assert_int_equal(fixture->block->ops->switch_overlay(fixture->block), 0);
    assert_string_equal(fixture->block->format, "qcow2");
    put(fixture->block, BLOCK, 4);
    put(fixture->block, 5 * BLOCK, 5);
    const uint8_t now[] = {1, 4, 0, 3, 0, 5}, then[] = {1, 2, 0, 3, 0, 0};
    for (unsigned i = 0; i < sizeof(now); i++)
        expect(fixture->block, (uint64_t)i * BLOCK, now[i]);
    /* Others may read what is below, while nobody may open what is written. */
    struct block *below = open_path(fixture, fixture->below, format, true, &error);
    assert_non_null(below);
    for (unsigned i = 0; i < sizeof(then); i++)
        expect(below, (uint64_t)i * BLOCK, then[i]);
    assert_null(open_path(fixture, fixture->above, "qcow2", false, &error));
    block_close(below);
    block_close(fixture->block);
    fixture->block = open_path(fixture, fixture->above, "qcow2", false, &error);
    assert_non_null(fixture->block);
    for (unsigned i = 0; i < sizeof(now); i++)
        expect(fixture->block, (uint64_t)i * BLOCK, now[i]);
    end(fixture);
}

static void test_on_raw(void **state)
{
    check("raw", BLOCK_AIO_THREADS);
    check("raw", BLOCK_AIO_AUTO);
}

static void test_on_qcow2(void **state)
{
    check("qcow2", BLOCK_AIO_THREADS);
    check("qcow2", BLOCK_AIO_AUTO);
}

static void test_not_of_its_size(void **state)
{
    struct fixture *fixture = start("raw", BLOCK_AIO_THREADS);
    put(fixture->block, 0, 1);
    assert_int_equal(prepare(fixture, SIZE / 2), -EINVAL);
    assert_int_equal(fixture->block->ops->switch_overlay(fixture->block), -ENOENT);
    put(fixture->block, BLOCK, 2); /* goes on as it was */
    expect(fixture->block, 0, 1);
    assert_int_equal(prepare(fixture, SIZE), 0);
    end(fixture);
}

static void test_forgotten(void **state)
{
    struct fixture *fixture = start("raw", BLOCK_AIO_THREADS);
    const struct block_overlay second = {.path = "second",
                                         .fd = open("/dev/null", O_RDWR | O_CLOEXEC),
                                         .below_fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
    assert_int_equal(prepare(fixture, SIZE), 0);
    fixture->block->ops->prepare_overlay(fixture->block, &second, prepared, fixture);
    assert_int_equal(fixture->prepared, -EBUSY);
    fixture->block->ops->forget_overlay(fixture->block);
    put(fixture->block, 0, 7);
    expect(fixture->block, 0, 7);
    assert_int_equal(prepare(fixture, SIZE), 0); /* and one that is still there at the end */
    end(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_raw),
        cmocka_unit_test(test_on_qcow2),
        cmocka_unit_test(test_not_of_its_size),
        cmocka_unit_test(test_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
