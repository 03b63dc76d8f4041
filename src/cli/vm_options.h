/* SPDX-License-Identifier: Apache-2.0 */
/* The options of nacre run as a VM's configuration keeps them: for nacre create and set. */
#ifndef NACRE_CLI_VM_OPTIONS_H
#define NACRE_CLI_VM_OPTIONS_H

#include "cli/cli.h"
#include "manage/config.h"

/* Puts an option into the configuration. 0, 1 when it only asked for help, or -errno with *error.
 */
int vm_options_set(json_t *config, const struct option_spec *option, const char *text,
                   struct error *error);

/* Whether nacre run would take it. 0, 1 when an option only asked for help, or -errno with *error.
 */
int vm_options_check(const json_t *config, struct error *error);

#endif
