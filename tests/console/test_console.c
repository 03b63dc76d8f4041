/* SPDX-License-Identifier: Apache-2.0 */
/* The back ends of consoles and the buffer between them and a guest. */
#include "console/console.h"

#include "base/bits.h"
#include "console/output.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#define RING KIB(64)

struct fixture {
    struct loop *loop;
    char folder[32], path[64];
    char got[64]; /* input the sink was given */
    unsigned got_count, room;
};

static void stop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs what is ready and what has been posted to the loop. */
static void settle(struct fixture *fixture)
{
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(loop_post(fixture->loop, stop, fixture->loop), 0);
        assert_int_equal(loop_run(fixture->loop), 0);
    }
}

static unsigned receive(void *opaque, const uint8_t *bytes, unsigned count)
{
    struct fixture *fixture = opaque;
    unsigned taken = count < fixture->room ? count : fixture->room;
    memcpy(fixture->got + fixture->got_count, bytes, taken);
    fixture->got_count += taken;
    fixture->room -= taken;
    return taken;
}

static int setup(void **state)
{
    struct error error;
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->folder, "/tmp/nacre-console-XXXXXX");
    fixture->loop = loop_create(&error);
    fixture->room = sizeof(fixture->got);
    if (!fixture->loop || !mkdtemp(fixture->folder))
        return -1;
    snprintf(fixture->path, sizeof(fixture->path), "%s/socket", fixture->folder);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    loop_destroy(fixture->loop);
    unlink(fixture->path);
    rmdir(fixture->folder);
    free(fixture);
    return 0;
}

/* A console whose option says `text` with the socket's path in place of %s. */
static struct console *create(struct fixture *fixture, const char *format)
{
    static char text[128]; /* the console keeps pointers into it */
    struct error error;
    struct console_config config;
    const struct console_sink sink = {.receive = receive, .opaque = fixture};
    snprintf(text, sizeof(text), format, fixture->path);
    assert_int_equal(console_parse("serial", text, &config, &error), 0);
    struct console *console = console_create(&config, fixture->loop, NULL, NULL, &error);
    assert_non_null(console);
    console_bind(console, &sink);
    return console;
}

static int dial(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, fixture->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    settle(fixture);
    return fd;
}

static int listen_at(struct fixture *fixture)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, fixture->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static void write_text(struct fixture *fixture, struct console *console, const char *text)
{
    console_write(console, (const uint8_t *)text, strlen(text));
    settle(fixture);
}

static void expect_text(int fd, const char *text)
{
    char got[64] = "";
    assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), strlen(text));
    assert_string_equal(got, text);
}

static void test_texts(void **state)
{
    static const char *const wrong[] = {"",      "tape",  "stdio:",    "stdio:x",
                                        "pty:x", "unix",  "unix:",     "file",
                                        "file:", "none:", "stdioelse", "unix:,server"};
    struct console_config config;
    struct error error;
    char text[32];
    for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
        strcpy(text, wrong[i]);
        assert_int_equal(console_parse("serial", text, &config, &error), -EINVAL);
        assert_non_null(strstr(error.message, "--serial"));
    }
    strcpy(text, "unix:/a,b,server");
    assert_int_equal(console_parse("serial", text, &config, &error), 0);
    assert_string_equal(config.path, "/a,b");
    assert_true(config.server);
    strcpy(text, "file:/x,server"); /* a file may be called that */
    assert_int_equal(console_parse("serial", text, &config, &error), 0);
    assert_string_equal(config.path, "/x,server");
    strcpy(text, "none");
    assert_int_equal(console_parse("serial", text, &config, &error), 0);
    assert_null(config.ops);
}

static void test_server_serves_again(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct stat status;
    struct console *console = create(fixture, "unix:%s,server");
    assert_int_equal(console_connect(console, &error), 0);
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    write_text(fixture, console, "early ");
    for (unsigned i = 0; i < 3; i++) {
        int fd = dial(fixture);
        expect_text(fd, i ? "between " : "early ");
        write_text(fixture, console, "now");
        expect_text(fd, "now");
        assert_int_equal(write(fd, "in", 2), 2);
        close(fd);
        settle(fixture);
        write_text(fixture, console, "between ");
    }
    assert_memory_equal(fixture->got, "ininin", 6);
    console_destroy(console);
    assert_int_equal(stat(fixture->path, &status), -1);
}

/* One that left while the guest does not read must not keep the next one out. */
static void test_server_with_a_deaf_guest(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct console *console = create(fixture, "unix:%s,server");
    assert_int_equal(console_connect(console, &error), 0);
    fixture->room = 0;
    int first = dial(fixture);
    assert_int_equal(write(first, "anybody there?", 14), 14);
    settle(fixture);
    close(first);
    settle(fixture);
    int second = dial(fixture);
    write_text(fixture, console, "out");
    expect_text(second, "out");
    close(second);
    console_destroy(console);
}

static void test_stale_socket_is_replaced(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    close(listen_at(fixture)); /* leaves the file behind */
    struct console *console = create(fixture, "unix:%s,server");
    assert_int_equal(console_connect(console, &error), 0);
    int fd = dial(fixture);
    write_text(fixture, console, "x");
    expect_text(fd, "x");
    close(fd);
    console_destroy(console);
}

static void test_what_is_in_the_way_stays(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct console *console = create(fixture, "unix:%s,server");
    int other = listen_at(fixture);
    assert_true(console_connect(console, &error) < 0);
    assert_non_null(strstr(error.message, "another process"));
    close(other);
    console_destroy(console);
    unlink(fixture->path);
    close(open(fixture->path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    console = create(fixture, "unix:%s,server");
    assert_true(console_connect(console, &error) < 0);
    assert_non_null(strstr(error.message, "no socket"));
    console_destroy(console);
    assert_int_equal(access(fixture->path, F_OK), 0);
}

static void test_client(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    struct console *console = create(fixture, "unix:%s");
    assert_true(console_connect(console, &error) < 0);
    assert_non_null(strstr(error.message, fixture->path));
    console_destroy(console);
    int server = listen_at(fixture);
    console = create(fixture, "unix:%s");
    assert_int_equal(console_connect(console, &error), 0);
    int peer = accept(server, NULL, NULL);
    write_text(fixture, console, "hello");
    expect_text(peer, "hello");
    close(peer);
    close(server);
    console_destroy(console);
}

/* The oldest bytes make way: what is read after a long silence is how things stand now. */
static void test_latest_output_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    uint8_t *got = malloc(RING + 1);
    int pipes[2];
    struct output *output = output_create(fixture->loop, RING, &error);
    for (unsigned i = 0; i < RING / 4 + 1000; i++)
        output_write(output, (const uint8_t *)&i, 4);
    assert_int_equal(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, 2 * RING) > 0);
    output_connect(output, pipes[1]);
    settle(fixture);
    ssize_t count = read(pipes[0], got, RING + 1);
    assert_int_equal(count, RING);
    for (unsigned i = 0; i < RING / 4; i++)
        assert_int_equal(load_le(got + i * 4, 4), i + 1000);
    output_destroy(output);
    close(pipes[0]);
    close(pipes[1]);
    free(got);
}

/* A reader that stops for a while gets everything once it goes on. */
static void test_slow_reader(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    uint8_t bytes[KIB(4)], got[KIB(4)];
    int pipes[2];
    unsigned total = 0;
    struct output *output = output_create(fixture->loop, RING, &error);
    assert_int_equal(pipe2(pipes, O_NONBLOCK | O_CLOEXEC), 0);
    assert_true(fcntl(pipes[1], F_SETPIPE_SZ, KIB(4)) > 0);
    output_connect(output, pipes[1]);
    for (unsigned i = 0; i < 8; i++) {
        memset(bytes, (int)i, sizeof(bytes));
        output_write(output, bytes, sizeof(bytes));
        settle(fixture);
    }
    for (ssize_t count; (count = read(pipes[0], got, sizeof(got))) > 0; settle(fixture)) {
        assert_int_equal(got[0], total / sizeof(bytes));
        total += (unsigned)count;
    }
    assert_int_equal(total, 8 * sizeof(bytes));
    output_destroy(output);
    close(pipes[0]);
    close(pipes[1]);
}

#define CONSOLE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONSOLE_TEST(test_texts),
        CONSOLE_TEST(test_server_serves_again),
        CONSOLE_TEST(test_server_with_a_deaf_guest),
        CONSOLE_TEST(test_stale_socket_is_replaced),
        CONSOLE_TEST(test_what_is_in_the_way_stays),
        CONSOLE_TEST(test_client),
        CONSOLE_TEST(test_latest_output_is_kept),
        CONSOLE_TEST(test_slow_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
