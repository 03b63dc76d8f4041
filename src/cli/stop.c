/* SPDX-License-Identifier: Apache-2.0 */
/* nacre stop: the power button; what does not listen to it is stopped by force. */
#include "base/clock.h"
#include "cli/vm_command.h"

#include <errno.h>
#include <time.h>

#define TIMEOUT_SECONDS 60
#define LOOK_NS         20000000 /* how often */

struct stop_options {
    struct vm_command vm;
    unsigned timeout; /* seconds */
};

static int set_timeout(void *target, const char *text, struct error *error)
{
    return number_parse("timeout", text, 0, 86400, &((struct stop_options *)target)->timeout,
                        error);
}

static int set_force(void *target, const char *text, struct error *error)
{
    ((struct stop_options *)target)->timeout = 0;
    return 0;
}

/* True when its process has gone. */
static bool wait_for_end(const struct state_directory *directory, unsigned seconds)
{
    uint64_t deadline = clock_monotonic_ns() + seconds * NANOSECONDS_PER_SECOND;
    while (state_directory_owner(directory)) {
        if (clock_monotonic_ns() >= deadline)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
    }
    return true;
}

int vm_stop_by_force(const struct state_directory *directory, struct error *error)
{
    int result = vm_command_ask(directory, "PUT", "vmm.shutdown", NULL, NULL, error);
    if (result == 0 && !wait_for_end(directory, TIMEOUT_SECONDS))
        result = error_set(error, ETIMEDOUT, "VM %s: its process %d does not end", directory->name,
                           state_directory_owner(directory));
    return result;
}

static int stop(struct vm_command *vm, struct error *error)
{
    const struct stop_options *options = (const struct stop_options *)vm;
    const struct state_directory *directory = &options->vm.directory;
    struct error ignored;
    int result = 0;
    if (options->timeout) {
        /* A paused guest hears nothing. */
        vm_command_ask(directory, "PUT", "vm.resume", NULL, NULL, &ignored);
        result = vm_command_ask(directory, "PUT", "vm.power-button", NULL, NULL, error);
    }
    if (result == -ESRCH || (options->timeout && wait_for_end(directory, options->timeout)))
        return result;
    if (options->timeout)
        fprintf(stderr, "nacre: VM %s: does not power itself off: stopped by force\n",
                options->vm.name);
    return vm_stop_by_force(directory, error);
}

static int run(int argc, char **argv)
{
    struct stop_options options = {.timeout = TIMEOUT_SECONDS};
    return vm_command_run(&command_stop, &options.vm, argc, argv, stop);
}

static const struct option_spec option_table[] = {
    {"timeout", "SECONDS", "how long the guest may take to power itself off (60)", set_timeout,
     NULL},
    {"force", NULL, "do not ask the guest: as if its power failed", set_force, NULL},
    {0},
};

const struct command command_stop = {
    .name = "stop",
    .summary = "press a VM's power button, and wait until it is off",
    .usage = "NAME [OPTION...]",
    .examples = "  nacre stop web\n  nacre stop --timeout 10 web\n",
    .options = option_table,
    .run = run,
    .argument = vm_command_argument,
};
