/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images against the file itself. */
#include "disk/block.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define SECTORS 64
#define TAIL    100 /* bytes beyond the last whole sector */

/* Each test runs with each of these. */
static const struct block_options variants[] = {
    {.aio = BLOCK_AIO_THREADS},
    {.aio = BLOCK_AIO_URING},
    {.aio = BLOCK_AIO_THREADS, .cache = BLOCK_CACHE_NONE},
    {.aio = BLOCK_AIO_URING, .cache = BLOCK_CACHE_NONE},
    {.aio = BLOCK_AIO_URING, .cache = BLOCK_CACHE_WRITETHROUGH},
    {.aio = BLOCK_AIO_AUTO, .cache = BLOCK_CACHE_UNSAFE},
};

struct fixture {
    struct block_options options;
    char path[64];
    int fd;
    struct loop *loop;
    struct block *block;
    int result;
    struct error error;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->options = *(const struct block_options *)*state;
    uint8_t bytes[SECTORS * 512 + TAIL];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i / 512 + 1);
    strcpy(fixture->path, "nacre-test-raw-XXXXXX");
    fixture->fd = mkstemp(fixture->path);
    fixture->loop = loop_create(&fixture->error);
    *state = fixture;
    return fixture->loop && write(fixture->fd, bytes, sizeof(bytes)) == sizeof(bytes) ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->block)
        block_close(fixture->block);
    loop_destroy(fixture->loop);
    close(fixture->fd);
    unlink(fixture->path);
    free(fixture);
    return 0;
}

static struct block *open_image(struct fixture *fixture, bool read_only)
{
    struct block_options options = fixture->options;
    options.path = fixture->path;
    options.read_only = read_only;
    struct block *block = block_open(&options, fixture->loop, &fixture->error);
    if (!block && fixture->error.code == ENOSYS) {
        options.aio = BLOCK_AIO_THREADS; /* a host without io_uring */
        block = block_open(&options, fixture->loop, &fixture->error);
    }
    return block;
}

static void done(struct block_request *request, int result)
{
    struct fixture *fixture = request->opaque;
    fixture->result = result;
    loop_stop(fixture->loop);
}

static int run(struct fixture *fixture, enum block_operation operation, uint64_t offset,
               uint64_t length, struct iovec *vector, unsigned count)
{
    struct block_request request = {.operation = operation,
                                    .offset = offset,
                                    .length = length,
                                    .vector = vector,
                                    .vector_count = count,
                                    .done = done,
                                    .opaque = fixture};
    block_submit(fixture->block, &request);
    block_kick(fixture->block);
    assert_int_equal(loop_run(fixture->loop), 0);
    return fixture->result;
}

static void test_tail_is_left_out(void **state)
{
    struct fixture *fixture = *state;
    fixture->block = open_image(fixture, false);
    assert_non_null(fixture->block);
    assert_int_equal(fixture->block->size, SECTORS * 512);
}

static void test_scattered_read(void **state)
{
    struct fixture *fixture = *state;
    uint8_t a[100], b[924];
    struct iovec vector[] = {{a, sizeof(a)}, {b, sizeof(b)}};
    fixture->block = open_image(fixture, true);
    assert_int_equal(run(fixture, BLOCK_READ, 512, 1024, vector, 2), 0);
    assert_int_equal(a[0], 2);
    assert_int_equal(b[411], 2); /* the first sector's last byte */
    assert_int_equal(b[412], 3);
}

static void test_write_reaches_the_file(void **state)
{
    struct fixture *fixture = *state;
    uint8_t out[512], in[512];
    struct iovec vector[] = {{out, 12}, {out + 12, 500}};
    memset(out, 0xa5, sizeof(out));
    fixture->block = open_image(fixture, false);
    assert_int_equal(run(fixture, BLOCK_WRITE, 1024, 512, vector, 2), 0);
    assert_int_equal(run(fixture, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
    assert_int_equal(pread(fixture->fd, in, 512, 1024), 512);
    assert_memory_equal(in, out, 512);
}

static void test_zeroes_are_zeroes(void **state)
{
    struct fixture *fixture = *state;
    uint8_t in[1536];
    fixture->block = open_image(fixture, false);
    assert_int_equal(run(fixture, BLOCK_WRITE_ZEROES, 512, 512, NULL, 0), 0);
    assert_int_equal(pread(fixture->fd, in, sizeof(in), 0), sizeof(in));
    assert_int_equal(in[511], 1);
    assert_int_equal(in[512], 0);
    assert_int_equal(in[1023], 0);
    assert_int_equal(in[1024], 3);
}

/* The file has been cut while it was in use: an error, not a wait for ever. */
static void test_read_beyond_a_cut_file(void **state)
{
    struct fixture *fixture = *state;
    uint8_t in[512];
    struct iovec vector = {in, sizeof(in)};
    fixture->block = open_image(fixture, false);
    assert_int_equal(ftruncate(fixture->fd, 512), 0);
    assert_true(run(fixture, BLOCK_READ, 1024, 512, &vector, 1) < 0);
}

static void test_second_writer_is_refused(void **state)
{
    struct fixture *fixture = *state;
    fixture->block = open_image(fixture, false);
    assert_non_null(fixture->block);
    assert_null(open_image(fixture, false));
    assert_null(open_image(fixture, true));
}

static void test_readers_share(void **state)
{
    struct fixture *fixture = *state;
    fixture->block = open_image(fixture, true);
    struct block *second = open_image(fixture, true);
    assert_non_null(second);
    block_close(second);
    assert_null(open_image(fixture, false));
}

static void test_empty_file_is_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(ftruncate(fixture->fd, TAIL), 0);
    assert_null(open_image(fixture, false));
}

/* Sectors of 512 bytes are promised whatever alignment the host's file system asks for. */
static void test_single_sectors_at_odd_addresses(void **state)
{
    struct fixture *fixture = *state;
    uint8_t memory[4096], in[512];
    struct iovec vector = {memory + 1, 512};
    fixture->block = open_image(fixture, false);
    memset(memory, 0x3c, sizeof(memory));
    assert_int_equal(run(fixture, BLOCK_WRITE, 3 * 512, 512, &vector, 1), 0);
    assert_int_equal(pread(fixture->fd, in, 512, 3 * 512), 512);
    assert_memory_equal(in, memory + 1, 512);
    memset(memory, 0, sizeof(memory));
    assert_int_equal(run(fixture, BLOCK_READ, 3 * 512, 512, &vector, 1), 0);
    assert_memory_equal(in, memory + 1, 512);
}

#define MANY 300

struct many {
    struct block_request request;
    struct iovec vector;
    uint8_t bytes[512];
};

static void count_done(struct block_request *request, int result)
{
    assert_int_equal(result, 0);
    ++*(unsigned *)request->opaque;
}

/* More requests than any queue below holds; draining waits for all and delivers all. */
static void test_many_in_flight_are_drained(void **state)
{
    struct fixture *fixture = *state;
    unsigned count = 0;
    struct many *many = calloc(MANY, sizeof(*many));
    fixture->block = open_image(fixture, false);
    for (unsigned i = 0; i < MANY; i++) {
        many[i].vector = (struct iovec){many[i].bytes, 512};
        many[i].request = (struct block_request){.operation = BLOCK_READ,
                                                 .offset = i % SECTORS * 512,
                                                 .length = 512,
                                                 .vector = &many[i].vector,
                                                 .vector_count = 1,
                                                 .done = count_done,
                                                 .opaque = &count};
        block_submit(fixture->block, &many[i].request);
    }
    block_drain(fixture->block);
    assert_int_equal(count, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(many[i].bytes[17], i % SECTORS + 1);
    free(many);
}

/* A vector of more pieces than one system call takes. */
static void test_many_pieces(void **state)
{
    struct fixture *fixture = *state;
    uint8_t bytes[200 * 16];
    struct iovec vector[200];
    for (unsigned i = 0; i < 200; i++)
        vector[i] = (struct iovec){bytes + 16 * (199 - i), 16};
    fixture->block = open_image(fixture, false);
    assert_int_equal(run(fixture, BLOCK_READ, 0, 3072, vector, 200), 0);
    assert_int_equal(bytes[199 * 16], 1);
    assert_int_equal(bytes[8 * 16], 6); /* piece 191, in the sixth sector */
}

#define RAW_TEST(name)                     \
    {                                      \
#name, name, setup, teardown, NULL \
    }

static int run_variant(const struct block_options *options)
{
    struct CMUnitTest tests[] = {
        RAW_TEST(test_tail_is_left_out),
        RAW_TEST(test_scattered_read),
        RAW_TEST(test_write_reaches_the_file),
        RAW_TEST(test_zeroes_are_zeroes),
        RAW_TEST(test_read_beyond_a_cut_file),
        RAW_TEST(test_second_writer_is_refused),
        RAW_TEST(test_readers_share),
        RAW_TEST(test_empty_file_is_refused),
        RAW_TEST(test_single_sectors_at_odd_addresses),
        RAW_TEST(test_many_in_flight_are_drained),
        RAW_TEST(test_many_pieces),
    };
    for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
        tests[i].initial_state = (void *)options;
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    int failed = 0;
    for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
        failed += run_variant(&variants[i]);
    return failed;
}
