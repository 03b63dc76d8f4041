/* SPDX-License-Identifier: Apache-2.0 */
/* Option tables: parsing, help, suggestions. */
#include "base/bits.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>

const struct option_spec no_options[] = {{0}};

/* Edits that turn a into b: small for a slip of the finger. Names are short; longer ones are cut.
 */
static unsigned edit_distance(const char *a, const char *b)
{
    enum { LIMIT = 32 };
    unsigned row[LIMIT + 1];
    size_t length = strnlen(b, LIMIT);
    for (size_t j = 0; j <= length; j++)
        row[j] = (unsigned)j;
    for (size_t i = 0; i < LIMIT && a[i]; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i + 1;
        for (size_t j = 1; j <= length; j++) {
            unsigned above = row[j], best = diagonal + (a[i] != b[j - 1]);
            if (above + 1 < best)
                best = above + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = above;
            row[j] = best;
        }
    }
    return row[length];
}

/* text: what followed the dashes, perhaps with "=value". */
__attribute__((nonnull)) static int unknown_option(const struct command *command, const char *text,
                                                   struct error *error)
{
    char name[64];
    const char *nearest = NULL;
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(text, "="), text);
    unsigned best = 4;
    for (const struct command *from = command; from; from = from->also) {
        for (const struct option_spec *option = from->options; option->name; option++) {
            unsigned distance = edit_distance(name, option->name);
            if (distance < best) {
                best = distance;
                nearest = option->name;
            }
        }
    }
    if (nearest)
        return error_set(error, EINVAL, "--%s: unknown option; did you mean --%s?", name, nearest);
    return error_set(error, EINVAL, "--%s: unknown option; see nacre %s --help", name,
                     command->name);
}

static const struct option_spec *option_find(const struct command *command, const char *name,
                                             size_t length)
{
    for (; command; command = command->also)
        for (const struct option_spec *option = command->options; option->name; option++)
            if (strlen(option->name) == length && !strncmp(option->name, name, length))
                return option;
    return NULL;
}

int options_parse(const struct command *command, void *target, int argc, char **argv,
                  struct error *error)
{
    for (int i = 0; i < argc; i++) {
        const char *name = argv[i];
        if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
            command_help(command, stdout);
            return 1;
        }
        if (strncmp(name, "--", 2) && command->argument) {
            int result = command->argument(target, name, error);
            if (result < 0)
                return result;
            continue;
        }
        if (strncmp(name, "--", 2) || !name[2])
            return error_set(error, EINVAL, "%s: unexpected argument; see nacre %s --help", name,
                             command->name);
        name += 2;
        size_t length = strcspn(name, "=");
        const struct option_spec *option = option_find(command, name, length);
        if (!option)
            return unknown_option(command, name, error);
        const char *text = name[length] ? name + length + 1 : NULL;
        if (!option->argument && text)
            return error_set(error, EINVAL, "--%s: takes no argument", option->name);
        if (option->argument && !text && ++i < argc)
            text = argv[i];
        if (option->argument && !text)
            return error_set(error, EINVAL, "--%s: needs an argument (%s)", option->name,
                             option->argument);
        int result = command->each ? command->each(target, option, text, error)
                                   : option->set(target, text, error);
        if (result)
            return result;
    }
    return 0;
}

int command_run_part(const struct command *command, int argc, char **argv)
{
    const char *word = argc > 0 ? argv[0] : "--help";
    size_t prefix = strlen(command->name) + 1;
    for (unsigned i = 0; command->parts[i]; i++)
        if (!strcmp(command->parts[i]->name + prefix, word))
            return command->parts[i]->run(argc - 1, argv + 1);
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        command_help(command, argc > 0 ? stdout : stderr);
        return argc > 0 ? EXIT_CODE_OK : EXIT_CODE_CONFIGURATION;
    }
    fprintf(stderr, "nacre: %s %s: unknown command; see nacre %s --help\n", command->name, word,
            command->name);
    return EXIT_CODE_CONFIGURATION;
}

void command_help(const struct command *command, FILE *stream)
{
    fprintf(stream, "nacre %s - %s\n\nUsage: nacre %s %s\n", command->name, command->summary,
            command->name, command->usage);
    for (unsigned i = 0; command->parts && command->parts[i]; i++)
        fprintf(stream, "  %-24s %s\n", command->parts[i]->name, command->parts[i]->summary);
    if (command->options->name)
        fprintf(stream, "\nOptions:\n");
    for (const struct option_spec *option = command->options; option->name; option++) {
        char left[64];
        snprintf(left, sizeof(left), "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        fprintf(stream, "  %-28s %s\n", left, option->help);
    }
    if (command->also)
        fprintf(stream, "  and all options of nacre %s\n", command->also->name);
    if (command->examples)
        fprintf(stream, "\nExamples:\n%s", command->examples);
}
