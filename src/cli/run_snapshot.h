/* SPDX-License-Identifier: Apache-2.0 */
/* nacre run --restore and --save. */
#ifndef NACRE_CLI_RUN_SNAPSHOT_H
#define NACRE_CLI_RUN_SNAPSHOT_H

#include "cli/run_options.h"

/* Where SIGUSR2 saves the machine, once. */
struct run_save {
    const char *folder; /* NULL: nowhere */
    struct snapshot_files files;
    struct log *log;
};

/* Opens what --restore names, and makes the machine as it was. -errno with *error. */
int run_restore_open(struct run_options *options, struct error *error);

/* Makes the files, before the jail. -errno with *error. */
int run_save_open(struct run_save *save, const struct run_options *options, struct log *log,
                  struct error *error);
/* Saves; what goes wrong is logged. */
void run_save(struct run_save *save, struct vm *vm);
void run_save_close(struct run_save *save);

#endif
