/* SPDX-License-Identifier: Apache-2.0 */
/* Captures and rate limits between a card and a back end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "net/filter.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LENGTH 100

/* A back end that counts, and refuses when told to. */
struct fake {
    struct frame_backend backend;
    unsigned sent, ready_count;
    bool refuse, closed;
};

struct fixture {
    struct fake fake;
    struct loop *loop;
    struct loop_timer *timer;
    struct frame_backend *backend;
    unsigned received, writable_count;
    bool refuse;
    char path[32];
    struct frame frame;
};

static bool fake_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct fake *fake = (struct fake *)backend;
    fake->sent += !fake->refuse;
    return !fake->refuse;
}

static void fake_ready(struct frame_backend *backend)
{
    ((struct fake *)backend)->ready_count++;
}

static void fake_close(struct frame_backend *backend)
{
    ((struct fake *)backend)->closed = true;
}

static const struct frame_ops fake_ops = {"fake", fake_send, fake_ready, fake_close};

static bool receive(void *opaque, const struct frame *frame, size_t length)
{
    struct fixture *fixture = opaque;
    fixture->received += !fixture->refuse;
    return !fixture->refuse;
}

static void writable(void *opaque)
{
    ((struct fixture *)opaque)->writable_count++;
}

static void stop(void *opaque)
{
    loop_stop(opaque);
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->loop = loop_create(NULL);
    fixture->timer = loop_timer_create(fixture->loop, stop, fixture->loop, NULL);
    fixture->fake.backend.ops = &fake_ops;
    strcpy(fixture->path, "/tmp/nacre-pcap-XXXXXX");
    close(mkstemp(fixture->path));
    for (unsigned i = 0; i < LENGTH; i++)
        fixture->frame.bytes[i] = (uint8_t)i;
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->backend)
        fixture->backend->ops->close(fixture->backend);
    assert_true(fixture->fake.closed);
    loop_timer_destroy(fixture->timer);
    loop_destroy(fixture->loop);
    unlink(fixture->path);
    free(fixture);
    return 0;
}

static void use(struct fixture *fixture, struct frame_backend *backend)
{
    assert_non_null(backend);
    fixture->backend = backend;
    backend->sink = (struct frame_sink){receive, writable, fixture};
}

static bool send_one(struct fixture *fixture)
{
    return fixture->backend->ops->send(fixture->backend, &fixture->frame, LENGTH);
}

static bool receive_one(struct fixture *fixture)
{
    return frame_deliver(&fixture->fake.backend.sink, &fixture->frame, LENGTH);
}

static void run_for(struct fixture *fixture, uint64_t ns)
{
    loop_timer_arm(fixture->timer, clock_monotonic_ns() + ns);
    loop_run(fixture->loop);
}

static void a_capture_has_what_passed(void **state)
{
    struct fixture *fixture = *state;
    const struct frame_host host = {.loop = fixture->loop};
    uint8_t file[512];
    use(fixture, capture_open(&fixture->fake.backend, fixture->path, &host, NULL));
    assert_true(send_one(fixture));
    fixture->fake.refuse = true;
    assert_false(send_one(fixture)); /* does not pass: is not in it */
    fixture->refuse = true;
    assert_false(receive_one(fixture));
    fixture->refuse = false;
    assert_true(receive_one(fixture));
    FILE *stream = fopen(fixture->path, "r");
    size_t size = fread(file, 1, sizeof(file), stream);
    fclose(stream);
    assert_int_equal(size, 24 + 2 * (16 + LENGTH));
    assert_int_equal(load_le(file, 4), 0xa1b23c4d);
    assert_int_equal(load_le(file + 20, 4), 1);
    for (unsigned i = 0; i < 2; i++) {
        const uint8_t *record = file + 24 + i * (16 + LENGTH);
        assert_in_range(load_le(record, 4), time(NULL) - 60, time(NULL));
        assert_int_equal(load_le(record + 8, 4), LENGTH);
        assert_int_equal(load_le(record + 12, 4), LENGTH);
        assert_memory_equal(record + 16, fixture->frame.bytes, LENGTH);
    }
}

static void a_capture_needs_its_file(void **state)
{
    struct fixture *fixture = *state;
    const struct frame_host host = {.loop = fixture->loop};
    struct error error = {0};
    assert_null(capture_open(&fixture->fake.backend, "/nowhere/x.pcap", &host, &error));
    assert_int_equal(error.code, ENOENT);
}

static void a_full_disk_ends_a_capture_only(void **state)
{
    struct fixture *fixture = *state;
    const struct frame_host host = {.loop = fixture->loop};
    struct error error = {0};
    assert_null(capture_open(&fixture->fake.backend, "/dev/full", &host, &error));
    assert_int_equal(error.code, ENOSPC);
}

static void frames_wait_in_both_directions(void **state)
{
    struct fixture *fixture = *state;
    const struct frame_host host = {.loop = fixture->loop};
    const struct rate_limit_config config = {.ops = 20, .burst_ops = 1};
    use(fixture, limit_open(&fixture->fake.backend, &config, &host, NULL));
    while (send_one(fixture))
        ;
    while (receive_one(fixture))
        ;
    assert_in_range(fixture->fake.sent, 1, 2);
    assert_in_range(fixture->received, 1, 2);
    assert_int_equal(fixture->writable_count, 0);
    run_for(fixture, NANOSECONDS_PER_SECOND / 5);
    assert_int_equal(fixture->writable_count, 1);
    assert_int_equal(fixture->fake.ready_count, 1);
    assert_true(send_one(fixture));
    assert_true(receive_one(fixture));
}

static void what_does_not_pass_costs_nothing(void **state)
{
    struct fixture *fixture = *state;
    const struct frame_host host = {.loop = fixture->loop};
    const struct rate_limit_config config = {.bytes = LENGTH, .burst_bytes = 1};
    use(fixture, limit_open(&fixture->fake.backend, &config, &host, NULL));
    fixture->fake.refuse = true;
    for (unsigned i = 0; i < 100; i++)
        assert_false(send_one(fixture));
    fixture->fake.refuse = false;
    assert_true(send_one(fixture));
    assert_false(send_one(fixture));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_capture_has_what_passed, setup, teardown),
        cmocka_unit_test_setup_teardown(a_capture_needs_its_file, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_ends_a_capture_only, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_wait_in_both_directions, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_pass_costs_nothing, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
