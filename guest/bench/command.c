/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench --time NAME TITLE COMMAND...: times a real program from its fork to its end. The checksum
 * is that of what it writes to its standard output.
 */
#include "bench.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_command(char **command, int *output)
{
    int ends[2];
    if (pipe(ends))
        bench_fail("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execvp(command[0], command);
        _exit(127);
    }
    if (pid < 0)
        bench_fail("fork");
    close(ends[1]);
    *output = ends[0];
    return pid;
}

/* By bytes, not by pieces: how a pipe cuts its data is not the same each time. */
static void keep_output(int output)
{
    static unsigned char data[65536];
    ssize_t length;
    while ((length = read(output, data, sizeof(data))) > 0)
        for (ssize_t i = 0; i < length; i++)
            bench_keep(data[i]);
    close(output);
}

void bench_command(char **command)
{
    int output, status;
    pid_t pid = start_command(command, &output);
    keep_output(output);
    if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status))
        bench_fail(command[0]);
}
