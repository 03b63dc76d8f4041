/* SPDX-License-Identifier: Apache-2.0 */
#include "net/process.h"

#include "net/link.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define BATCH_MAX 64 /* frames until the loop's other work gets its turn */
#define CHILD_FD  3  /* the child's end: all it has besides the standard three */

int process_keep_only(int fd, bool keep_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (!keep_stderr)
        dup2(null, STDERR_FILENO);
    if (fd != CHILD_FD)
        dup2(fd, CHILD_FD);
    fcntl(CHILD_FD, F_SETFD, FD_CLOEXEC);
    close_range(CHILD_FD + 1, ~0u, 0);
    return CHILD_FD;
}

/* --- the back end's process --- */

struct child {
    struct loop *loop;
    struct frame_backend *backend;
    struct frame frame;
};

/* Waits when the other end is slow: the senders on the Internet will wait as well. */
static bool child_to_guest(void *opaque, const struct frame *frame, size_t length)
{
    send(CHILD_FD, frame, link_message_size(length), MSG_NOSIGNAL);
    return true;
}

/* Nothing more to read, or an empty message: the machine has ended. */
static void child_ready(void *opaque, uint32_t events)
{
    struct child *child = opaque;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t size = recv(CHILD_FD, &child->frame, sizeof(child->frame), MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            loop_stop(child->loop);
            return;
        }
        size_t length = link_frame_length(&child->frame, size);
        if (length)
            child->backend->ops->send(child->backend, &child->frame, length);
    }
}

static void child_run(int fd, const struct frame_kind *kind, char *settings,
                      const struct thread_guard *guard)
{
    struct child child = {0};
    struct error error = {0};
    prctl(PR_SET_NAME, "nacre-net");
    process_keep_only(fd, true);
    child.loop = loop_create(&error);
    const struct frame_host host = {.loop = child.loop};
    if (child.loop)
        child.backend = kind->open(settings, &host, &error);
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

/* The machine's end; -1 with *error. */
static int start(const struct frame_kind *kind, char *settings, const struct thread_guard *guard,
                 struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) {
        error_set(error, errno, "--net: cannot make a pair of sockets: %s", strerror(errno));
        return -1;
    }
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
        child_run(ends[1], kind, settings, guard);
    }
    if (pid < 0)
        error_set(error, errno, "--net: cannot make a process: %s", strerror(errno));
    close(ends[1]);
    if (pid > 0 && wait_for_start(ends[0], pid, error) == 0)
        return ends[0];
    close(ends[0]);
    return -1;
}

/* Nobody waits for its status: that goes with the machine's own process. */
struct frame_backend *process_open(const struct frame_kind *kind, char *settings,
                                   const struct frame_host *host, struct error *error)
{
    int fd = start(kind, settings, host->guard, error);
    return fd < 0 ? NULL : link_open(fd, "the network's process", host, error);
}
