/* SPDX-License-Identifier: Apache-2.0 */
/* nacre restore: a VM becomes again what it was. */
#include "cli/launch.h"
#include "cli/snapshot.h"
#include "cli/vm_command.h"

#include <errno.h>

struct restore_options {
    struct vm_command vm;
    const char *tag;
};

static int take_word(void *target, const char *text, struct error *error)
{
    struct restore_options *options = target;
    if (!options->vm.name)
        return vm_command_argument(target, text, error);
    options->tag = text;
    return 0;
}

static int restore(const struct restore_options *options, char folder[STATE_PATH_MAX],
                   struct error *error)
{
    if (!options->tag)
        return error_set(error, EINVAL, "which snapshot? nacre snapshot %s lists them",
                         options->vm.name);
    int result = snapshot_find(&options->vm.directory, options->tag, folder, error);
    if (result == 0 && state_directory_owner(&options->vm.directory))
        result = vm_stop_by_force(&options->vm.directory, error);
    return result;
}

static int run(int argc, char **argv)
{
    char folder[STATE_PATH_MAX];
    struct restore_options options = {0};
    struct error error = {0};
    int result = vm_command_open(&command_restore, &options.vm, argc, argv, &error);
    if (result == 0)
        result = restore(&options, folder, &error);
    int code = command_end(result, &error);
    struct vm_launch start = {.directory = &options.vm.directory, .restore = folder};
    if (result == 0)
        code = vm_launch(&start, &error);
    vm_command_close(&options.vm);
    return code;
}

const struct command command_restore = {
    .name = "restore",
    .summary = "let a VM go on from a snapshot; what it has done since is lost",
    .usage = "NAME TAG",
    .examples = "  nacre restore web before-upgrade\n",
    .options = no_options,
    .run = run,
    .argument = take_word,
};
