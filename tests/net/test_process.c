/* SPDX-License-Identifier: Apache-2.0 */
/* A back end in its own process: frames both ways, errors at its start, its end and ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/clock.h"
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
static void echo_send(struct frame_backend *backend, const uint8_t *frame, size_t length)
{
    uint8_t *copy = malloc(length);
    memcpy(copy, frame, length);
    if (copy[0]++ == 'q')
        _exit(EXIT_SUCCESS);
    backend->sink.receive(backend->sink.opaque, copy, length);
    free(copy);
}

static void echo_ready(struct frame_backend *backend)
{
}

static void echo_close(struct frame_backend *backend)
{
    free(backend);
}

static const struct frame_ops echo_ops = {"echo", echo_send, echo_ready, echo_close};

static struct frame_backend *echo_open(char *settings, struct loop *loop, struct error *error)
{
    struct frame_backend *backend = calloc(1, sizeof(*backend));
    backend->ops = &echo_ops;
    return backend;
}

static struct frame_backend *failing_open(char *settings, struct loop *loop, struct error *error)
{
    error_set(error, EADDRINUSE, "port %s is taken", settings);
    return NULL;
}

static struct frame_backend *dying_open(char *settings, struct loop *loop, struct error *error)
{
    _exit(EXIT_FAILURE);
}

/* Fails unless all it has open is the standard three, its socket and its own loop. */
static struct frame_backend *looking_open(char *settings, struct loop *loop, struct error *error)
{
    unsigned open_count = 0;
    for (int fd = 0; fd < 100; fd++)
        open_count += fcntl(fd, F_GETFD) >= 0;
    if (open_count > 6)
        error_set(error, EMFILE, "%u descriptors", open_count);
    return open_count > 6 ? NULL : echo_open(settings, loop, error);
}

/* --- the machine's side --- */

struct fixture {
    struct loop *loop;
    struct loop_timer *timer;
    struct log log;
    char *text; /* of the log */
    size_t text_size;
    uint8_t got[FRAME_MAX];
    size_t got_length;
    unsigned got_count, wanted;
};

static void give_up(void *opaque)
{
    loop_stop(((struct fixture *)opaque)->loop);
}

static bool receive(void *opaque, const uint8_t *frame, size_t length)
{
    struct fixture *fixture = opaque;
    memcpy(fixture->got, frame, length);
    fixture->got_length = length;
    if (++fixture->got_count == fixture->wanted)
        loop_stop(fixture->loop);
    return true;
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

static struct frame_backend *open_kind(struct fixture *fixture,
                                       struct frame_backend *(*open)(char *, struct loop *,
                                                                     struct error *),
                                       char *settings, struct error *error)
{
    const struct frame_kind kind = {"test", open};
    const struct frame_host host = {.loop = fixture->loop, .log = &fixture->log};
    struct frame_backend *backend = process_open(&kind, settings, &host, error);
    if (backend)
        backend->sink = (struct frame_sink){.receive = receive, .opaque = fixture};
    return backend;
}

static void run_until(struct fixture *fixture, unsigned frames, uint64_t wait_ns)
{
    fixture->wanted = fixture->got_count + frames;
    loop_timer_arm(fixture->timer, clock_monotonic_ns() + wait_ns);
    loop_run(fixture->loop);
}

static void frames_go_both_ways(void **state)
{
    static const size_t lengths[] = {1, 60, 1514, FRAME_MAX};
    struct fixture *fixture = *state;
    uint8_t *frame = malloc(FRAME_MAX);
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    for (size_t i = 0; i < FRAME_MAX; i++)
        frame[i] = (uint8_t)(i * 7);
    for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
        frame[0] = (uint8_t)i;
        backend->ops->send(backend, frame, lengths[i]);
        run_until(fixture, 1, WAIT_NS);
        assert_int_equal(fixture->got_count, i + 1);
        assert_int_equal(fixture->got_length, lengths[i]);
        assert_int_equal(fixture->got[0], i + 1);
        assert_memory_equal(fixture->got + 1, frame + 1, lengths[i] - 1);
    }
    backend->ops->close(backend);
    free(frame);
}

static void an_empty_frame_is_dropped(void **state)
{
    struct fixture *fixture = *state;
    struct frame_backend *backend = open_kind(fixture, echo_open, NULL, NULL);
    assert_non_null(backend);
    backend->ops->send(backend, (const uint8_t *)"", 0);
    backend->ops->send(backend, (const uint8_t *)"a", 1);
    run_until(fixture, 1, WAIT_NS);
    assert_int_equal(fixture->got[0], 'b');
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
    backend->ops->send(backend, (const uint8_t *)"q", 1);
    run_until(fixture, 1, NANOSECONDS_PER_SECOND / 2);
    fflush(fixture->log.stream);
    assert_non_null(strstr(fixture->text, "network"));
    backend->ops->send(backend, (const uint8_t *)"a", 1);
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
        cmocka_unit_test_setup_teardown(an_empty_frame_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_at_the_start_come_back, setup, teardown),
        cmocka_unit_test_setup_teardown(it_has_no_descriptors_of_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(its_end_is_told_once, setup, teardown),
        cmocka_unit_test_setup_teardown(it_ends_with_us, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
