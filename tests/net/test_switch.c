/* SPDX-License-Identifier: Apache-2.0 */
/* A switch and its machines: learning, flooding, slow and leaving machines, who may join. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "net/mac_table.h"
#include "net/switch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MACHINES 3
#define WAIT_NS  (10 * NANOSECONDS_PER_SECOND)
#define QUIET_NS (NANOSECONDS_PER_SECOND / 20)
#define LENGTH   60

struct machine {
    struct fixture *fixture;
    struct frame_backend *backend;
    unsigned got_count;
    uint8_t last; /* number in the last frame */
};

struct fixture {
    char folder[32];
    struct loop *loop;
    struct loop_timer *timer;
    struct machine machines[MACHINES];
    unsigned wanted; /* frames, of all machines */
};

static unsigned got_by_all(const struct fixture *fixture)
{
    unsigned count = 0;
    for (unsigned i = 0; i < MACHINES; i++)
        count += fixture->machines[i].got_count;
    return count;
}

static bool receive(void *opaque, const struct frame *frame, size_t length)
{
    struct machine *machine = opaque;
    machine->got_count++;
    machine->last = frame->bytes[14];
    if (got_by_all(machine->fixture) == machine->fixture->wanted)
        loop_stop(machine->fixture->loop);
    return true;
}

static void give_up(void *opaque)
{
    loop_stop(opaque);
}

/* Until so many frames more have come, or too much time has gone; nothing more may come after. */
static void expect_frames(struct fixture *fixture, unsigned count)
{
    fixture->wanted = got_by_all(fixture) + count;
    if (count) {
        loop_timer_arm(fixture->timer, clock_monotonic_ns() + WAIT_NS);
        loop_run(fixture->loop);
    }
    loop_timer_arm(fixture->timer, clock_monotonic_ns() + QUIET_NS);
    loop_run(fixture->loop);
    assert_int_equal(got_by_all(fixture), fixture->wanted);
}

static struct frame_backend *join_as(struct fixture *fixture, struct machine *machine,
                                     struct error *error)
{
    char settings[] = "name=lan";
    const struct frame_host host = {.loop = fixture->loop};
    machine->fixture = fixture;
    machine->backend = switch_open(settings, &host, error);
    if (machine->backend)
        machine->backend->sink = (struct frame_sink){.receive = receive, .opaque = machine};
    return machine->backend;
}

static void leave(struct machine *machine)
{
    if (machine->backend)
        machine->backend->ops->close(machine->backend);
    machine->backend = NULL;
}

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    strcpy(fixture->folder, "/tmp/nacre-switch-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    setenv("NACRE_RUNTIME", fixture->folder, 1);
    fixture->loop = loop_create(NULL);
    fixture->timer = loop_timer_create(fixture->loop, give_up, fixture->loop, NULL);
    for (unsigned i = 0; i < MACHINES; i++)
        assert_non_null(join_as(fixture, &fixture->machines[i], NULL));
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char command[64];
    for (unsigned i = 0; i < MACHINES; i++)
        leave(&fixture->machines[i]);
    loop_timer_destroy(fixture->timer);
    loop_destroy(fixture->loop);
    snprintf(command, sizeof(command), "rm -r %s", fixture->folder);
    int status = system(command);
    free(fixture);
    return status;
}

#define EVERYBODY 0xff

static void send_frame(struct fixture *fixture, unsigned from, unsigned to, uint8_t number)
{
    struct frame *frame = calloc(1, sizeof(*frame));
    struct frame_backend *backend = fixture->machines[from].backend;
    memset(frame->bytes, to == EVERYBODY ? 0xff : 0x10 + to * 2, 6);
    memset(frame->bytes + 6, 0x10 + (int)from * 2, 6);
    frame->bytes[14] = number;
    backend->ops->send(backend, frame, LENGTH);
    free(frame);
}

static void strangers_get_their_frames_with_everybody(void **state)
{
    struct fixture *fixture = *state;
    send_frame(fixture, 0, 1, 1); /* the switch has not heard of 1 yet */
    expect_frames(fixture, 2);
    assert_int_equal(fixture->machines[0].got_count, 0);
}

static void known_machines_get_theirs_alone(void **state)
{
    struct fixture *fixture = *state;
    send_frame(fixture, 1, EVERYBODY, 1);
    expect_frames(fixture, 2);
    send_frame(fixture, 0, 1, 2);
    expect_frames(fixture, 1);
    assert_int_equal(fixture->machines[1].last, 2);
    send_frame(fixture, 1, 0, 3);
    expect_frames(fixture, 1);
    assert_int_equal(fixture->machines[0].last, 3);
    send_frame(fixture, 0, 0, 4); /* to oneself: nobody's business */
    expect_frames(fixture, 0);
}

static void a_machine_that_leaves_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    send_frame(fixture, 1, EVERYBODY, 1);
    expect_frames(fixture, 2);
    leave(&fixture->machines[1]);
    send_frame(fixture, 0, 1, 2);
    expect_frames(fixture, 1);
    assert_int_equal(fixture->machines[2].last, 2);
    assert_non_null(join_as(fixture, &fixture->machines[1], NULL));
    send_frame(fixture, 0, EVERYBODY, 3);
    expect_frames(fixture, 2);
}

/* The last one has gone, and with it the switch: the next machine starts another. */
static void a_switch_can_be_started_again(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < MACHINES; i++)
        leave(&fixture->machines[i]);
    for (unsigned i = 0; i < MACHINES; i++)
        assert_non_null(join_as(fixture, &fixture->machines[i], NULL));
    send_frame(fixture, 0, EVERYBODY, 1);
    expect_frames(fixture, 2);
}

static void strangers_folders_are_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error error = {0};
    struct machine machine;
    chmod(fixture->folder, 0755);
    assert_null(join_as(fixture, &machine, &error));
    assert_int_equal(error.code, EPERM);
    chmod(fixture->folder, 0700);
}

static void names_are_checked(void **state)
{
    struct fixture *fixture = *state;
    static const char *const bad[] = {"name=", "name=../x", "name=a.lock", "name=a b", "port=1"};
    const struct frame_host host = {.loop = fixture->loop};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error error = {0};
        char settings[32];
        snprintf(settings, sizeof(settings), "%s", bad[i]);
        assert_null(switch_open(settings, &host, &error));
        assert_int_equal(error.code, EINVAL);
    }
}

static void a_table_keeps_the_latest(void **state)
{
    struct mac_table *table = calloc(1, sizeof(*table));
    for (uint64_t i = 1; i <= 100000; i++)
        mac_table_learn(table, i << 8 | 2, (unsigned)(i % 7), i);
    assert_int_equal(mac_table_find(table, UINT64_C(100000) << 8 | 2, 100000), 100000 % 7);
    assert_int_equal(mac_table_find(table, 1 << 8 | 2, 100000), -1);
    mac_table_learn(table, 0x42, 3, 5);
    mac_table_learn(table, 0x42, 4, 6); /* it has moved */
    assert_int_equal(mac_table_find(table, 0x42, 6), 4);
    assert_int_equal(mac_table_find(table, 0x42, 6 + MAC_TABLE_AGE_NS), -1);
    mac_table_forget_port(table, 4);
    assert_int_equal(mac_table_find(table, 0x42, 6), -1);
    mac_table_learn(table, 0x01, 3, 7); /* a group is nowhere */
    mac_table_learn(table, 0, 3, 7);
    assert_int_equal(mac_table_find(table, 0x01, 7), -1);
    assert_int_equal(mac_table_find(table, 0, 7), -1);
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(strangers_get_their_frames_with_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(known_machines_get_theirs_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_machine_that_leaves_is_forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(a_switch_can_be_started_again, setup, teardown),
        cmocka_unit_test_setup_teardown(strangers_folders_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(names_are_checked, setup, teardown),
        cmocka_unit_test(a_table_keeps_the_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
