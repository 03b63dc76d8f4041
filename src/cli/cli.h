/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: one file a command, one table of options each. */
#ifndef NACRE_CLI_CLI_H
#define NACRE_CLI_CLI_H

#include "base/error.h"
#include "base/number.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Exit codes, also in nacre(1). */
enum exit_code {
    EXIT_CODE_OK = 0,            /* the guest powered itself off; the command succeeded */
    EXIT_CODE_FINDINGS = 1,      /* a check found something wrong */
    EXIT_CODE_CONFIGURATION = 2, /* an option or a file is wrong; nothing was started */
    EXIT_CODE_GUEST = 3,         /* the guest's kernel panicked, or a triple fault */
    EXIT_CODE_HOST = 4,          /* the host let us down */
    EXIT_CODE_JAIL = 5,          /* a thread made a system call that its jail forbids */
    EXIT_CODE_SIGNAL = 128,      /* plus the number of the signal that ended nacre */
};

struct option_spec {
    const char *name;     /* without the dashes */
    const char *argument; /* what its argument is called; NULL: takes none */
    const char *help;     /* one line */
    /* Takes the argument's text. -errno with *error; 1: it only asked for help, and got it. */
    int (*set)(void *target, const char *text, struct error *error);
    /* The argument's words by number, for completion; NULL past the last. Optional. */
    const char *(*word)(unsigned index);
};

struct command {
    const char *name, *summary, *usage, *examples;
    const struct option_spec *options; /* ends with a NULL name */
    int (*run)(int argc, char **argv);
    /* Takes a word that is no option. -errno with *error. NULL: there are none. */
    int (*argument)(void *target, const char *text, struct error *error);
    /* Takes every option in place of its own `set`. NULL: `set` does. */
    int (*each)(void *target, const struct option_spec *option, const char *text,
                struct error *error);
    /* Whose options this one takes as well. Optional. */
    const struct command *also;
    /* Commands below this one, NULL-terminated; their names begin with this one's. Optional. */
    const struct command *const *parts;
};

extern const struct command command_clone;
extern const struct command command_restore;
extern const struct command command_run;
extern const struct command command_snapshot;
extern const struct command command_create;
extern const struct command command_start;
extern const struct command command_stop;
extern const struct command command_pause;
extern const struct command command_resume;
extern const struct command command_reset;
extern const struct command command_set;
extern const struct command command_show;
extern const struct command command_console;
extern const struct command command_screenshot;
extern const struct command command_type;
extern const struct command command_key;
extern const struct command command_list;
extern const struct command command_delete;
extern const struct command command_rename;
extern const struct command command_log;
extern const struct command command_prune;
extern const struct command command_ssh;
extern const struct command command_exec;
extern const struct command command_attach;
extern const struct command command_detach;
extern const struct command command_vmm;
extern const struct command command_doctor;
extern const struct command command_completion;
extern const struct command command_image;
extern const struct command command_network, command_network_create, command_network_list,
    command_network_delete;
extern const struct command command_manual;
/* Every command, NULL-terminated. */
extern const struct command *const commands[];

/* Of a command that has none. */
extern const struct option_spec no_options[];

/*
 * Parses argv[0..argc) against the table: "--name value", "--name=value". Returns 0, 1 after --help
 * or a list was shown, or -errno with *error: an unknown option comes with the nearest known one.
 */
int options_parse(const struct command *command, void *target, int argc, char **argv,
                  struct error *error);
void command_help(const struct command *command, FILE *stream);
/* For a command with parts: runs the one that argv[0] names. Returns its exit code. */
int command_run_part(const struct command *command, int argc, char **argv);

#endif
