/* SPDX-License-Identifier: Apache-2.0 */
/* nacre prune: which VMs nobody has used for long. */
#include "cli/vm_command.h"
#include "cli/vm_table.h"

#include <errno.h>
#include <string.h>

struct prune_options {
    unsigned days;
    bool delete;
    uint64_t bytes;
    unsigned count;
};

static int set_days(void *target, const char *text, struct error *error)
{
    return number_parse("days", text, 0, 36500, &((struct prune_options *)target)->days, error);
}

static int set_delete(void *target, const char *text, struct error *error)
{
    ((struct prune_options *)target)->delete = true;
    return 0;
}

static int delete_vm(const struct vm_summary *vm, struct error *error)
{
    struct state_directory directory;
    int result = state_directory_open(&directory, vm->name, error);
    if (result == 0)
        result = vm_delete(&directory, error);
    state_directory_close(&directory);
    return result;
}

static int look_at(void *opaque, const struct vm_summary *vm, struct error *error)
{
    struct prune_options *options = opaque;
    struct error why = {0};
    uint64_t idle = (uint64_t)(time(NULL) - vm->last_used);
    char since[16], size[16];
    if (strcmp(vm->state, "Stopped") || idle < (uint64_t)options->days * 86400)
        return 0;
    duration_print(idle, since);
    size_print(vm->disk_bytes, size);
    int result = options->delete ? delete_vm(vm, &why) : 0;
    printf("%-16s unused %-14s %6s%s%s\n", vm->name, since, size,
           result < 0        ? "  kept: "
           : options->delete ? "  deleted"
                             : "",
           result < 0 ? why.message : "");
    if (result == 0) {
        options->count++;
        options->bytes += vm->disk_bytes;
    }
    return 0;
}

static int run(int argc, char **argv)
{
    struct prune_options options = {.days = 30};
    struct error error = {0};
    char size[16];
    int result = options_parse(&command_prune, &options, argc, argv, &error);
    if (result == 0) {
        result = vm_table_each(look_at, &options, &error);
        size_print(options.bytes, size);
        if (result == 0)
            printf("%u unused for %u days or more, %s on disk%s\n", options.count, options.days,
                   size, options.count && !options.delete ? "; --delete removes them" : "");
    }
    return command_end(result, &error);
}

static const struct option_spec option_table[] = {
    {"days", "N", "those that did not run for so long (30)", set_days, NULL},
    {"delete", NULL, "delete them, with their disks", set_delete, NULL},
    {0},
};

const struct command command_prune = {
    .name = "prune",
    .summary = "say which VMs are unused and since when; delete them if wanted",
    .usage = "[OPTION...]",
    .examples = "  nacre prune\n  nacre prune --days 90 --delete\n",
    .options = option_table,
    .run = run,
};
