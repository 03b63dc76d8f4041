/* SPDX-License-Identifier: Apache-2.0 */
/* Raw images against the file itself. */
#include "disk/block.h"

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

struct fixture {
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
    uint8_t bytes[SECTORS * 512 + TAIL];
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i / 512 + 1);
    strcpy(fixture->path, "/tmp/nacre-test-raw-XXXXXX");
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
    const struct block_options options = {.path = fixture->path, .read_only = read_only};
    return block_open(&options, fixture->loop, &fixture->error);
}

static void done(struct block_request *request, int result)
{
    struct fixture *fixture = request->opaque;
    fixture->result = result;
    loop_stop(fixture->loop);
}

static int run(struct fixture *fixture, enum block_operation operation, uint64_t offset,
               uint64_t length, struct iovec *vector, int count)
{
    struct block_request request = {.operation = operation,
                                    .offset = offset,
                                    .length = length,
                                    .vector = vector,
                                    .vector_count = count,
                                    .done = done,
                                    .opaque = fixture};
    block_submit(fixture->block, &request);
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

#define RAW_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RAW_TEST(test_tail_is_left_out),       RAW_TEST(test_scattered_read),
        RAW_TEST(test_write_reaches_the_file), RAW_TEST(test_zeroes_are_zeroes),
        RAW_TEST(test_read_beyond_a_cut_file), RAW_TEST(test_second_writer_is_refused),
        RAW_TEST(test_readers_share),          RAW_TEST(test_empty_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
