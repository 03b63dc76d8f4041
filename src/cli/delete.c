/* SPDX-License-Identifier: Apache-2.0 */
/* nacre delete: a VM's directory goes, and all that is in it. Also nacre rename: it gets another
 * name. Neither may take a clone's ground away. */
#include "cli/vm_command.h"
#include "cli/vm_table.h"
#include "manage/config.h"
#include "manage/event.h"

#include <errno.h>
#include <string.h>

/* A VM whose disk stands on this one's. */
static int look_for_child(void *opaque, const struct vm_summary *vm, struct error *error)
{
    const struct state_directory *parent = opaque;
    size_t length = strlen(parent->path);
    bool file = !strncmp(vm->parent, parent->path, length) && vm->parent[length] == '/';
    if (!file && strcmp(vm->parent, parent->name))
        return 0;
    return error_set(error, EBUSY, "VM %s: the disk of VM %s is based on it", parent->name,
                     vm->name);
}

static int take(struct state_directory *directory, struct error *error)
{
    int result = state_directory_lock(directory, error);
    return result == 0 ? vm_table_each(look_for_child, directory, error) : result;
}

int vm_delete(struct state_directory *directory, struct error *error)
{
    int result = take(directory, error);
    return result == 0 ? state_directory_delete(directory, error) : result;
}

static int delete_named(struct vm_command *vm, struct error *error)
{
    return vm_delete(&vm->directory, error);
}

static int run_delete(int argc, char **argv)
{
    struct vm_command vm = {0};
    return vm_command_run(&command_delete, &vm, argc, argv, delete_named);
}

const struct command command_delete = {
    .name = "delete",
    .summary = "delete a VM, and the disks that it owns",
    .usage = "NAME",
    .examples = "  nacre delete web\n",
    .options = no_options,
    .run = run_delete,
    .argument = vm_command_argument,
};

struct rename_options {
    struct vm_command vm;
    const char *new_name;
};

static int set_names(void *target, const char *text, struct error *error)
{
    struct rename_options *options = target;
    if (!options->vm.name || options->new_name)
        return vm_command_argument(&options->vm, text, error);
    options->new_name = text;
    return vm_name_check("VM", text, error);
}

static int rename_vm(struct vm_command *vm, struct error *error)
{
    struct rename_options *options = (struct rename_options *)vm;
    struct state_directory *directory = &options->vm.directory;
    char old_path[PATH_MAX];
    memcpy(old_path, directory->path, sizeof(old_path));
    if (!options->new_name)
        return error_set(error, EINVAL, "to which name? see nacre rename --help");
    int result = take(directory, error);
    if (result < 0)
        return result;
    json_t *config = config_load(directory, error);
    if (!config)
        return -EINVAL;
    result = state_directory_rename(directory, options->new_name, error);
    if (result == 0)
        config_move_disks(config, old_path, directory->path);
    if (result == 0)
        result = config_save(directory, config, error);
    if (result == 0)
        event_record(directory, "renamed");
    json_decref(config);
    return result;
}

static int run_rename(int argc, char **argv)
{
    struct rename_options options = {0};
    return vm_command_run(&command_rename, &options.vm, argc, argv, rename_vm);
}

const struct command command_rename = {
    .name = "rename",
    .summary = "give a VM that is not running another name",
    .usage = "NAME NEW-NAME",
    .examples = "  nacre rename web www\n",
    .options = no_options,
    .run = run_rename,
    .argument = set_names,
};
