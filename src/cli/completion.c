/* SPDX-License-Identifier: Apache-2.0 */
/* nacre completion: prints a bash completion made from the same tables that parse the options. */
#include "cli/cli.h"

#include <string.h>

/* What follows an option: a file's name, or one of its words. */
static void print_argument(const struct option_spec *option)
{
    bool file = option->argument &&
                (!strncmp(option->argument, "FILE", 4) || !strncmp(option->argument, "PATH", 4));
    if (file) {
        printf("        --%s) COMPREPLY=($(compgen -f -- \"$word\")); return ;;\n", option->name);
    } else if (option->word) {
        printf("        --%s) COMPREPLY=($(compgen -W '", option->name);
        for (unsigned i = 0; option->word(i); i++)
            printf("%s%s", i ? " " : "", option->word(i));
        printf("' -- \"$word\")); return ;;\n");
    }
}

/* An option of the same name in two commands takes the same: the first row wins in bash, too. */
static void print_arguments(const struct command *const *list)
{
    for (unsigned i = 0; list && list[i]; i++) {
        for (const struct option_spec *option = list[i]->options; option->name; option++)
            print_argument(option);
        print_arguments(list[i]->parts);
    }
}

/* The commands below this one, by their last word; then all their options. */
static void print_parts(const struct command *command)
{
    for (unsigned i = 0; command->parts && command->parts[i]; i++)
        printf("%s ", strrchr(command->parts[i]->name, ' ') + 1);
    for (unsigned i = 0; command->parts && command->parts[i]; i++)
        for (const struct option_spec *option = command->parts[i]->options; option->name; option++)
            printf("--%s ", option->name);
}

static void print_bash(void)
{
    printf("# bash completion for nacre; made by `nacre completion`\n"
           "_nacre()\n{\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words= "
           "files=\n"
           "    if [ \"$COMP_CWORD\" = 1 ]; then\n        words='");
    for (unsigned i = 0; commands[i]; i++)
        printf("%s ", commands[i]->name);
    printf("--help --version'\n    else\n        case $before in\n");
    print_arguments(commands);
    printf("        esac\n        case ${COMP_WORDS[1]} in\n");
    for (unsigned i = 0; commands[i]; i++) {
        printf("        %s) words='", commands[i]->name);
        for (const struct command *from = commands[i]; from; from = from->also)
            for (const struct option_spec *option = from->options; option->name; option++)
                printf("--%s ", option->name);
        print_parts(commands[i]);
        printf("--help'%s ;;\n", commands[i]->parts ? "; files=-f" : "");
    }
    printf("        esac\n    fi\n    COMPREPLY=($(compgen $files -W \"$words\" -- \"$word\"))\n}\n"
           "complete -F _nacre nacre\n");
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    int result = options_parse(&command_completion, NULL, argc, argv, &error);
    if (result < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
        return EXIT_CODE_CONFIGURATION;
    }
    if (result == 0)
        print_bash();
    return EXIT_CODE_OK;
}

const struct command command_completion = {
    .name = "completion",
    .summary = "print a completion script for bash",
    .usage = "",
    .examples = "  nacre completion >/etc/bash_completion.d/nacre\n",
    .options = no_options,
    .run = run,
};
