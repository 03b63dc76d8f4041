/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nacre manual: prints nacre(1), made from the tables that parse the options. docs/nacre.1 is its
 * output; a test compares the two.
 */
#include "cli/cli.h"

/* Text, with the characters that troff would take for its own. */
static void print_text(const char *text)
{
    bool line_start = true;
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            printf("\\&");
        line_start = *text == '\n';
        if (*text == '-')
            printf("\\-");
        else if (*text == '\\')
            printf("\\e");
        else
            putchar(*text);
    }
}

static void print_options(const struct option_spec *option)
{
    for (; option->name; option++) {
        printf(".TP\n.B \\-\\-");
        print_text(option->name);
        if (option->argument) {
            printf(" \\fI");
            print_text(option->argument);
            printf("\\fR");
        }
        printf("\n");
        print_text(option->help);
        printf(".\n");
    }
}

static void print_command(const struct command *command)
{
    printf(".SS nacre ");
    print_text(command->name);
    printf(" ");
    print_text(command->usage);
    printf("\n");
    print_text(command->summary);
    printf(".\n");
    print_options(command->options);
    for (unsigned i = 0; command->parts && command->parts[i]; i++)
        print_command(command->parts[i]);
}

static const char *const exit_codes[][2] = {
    {"0", "The guest powered itself off, or the user quit; the command succeeded."},
    {"1", "A check found something wrong."},
    {"2", "An option or a file is wrong, a port is taken, memory is short: nothing was started."},
    {"3", "The guest's kernel panicked, or the guest stopped with a triple fault."},
    {"4", "The host failed while the machine ran."},
    {"5", "A thread of nacre made a system call that its jail forbids, and was stopped."},
    {"128+n", "Ended by signal n."},
};

static const char *const keys[][2] = {
    {"Ctrl-A x", "Quit: the machine stops at once."},
    {"Ctrl-A h", "List these keys."},
    {"Ctrl-A Ctrl-A", "Send Ctrl-A to the guest."},
};

static void print_list(const char *const rows[][2], unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        printf(".TP\n.B ");
        print_text(rows[i][0]);
        printf("\n");
        print_text(rows[i][1]);
        printf("\n");
    }
}

static void print_manual(void)
{
    printf(".\\\" SPDX-License-Identifier: Apache-2.0\n"
           ".\\\" Made by `nacre manual`: change the tables in src/cli, not this file.\n"
           ".TH NACRE 1 \"\" \"nacre %s\"\n"
           ".SH NAME\nnacre \\- run operating systems in virtual machines, with or without KVM\n"
           ".SH SYNOPSIS\n.B nacre\n.I COMMAND\n.RI [ OPTION ...]\n"
           ".SH COMMANDS\n",
           NACRE_VERSION);
    for (unsigned i = 0; commands[i]; i++)
        print_command(commands[i]);
    printf(".SH TERMINAL\nWhile the guest's serial port is on a terminal, keys go to the guest;\n"
           "Ctrl\\-A is the escape. Input from a pipe or a file is typed into the serial port as\n"
           "fast as the guest reads it, and its end does not stop the machine.\n");
    print_list(keys, sizeof(keys) / sizeof(keys[0]));
    printf(".SH EXIT STATUS\n");
    print_list(exit_codes, sizeof(exit_codes) / sizeof(exit_codes[0]));
    printf(".SH EXAMPLES\n.nf\n");
    for (unsigned i = 0; commands[i]; i++)
        print_text(commands[i]->examples);
    printf(".fi\n");
}

static const struct option_spec no_options[] = {{0}};

static int run(int argc, char **argv)
{
    struct error error = {0};
    int result = options_parse(&command_manual, NULL, argc, argv, &error);
    if (result < 0) {
        fprintf(stderr, "nacre: %s\n", error.message);
        return EXIT_CODE_CONFIGURATION;
    }
    if (result == 0)
        print_manual();
    return EXIT_CODE_OK;
}

const struct command command_manual = {
    .name = "manual",
    .summary = "print the manual page",
    .usage = "",
    .examples = "  nacre manual | man -l -\n",
    .options = no_options,
    .run = run,
};
