/* SPDX-License-Identifier: Apache-2.0 */
/* nacre list: all VMs of this user. */
#include "cli/vm_command.h"
#include "cli/vm_table.h"

#include <string.h>

struct list_options {
    bool json;
    json_t *all; /* with json */
    unsigned count;
};

static void print_last_used(time_t last_used, char text[24])
{
    struct tm local;
    if (!localtime_r(&last_used, &local) || !strftime(text, 24, "%Y-%m-%d %H:%M", &local))
        snprintf(text, 24, "?");
}

static int print_vm(struct list_options *options, const struct vm_summary *vm)
{
    json_int_t cpus = 0, memory = 0, uptime = 0;
    double cpu_seconds = 0;
    char up[16] = "-", size[16], ram[16], used[24], cpu[16] = "-";
    json_unpack(vm->info, "{s:{s:{s?I}, s:{s?I}}, s?I, s?f}", "config", "cpus", "boot_vcpus", &cpus,
                "memory", "size", &memory, "uptime", &uptime, "cpu_seconds", &cpu_seconds);
    if (!options->count++)
        printf("%-16s %-8s %9s %4s %6s %8s %6s %-16s %s\n", "NAME", "STATE", "UPTIME", "CPUS",
               "MEMORY", "CPU-TIME", "DISK", "LAST-USED", "PARENT");
    if (uptime)
        duration_print((uint64_t)uptime, up);
    if (cpu_seconds > 0)
        duration_print((uint64_t)cpu_seconds, cpu);
    size_print(vm->disk_bytes, size);
    size_print((uint64_t)memory, ram);
    print_last_used(vm->last_used, used);
    printf("%-16s %-8s %9s %4lld %6s %8s %6s %-16s %s\n", vm->name, vm->state, up, (long long)cpus,
           ram, cpu, size, used, *vm->parent ? vm->parent : "-");
    return 0;
}

static int take_vm(void *opaque, const struct vm_summary *vm, struct error *error)
{
    struct list_options *options = opaque;
    if (!options->json)
        return print_vm(options, vm);
    json_array_append_new(options->all,
                          json_pack("{s:s, s:s, s:I, s:I, s:O*}", "name", vm->name, "state",
                                    vm->state, "disk_bytes", (json_int_t)vm->disk_bytes,
                                    "last_used", (json_int_t)vm->last_used, "info", vm->info));
    return 0;
}

static int set_json(void *target, const char *text, struct error *error)
{
    ((struct list_options *)target)->json = true;
    return 0;
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    struct list_options options = {.all = json_array()};
    int result = options_parse(&command_list, &options, argc, argv, &error);
    if (result == 0)
        result = vm_table_each(take_vm, &options, &error);
    if (result == 0 && options.json) {
        json_dumpf(options.all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        printf("\n");
    }
    json_decref(options.all);
    return command_end(result, &error);
}

static const struct option_spec option_table[] = {
    {"json", NULL, "for programs", set_json, NULL},
    {0},
};

const struct command command_list = {
    .name = "list",
    .summary = "list all VMs",
    .usage = "[OPTION...]",
    .examples = "  nacre list\n",
    .options = option_table,
    .run = run,
};
