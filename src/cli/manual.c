/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nacre manual: prints nacre(1), made from the tables that parse the options. docs/nacre.1 is its
 * output; a test compares the two.
 */
#include "base/bits.h"
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
    if (command->also)
        printf(".PP\nAnd all options of nacre %s.\n", command->also->name);
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

static const char *const ends[][2] = {
    {"stdio", "Standard input and output. One console only can be there."},
    {"pty", "A new pseudo-terminal; a line on standard error names it, as in `screen /dev/pts/3`."},
    {"unix:PATH,server",
     "A socket that serves one peer after the other, for its user only. A socket "
     "that a nacre which was killed has left at the path is replaced."},
    {"unix:PATH", "Connects to a socket; after a hang-up once a second until it is there again."},
    {"file:PATH", "Output into a file, which is emptied first."},
    {"fd:N", "A descriptor that the parent process has opened."},
    {"none", "Nobody."},
};

static const char *const files[][2] = {
    {"config.json", "What the VM is made of; nacre set changes it."},
    {"disk.qcow2, seed.img", "The disk that it owns, and what cloud-init is to do, if any."},
    {"api.sock",
     "The API of the running VM: HTTP and JSON after Cloud Hypervisor's; in the source, "
     "docs/openapi.json describes it. Events are streamed at /api/v1/events, metrics "
     "for Prometheus are at /metrics."},
    {"console.sock, console.log", "Its serial port, and what it said there lately."},
    {"events.log", "Who did what when, a JSON object a line; nacre log prints it."},
    {"nacre.log", "Messages of its processes."},
    {"lock", "Held by the process that runs the VM. After a crash nobody holds it, and nacre start "
             "replaces what was left."},
};

static const char *const signals[][2] = {
    {"SIGINT, SIGTERM, SIGHUP", "End the machine; a second one ends nacre at once."},
    {"SIGTSTP", "Stop, with the terminal as it was, until SIGCONT."},
    {"SIGUSR1", "Print what vcpus and engines have counted on standard error."},
    {"SIGWINCH", "Tells a virtio console on the terminal its new size."},
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
    print_list(keys, ARRAY_SIZE(keys));
    printf(".SH CONSOLES\nWhat the guest writes is kept while nobody reads it, the latest 64 KiB\n"
           "(16 MiB for stdio and files); the guest never waits. The other end may be:\n");
    print_list(ends, ARRAY_SIZE(ends));
    printf(".SH FILES\nA VM that nacre create has made is a directory, for its user only, below\n"
           "$NACRE_STATE; without it below /var/lib/nacre for root, and below\n"
           "$XDG_STATE_HOME/nacre or ~/.local/state/nacre for others. In it are:\n");
    print_list(files, ARRAY_SIZE(files));
    printf(".SH SIGNALS\n");
    print_list(signals, ARRAY_SIZE(signals));
    printf(".SH EXIT STATUS\n");
    print_list(exit_codes, ARRAY_SIZE(exit_codes));
    printf(".SH EXAMPLES\n.nf\n");
    for (unsigned i = 0; commands[i]; i++)
        print_text(commands[i]->examples);
    printf(".fi\n");
}

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
