/* SPDX-License-Identifier: Apache-2.0 */
/* differential [--seed S] [--cases N] [--group G]: compares host and engines; prints what differs,
 * at most ten times. */
#include "differential/differential.h"

#include <stdio.h>
#include <stdlib.h>

#define INPUTS_PER_CODE 16
#define REPORTS_MAX     10

struct run {
    struct random random;
    const char *group;
    uint64_t seed, cases, passed, failed;
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

static void report(const struct run *run, const struct test_case *test, const char *engine,
                   const struct machine_state *before, const struct machine_state *native,
                   const struct machine_state *after)
{
    char text[128];
    disassemble(test, text, sizeof(text));
    printf("DIFFERS %s (engine %s, seed %llu)\n", text, engine, (unsigned long long)run->seed);
    if (native->faulted != after->faulted)
        printf("  host %s, engine %s\n", native->faulted ? "faults" : "goes on",
               after->faulted ? "faults" : "goes on");
    for (unsigned i = 0; i < 16; i++)
        if (native->registers[i] != after->registers[i])
            printf("  register %u: before %016llx, host %016llx, engine %016llx\n", i,
                   (unsigned long long)before->registers[i],
                   (unsigned long long)native->registers[i],
                   (unsigned long long)after->registers[i]);
    if ((native->rflags ^ after->rflags) & compared_flags(test, before))
        printf("  flags: before %03llx, host %03llx, engine %03llx, rax %016llx rcx %016llx\n",
               (unsigned long long)before->rflags, (unsigned long long)native->rflags,
               (unsigned long long)after->rflags, (unsigned long long)before->registers[GPR_RAX],
               (unsigned long long)before->registers[GPR_RCX]);
    for (unsigned i = 0; i < 16; i++)
        if (memcmp(native->xmm[i], after->xmm[i], 16))
            printf("  xmm%u differs\n", i);
    if (memcmp(native->scratch, after->scratch, SCRATCH_SIZE))
        printf("  memory differs\n");
}

static void compare_one(struct run *run, struct machine *machine, const char *engine,
                        const struct test_case *test)
{
    static struct machine_state before, native, after;
    generate_inputs(&run->random, test, &before);
    host_run(test, &before, &native);
    machine_run(machine, &before, &after);
    if (equal(test, &before, &native, &after)) {
        run->passed++;
        return;
    }
    if (run->failed++ < REPORTS_MAX)
        report(run, test, engine, &before, &native, &after);
}

static void run_engine(struct run *run, const struct engine_ops *engine)
{
    struct error error = {0};
    struct test_case test;
    struct machine *machine = machine_create(engine, &error);
    if (!machine) {
        fprintf(stderr, "differential: engine %s: %s\n", engine->name, error.message);
        exit(1);
    }
    run->random.state = run->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    for (uint64_t done = 0; done < run->cases;) {
        if (!generate(&run->random, run->group, &test))
            continue;
        machine_load(machine, &test);
        for (unsigned i = 0; i < INPUTS_PER_CODE; i++, done++)
            compare_one(run, machine, engine->name, &test);
    }
    machine_destroy(machine);
}

int main(int argc, char **argv)
{
    struct run run = {.seed = 1, .cases = 1000000};
    struct error error = {0};
    const char *cases = getenv("NACRE_TEST_CASES"); /* sanitizer builds: fewer */
    if (cases)
        run.cases = strtoull(cases, NULL, 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--seed"))
            run.seed = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--cases"))
            run.cases = strtoull(argv[i + 1], NULL, 0);
        else if (!strcmp(argv[i], "--group"))
            run.group = argv[i + 1];
    }
    if (run.group && !group_exists(run.group)) {
        fprintf(stderr, "differential: --group %s: no such group\n", run.group);
        return 2;
    }
    if (host_create(&error) < 0) {
        fprintf(stderr, "differential: %s\n", error.message);
        return 1;
    }
    for (unsigned i = 0; engines[i]; i++)
        run_engine(&run, engines[i]);
    printf("%llu passed, %llu failed\n", (unsigned long long)run.passed,
           (unsigned long long)run.failed);
    return run.failed ? 1 : 0;
}
