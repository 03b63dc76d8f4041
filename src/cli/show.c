/* SPDX-License-Identifier: Apache-2.0 */
/* nacre show: all that is known of a VM, a line each. */
#include "cli/vm_command.h"
#include "manage/config.h"

#include <stdlib.h>

struct show_options {
    struct vm_command vm;
    bool json;
};

static int set_json(void *target, const char *text, struct error *error)
{
    ((struct show_options *)target)->json = true;
    return 0;
}

static void print_value(const char *name, const json_t *value)
{
    char *text =
        json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    printf("%-28s %s\n", name, text ? text : json_string_value(value));
    free(text);
}

/* {"cpus": {"boot_vcpus": 2}} becomes cpus.boot_vcpus 2. As deep as a configuration is. */
static void print_tree(const char *prefix, json_t *tree, unsigned depth)
{
    const char *key;
    json_t *value;
    size_t index;
    char name[128];
    if (!depth || !(json_is_object(tree) || json_is_array(tree))) {
        print_value(prefix, tree);
        return;
    }
    json_object_foreach(tree, key, value)
    {
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
        print_tree(name, value, depth - 1);
    }
    json_array_foreach(tree, index, value)
    {
        snprintf(name, sizeof(name), "%s[%zu]", prefix, index);
        print_tree(name, value, depth - 1);
    }
}

static int show(struct vm_command *vm, struct error *error)
{
    const struct show_options *options = (const struct show_options *)vm;
    const struct state_directory *directory = &options->vm.directory;
    json_t *info = NULL;
    int result = vm_command_info(directory, &info, error);
    if (result < 0)
        return result;
    json_object_set_new(info, "directory", json_string(directory->path));
    if (options->json) {
        json_dumpf(info, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        printf("\n");
    } else {
        print_tree("", info, 5);
    }
    json_decref(info);
    return 0;
}

static int run(int argc, char **argv)
{
    struct show_options options = {0};
    return vm_command_run(&command_show, &options.vm, argc, argv, show);
}

static const struct option_spec option_table[] = {
    {"json", NULL, "as the API says it", set_json, NULL},
    {0},
};

const struct command command_show = {
    .name = "show",
    .summary = "say all that is known of a VM",
    .usage = "NAME [OPTION...]",
    .examples = "  nacre show web\n  nacre show --json web | jq .config\n",
    .options = option_table,
    .run = run,
    .argument = vm_command_argument,
};
