/* SPDX-License-Identifier: Apache-2.0 */
#include "net/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_MAX     64 /* frames until the loop's other work gets its turn */
#define SEND_WAIT_MS  20 /* for room, before a frame is dropped */
#define CLOSE_WAIT_MS 1000
#define CHILD_FD      3 /* the child's end: all it has besides the standard three */

/* --- the back end's process --- */

struct child {
    struct loop *loop;
    struct frame_backend *backend;
    uint8_t frame[FRAME_MAX];
};

/* Waits when the other end is slow: the senders on the Internet will wait as well. */
static bool child_to_guest(void *opaque, const uint8_t *frame, size_t length)
{
    return send(CHILD_FD, frame, length, MSG_NOSIGNAL) == (ssize_t)length;
}

/* Nothing more to read, or an empty message: the machine has ended. */
static void child_ready(void *opaque, uint32_t events)
{
    struct child *child = opaque;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t length = recv(CHILD_FD, child->frame, sizeof(child->frame), MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            loop_stop(child->loop);
            return;
        }
        child->backend->ops->send(child->backend, child->frame, (size_t)length);
    }
}

/* Keeps nothing of the machine's but the socket and where messages go. */
static void child_close_descriptors(int fd)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    dup2(fd, CHILD_FD);
    fcntl(CHILD_FD, F_SETFD, FD_CLOEXEC);
    close_range(CHILD_FD + 1, ~0u, 0);
}

static void child_run(int fd, const struct frame_kind *kind, char *settings,
                      const struct thread_guard *guard)
{
    struct child child = {0};
    struct error error = {0};
    prctl(PR_SET_NAME, "nacre-net");
    child_close_descriptors(fd);
    child.loop = loop_create(&error);
    if (child.loop)
        child.backend = kind->open(settings, child.loop, &error);
    if (child.backend &&
        !loop_watch_add(child.loop, CHILD_FD, EPOLLIN, child_ready, &child, &error)) {
        child.backend->ops->close(child.backend);
        child.backend = NULL;
    }
    if (child.backend)
        error.code = 0;
    if (send(CHILD_FD, &error, sizeof(error), MSG_NOSIGNAL) < 0 || !child.backend)
        _exit(EXIT_FAILURE);
    child.backend->sink.receive = child_to_guest;
    thread_enter(guard, THREAD_NET);
    loop_run(child.loop);
    child.backend->ops->close(child.backend);
    _exit(EXIT_SUCCESS);
}

/* --- the machine's end --- */

struct process {
    struct frame_backend backend;
    struct log *log;
    int fd;
    struct loop_watch *watch;
    uint8_t frame[FRAME_MAX];
};

static void process_gone(struct process *process)
{
    loop_watch_remove(process->watch);
    process->watch = NULL;
    log_message(process->log, LOG_ERROR,
                "the network's process has ended: the guest is cut off until it is started again");
}

static void process_ready(void *opaque, uint32_t events)
{
    struct process *process = opaque;
    const struct frame_sink *sink = &process->backend.sink;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t length = read(process->fd, process->frame, sizeof(process->frame));
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (length <= 0) {
            process_gone(process);
            return;
        }
        if (sink->receive) /* no room: dropped, as on a wire */
            sink->receive(sink->opaque, process->frame, (size_t)length);
    }
}

/* Frames that the other process does not take in time are lost, as on a wire. */
static void process_send(struct frame_backend *backend, const uint8_t *frame, size_t length)
{
    struct process *process = (struct process *)backend;
    struct pollfd poller = {.fd = process->fd, .events = POLLOUT};
    if (!process->watch || !length)
        return;
    if (write(process->fd, frame, length) >= 0 || errno != EAGAIN)
        return;
    if (poll(&poller, 1, SEND_WAIT_MS) == 1 && write(process->fd, frame, length) < 0)
        return;
}

static void process_ready_again(struct frame_backend *backend)
{
}

/* Waits for its end, so that the host's ports are free again. Nobody waits for its status: that
 * goes with the machine's own process. */
static void process_close(struct frame_backend *backend)
{
    struct process *process = (struct process *)backend;
    struct pollfd poller = {.fd = process->fd, .events = POLLIN};
    loop_watch_remove(process->watch);
    if (write(process->fd, process->frame, 0) == 0) /* "the machine has ended" */
        while (poll(&poller, 1, CLOSE_WAIT_MS) == 1 &&
               read(process->fd, process->frame, sizeof(process->frame)) > 0)
            ;
    close(process->fd);
    free(process);
}

static const struct frame_ops process_ops = {
    .name = "process", .send = process_send, .ready = process_ready_again, .close = process_close};

/* What the child has to say of its start. */
static int wait_for_start(int fd, pid_t pid, struct error *error)
{
    struct error outcome;
    ssize_t length = recv(fd, &outcome, sizeof(outcome), 0);
    if (length == (ssize_t)sizeof(outcome) && outcome.code == 0)
        return 0;
    waitpid(pid, NULL, 0);
    if (length != (ssize_t)sizeof(outcome))
        return error_set(error, EIO, "--net: its process ended at once");
    outcome.message[sizeof(outcome.message) - 1] = 0;
    *error = outcome;
    return -outcome.code;
}

static struct process *start(const struct frame_kind *kind, char *settings,
                             const struct frame_host *host, int ends[2], struct error *error)
{
    pid_t parent = getpid(), pid = fork();
    if (pid < 0) {
        error_set(error, errno, "--net: cannot make a process: %s", strerror(errno));
        return NULL;
    }
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
        child_run(ends[1], kind, settings, host->guard);
    }
    close(ends[1]);
    ends[1] = -1;
    if (wait_for_start(ends[0], pid, error) < 0 || fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0)
        return NULL;
    struct process *process = calloc(1, sizeof(*process));
    if (!process) {
        error_set(error, ENOMEM, "--net: out of memory");
        return NULL;
    }
    process->backend.ops = &process_ops;
    process->log = host->log;
    process->fd = ends[0];
    process->watch =
        loop_watch_add(host->loop, process->fd, EPOLLIN, process_ready, process, error);
    if (process->watch)
        return process;
    free(process);
    return NULL;
}

struct frame_backend *process_open(const struct frame_kind *kind, char *settings,
                                   const struct frame_host *host, struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        error_set(error, errno, "--net: cannot make a pair of sockets: %s", strerror(errno));
        return NULL;
    }
    struct process *process = start(kind, settings, host, ends, error);
    if (process)
        return &process->backend;
    for (unsigned i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
    return NULL;
}
