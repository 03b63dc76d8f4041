/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench [DIVISOR [TEST...]]: runs the tests and prints for each
 *     begin NAME GROUP TITLE
 *     end NAME SECONDS WALL CHECKSUM
 * SECONDS is the time the full work would take, by this machine's own clock; WALL is the time
 * between the two lines by the same clock, so that a host can see how far that clock is off. Tests
 * of the group smp run only when they are named: they want two CPUs.
 *
 * bench --time NAME TITLE COMMAND...: the same two lines around another program.
 * bench --init: is the first program of a guest, for measuring power-on.
 */
#include "bench.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static uint64_t checksum;

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

static void print_end(const char *name, double seconds, double wall)
{
    printf("end %s %.6f %.6f %016llx\n", name, seconds, wall, (unsigned long long)checksum);
}

static void run_test(const char *group, const struct bench_test *test, unsigned divisor)
{
    checksum = 0;
    printf("begin %s %s %s\n", test->name, group, test->title);
    double begin = bench_now(), start = begin;
    double fraction = test->run(divisor, &start);
    double end = bench_now();
    print_end(test->name, (end - start) / fraction, end - begin);
}

static void run_command(const char *name, const char *title, char **command)
{
    printf("begin %s program %s\n", name, title);
    double seconds = bench_command(command);
    print_end(name, seconds, seconds);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1 && !strcmp(argv[1], "--exit"))
        return 0;
    if (argc > 1 && !strcmp(argv[1], "--init"))
        bench_init();
    if (argc > 4 && !strcmp(argv[1], "--time")) {
        run_command(argv[2], argv[3], argv + 4);
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
            if (is_wanted(groups[i].name, test->name, names))
                run_test(groups[i].name, test, (unsigned)divisor);
    return 0;
}
