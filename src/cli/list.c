/* SPDX-License-Identifier: Apache-2.0 */
/* nacre list: all VMs of this user. */
#include "base/bits.h"
#include "cli/vm_command.h"
#include "manage/config.h"

static void print_vm(const char *name)
{
    struct state_directory directory;
    struct error error = {0};
    json_t *info = NULL, *config = NULL;
    const char *state = "Stopped";
    json_int_t uptime = 0;
    if (state_directory_open(&directory, name, &error) == 0) {
        if (state_directory_owner(&directory))
            vm_command_ask(&directory, "GET", "vm.info", NULL, &info, &error);
        config =
            info ? json_incref(json_object_get(info, "config")) : config_load(&directory, &error);
    }
    json_unpack(info, "{s:s, s:I}", "state", &state, "uptime", &uptime);
    json_int_t cpus = 0, memory = 0;
    if (json_unpack(config, "{s:{s:I}, s:{s:I}}", "cpus", "boot_vcpus", &cpus, "memory", "size",
                    &memory) < 0)
        state = "Damaged";
    printf("%-20s %-9s %4lld %6lldM %8lld\n", name, state, (long long)cpus, (long long)memory >> 20,
           (long long)uptime);
    json_decref(info);
    json_decref(config);
    state_directory_close(&directory);
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    char **names = NULL;
    unsigned count = 0;
    int result = options_parse(&command_list, NULL, argc, argv, &error);
    if (result == 0)
        result = state_directory_names(&names, &count, &error);
    if (count)
        printf("%-20s %-9s %4s %7s %8s\n", "NAME", "STATE", "CPUS", "MEMORY", "UPTIME");
    for (unsigned i = 0; i < count; i++)
        print_vm(names[i]);
    state_directory_free_names(names, count);
    return command_end(result, &error);
}

const struct command command_list = {
    .name = "list",
    .summary = "list all VMs",
    .usage = "",
    .examples = "  nacre list\n",
    .options = no_options,
    .run = run,
};
