/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vm_options.h"

#include "cli/run_options.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* What `nacre start` sees to itself. */
static bool is_reserved(const char *option)
{
    static const char *const reserved[] = {"control", "name", "stats", NULL};
    for (unsigned i = 0; reserved[i]; i++)
        if (!strcmp(reserved[i], option))
            return true;
    return false;
}

int vm_options_set(json_t *config, const struct option_spec *option, const char *text,
                   struct error *error)
{
    char bytes[24];
    uint64_t size;
    if (is_reserved(option->name))
        return error_set(error, EINVAL, "--%s: is nothing that a VM keeps", option->name);
    if (!strcmp(option->name, "memory")) {
        int result = size_parse("memory", text, &size, error);
        if (result < 0)
            return result;
        snprintf(bytes, sizeof(bytes), "%" PRIu64, size);
        text = bytes;
    }
    return config_set(config, option->name, text, error);
}

int vm_options_check(const json_t *config, struct error *error)
{
    struct arguments arguments = {0};
    struct run_options options = run_options_default();
    int result = config_arguments(config, &arguments, error);
    if (result == 0 && arguments.count && !arguments_complete(&arguments))
        result = error_set(error, ENOMEM, "out of memory");
    if (result == 0)
        result =
            options_parse(&command_run, &options, (int)arguments.count, arguments.words, error);
    if (result == 0)
        result = run_options_settle(&options, error);
    arguments_free(&arguments);
    return result;
}
