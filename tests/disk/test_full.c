/* SPDX-License-Identifier: Apache-2.0 */
/* A host without room: what is written waits, and nothing is lost. The host is a wrapped pwritev2.
 */
#include "base/bits.h"
#include "disk/block.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define SIZE 65536

static bool no_room; /* what the wrapped call does; one test at a time */

ssize_t __real_pwritev64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);
ssize_t __wrap_pwritev64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags);

ssize_t __wrap_pwritev64v2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    if (!__atomic_load_n(&no_room, __ATOMIC_SEQ_CST))
        return __real_pwritev64v2(fd, pieces, count, offset, flags);
    errno = ENOSPC;
    return -1;
}

static void set_room(bool room)
{
    __atomic_store_n(&no_room, !room, __ATOMIC_SEQ_CST);
}

struct fixture {
    struct loop *loop;
    struct block *block;
    char path[64];
    uint8_t bytes[4096];
    struct iovec vector;
    struct block_request request;
    bool is_done, is_full;
    unsigned told;
    int result;
};

static void full_changed(void *opaque, bool full)
{
    struct fixture *fixture = opaque;
    fixture->is_full = full;
    fixture->told++;
    loop_stop(fixture->loop);
}

static void done(struct block_request *request, int result)
{
    struct fixture *fixture = request->opaque;
    fixture->is_done = true;
    fixture->result = result;
}

static int setup(void **state)
{
    struct error error = {0};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    snprintf(fixture->path, sizeof(fixture->path), "/tmp/nacre-test-full-XXXXXX");
    int fd = mkstemp(fixture->path);
    assert_true(fd >= 0 && ftruncate(fd, SIZE) == 0);
    close(fd);
    set_room(true);
    fixture->loop = loop_create(&error);
    const struct block_options options = {
        .path = fixture->path, .aio = BLOCK_AIO_THREADS, .watcher = {full_changed, fixture}};
    fixture->block = block_open(&options, fixture->loop, &error);
    assert_non_null(fixture->block);
    memset(fixture->bytes, 0xa5, sizeof(fixture->bytes));
    fixture->vector = (struct iovec){fixture->bytes, sizeof(fixture->bytes)};
    fixture->request = (struct block_request){.operation = BLOCK_WRITE,
                                              .offset = 8192,
                                              .length = sizeof(fixture->bytes),
                                              .vector = &fixture->vector,
                                              .vector_count = 1,
                                              .done = done,
                                              .opaque = fixture};
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    block_close(fixture->block);
    loop_destroy(fixture->loop);
    unlink(fixture->path);
    free(fixture);
    return 0;
}

static void fill_up(struct fixture *fixture)
{
    set_room(false);
    block_submit(fixture->block, &fixture->request);
    assert_int_equal(loop_run(fixture->loop), 0);
    assert_true(fixture->is_full);
    assert_false(fixture->is_done);
}

static void writes_wait_for_room(void **state)
{
    struct fixture *fixture = *state;
    uint8_t byte = 0;
    fill_up(fixture);
    set_room(true);
    assert_int_equal(loop_run(fixture->loop), 0); /* a second later */
    assert_false(fixture->is_full);
    assert_true(fixture->is_done);
    assert_int_equal(fixture->result, 0);
    assert_int_equal(fixture->told, 2);
    FILE *file = fopen(fixture->path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 8192 + 4095, SEEK_SET), 0);
    assert_int_equal(fread(&byte, 1, 1, file), 1);
    fclose(file);
    assert_int_equal(byte, 0xa5);
}

static void who_drains_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    fill_up(fixture);
    block_drain(fixture->block);
    assert_true(fixture->is_done);
    assert_int_equal(fixture->result, -ENOSPC);
    assert_false(fixture->is_full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_wait_for_room, setup, teardown),
        cmocka_unit_test_setup_teardown(who_drains_does_not_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
