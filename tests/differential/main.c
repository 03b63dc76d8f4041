/* SPDX-License-Identifier: Apache-2.0 */
/*
 * differential [--engine NAME|all] [--seed S] [--cases N] [--group G] [--case N] [--cpu MODEL]
 *
 * Runs each case on the host and in each engine, and prints what differs, at most ten times, each
 * with the line that runs that case alone.
 */
#include "differential/differential.h"

#include "cpu/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUTS_PER_CODE 16
#define REPORTS_MAX     10
#define ENGINES_MAX     8

struct run {
    const char *group, *engine, *cpu;
    uint64_t seed, cases, first, passed, failed;
    unsigned engine_count;
    struct machine *machines[ENGINES_MAX];
    const char *names[ENGINES_MAX];
    uint64_t features[ENGINES_MAX], all_features; /* BIT(enum feature) */
};

static void report(const struct run *run, const struct test_case *test, uint64_t number,
                   const bool *differs, const struct machine_state *before,
                   const struct machine_state *native, const struct machine_state *after)
{
    printf("DIFFERS: differential --case %llu --seed %llu --cpu %s", (unsigned long long)number,
           (unsigned long long)run->seed, run->cpu);
    printf(run->group ? " --group %s\n" : "\n", run->group);
    report_code(test);
    for (unsigned i = 0; i < run->engine_count; i++) {
        printf("  %s %s\n", run->names[i], differs[i] ? "differs from the host:" : "agrees");
        if (differs[i])
            report_difference(test, before, native, &after[i]);
    }
}

/* What a case is made of depends on its number alone: any one can be run again. */
static struct random random_of(uint64_t seed, uint64_t number)
{
    uint64_t state = (seed * UINT64_C(0x9e3779b97f4a7c15)) ^ number; /* splitmix64 */
    state = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ state >> 27) * UINT64_C(0x94d049bb133111eb);
    return (struct random){(state ^ state >> 31) | 1};
}

/* Which engines differ from the host; false: none. */
static bool compare_engines(const struct run *run, const struct test_case *test,
                            const struct machine_state *before, const struct machine_state *native,
                            const struct machine_state *after, bool *differs)
{
    bool any = false;
    for (unsigned i = 0; i < run->engine_count; i++) {
        differs[i] =
            run->features[i] & BIT(test->feature) && !states_equal(test, before, native, &after[i]);
        any |= differs[i];
    }
    return any;
}

/* Once in some million cases this project's hosts, virtual machines themselves, lose all vector
 * registers on the way. What the host says the second time counts; it is reported. */
static bool host_contradicts_itself(const struct run *run, const struct test_case *test,
                                    const struct machine_state *before,
                                    struct machine_state *native)
{
    static struct machine_state again;
    host_load(test);
    host_run(test, before, &again);
    if (states_equal(test, before, &again, native))
        return false;
    printf("%s: the host itself gave two results; the second counts\n",
           run->group ? run->group : "case");
    *native = again;
    return true;
}

static void compare_one(struct run *run, const struct test_case *test, uint64_t number)
{
    static struct machine_state before, native, after[ENGINES_MAX];
    struct random random = random_of(run->seed, number << 1 | 1);
    bool differs[ENGINES_MAX];
    host_announce(number);
    generate_inputs(&random, test, &before);
    host_run(test, &before, &native);
    for (unsigned i = 0; i < run->engine_count; i++)
        if (run->features[i] & BIT(test->feature))
            machine_run(run->machines[i], test, &before, &after[i]);
    bool any = compare_engines(run, test, &before, &native, after, differs);
    if (any && host_contradicts_itself(run, test, &before, &native))
        any = compare_engines(run, test, &before, &native, after, differs);
    if (!any)
        run->passed++;
    else if (run->failed++ < REPORTS_MAX)
        report(run, test, number, differs, &before, &native, after);
}

static void load_code(const struct run *run, const struct test_case *test)
{
    host_load(test);
    for (unsigned i = 0; i < run->engine_count; i++)
        machine_load(run->machines[i], test);
}

/* The code of a case: shared by INPUTS_PER_CODE of them. */
static void make_code(const struct run *run, uint64_t number, struct test_case *test)
{
    struct random random = random_of(run->seed, number / INPUTS_PER_CODE << 1);
    uint64_t slot = number / INPUTS_PER_CODE % SLOT_COUNT;
    generate(&random, run->group, run->all_features, CODE_ADDRESS + slot * SLOT_SIZE + CODE_START,
             test);
    load_code(run, test);
}

static void compare_all(struct run *run)
{
    struct test_case test;
    for (uint64_t number = run->first; number < run->first + run->cases; number++) {
        if (number == run->first || number % INPUTS_PER_CODE == 0)
            make_code(run, number, &test);
        else if (test.patched)
            load_code(run, &test);
        compare_one(run, &test, number);
    }
}

static int make_machines(struct run *run, struct error *error)
{
    bool all = !strcmp(run->engine, "all");
    for (unsigned i = 0; engines[i] && run->engine_count < ENGINES_MAX; i++) {
        if (!all && strcmp(run->engine, engines[i]->name))
            continue;
        struct machine *machine = machine_create(engines[i], run->cpu, error);
        if (!machine)
            return -1;
        run->features[run->engine_count] = machine_features(machine) & host_features();
        run->all_features |= run->features[run->engine_count];
        run->names[run->engine_count] = engines[i]->name;
        run->machines[run->engine_count++] = machine;
    }
    return run->engine_count ? 0
                             : error_set(error, ENOENT, "--engine: no such engine in this build");
}

static bool parse(struct run *run, int argc, char **argv)
{
    if (argc % 2 == 0)
        return false;
    for (int i = 1; i < argc; i += 2) {
        const char *name = argv[i], *value = argv[i + 1];
        if (!strcmp(name, "--seed")) {
            run->seed = strtoull(value, NULL, 0);
        } else if (!strcmp(name, "--cases")) {
            run->cases = strtoull(value, NULL, 0);
        } else if (!strcmp(name, "--group")) {
            run->group = value;
        } else if (!strcmp(name, "--engine")) {
            run->engine = value;
        } else if (!strcmp(name, "--cpu")) {
            run->cpu = value;
        } else if (!strcmp(name, "--case")) {
            run->first = strtoull(value, NULL, 0);
            run->cases = 1;
        } else {
            return false;
        }
    }
    return !run->group || group_exists(run->group);
}

int main(int argc, char **argv)
{
    struct run run = {.engine = "all", .cpu = CPU_MODEL_DEFAULT, .seed = 1, .cases = 500000};
    struct error error = {0};
    const char *cases = getenv("NACRE_TEST_CASES"); /* sanitizer builds: fewer */
    catalogue_create();
    if (!parse(&run, argc, argv)) {
        fprintf(stderr, "differential: wrong arguments; there are --engine NAME|all, --seed S, "
                        "--cases N, --case N, --cpu MODEL, --group NAME; groups:\n");
        groups_print();
        return 2;
    }
    if (cases && strtoull(cases, NULL, 0) < run.cases)
        run.cases = strtoull(cases, NULL, 0);
    /* The host's signal handlers pass on what is an engine's. */
    if (make_machines(&run, &error) < 0 || host_create(&error) < 0) {
        fprintf(stderr, "differential: %s\n", error.message);
        return 1;
    }
    compare_all(&run);
    for (unsigned i = 0; i < run.engine_count; i++)
        machine_destroy(run.machines[i]);
    printf("%llu passed, %llu failed\n", (unsigned long long)run.passed,
           (unsigned long long)run.failed);
    return run.failed ? 1 : 0;
}
