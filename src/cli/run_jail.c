/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run_jail.h"

#include "base/bits.h"

static void look_at_console(struct jail_config *config, const struct console_config *console,
                            const char **socket)
{
    if (console_is_unix_client(console))
        config->needs |= JAIL_NEED_UNIX_CLIENT;
    if (console_is_unix_server(console)) {
        config->needs |= JAIL_NEED_UNIX_SERVER;
        *socket = console->path;
    }
}

int run_jail_create(const struct run_options *options, struct log *log, struct jail **jail,
                    struct error *error)
{
    struct jail_config config = {.mode = options->jail, .exit_code = EXIT_CODE_JAIL, .log = log};
    if (options->jail == JAIL_OFF) {
        log_message(log, LOG_ERROR,
                    "--jail off: a guest that finds a fault in nacre gets all your rights");
        return 0;
    }
    if (!jail_supported()) { /* for developers, who know; doctor tells the others */
        log_message(log, LOG_DEBUG, "no jail: this build has a sanitizer");
        return 0;
    }
    if (options->control)
        config.needs |= JAIL_NEED_CONTROL;
    if (options->vm.can_save)
        config.needs |= JAIL_NEED_SNAPSHOT;
    look_at_console(&config, &options->serial, &config.sockets[0]);
    look_at_console(&config, &options->console, &config.sockets[1]);
    look_at_console(&config, &options->debug_console, &config.sockets[2]);
    *jail = jail_create(&config, error);
    return *jail ? 0 : -error->code;
}
