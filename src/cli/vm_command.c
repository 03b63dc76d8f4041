/* SPDX-License-Identifier: Apache-2.0 */
/* Commands about one VM; here are those that are a single request to it. */
#include "cli/vm_command.h"

#include "api/client.h"
#include "manage/config.h"

#include <errno.h>

int vm_command_argument(void *target, const char *text, struct error *error)
{
    struct vm_command *vm = target;
    if (vm->name)
        return error_set(error, EINVAL, "%s: unexpected argument: the VM is %s", text, vm->name);
    vm->name = text;
    return 0;
}

int vm_command_open(const struct command *command, struct vm_command *vm, int argc, char **argv,
                    struct error *error)
{
    vm->directory.fd = vm->directory.lock_fd = -1;
    int result = options_parse(command, vm, argc, argv, error);
    if (result)
        return result;
    if (!vm->name)
        return error_set(error, EINVAL, "which VM? see nacre %s --help", command->name);
    return state_directory_open(&vm->directory, vm->name, error);
}

void vm_command_close(struct vm_command *vm)
{
    state_directory_close(&vm->directory);
}

int command_end(int result, const struct error *error)
{
    if (result >= 0)
        return EXIT_CODE_OK;
    fprintf(stderr, "nacre: %s\n", error->message);
    return EXIT_CODE_CONFIGURATION;
}

int vm_command_run(const struct command *command, struct vm_command *vm, int argc, char **argv,
                   vm_command_work *work)
{
    struct error error = {0};
    int result = vm_command_open(command, vm, argc, argv, &error);
    if (result == 0)
        result = work(vm, &error);
    vm_command_close(vm);
    return command_end(result, &error);
}

int vm_command_ask(const struct state_directory *directory, const char *method,
                   const char *endpoint, const json_t *body, json_t **reply, struct error *error)
{
    char socket[STATE_PATH_MAX];
    state_directory_file(directory, STATE_SOCKET, socket);
    int result = state_directory_owner(directory)
                     ? api_ask(socket, method, endpoint, body, reply, error)
                     : -ECONNREFUSED;
    if (result == -ECONNREFUSED || result == -ENOENT)
        return error_set(error, ESRCH, "VM %s: is not running; nacre start %s starts it",
                         directory->name, directory->name);
    return result < 0 ? error_prefix(error, "VM %s", directory->name) : 0;
}

int vm_command_info(const struct state_directory *directory, json_t **info, struct error *error)
{
    *info = NULL;
    if (state_directory_owner(directory) &&
        vm_command_ask(directory, "GET", "vm.info", NULL, info, error) == 0)
        return 0;
    json_t *config = config_load(directory, error);
    if (!config)
        return -EINVAL;
    *info = json_pack("{s:o, s:s}", "config", config, "state", "Stopped");
    return *info ? 0 : error_set(error, ENOMEM, "out of memory");
}

struct request {
    struct vm_command vm;
    const char *endpoint;
};

static int send_request(struct vm_command *vm, struct error *error)
{
    const struct request *request = (const struct request *)vm;
    return vm_command_ask(&vm->directory, "PUT", request->endpoint, NULL, NULL, error);
}

static int run_request(const struct command *command, int argc, char **argv, const char *endpoint)
{
    struct request request = {.endpoint = endpoint};
    return vm_command_run(command, &request.vm, argc, argv, send_request);
}

static int run_pause(int argc, char **argv)
{
    return run_request(&command_pause, argc, argv, "vm.pause");
}

const struct command command_pause = {
    .name = "pause",
    .summary = "stop a VM's processors where they are",
    .usage = "NAME",
    .examples = "  nacre pause web\n",
    .options = no_options,
    .run = run_pause,
    .argument = vm_command_argument,
};

static int run_resume(int argc, char **argv)
{
    return run_request(&command_resume, argc, argv, "vm.resume");
}

const struct command command_resume = {
    .name = "resume",
    .summary = "let a paused VM go on",
    .usage = "NAME",
    .examples = "  nacre resume web\n",
    .options = no_options,
    .run = run_resume,
    .argument = vm_command_argument,
};

static int run_reset(int argc, char **argv)
{
    return run_request(&command_reset, argc, argv, "vm.reboot");
}

const struct command command_reset = {
    .name = "reset",
    .summary = "press a VM's reset button",
    .usage = "NAME",
    .examples = "  nacre reset web\n",
    .options = no_options,
    .run = run_reset,
    .argument = vm_command_argument,
};
