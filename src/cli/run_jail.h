/* SPDX-License-Identifier: Apache-2.0 */
/* The jail of nacre run: what of it depends on the options. */
#ifndef NACRE_CLI_RUN_JAIL_H
#define NACRE_CLI_RUN_JAIL_H

#include "cli/run_options.h"

/* Before any file is opened and any thread made. *jail stays NULL where none is wanted or possible,
 * after a warning. -errno with *error. */
int run_jail_create(const struct run_options *options, struct log *log, struct jail **jail,
                    struct error *error);

#endif
