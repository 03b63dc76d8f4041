/* SPDX-License-Identifier: Apache-2.0 */
#include "base/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int helper_keep_only(int fd, int more, bool keep_stderr)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    if (!keep_stderr)
        dup2(null, STDERR_FILENO);
    /* Out of the way first: each may lie where the other is to go. */
    fd = fcntl(fd, F_DUPFD_CLOEXEC, HELPER_MORE + 1);
    if (more >= 0)
        more = fcntl(more, F_DUPFD_CLOEXEC, HELPER_MORE + 1);
    dup3(fd, HELPER_FD, O_CLOEXEC);
    if (more >= 0)
        dup3(more, HELPER_MORE, O_CLOEXEC);
    close_range(more >= 0 ? HELPER_MORE + 1 : HELPER_MORE, ~0u, 0);
    return HELPER_FD;
}

void helper_started(const struct error *error)
{
    if (send(HELPER_FD, error, sizeof(*error), MSG_NOSIGNAL) < 0 || error->code)
        _exit(EXIT_FAILURE);
}

static int wait_for_start(const struct helper_config *config, int fd, pid_t pid,
                          struct error *error)
{
    struct error outcome;
    ssize_t length = recv(fd, &outcome, sizeof(outcome), 0);
    if (length == (ssize_t)sizeof(outcome) && outcome.code == 0)
        return 0;
    waitpid(pid, NULL, 0);
    if (length != (ssize_t)sizeof(outcome))
        return error_set(error, EIO, "%s: its process ended at once", config->what);
    outcome.message[sizeof(outcome.message) - 1] = 0;
    *error = outcome;
    return -outcome.code;
}

int helper_start(const struct helper_config *config, struct error *error)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return error_set(error, errno, "%s: cannot make a pair of sockets: %s", config->what,
                         strerror(errno));
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(EXIT_FAILURE);
        prctl(PR_SET_NAME, config->name);
        helper_keep_only(ends[1], config->more, true);
        config->run(config->opaque);
        _exit(EXIT_SUCCESS);
    }
    int result = pid < 0 ? error_set(error, errno, "%s: cannot make a process: %s", config->what,
                                     strerror(errno))
                         : 0;
    close(ends[1]);
    if (result == 0)
        result = wait_for_start(config, ends[0], pid, error);
    if (result == 0)
        return ends[0];
    close(ends[0]);
    return result;
}
