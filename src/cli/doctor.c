/* SPDX-License-Identifier: Apache-2.0 */
/* nacre doctor: what this host offers, what nacre will use of it, and what to do about what is
 * missing. */
#include "cli/doctor.h"

#include "cli/cli.h"
#include "cpu/engine.h"

/* A line of the report, and below it what to do. */
static void print_finding(const char *what, const struct finding *finding)
{
    printf("  %-18s %s\n", what, finding->state);
    if (finding->advice)
        printf("  %-18s   -> %s\n", "", finding->advice);
}

static void print_engines(void)
{
    struct error error;
    printf("\nEngines in this build:\n");
    for (unsigned i = 0; engines[i]; i++) {
        const char *state = engine_choose(engines[i]->name, &error) ? "yes" : error.message;
        printf("  %-18s %s\n", engines[i]->name, state);
    }
    const struct engine_ops *best = engine_choose(NULL, &error);
    printf("\nnacre will use: engine %s, --net user, memory from a memfd\n",
           best ? best->name : "none");
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    int result = options_parse(&command_doctor, NULL, argc, argv, &error);
    if (result < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
        return EXIT_CODE_CONFIGURATION;
    }
    if (result > 0)
        return EXIT_CODE_OK;
    printf("This host offers:\n");
    for (const struct check *check = host_checks; check->what; check++) {
        struct finding finding = {0};
        check->look(&finding);
        print_finding(check->what, &finding);
    }
    print_engines();
    return EXIT_CODE_OK;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "say what this host offers and what nacre will use",
    .usage = "",
    .examples = "  nacre doctor\n",
    .options = no_options,
    .run = run,
};
