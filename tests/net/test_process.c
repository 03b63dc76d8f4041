/* SPDX-License-Identifier: Apache-2.0 */
/* A back end in its own process: frames both ways, errors at its start, its end and ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
#include "net/link.h"
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_NS (10 * NANOSECONDS_PER_SECOND)

/* --- back ends that run in the other process --- */

/* Sends each frame back, with its first byte counted up; ends at a frame that begins with 'q'. */
static bool echo_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct frame *copy = malloc(sizeof(*copy));
    memcpy(copy, frame, link_message_size(length));
    if (copy->bytes[0]++ == 'q')
        _exit(EXIT_SUCCESS);
    backend->sink.receive(backend->sink.opaque, copy, length);
    free(copy);
    return true;
}

static void echo_ready(struct frame_backend *backend)
{
}

static void echo_close(struct frame_backend *backend)
{
    free(backend);
}

static const struct frame_ops echo_ops = {"echo", echo_send, echo_ready, echo_close};

static struct frame_backend *echo_open(char *settings, const struct frame_host *host,
                                       struct error *error)
{
    struct frame_backend *backend = calloc(1, sizeof(*backend));
    backend->ops = &echo_ops;
    return backend;
}

static struct frame_backend *failing_open(char *settings, const struct frame_host *host,
                                          struct error *error)
{
    error_set(error, EADDRINUSE, "port %s is taken", settings);
    return NULL;
}

static struct frame_backend *dying_open(char *settings, const struct frame_host *host,
                                        struct error *error)
{
    _exit(EXIT_FAILURE);
}

/* Fails unless all it has open is the standard three, its socket and its own loop. */
static struct frame_backend *looking_open(char *settings, const struct frame_host *host,
                                          struct error *error)
{
    unsigned open_count = 0;
    for (int fd = 0; fd < 100; fd++)
        open_count += fcntl(fd, F_GETFD) >= 0;
    if (open_count > 6)
        error_set(error, EMFILE, "%u descriptors", open_count);
    return open_count > 6 ? NULL : echo_open(settings, host, error);
}

/* --- the machine's side --- */

struct fixture {
    struct loop *loop;
    struct loop_timer *timer;
    struct log log;
    char *text; /* of the log */
    size_t text_size;
    struct frame got;
    size_t got_length;
    unsigned got_count, wanted, writable_count;
    bool refuse;
};

static void give_up(void *opaque)
{
    loop_stop(((struct fixture *)opaque)->loop);
}

static bool receive(void *opaque, const struct frame *frame, size_t length)
{
    struct fixture *fixture = opaque;
    if (fixture->refuse)
        return false;
    memcpy(&fixture->got, frame, link_message_size(length));
    fixture->got_length = length;
    if (++fixture->got_count == fixture->wanted)
        loop_stop(fixture->loop);
    return true;
}

static void writable(void *opaque)
{
    ((struct fixture *)opaque)->writable_count++;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->loop = loop_create(NULL);
    fixture->timer = loop_timer_create(fixture->loop, give_up, fixture, NULL);
    log_init(&fixture->log, open_memstream(&fixture->text, &fixture->text_size), LOG_INFO);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    loop_timer_destroy(fixture->timer);
    loop_destroy(fixture->loop);
    fclose(fixture->log.stream);
    free(fixture->text);
    fixture->log.stream = stderr;
    log_destroy(&fixture->log);
    free(fixture);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return 0;
}

static struct frame_backend *
open_kind(struct fixture *fixture,
          struct frame_backend *(*open)(char *, const struct frame_host *, struct error *),
          char *settings, struct error *error)
{
    const struct frame_kind kind = {"test", true, open};
    const struct frame_host host = {.loop = fixture->loop, .log = &fixture->log};
    struct frame_backend *backend = process_open(&kind, settings, &host, error);
    if (backend)
        backend->sink = (struct frame_sink){receive, writable, fixture};
    return backend;
}

static void run_until(struct fixture *fixture, unsigned frames, uint64_t wait_ns)
{
    fixture->wanted = fixture->got_count + frames;
    loop_timer_arm(fixture->timer, clock_monotonic_ns() + wait_ns);
    loop_run(fixture->loop);
}

/* A frame of the least length whose first byte is this. */
static void send_letter(struct frame_backend *backend, char letter)
{
    struct frame frame = {.bytes = {(uint8_t)letter}};
    backend->ops->send(backend, &frame, FRAME_MIN);
}

static void frames_go_both_ways(void **state)
{
    static const size_t lengths[] = {FRAME_MIN, 60, 1514, FRAME_MAX};
    struct fixture *fixture = *state;
    struct frame *frame = calloc(1, sizeof(*frame));
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    frame->header = (struct frame_header){.flags = FRAME_CHECKSUM_VALID};
    for (size_t i = 0; i < FRAME_MAX; i++)
        frame->bytes[i] = (uint8_t)(i * 7);
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        frame->bytes[0] = (uint8_t)i;
        assert_true(backend->ops->send(backend, frame, lengths[i]));
        run_until(fixture, 1, WAIT_NS);
        assert_int_equal(fixture->got_count, i + 1);
        assert_int_equal(fixture->got_length, lengths[i]);
        assert_int_equal(fixture->got.header.flags, FRAME_CHECKSUM_VALID);
        assert_int_equal(fixture->got.bytes[0], i + 1);
        assert_memory_equal(fixture->got.bytes + 1, frame->bytes + 1, lengths[i] - 1);
    }
    backend->ops->close(backend);
    free(frame);
}

static void frames_that_are_none_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    struct frame frame = {.header = {.flags = FRAME_NEEDS_CHECKSUM, .checksum_start = 13}};
    backend->ops->send(backend, &frame, FRAME_MIN); /* a checksum behind its end */
    backend->ops->send(backend, &(struct frame){0}, FRAME_MIN - 1);
    send_letter(backend, 'a');
    run_until(fixture, 1, WAIT_NS);
    assert_int_equal(fixture->got.bytes[0], 'b');
    assert_int_equal(fixture->got_count, 1);
    backend->ops->close(backend);
}

/* Nobody runs the loop: the sockets fill up, and are emptied in the order in which they were
 * filled. */
static void a_full_socket_says_so(void **state)
{
    struct fixture *fixture = *state;
    unsigned sent = 0;
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    struct frame *frame = calloc(1, sizeof(*frame));
    while (sent < 100000 && backend->ops->send(backend, frame, FRAME_MAX))
        frame->bytes[1] = (uint8_t)++sent;
    assert_in_range(sent, 2, 99999);
    assert_int_equal(fixture->writable_count, 0);
    run_until(fixture, sent, WAIT_NS);
    assert_int_equal(fixture->got_count, sent);
    assert_int_equal(fixture->got.bytes[1], (uint8_t)(sent - 1));
    assert_int_equal(fixture->writable_count, 1);
    assert_true(backend->ops->send(backend, frame, FRAME_MAX));
    backend->ops->close(backend);
    free(frame);
}

/* What the guest has no room for waits until it has. */
static void a_refused_frame_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    fixture->refuse = true;
    send_letter(backend, 'a');
    send_letter(backend, 'c');
    run_until(fixture, 1, NANOSECONDS_PER_SECOND / 5);
    assert_int_equal(fixture->got_count, 0);
    fixture->refuse = false;
    fixture->wanted = 0;
    backend->ops->ready(backend);
    assert_int_equal(fixture->got_count, 1);
    assert_int_equal(fixture->got.bytes[0], 'b');
    run_until(fixture, 1, WAIT_NS);
    assert_int_equal(fixture->got.bytes[0], 'd');
    backend->ops->close(backend);
}

static void errors_at_the_start_come_back(void **state)
{
    char settings[] = "2222";
    struct error error = {0};
    assert_null(open_kind(*state, failing_open, settings, &error));
    assert_int_equal(error.code, EADDRINUSE);
    assert_string_equal(error.message, "port 2222 is taken");
    assert_null(open_kind(*state, dying_open, NULL, &error));
    assert_int_equal(error.code, EIO);
}

static void it_has_no_descriptors_of_ours(void **state)
{
    int many[20];
    struct error error = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
        many[i] = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    struct frame_backend *backend = open_kind(*state, looking_open, NULL, &error);
    if (!backend)
        fail_msg("%s", error.message);
    backend->ops->close(backend);
    for (unsigned i = 0; i < ARRAY_SIZE(many); i++)
        close(many[i]);
}

static void its_end_is_told_once(void **state)
{
    struct fixture *fixture = *state;
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    send_letter(backend, 'q');
    run_until(fixture, 1, NANOSECONDS_PER_SECOND / 2);
    fflush(fixture->log.stream);
    assert_non_null(strstr(fixture->text, "network"));
    send_letter(backend, 'a');
    backend->ops->close(backend);
}

static void it_ends_with_us(void **state)
{
    struct frame_backend *backend = open_kind(*state, echo_open, NULL, NULL);
    int status = -1;
    assert_non_null(backend);
    backend->ops->close(backend);
    assert_true(waitpid(-1, &status, 0) > 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_SUCCESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_go_both_ways, setup, teardown),
        cmocka_unit_test_setup_teardown(frames_that_are_none_are_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_socket_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(a_refused_frame_is_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_at_the_start_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(it_has_no_descriptors_of_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(its_end_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(it_ends_with_us, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
