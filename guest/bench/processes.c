/* SPDX-License-Identifier: Apache-2.0 */
/* Tests that spend their time in the guest's kernel: system calls, processes, pipes. */
#include "bench.h"

#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static double null_syscall(unsigned divisor)
{
    unsigned rounds = bench_share(1000000, divisor);
    for (unsigned i = 0; i < rounds; i++)
        syscall(SYS_getppid);
    return rounds / 1e6;
}

static void fork_rounds(unsigned rounds, void (*child)(void))
{
    for (unsigned i = 0; i < rounds; i++) {
        pid_t pid = fork();
        if (pid < 0)
            bench_fail("fork");
        if (pid == 0) {
            child();
            _exit(0);
        }
        waitpid(pid, NULL, 0);
    }
}

static void child_exit(void)
{
}

/* The program itself: told by its argument to end at once. */
static void child_exec(void)
{
    execl("/proc/self/exe", "bench", "--exit", (char *)NULL);
}

static double fork_exit(unsigned divisor)
{
    unsigned rounds = bench_share(300, divisor);
    fork_rounds(rounds, child_exit);
    return rounds / 300.0;
}

static double fork_exec(unsigned divisor)
{
    unsigned rounds = bench_share(100, divisor);
    fork_rounds(rounds, child_exec);
    return rounds / 100.0;
}

static double ping_pong(unsigned divisor)
{
    unsigned rounds = bench_share(20000, divisor);
    int there[2], back[2];
    char byte = 0;
    if (pipe(there) || pipe(back))
        bench_fail("pipe");
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("fork");
    for (unsigned i = 0; i < rounds; i++) {
        if (pid == 0 && (read(there[0], &byte, 1) != 1 || write(back[1], &byte, 1) != 1))
            _exit(1);
        if (pid && (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1))
            bench_fail("a byte through the pipe");
    }
    if (pid == 0)
        _exit(0);
    waitpid(pid, NULL, 0);
    for (int i = 0; i < 2; i++) {
        close(there[i]);
        close(back[i]);
    }
    return rounds / 20000.0;
}

const struct bench_test bench_processes[] = {
    {"syscall", "null syscall x 1 M", null_syscall},
    {"fork", "fork + exit x 300", fork_exit},
    {"exec", "fork + exec x 100", fork_exec},
    {"pipe", "pipe ping-pong x 20 k", ping_pong},
    {NULL, NULL, NULL},
};
