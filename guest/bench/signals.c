/* SPDX-License-Identifier: Apache-2.0 */
/* Signals: sent to oneself, and by a fault whose handler lets the access pass. */
#include "bench.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096 };

static volatile unsigned caught;
static uint8_t *volatile forbidden;

static void count_signal(int number)
{
    (void)number;
    caught++;
}

static void allow_access(int number, siginfo_t *details, void *context)
{
    (void)number;
    (void)context;
    if (details->si_addr != forbidden)
        _exit(1);
    caught++;
    mprotect(forbidden, PAGE, PROT_READ | PROT_WRITE);
}

static double self_signal(unsigned divisor)
{
    enum { SIGNALS = 80000 };
    unsigned signals = bench_share(SIGNALS, divisor);
    struct sigaction action = {.sa_handler = count_signal}, old;
    caught = 0;
    sigaction(SIGUSR1, &action, &old);
    for (unsigned i = 0; i < signals; i++)
        raise(SIGUSR1);
    sigaction(SIGUSR1, &old, NULL);
    bench_keep(caught);
    return (double)signals / SIGNALS;
}

static double fault_signal(unsigned divisor)
{
    enum { FAULTS = 30000 };
    unsigned faults = bench_share(FAULTS, divisor);
    struct sigaction action = {.sa_sigaction = allow_access, .sa_flags = SA_SIGINFO}, old;
    forbidden = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (forbidden == MAP_FAILED)
        bench_fail("mmap");
    caught = 0;
    sigaction(SIGSEGV, &action, &old);
    for (unsigned i = 0; i < faults; i++) {
        mprotect(forbidden, PAGE, PROT_NONE);
        *(volatile uint8_t *)forbidden = (uint8_t)i;
    }
    sigaction(SIGSEGV, &old, NULL);
    munmap(forbidden, PAGE);
    bench_keep(caught);
    return (double)faults / FAULTS;
}

const struct bench_test bench_signals[] = {
    {"signal", "raise and handler x 80 k", self_signal},
    {"segv", "SIGSEGV, handler, mprotect x 30 k", fault_signal},
    {NULL, NULL, NULL},
};
