/* SPDX-License-Identifier: Apache-2.0 */
/* The options of nacre run. */
#ifndef NACRE_CLI_RUN_OPTIONS_H
#define NACRE_CLI_RUN_OPTIONS_H

#include "cli/cli.h"
#include "jail/jail.h"
#include "vm/snapshot.h"
#include "vm/vm.h"

struct run_options {
    struct vm_config vm;
    struct cpu_model model; /* --cpu's, as this host can run it; vm.model leads here */
    struct console_config serial, console, debug_console;
    bool serial_chosen;
    struct display_config display;
    const char *engine; /* NULL: auto */
    bool stats;         /* print what the engines have counted at the end */
    enum jail_mode jail;
    enum log_level log_level;
    const char *log_file; /* NULL: stderr */
    int control; /* the supervisor's end of a channel is at this descriptor's other side; 0: none */
    const char *name;    /* of the VM; NULL: none */
    const char *restore; /* folder of the snapshot to go on from; NULL: boot */
    bool restore_verify; /* read all of it first */
    const char *save;    /* where SIGUSR2 saves; NULL: nowhere */
    uint32_t trace_kinds;
    const char *trace_file; /* NULL: stderr */
};

extern const struct option_spec run_option_table[];

struct run_options run_options_default(void);

/* After parsing: what depends on several options, and defaults. -errno with *error. */
int run_options_settle(struct run_options *options, struct error *error);

#endif
