/* SPDX-License-Identifier: Apache-2.0 */
/* nacre delete: a VM's directory goes, and all that is in it. */
#include "cli/vm_command.h"

static int run(int argc, char **argv)
{
    struct vm_command vm = {0};
    struct error error = {0};
    int result = vm_command_open(&command_delete, &vm, argc, argv, &error);
    if (result == 0) {
        result = state_directory_lock(&vm.directory, &error);
        if (result < 0)
            error_prefix(&error, "cannot delete it (nacre stop %s comes first)", vm.name);
        else
            result = state_directory_delete(&vm.directory, &error);
    }
    vm_command_close(&vm);
    return command_end(result, &error);
}

const struct command command_delete = {
    .name = "delete",
    .summary = "delete a VM, and the disks that it owns",
    .usage = "NAME",
    .examples = "  nacre delete web\n",
    .options = no_options,
    .run = run,
    .argument = vm_command_argument,
};
