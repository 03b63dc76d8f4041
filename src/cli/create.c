/* SPDX-License-Identifier: Apache-2.0 */
/* nacre create: writes down what a VM is made of. */
#include "cli/run_options.h"
#include "cli/vm_command.h"
#include "manage/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct create_options {
    const char *name;
    struct run_options run; /* only to see whether they are right */
    struct arguments kept;  /* texts that `run` points into */
    json_t *config;
};

static int set_name(void *target, const char *text, struct error *error)
{
    struct create_options *create = target;
    if (create->name)
        return error_set(error, EINVAL, "%s: unexpected argument: the VM is %s", text,
                         create->name);
    create->name = text;
    return vm_name_check("VM", text, error);
}

/* What `nacre start` sees to itself. */
static bool is_reserved(const char *option)
{
    static const char *const reserved[] = {"control", "name", "stats", NULL};
    for (unsigned i = 0; reserved[i]; i++)
        if (!strcmp(reserved[i], option))
            return true;
    return false;
}

static int set_option(void *target, const struct option_spec *option, const char *text,
                      struct error *error)
{
    struct create_options *create = target;
    char bytes[24];
    if (is_reserved(option->name))
        return error_set(error, EINVAL, "--%s: is nothing that a VM keeps", option->name);
    arguments_add(&create->kept, "%s", text ? text : "");
    if (!arguments_complete(&create->kept))
        return error_set(error, ENOMEM, "out of memory");
    /* Some cut their text up. */
    int result = option->set(&create->run, create->kept.words[create->kept.count - 1], error);
    if (result)
        return result;
    if (!strcmp(option->name, "memory")) {
        snprintf(bytes, sizeof(bytes), "%" PRIu64, create->run.vm.memory_size);
        text = bytes;
    }
    return config_set(create->config, option->name, text, error);
}

static int write_down(const struct create_options *create, struct error *error)
{
    struct state_directory directory = {.fd = -1, .lock_fd = -1};
    int result = state_directory_create(&directory, create->name, error);
    if (result == 0)
        result = state_directory_lock(&directory, error);
    if (result == 0) {
        result = config_save(&directory, create->config, error);
        if (result < 0)
            state_directory_delete(&directory, NULL);
    }
    state_directory_close(&directory);
    return result;
}

static int run(int argc, char **argv)
{
    struct error error = {0};
    struct create_options create = {.run = run_options_default(), .config = json_object()};
    int result = options_parse(&command_create, &create, argc, argv, &error);
    if (result == 0 && !create.name)
        result = error_set(&error, EINVAL, "the VM needs a name; see nacre create --help");
    if (result == 0)
        result = run_options_settle(&create.run, &error);
    if (result == 0) {
        config_complete(create.config);
        result = write_down(&create, &error);
    }
    arguments_free(&create.kept);
    json_decref(create.config);
    return command_end(result, &error);
}

const struct command command_create = {
    .name = "create",
    .summary = "make a VM that can be started by its name",
    .usage = "NAME --kernel FILE [OPTION...]",
    .examples = "  nacre create web --kernel vmlinuz --initrd initrd.img --disk root.qcow2 \\\n"
                "               --append \"root=/dev/vda console=ttyS0\" --cpus 2 --memory 1G\n",
    .options = no_options,
    .run = run,
    .argument = set_name,
    .each = set_option,
    .also = &command_run,
};
