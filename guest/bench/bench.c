/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench [DIVISOR [TEST...]]: runs the tests and prints for each
 *     begin NAME
 *     end NAME SECONDS FRACTION
 * SECONDS is the time the full work would take, by this machine's own clock; FRACTION is how much
 * of the work was done, for a host that times the lines from outside because the guest's clock
 * does not keep real time (Bochs).
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_wanted(const char *name, char **names)
{
    if (!*names)
        return 1;
    for (; *names; names++)
        if (!strcmp(*names, name))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    const struct bench_test *const groups[] = {bench_compute, bench_memory, bench_kernel};
    if (argc > 1 && !strcmp(argv[1], "--exit"))
        return 0;
    int divisor = argc > 1 ? atoi(argv[1]) : 1;
    if (divisor < 1) {
        fprintf(stderr, "bench: divisor must be 1 or more, not '%s'\n", argv[1]);
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++) {
        for (const struct bench_test *test = groups[group]; test->name; test++) {
            if (!is_wanted(test->name, argc > 2 ? argv + 2 : argv + argc))
                continue;
            printf("begin %s\n", test->name);
            double start = bench_now();
            double fraction = test->run((unsigned)divisor, &start);
            double seconds = bench_now() - start;
            printf("end %s %.6f %.6f\n", test->name, seconds / fraction, fraction);
        }
    }
    return 0;
}
