/* SPDX-License-Identifier: Apache-2.0 */
/*
 * differential [--engine NAME|all] [--seed S] [--cases N] [--group G] [--case N]
 *
 * Runs each case on the host and in each engine, and prints what differs, at most ten times, each
 * with the line that runs that case alone.
 */
#include "differential/differential.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUTS_PER_CODE 16
#define REPORTS_MAX     10
#define ENGINES_MAX     8

struct run {
    const char *group, *engine;
    uint64_t seed, cases, first, passed, failed;
    unsigned engine_count;
    struct machine *machines[ENGINES_MAX];
    const char *names[ENGINES_MAX];
};

static void disassemble(const struct test_case *test, char *text, size_t size)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    ZydisFormatter formatter;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisDecoderDecodeFull(&decoder, test->code, test->length, &instruction, operands);
    ZydisFormatterFormatInstruction(&formatter, &instruction, operands,
                                    instruction.operand_count_visible, text, size, 0, NULL);
}

static uint64_t compared_flags(const struct test_case *test, const struct machine_state *before)
{
    return RFLAGS_ARITHMETIC & ~undefined_flags(test, before);
}

static bool equal(const struct test_case *test, const struct machine_state *before,
                  const struct machine_state *native, const struct machine_state *engine)
{
    if (native->faulted || engine->faulted)
        return native->faulted == engine->faulted;
    return !memcmp(native->registers, engine->registers, sizeof(native->registers)) &&
           !((native->rflags ^ engine->rflags) & compared_flags(test, before)) &&
           !memcmp(native->xmm, engine->xmm, sizeof(native->xmm)) &&
           !memcmp(native->scratch, engine->scratch, SCRATCH_SIZE);
}

static void report_engine(const struct test_case *test, const char *engine,
                          const struct machine_state *before, const struct machine_state *native,
                          const struct machine_state *after)
{
    printf("  engine %s differs from the host:\n", engine);
    if (native->faulted != after->faulted)
        printf("    host %s, engine %s\n", native->faulted ? "faults" : "goes on",
               after->faulted ? "faults" : "goes on");
    for (unsigned i = 0; i < 16; i++)
        if (native->registers[i] != after->registers[i])
            printf("    register %u: before %016llx, host %016llx, engine %016llx\n", i,
                   (unsigned long long)before->registers[i],
                   (unsigned long long)native->registers[i],
                   (unsigned long long)after->registers[i]);
    if ((native->rflags ^ after->rflags) & compared_flags(test, before))
        printf("    flags: before %03llx, host %03llx, engine %03llx, rax %016llx rcx %016llx\n",
               (unsigned long long)before->rflags, (unsigned long long)native->rflags,
               (unsigned long long)after->rflags, (unsigned long long)before->registers[GPR_RAX],
               (unsigned long long)before->registers[GPR_RCX]);
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(native->xmm[i], after->xmm[i], 16))
            printf("    xmm%u differs\n", i);
    if (memcmp(native->scratch, after->scratch, SCRATCH_SIZE))
        printf("    memory differs\n");
}

static void report(const struct run *run, const struct test_case *test, uint64_t number,
                   const bool *differs, const struct machine_state *before,
                   const struct machine_state *native, const struct machine_state *after)
{
    char text[128];
    disassemble(test, text, sizeof(text));
    printf("DIFFERS %s\n  again: differential --case %llu --seed %llu", text,
           (unsigned long long)number, (unsigned long long)run->seed);
    printf(run->group ? " --group %s\n" : "\n", run->group);
    for (unsigned i = 0; i < run->engine_count; i++)
        if (differs[i])
            report_engine(test, run->names[i], before, native, &after[i]);
        else
            printf("  engine %s agrees with the host\n", run->names[i]);
}

/* What a case is made of depends on its number alone: any one can be run again. */
static struct random random_of(uint64_t seed, uint64_t number)
{
    uint64_t state = (seed * UINT64_C(0x9e3779b97f4a7c15)) ^ number; /* splitmix64 */
    state = (state ^ state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    state = (state ^ state >> 27) * UINT64_C(0x94d049bb133111eb);
    return (struct random){(state ^ state >> 31) | 1};
}

static void compare_one(struct run *run, const struct test_case *test, uint64_t number)
{
    static struct machine_state before, native, after[ENGINES_MAX];
    struct random random = random_of(run->seed, number << 1 | 1);
    bool differs[ENGINES_MAX], any = false;
    generate_inputs(&random, test, &before);
    host_run(test, &before, &native);
    for (unsigned i = 0; i < run->engine_count; i++) {
        machine_run(run->machines[i], &before, &after[i]);
        differs[i] = !equal(test, &before, &native, &after[i]);
        any |= differs[i];
    }
    if (!any)
        run->passed++;
    else if (run->failed++ < REPORTS_MAX)
        report(run, test, number, differs, &before, &native, after);
}

/* The code of a case: shared by INPUTS_PER_CODE of them. */
static void make_code(const struct run *run, uint64_t number, struct test_case *test)
{
    struct random random = random_of(run->seed, number / INPUTS_PER_CODE << 1);
    while (!generate(&random, run->group, test))
        continue;
    for (unsigned i = 0; i < run->engine_count; i++)
        machine_load(run->machines[i], test);
}

static void compare_all(struct run *run)
{
    struct test_case test;
    for (uint64_t number = run->first; number < run->first + run->cases; number++) {
        if (number == run->first || number % INPUTS_PER_CODE == 0)
            make_code(run, number, &test);
        compare_one(run, &test, number);
    }
}

static int make_machines(struct run *run, struct error *error)
{
    bool all = !strcmp(run->engine, "all");
    for (unsigned i = 0; engines[i] && run->engine_count < ENGINES_MAX; i++) {
        if (!all && strcmp(run->engine, engines[i]->name))
            continue;
        struct machine *machine = machine_create(engines[i], error);
        if (!machine)
            return -1;
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
    struct run run = {.engine = "all", .seed = 1, .cases = 1000000};
    struct error error = {0};
    const char *cases = getenv("NACRE_TEST_CASES"); /* sanitizer builds: fewer */
    if (cases)
        run.cases = strtoull(cases, NULL, 0);
    if (!parse(&run, argc, argv)) {
        fprintf(stderr, "differential: wrong arguments; there are --engine NAME|all, --seed S, "
                        "--cases N, --case N, --group NAME\n");
        return 2;
    }
    if (host_create(&error) < 0 || make_machines(&run, &error) < 0) {
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
