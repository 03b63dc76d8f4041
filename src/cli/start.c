/* SPDX-License-Identifier: Apache-2.0 */
/* nacre start: boots a VM that nacre create made, in the background. */
#include "cli/launch.h"
#include "cli/vm_command.h"

struct start_options {
    struct vm_command vm;
    bool foreground;
};

static int set_foreground(void *target, const char *text, struct error *error)
{
    ((struct start_options *)target)->foreground = true;
    return 0;
}

static int run(int argc, char **argv)
{
    struct start_options options = {0};
    struct error error = {0};
    int result = vm_command_open(&command_start, &options.vm, argc, argv, &error);
    int code = command_end(result, &error);
    struct vm_launch start = {.directory = &options.vm.directory, .foreground = options.foreground};
    if (result == 0)
        code = vm_launch(&start, &error);
    vm_command_close(&options.vm);
    return code;
}

static const struct option_spec option_table[] = {
    {"foreground", NULL, "stay until the VM is off, with messages on stderr", set_foreground, NULL},
    {0},
};

const struct command command_start = {
    .name = "start",
    .summary = "boot a VM, in the background",
    .usage = "NAME [OPTION...]",
    .examples = "  nacre start web\n",
    .options = option_table,
    .run = run,
    .argument = vm_command_argument,
};
