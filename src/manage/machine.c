/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/machine.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the new process finds open besides the standard descriptors. */
#define CONTROL_FD      3
#define SERIAL_FD       4
#define LOWEST_OURS     10 /* descriptors on their way there must not be in each other's */
#define LINE_MAX_LENGTH 1024

struct question {
    json_int_t id;
    void (*done)(void *opaque, const json_t *body, const char *why);
    void *opaque;
    struct question *next;
};

struct machine {
    pid_t pid;
    int pid_fd, channel, messages; /* messages: its standard error; -1: not open */
    struct loop_watch *pid_watch, *channel_watch, *messages_watch;
    struct log *log;
    struct machine_events events;
    struct question *questions;
    json_int_t last_id;
    char line[LINE_MAX_LENGTH]; /* being read */
    size_t line_length;
    char last[LINE_MAX_LENGTH]; /* line that was read */
};

/* --- its messages --- */

/* A guest may have the process by now: nothing but plain text gets on. */
static void end_line(struct machine *machine)
{
    for (size_t i = 0; i < machine->line_length; i++)
        if (machine->line[i] < ' ' || machine->line[i] == 0x7f)
            machine->line[i] = machine->line[i] == '\t' ? ' ' : '?';
    machine->line[machine->line_length] = '\0';
    if (machine->line_length && machine->line[machine->line_length - 1] == '?')
        machine->line[machine->line_length - 1] = '\0'; /* a raw terminal's carriage return */
    machine->line_length = 0;
    if (!*machine->line)
        return;
    const char *text = strncmp(machine->line, "nacre", 5) ? NULL : strstr(machine->line, ": ");
    text = text ? text + 2 : machine->line;
    memmove(machine->last, text, strlen(text) + 1);
    log_message(machine->log, LOG_INFO, "%s", machine->last);
}

/* How much was read; 0: nothing more will come. */
static ssize_t read_messages(struct machine *machine)
{
    char bytes[4096];
    ssize_t count = read(machine->messages, bytes, sizeof(bytes));
    for (ssize_t i = 0; i < count; i++) {
        if (bytes[i] == '\n' || machine->line_length == LINE_MAX_LENGTH - 1)
            end_line(machine);
        if (bytes[i] != '\n')
            machine->line[machine->line_length++] = bytes[i];
    }
    return count;
}

static void messages_ready(void *opaque, uint32_t events)
{
    struct machine *machine = opaque;
    if (read_messages(machine) == 0) {
        loop_watch_remove(machine->messages_watch);
        machine->messages_watch = NULL;
    }
}

/* --- questions and answers --- */

static void answer(struct machine *machine, json_int_t id, const json_t *body, const char *why)
{
    struct question **link = &machine->questions;
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    struct question *question = *link;
    if (!question)
        return;
    *link = question->next;
    question->done(question->opaque, body, why);
    free(question);
}

static void read_message(struct machine *machine, const json_t *json)
{
    json_int_t id = 0;
    const char *event = NULL, *why = NULL;
    json_t *body = json_object_get(json, "body");
    if (json_unpack((json_t *)json, "{s?I, s?s, s?s}", "id", &id, "event", &event, "error", &why) <
        0)
        return;
    if (event)
        machine->events.happened(machine->events.opaque, event,
                                 json_object_get(json, "properties"));
    else
        answer(machine, id, body, why);
}

static void channel_ready(void *opaque, uint32_t events)
{
    struct machine *machine = opaque;
    struct channel_message message;
    int result = channel_receive(machine->channel, &message);
    if (result == 1) {
        read_message(machine, message.json);
        channel_release(&message);
    } else if (result == 0 || (result != -EAGAIN && result != -EINTR && result != -EBADMSG)) {
        loop_watch_remove(machine->channel_watch); /* its end will be told by the process's */
        machine->channel_watch = NULL;
    }
}

int machine_ask(struct machine *machine, const char *operation, json_t *body, const int *fds,
                unsigned fd_count, void (*done)(void *opaque, const json_t *body, const char *why),
                void *opaque, struct error *error)
{
    struct channel_message message = {.fd_count = fd_count};
    struct question *question = malloc(sizeof(*question));
    if (!question)
        return error_set(error, ENOMEM, "%s: out of memory", operation);
    *question = (struct question){
        .id = ++machine->last_id, .done = done, .opaque = opaque, .next = machine->questions};
    for (unsigned i = 0; i < fd_count && i < CHANNEL_DESCRIPTORS_MAX; i++)
        message.fds[i] = fds[i];
    message.json =
        json_pack("{s:I, s:s, s:O*}", "id", question->id, "operation", operation, "body", body);
    int result = message.json ? channel_send(machine->channel, &message) : -ENOMEM;
    json_decref(message.json);
    if (result < 0) {
        free(question);
        return error_set(error, -result, "%s: cannot ask the machine: %s", operation,
                         strerror(-result));
    }
    machine->questions = question;
    return 0;
}

/* --- start and end --- */

static void process_ended(void *opaque, uint32_t events)
{
    struct machine *machine = opaque;
    int status = 0;
    if (waitpid(machine->pid, &status, WNOHANG) != machine->pid)
        return;
    machine->pid = 0;
    loop_watch_remove(machine->pid_watch);
    machine->pid_watch = NULL;
    while (read_messages(machine) > 0) /* its last words */
        ;
    if (machine->line_length)
        end_line(machine);
    machine->events.ended(machine->events.opaque,
                          WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                          machine->last);
}

/* messages, channel, serial: for the new process. */
static int spawn(struct machine *machine, char **arguments, const int fds[3], struct error *error)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&actions, STDIN_FILENO, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fds[0], STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, fds[1], CONTROL_FD);
    posix_spawn_file_actions_adddup2(&actions, fds[2], SERIAL_FD);
    int result =
        posix_spawn(&machine->pid, "/proc/self/exe", &actions, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return result ? error_set(error, result, "cannot start a process: %s", strerror(result)) : 0;
}

static int watch(struct machine *machine, struct loop *loop, struct error *error)
{
    machine->pid_fd = pidfd_open(machine->pid, 0);
    if (machine->pid_fd < 0)
        return error_set(error, errno, "cannot watch a process: %s", strerror(errno));
    fcntl(machine->messages, F_SETFL, O_NONBLOCK);
    machine->pid_watch =
        loop_watch_add(loop, machine->pid_fd, EPOLLIN, process_ended, machine, error);
    machine->channel_watch =
        loop_watch_add(loop, machine->channel, EPOLLIN, channel_ready, machine, error);
    machine->messages_watch =
        loop_watch_add(loop, machine->messages, EPOLLIN, messages_ready, machine, error);
    return machine->pid_watch && machine->channel_watch && machine->messages_watch ? 0 : -EIO;
}

static int spawn_with(struct machine *machine, char **arguments, const int ends[3],
                      struct error *error)
{
    int fds[3], result = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        fds[i] = fcntl(ends[i], F_DUPFD_CLOEXEC, LOWEST_OURS);
        if (fds[i] < 0)
            result = error_set(error, errno, "cannot start a process: %s", strerror(errno));
    }
    if (result == 0)
        result = spawn(machine, arguments, fds, error);
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return result;
}

/* Opens what connects the two, starts the process, closes its side here. */
static int start(struct machine *machine, char **arguments, int serial, struct error *error)
{
    int ends[2], pipes[2];
    int result = channel_pair(ends, error);
    if (result < 0)
        return result;
    machine->channel = ends[0];
    if (pipe2(pipes, O_CLOEXEC) < 0) {
        result = error_set(error, errno, "cannot make a pipe: %s", strerror(errno));
    } else {
        machine->messages = pipes[0];
        const int theirs[] = {pipes[1], ends[1], serial};
        result = spawn_with(machine, arguments, theirs, error);
        close(pipes[1]);
    }
    close(ends[1]);
    return result;
}

struct machine *machine_start(char **arguments, int serial, struct loop *loop, struct log *log,
                              const struct machine_events *events, struct error *error)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine) {
        error_set(error, ENOMEM, "out of memory");
        return NULL;
    }
    *machine = (struct machine){
        .pid_fd = -1, .channel = -1, .messages = -1, .log = log, .events = *events};
    if (start(machine, arguments, serial, error) == 0 && watch(machine, loop, error) == 0)
        return machine;
    machine_destroy(machine);
    return NULL;
}

void machine_kill(struct machine *machine)
{
    if (machine->pid > 0)
        kill(machine->pid, SIGKILL);
}

pid_t machine_pid(const struct machine *machine)
{
    return machine->pid;
}

void machine_destroy(struct machine *machine)
{
    if (!machine)
        return;
    machine_kill(machine);
    if (machine->pid > 0)
        waitpid(machine->pid, NULL, 0);
    while (machine->questions)
        answer(machine, machine->questions->id, NULL, "the machine has ended");
    loop_watch_remove(machine->pid_watch);
    loop_watch_remove(machine->channel_watch);
    loop_watch_remove(machine->messages_watch);
    const int fds[] = {machine->pid_fd, machine->channel, machine->messages};
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(machine);
}
