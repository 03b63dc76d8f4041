/* SPDX-License-Identifier: Apache-2.0 */
/* The options of nacre run. */
#ifndef NACRE_CLI_RUN_OPTIONS_H
#define NACRE_CLI_RUN_OPTIONS_H

#include "cli/cli.h"
#include "vm/vm.h"

enum serial_kind { SERIAL_STDIO, SERIAL_NONE, SERIAL_FILE };

struct run_options {
    struct vm_config vm;
    enum serial_kind serial;
    const char *serial_path;
    const char *engine; /* NULL: auto */
    bool stats;         /* print what the engines have counted at the end */
    bool quiet;
};

extern const struct option_spec run_option_table[];

#endif
