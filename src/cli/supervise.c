/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/supervise.h"

#include "api/api.h"
#include "base/unix_socket.h"
#include "cli/cli.h"
#include "cli/signals.h"
#include "manage/config.h"
#include "manage/event.h"
#include "manage/snapshot.h"

#include <errno.h>
#include <unistd.h>

struct process {
    const struct supervise_config *config;
    struct log *log;
    struct loop *loop;
    struct signals *signals;
    struct supervisor *supervisor;
    struct api *api;
    int socket;
    bool failed;
};

static void signal_caught(void *opaque, int number)
{
    struct process *process = opaque;
    if (signals_is_ending(number))
        supervisor_end(process->supervisor, "a signal");
}

static void booted(void *opaque, const json_t *body, const char *why)
{
    struct process *process = opaque;
    if (!why) {
        process->config->ready(process->config->opaque);
        return;
    }
    log_message(process->log, LOG_ERROR, "%s", why);
    process->failed = true;
    loop_stop(process->loop);
}

static int define(struct process *process, struct error *error)
{
    json_t *vm = config_load(process->config->directory, error);
    if (!vm)
        return -EINVAL;
    int result = supervisor_define(process->supervisor, vm, error);
    if (result < 0)
        json_decref(vm);
    return result;
}

static int boot(struct process *process, struct error *error)
{
    const struct supervise_config *config = process->config;
    if (!config->directory) {
        config->ready(config->opaque);
        return 0;
    }
    char by[64];
    event_own_name(by, sizeof(by));
    /* A clone gets its configuration with the snapshot. */
    int result = config->copy ? 0 : define(process, error);
    if (result < 0)
        return result;
    if (!config->restore)
        return supervisor_boot(process->supervisor, by, booted, process, error);
    return snapshot_restore(process->supervisor, config->restore, config->copy, by, booted, process,
                            error);
}

static int prepare(struct process *process, struct error *error)
{
    const struct supervise_config *config = process->config;
    int result = config->directory ? state_directory_lock(config->directory, error) : 0;
    if (result < 0)
        return result;
    process->loop = loop_create(error);
    if (!process->loop)
        return -ENOMEM;
    process->signals = signals_watch(process->loop, signal_caught, process, error);
    if (!process->signals)
        return -EIO;
    process->supervisor = supervisor_create(config->directory, process->loop, process->log, error);
    if (!process->supervisor)
        return -EIO;
    process->socket = unix_socket_listen(config->socket, error);
    if (process->socket < 0)
        return process->socket;
    process->api = api_create(process->socket, process->supervisor, process->loop, error);
    return process->api ? boot(process, error) : -EIO;
}

static void close_all(struct process *process)
{
    if (process->socket >= 0)
        unlink(process->config->socket); /* nobody new comes; the lock is still held */
    supervisor_destroy(process->supervisor);
    api_destroy(process->api);
    if (process->socket >= 0)
        close(process->socket);
    signals_unwatch(process->signals);
    loop_destroy(process->loop);
}

int supervise(const struct supervise_config *config, struct log *log)
{
    struct process process = {.config = config, .log = log, .socket = -1};
    struct error error = {0};
    int code = EXIT_CODE_CONFIGURATION;
    if (prepare(&process, &error) < 0) {
        log_message(log, LOG_ERROR, "%s", error.message);
    } else {
        loop_run(process.loop);
        if (!process.failed)
            code = supervisor_exit_code(process.supervisor);
    }
    close_all(&process);
    return code;
}
