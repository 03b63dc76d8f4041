/* SPDX-License-Identifier: Apache-2.0 */
/* A disk with a rate: requests wait their turn, and not when the machine stops. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "disk/block.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REQUESTS 12
#define LENGTH   4096

struct fixture {
    struct loop *loop;
    struct block *block;
    char path[32];
    uint8_t bytes[LENGTH];
    struct iovec vector;
    struct block_request requests[REQUESTS];
    unsigned done_count;
};

static void done(struct block_request *request, int result)
{
    struct fixture *fixture = request->opaque;
    assert_int_equal(result, 0);
    if (++fixture->done_count == REQUESTS)
        loop_stop(fixture->loop);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->path, "/tmp/nacre-limit-XXXXXX");
    int fd = mkstemp(fixture->path);
    assert_int_equal(ftruncate(fd, MIB(1)), 0);
    close(fd);
    fixture->loop = loop_create(NULL);
    fixture->vector = (struct iovec){fixture->bytes, LENGTH};
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

static void submit_all(struct fixture *fixture, const char *settings)
{
    struct block_options options = {0};
    static char text[128];
    struct error error = {0};
    strcat(strcat(strcpy(text, fixture->path), ","), settings);
    assert_int_equal(block_options_parse(&options, text, &error), 0);
    fixture->block = block_open(&options, fixture->loop, &error);
    assert_non_null(fixture->block);
    for (unsigned i = 0; i < REQUESTS; i++) {
        fixture->requests[i] = (struct block_request){
            .operation = BLOCK_READ,
            .length = LENGTH,
            .vector = &fixture->vector,
            .vector_count = 1,
            .done = done,
            .opaque = fixture,
        };
        block_submit(fixture->block, &fixture->requests[i]);
    }
    block_kick(fixture->block);
}

static void requests_wait_their_turn(void **state)
{
    static const char *const limits[] = {"format=raw,ops=100,burst-ops=1",
                                         "format=raw,bytes=400K,burst-bytes=4K"};
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(limits); i++) {
        uint64_t start = clock_monotonic_ns();
        fixture->done_count = 0;
        if (fixture->block)
            block_close(fixture->block);
        submit_all(fixture, limits[i]);
        loop_run(fixture->loop);
        assert_int_equal(fixture->done_count, REQUESTS);
        assert_in_range(clock_monotonic_ns() - start, NANOSECONDS_PER_SECOND * 9 / 100,
                        NANOSECONDS_PER_SECOND * 5);
    }
}

static void a_drain_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    submit_all(fixture, "format=raw,ops=1,burst-ops=1");
    block_drain(fixture->block);
    assert_int_equal(fixture->done_count, REQUESTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_wait_their_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(a_drain_does_not_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
