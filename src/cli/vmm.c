/* SPDX-License-Identifier: Apache-2.0 */
/* nacre vmm: serves the API without a VM, as cloud-hypervisor --api-socket does. */
#include "cli/supervise.h"
#include "cli/vm_command.h"

#include <errno.h>

static int set_socket(void *target, const char *text, struct error *error)
{
    *(const char **)target = text;
    return 0;
}

/* Who started it may be waiting for the socket: it is there now. */
static void ready(void *opaque)
{
    log_message(opaque, LOG_INFO, "serving the API");
}

static int run(int argc, char **argv)
{
    const char *socket = NULL;
    struct error error = {0};
    struct log log;
    log_init(&log, stderr, LOG_INFO);
    int result = options_parse(&command_vmm, &socket, argc, argv, &error);
    if (result == 0 && !socket)
        result = error_set(&error, EINVAL, "--api-socket: is missing; say where the API is to be");
    if (result)
        return command_end(result, &error);
    const struct supervise_config config = {.socket = socket, .ready = ready, .opaque = &log};
    int code = supervise(&config, &log);
    log_destroy(&log);
    return code;
}

static const struct option_spec option_table[] = {
    {"api-socket", "PATH", "unix socket to serve (required)", set_socket, NULL},
    {0},
};

const struct command command_vmm = {
    .name = "vmm",
    .summary = "serve the API for clients that bring their own VM",
    .usage = "--api-socket PATH",
    .examples = "  nacre vmm --api-socket /run/nacre.sock\n",
    .options = option_table,
    .run = run,
};
