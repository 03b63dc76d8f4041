/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench [DIVISOR [TEST...]]: runs the tests and prints for each
 *     begin NAME GROUP TITLE
 *     ready                  (only if there was something to prepare)
 *     end NAME SECONDS WALL PROCESSOR CHECKSUM
 * SECONDS is the time the full work would take, by this machine's own clock; WALL is the time since
 * the line before by the same clock, so that a host can see how far that clock is off; PROCESSOR is
 * the CPU time since then, children included. Tests of the group smp run only when they are named:
 * they want two CPUs. With BENCH_PAUSE in its environment the program sleeps after each line, so
 * that a host can read its own clocks while nothing happens.
 *
 * bench --time NAME TITLE COMMAND...: the same lines around another program.
 * bench --init: is the first program of a guest, for measuring power-on.
 */
#include "bench.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
    const char *name;
    const struct bench_test *tests;
} groups[] = {
    {"compute", bench_compute}, {"compute", bench_calls},    {"compute", bench_bytecode},
    {"compute", bench_aes},     {"compute", bench_sha256},   {"compute", bench_x87},
    {"memory", bench_strings},  {"memory", bench_memory},    {"memory", bench_random},
    {"kernel", bench_faults},   {"kernel", bench_processes}, {"kernel", bench_signals},
    {"kernel", bench_files},    {"smp", bench_smp},
};

/* Seconds by the wall clock, and of CPU time. */
struct moment {
    double wall, processor;
};

static uint64_t checksum;
static struct moment start;

void bench_keep(uint64_t value)
{
    checksum = (checksum ^ value) * 0x100000001b3u;
}

void bench_fail(const char *what)
{
    printf("bench: failed: %s\n", what);
    exit(1);
}

void *bench_allocate(size_t size)
{
    void *memory = malloc(size);
    if (!memory)
        bench_fail("no memory");
    return memory;
}

enum { GROUPS = sizeof(groups) / sizeof(groups[0]) };

/* Without names: all that need one CPU only. */
static bool is_wanted(const char *group, const char *name, char **names)
{
    if (!*names)
        return strcmp(group, "smp") != 0;
    for (; *names; names++)
        if (!strcmp(*names, name))
            return true;
    return false;
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < GROUPS; i++)
        for (const struct bench_test *test = groups[i].tests; test->name; test++)
            if (!strcmp(test->name, name))
                return true;
    return false;
}

static void pause_if_asked(void)
{
    if (getenv("BENCH_PAUSE"))
        usleep(50000);
}

static double processor_of(int who)
{
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

/* Of this process and the children it waited for. */
static struct moment moment_now(void)
{
    return (struct moment){bench_now(), processor_of(RUSAGE_SELF) + processor_of(RUSAGE_CHILDREN)};
}

static void begin_test(const char *name, const char *group, const char *title)
{
    printf("begin %s %s %s\n", name, group, title);
    pause_if_asked();
    checksum = 0;
    start = moment_now();
}

void bench_ready(void)
{
    puts("ready");
    pause_if_asked();
    start = moment_now();
}

static void end_test(const char *name, double fraction)
{
    struct moment end = moment_now();
    double wall = end.wall - start.wall, processor = end.processor - start.processor;
    printf("end %s %.6f %.6f %.6f %016llx\n", name, wall / fraction, wall, processor,
           (unsigned long long)checksum);
    pause_if_asked();
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && !strcmp(argv[1], "--exit"))
        return 0;
    if (argc > 1 && !strcmp(argv[1], "--init"))
        bench_init();
    if (argc > 4 && !strcmp(argv[1], "--time")) {
        begin_test(argv[2], "program", argv[3]);
        bench_command(argv + 4);
        end_test(argv[2], 1);
        return 0;
    }
    int divisor = argc > 1 ? atoi(argv[1]) : 1;
    if (divisor < 1) {
        fprintf(stderr, "bench: divisor must be 1 or more, not '%s'\n", argv[1]);
        return 2;
    }
    char **names = argc > 2 ? argv + 2 : argv + argc;
    for (char **name = names; *name; name++)
        if (!is_known(*name))
            bench_fail("no such test");
    for (size_t i = 0; i < GROUPS; i++)
        for (const struct bench_test *test = groups[i].tests; test->name; test++)
            if (is_wanted(groups[i].name, test->name, names)) {
                begin_test(test->name, groups[i].name, test->title);
                end_test(test->name, test->run((unsigned)divisor));
            }
    return 0;
}
