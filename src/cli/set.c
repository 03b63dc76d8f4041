/* SPDX-License-Identifier: Apache-2.0 */
/* nacre set: changes what a VM is made of, from its next start on. */
#include "cli/vm_command.h"
#include "cli/vm_options.h"
#include "manage/event.h"

#include <errno.h>

struct set_options {
    struct vm_command vm;
    json_t
        *changes; /* in order: {"drop": NAME}, or {"option": its place in the table, "text": ...} */
};

static int set_drop(void *target, const char *text, struct error *error)
{
    struct set_options *options = target;
    return json_array_append_new(options->changes, json_pack("{s:s}", "drop", text)) < 0
               ? error_set(error, ENOMEM, "out of memory")
               : 0;
}

static const struct option_spec option_table[] = {
    {"drop", "OPTION", "take an option out again; disk and net: all of them", set_drop, NULL},
    {0},
};

/* The VM's name may come later: until then changes are only noted. */
static int note(void *target, const struct option_spec *option, const char *text,
                struct error *error)
{
    struct set_options *options = target;
    if (option == option_table)
        return set_drop(target, text, error);
    return json_array_append_new(options->changes,
                                 json_pack("{s:I, s:s?}", "option",
                                           (json_int_t)(option - command_run.options), "text",
                                           text)) < 0
               ? error_set(error, ENOMEM, "out of memory")
               : 0;
}

static int change(json_t *config, const json_t *changes, struct error *error)
{
    size_t index;
    json_t *entry;
    json_array_foreach(changes, index, entry)
    {
        const char *drop = json_string_value(json_object_get(entry, "drop"));
        json_int_t option = json_integer_value(json_object_get(entry, "option"));
        int result = drop
                         ? config_drop(config, drop, error)
                         : vm_options_set(config, &command_run.options[option],
                                          json_string_value(json_object_get(entry, "text")), error);
        if (result)
            return result;
    }
    return vm_options_check(config, error);
}

static int apply(struct vm_command *vm, struct error *error)
{
    const struct set_options *options = (const struct set_options *)vm;
    const struct state_directory *directory = &options->vm.directory;
    if (!json_array_size(options->changes))
        return error_set(error, EINVAL, "VM %s: nothing to change; see nacre set --help",
                         options->vm.name);
    json_t *config = config_load(directory, error);
    if (!config)
        return -EINVAL;
    int result = change(config, options->changes, error);
    if (result == 0)
        result = config_save(directory, config, error);
    if (result == 0)
        event_record(directory, "changed");
    if (result == 0 && state_directory_owner(directory))
        printf("VM %s is running: this holds from its next start on\n", options->vm.name);
    json_decref(config);
    return result;
}

static int run(int argc, char **argv)
{
    struct set_options options = {.changes = json_array()};
    int code = vm_command_run(&command_set, &options.vm, argc, argv, apply);
    json_decref(options.changes);
    return code;
}

const struct command command_set = {
    .name = "set",
    .summary = "change what a VM is made of, from its next start on",
    .usage = "NAME OPTION...",
    .examples = "  nacre set web --cpus 4 --memory 2G\n"
                "  nacre set web --drop net --net user,hostfwd=tcp:127.0.0.1:2222-:22\n",
    .options = option_table,
    .run = run,
    .argument = vm_command_argument,
    .each = note,
    .also = &command_run,
};
