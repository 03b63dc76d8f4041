/* SPDX-License-Identifier: Apache-2.0 */
#include "console/watcher.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TAKEN = 't', FREE = 'f' };

/* Keeps nothing open but the terminal and the pipe: whoever reads nacre's output waits for its end.
 */
static void close_others(int *pipe_end, int *terminal)
{
    *pipe_end = dup2(*pipe_end, STDERR_FILENO + 2);
    *terminal = dup2(*terminal, STDERR_FILENO + 1);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        close(fd);
    close_range(STDERR_FILENO + 3, ~0u, 0);
}

/* A session of its own has no controlling terminal: neither is it stopped for changing one in the
 * background, nor does it get the signals that keys send. */
static void watch(int pipe_end, int terminal, const struct termios *saved)
{
    char state = FREE;
    ssize_t count;
    setsid();
    prctl(PR_SET_NAME, "nacre:terminal");
    close_others(&pipe_end, &terminal);
    do
        count = read(pipe_end, &state, 1);
    while (count == 1 || (count < 0 && errno == EINTR));
    if (state == TAKEN)
        tcsetattr(terminal, TCSANOW, saved);
}

int terminal_watcher_start(int terminal, const struct termios *saved)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pid_t child = fork();
    if (child == 0) {
        /* Once more: the child is waited for here and now, the grandchild by init. */
        if (fork() == 0) {
            close(ends[1]);
            watch(ends[0], terminal, saved);
        }
        _exit(0);
    }
    int code = errno;
    close(ends[0]);
    if (child < 0) {
        close(ends[1]);
        return -code;
    }
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
    return ends[1];
}

void terminal_watcher_tell(int watcher, bool taken)
{
    const char state = taken ? TAKEN : FREE;
    /* Without a watcher nobody is to be told. */
    if (watcher < 0 || write(watcher, &state, 1) == 1)
        return;
}
