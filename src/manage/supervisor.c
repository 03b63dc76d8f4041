/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/supervisor.h"

#include "base/bits.h"
#include "base/clock.h"
#include "manage/config.h"
#include "manage/event.h"
#include "manage/machine.h"
#include "manage/serial_hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FORCE_AFTER_NS (5 * NANOSECONDS_PER_SECOND) /* that a machine has to end by itself */

struct waiter {
    supervisor_done *done;
    void *opaque;
    struct waiter *next;
};

struct supervisor {
    const struct state_directory *directory;
    struct loop *loop;
    struct log *log;
    enum vm_state state;
    json_t *config;
    struct machine *machine;
    struct serial_hub *serial;
    bool booting, stopping, ending;
    struct waiter *waiters;   /* for the end of booting or stopping */
    struct loop_timer *force; /* stopping takes too long */
    uint64_t booted_ns;       /* of clock_monotonic_ns() */
    void (*listener)(void *opaque, const char *line);
    void *listener_opaque;
    int events_fd, exit_code;
};

const char *vm_state_name(enum vm_state state)
{
    static const char *const names[] = {[VM_NONE] = "None",
                                        [VM_CREATED] = "Created",
                                        [VM_RUNNING] = "Running",
                                        [VM_PAUSED] = "Paused",
                                        [VM_SHUTDOWN] = "Shutdown"};
    return names[state];
}

/* --- events --- */

void supervisor_event(struct supervisor *supervisor, const char *event, json_t *properties,
                      const char *by)
{
    char *line = event_line(event, properties, by);
    /* One write a line: lines stay whole. A full disk must not end a VM. */
    if (line && supervisor->events_fd >= 0 && write(supervisor->events_fd, line, strlen(line)) < 0)
        log_message(supervisor->log, LOG_WARNING, "cannot write down: %s", line);
    if (line && supervisor->listener)
        supervisor->listener(supervisor->listener_opaque, line);
    free(line);
}

void supervisor_listen(struct supervisor *supervisor,
                       void (*listener)(void *opaque, const char *line), void *opaque)
{
    supervisor->listener = listener;
    supervisor->listener_opaque = opaque;
}

/* --- operations that are waited for --- */

static int wait_for(struct supervisor *supervisor, supervisor_done *done, void *opaque,
                    struct error *error)
{
    struct waiter *waiter = malloc(sizeof(*waiter));
    if (!waiter)
        return error_set(error, ENOMEM, "out of memory");
    *waiter = (struct waiter){.done = done, .opaque = opaque, .next = supervisor->waiters};
    supervisor->waiters = waiter;
    return 0;
}

static void wake(struct supervisor *supervisor, const char *why)
{
    struct waiter *waiter = supervisor->waiters;
    supervisor->waiters = NULL;
    while (waiter) {
        struct waiter *next = waiter->next;
        waiter->done(waiter->opaque, NULL, why);
        free(waiter);
        waiter = next;
    }
}

/* --- the machine --- */

static void machine_happened(void *opaque, const char *event, const json_t *properties)
{
    struct supervisor *supervisor = opaque;
    const char *id = json_string_value(json_object_get(properties, "id"));
    if (id && !strcmp(event, "device-removed"))
        config_remove_disk(supervisor->config, id);
    supervisor_event(supervisor, event, (json_t *)properties, NULL);
    if (strcmp(event, "booted") || !supervisor->booting)
        return;
    supervisor->booting = false;
    supervisor->state = VM_RUNNING;
    supervisor->booted_ns = clock_monotonic_ns();
    wake(supervisor, NULL);
}

static void record_end(struct supervisor *supervisor, int code, const char *last)
{
    json_t *properties = json_pack("{s:i, s:s*}", "exit_code", code, "message", code ? last : NULL);
    supervisor_event(supervisor, supervisor->booting ? "boot-failed" : "shutdown", properties,
                     NULL);
    json_decref(properties);
}

static void machine_ended(void *opaque, int code, const char *last)
{
    struct supervisor *supervisor = opaque;
    bool booting = supervisor->booting, stopping = supervisor->stopping;
    const char *why = !booting ? NULL : *last ? last : "the machine's process has ended";
    loop_timer_disarm(supervisor->force);
    record_end(supervisor, code, last);
    supervisor->booting = supervisor->stopping = false;
    supervisor->state = booting ? VM_CREATED : VM_SHUTDOWN;
    struct machine *machine = supervisor->machine;
    supervisor->machine = NULL;
    serial_hub_disconnect(supervisor->serial);
    wake(supervisor, why);
    machine_destroy(machine);
    /* A guest that has powered itself off is not waited for. */
    if (supervisor->ending || (!booting && !stopping)) {
        supervisor->exit_code = stopping ? 0 : code;
        loop_stop(supervisor->loop);
    }
}

static void force(void *opaque)
{
    struct supervisor *supervisor = opaque;
    if (supervisor->machine && supervisor->stopping)
        machine_kill(supervisor->machine);
}

/* folder, clone: as of supervisor_boot_from(); folder NULL: boots. */
static int machine_arguments(const struct supervisor *supervisor, const char *folder, bool clone,
                             struct arguments *arguments, struct error *error)
{
    arguments_add(arguments, "nacre");
    arguments_add(arguments, "run");
    if (supervisor->directory)
        arguments_add(arguments, "--name=%s", supervisor->directory->name);
    arguments_add(arguments, "%s", MACHINE_SERIAL_OPTION);
    arguments_add(arguments, "%s", MACHINE_CONTROL_OPTION);
    if (folder)
        arguments_add(arguments, "--restore=%s", folder);
    if (clone)
        arguments_add(arguments, "--restore-clone");
    int result = config_arguments(supervisor->config, arguments, error);
    if (result < 0)
        return result;
    return arguments_complete(arguments) ? 0 : error_set(error, ENOMEM, "out of memory");
}

/* Starts the process and gives it its serial line. */
static int start_machine(struct supervisor *supervisor, char **arguments, struct error *error)
{
    const struct machine_events events = {
        .happened = machine_happened, .ended = machine_ended, .opaque = supervisor};
    int line[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) < 0)
        return error_set(error, errno, "cannot make a pair of sockets: %s", strerror(errno));
    supervisor->machine =
        machine_start(arguments, line[1], supervisor->loop, supervisor->log, &events, error);
    close(line[1]);
    if (!supervisor->machine) {
        close(line[0]);
        return -EIO;
    }
    serial_hub_connect(supervisor->serial, line[0]);
    return 0;
}

int supervisor_boot(struct supervisor *supervisor, const char *by, supervisor_done *done,
                    void *opaque, struct error *error)
{
    return supervisor_boot_from(supervisor, NULL, false, by, done, opaque, error);
}

int supervisor_boot_from(struct supervisor *supervisor, const char *folder, bool clone,
                         const char *by, supervisor_done *done, void *opaque, struct error *error)
{
    struct arguments arguments = {0};
    if (supervisor->machine)
        return error_set(error, EBUSY, "the machine is about to %s",
                         supervisor->booting ? "boot" : "end");
    int result = machine_arguments(supervisor, folder, clone, &arguments, error);
    if (result == 0)
        result = start_machine(supervisor, arguments.words, error);
    arguments_free(&arguments);
    if (result == 0)
        result = wait_for(supervisor, done, opaque, error);
    if (result < 0) {
        machine_destroy(supervisor->machine);
        supervisor->machine = NULL;
        return result;
    }
    supervisor->booting = true;
    supervisor_event(supervisor, folder ? "restoring" : "booting", NULL, by);
    return 0;
}

static void stop_answered(void *opaque, const json_t *body, const char *why)
{
    /* What counts is the end of the process. */
}

static void stop_machine(struct supervisor *supervisor)
{
    supervisor->stopping = true;
    loop_timer_arm(supervisor->force, clock_monotonic_ns() + FORCE_AFTER_NS);
    if (machine_ask(supervisor->machine, "vm.shutdown", NULL, NULL, 0, stop_answered, NULL, NULL) <
        0)
        machine_kill(supervisor->machine);
}

int supervisor_shut_down(struct supervisor *supervisor, const char *by, supervisor_done *done,
                         void *opaque, struct error *error)
{
    int result = wait_for(supervisor, done, opaque, error);
    if (result < 0)
        return result;
    supervisor_event(supervisor, "shutting-down", NULL, by);
    stop_machine(supervisor);
    return 0;
}

void supervisor_end(struct supervisor *supervisor, const char *by)
{
    supervisor->ending = true;
    supervisor_event(supervisor, "ending", NULL, by);
    if (supervisor->machine)
        stop_machine(supervisor);
    else
        loop_stop(supervisor->loop);
}

void supervisor_add_disk(struct supervisor *supervisor, json_t *disk)
{
    json_t *disks = json_object_get(supervisor->config, "disks");
    if (!disks) {
        disks = json_array();
        json_object_set_new(supervisor->config, "disks", disks);
    }
    json_array_append(disks, disk);
}

int supervisor_ask(struct supervisor *supervisor, const char *operation, json_t *body,
                   const int *fds, unsigned fd_count, supervisor_done *done, void *opaque,
                   struct error *error)
{
    return machine_ask(supervisor->machine, operation, body, fds, fd_count, done, opaque, error);
}

/* --- the VM --- */

/* Where the serial port can be seen: in the VM's directory, or where the configuration says. */
static int open_serial(struct supervisor *supervisor, json_t *config, struct error *error)
{
    const char *mode = "", *place = "";
    char socket[STATE_PATH_MAX], said[STATE_PATH_MAX];
    json_unpack(config, "{s:{s:s, s?s}}", "serial", "mode", &mode, "socket", &place);
    if (supervisor->directory) {
        state_directory_file(supervisor->directory, STATE_SERIAL, socket);
        state_directory_file(supervisor->directory, STATE_SAID, said);
        json_object_set_new(config, "serial",
                            json_pack("{s:s, s:s}", "mode", "Socket", "socket", socket));
        place = socket;
    } else if (strcmp(mode, "Socket")) {
        place = NULL;
    }
    supervisor->serial =
        serial_hub_create(place, supervisor->directory ? said : NULL, supervisor->loop, error);
    return supervisor->serial ? 0 : -EIO;
}

int supervisor_define(struct supervisor *supervisor, json_t *config, struct error *error)
{
    struct arguments arguments = {0};
    int result = json_is_object(config)
                     ? config_arguments(config, &arguments, error)
                     : error_set(error, EINVAL, "a VM's configuration must be an object");
    arguments_free(&arguments);
    if (result < 0)
        return result;
    result = open_serial(supervisor, config, error);
    if (result < 0)
        return result;
    config_complete(config);
    supervisor->config = config;
    supervisor->state = VM_CREATED;
    return 0;
}

const struct state_directory *supervisor_directory(const struct supervisor *supervisor)
{
    return supervisor->directory;
}

int supervisor_set_config(struct supervisor *supervisor, json_t *config, struct error *error)
{
    if (supervisor->state == VM_NONE) {
        int result = supervisor_define(supervisor, config, error);
        if (result < 0) {
            json_decref(config);
            return result;
        }
    } else {
        json_decref(supervisor->config);
        supervisor->config = config;
    }
    return supervisor->directory ? config_save(supervisor->directory, config, error) : 0;
}

void supervisor_undefine(struct supervisor *supervisor)
{
    serial_hub_destroy(supervisor->serial);
    supervisor->serial = NULL;
    json_decref(supervisor->config);
    supervisor->config = NULL;
    supervisor->state = VM_NONE;
}

struct supervisor *supervisor_create(const struct state_directory *directory, struct loop *loop,
                                     struct log *log, struct error *error)
{
    struct supervisor *supervisor = calloc(1, sizeof(*supervisor));
    if (!supervisor) {
        error_set(error, ENOMEM, "out of memory");
        return NULL;
    }
    *supervisor =
        (struct supervisor){.directory = directory, .loop = loop, .log = log, .events_fd = -1};
    supervisor->force = loop_timer_create(loop, force, supervisor, error);
    if (directory)
        supervisor->events_fd = event_open(directory, error);
    if (supervisor->force && (!directory || supervisor->events_fd >= 0))
        return supervisor;
    supervisor_destroy(supervisor);
    return NULL;
}

void supervisor_destroy(struct supervisor *supervisor)
{
    if (!supervisor)
        return;
    machine_destroy(supervisor->machine);
    wake(supervisor, "the VM's supervisor ends");
    serial_hub_destroy(supervisor->serial);
    loop_timer_destroy(supervisor->force);
    if (supervisor->events_fd >= 0)
        close(supervisor->events_fd);
    json_decref(supervisor->config);
    free(supervisor);
}

enum vm_state supervisor_state(const struct supervisor *supervisor)
{
    return supervisor->state;
}

void supervisor_set_state(struct supervisor *supervisor, enum vm_state state)
{
    if (supervisor->machine)
        supervisor->state = state;
}

const json_t *supervisor_config(const struct supervisor *supervisor)
{
    return supervisor->config;
}

pid_t supervisor_machine_pid(const struct supervisor *supervisor)
{
    return supervisor->machine ? machine_pid(supervisor->machine) : 0;
}

uint64_t supervisor_uptime(const struct supervisor *supervisor)
{
    return supervisor->machine && !supervisor->booting
               ? (clock_monotonic_ns() - supervisor->booted_ns) / NANOSECONDS_PER_SECOND
               : 0;
}

int supervisor_exit_code(const struct supervisor *supervisor)
{
    return supervisor->exit_code;
}
