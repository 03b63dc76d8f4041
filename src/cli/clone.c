/* SPDX-License-Identifier: Apache-2.0 */
/* nacre clone: VMs that go on from where another one is. */
#include "cli/launch.h"
#include "cli/snapshot.h"
#include "cli/vm_command.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLONES_MAX 64

struct clone_options {
    struct vm_command vm;
    const char *tag;
    const char *names[CLONES_MAX];
    unsigned count;
};

static int set_tag(void *target, const char *text, struct error *error)
{
    ((struct clone_options *)target)->tag = text;
    return 0;
}

static int take_word(void *target, const char *text, struct error *error)
{
    struct clone_options *options = target;
    if (!options->vm.name)
        return vm_command_argument(target, text, error);
    if (options->count == CLONES_MAX)
        return error_set(error, EINVAL, "%s: at most %d clones in one call", text, CLONES_MAX);
    options->names[options->count++] = text;
    return vm_name_check("clone", text, error);
}

/* Without a name for it, the snapshot is called as its first clone. */
static int prepare(struct clone_options *options, char folder[STATE_PATH_MAX], struct error *error)
{
    if (!options->count)
        return error_set(error, EINVAL, "what are the clones to be called? see nacre clone --help");
    int result = 0;
    if (!options->tag) {
        options->tag = options->names[0];
        result = snapshot_make(&options->vm.directory, options->tag, false, error);
    }
    return result == 0 ? snapshot_find(&options->vm.directory, options->tag, folder, error)
                       : result;
}

/* Returns an exit code. */
static int start_clone(const char *name, const char *folder, unsigned copy)
{
    struct error error = {0};
    struct state_directory directory = {.fd = -1, .lock_fd = -1};
    struct vm_launch start = {.directory = &directory, .restore = folder, .copy = copy};
    int code = command_end(state_directory_create(&directory, name, &error), &error);
    if (code == EXIT_CODE_OK) {
        code = vm_launch(&start, &error);
        if (code != EXIT_CODE_OK)
            state_directory_delete(&directory, NULL);
    }
    state_directory_close(&directory);
    return code;
}

/* All at the same time, in a process each. Returns the exit code of one that failed. */
static int start_clones(const struct clone_options *options, const char *folder)
{
    int code = EXIT_CODE_OK, status;
    for (unsigned i = 0; i < options->count; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(start_clone(options->names[i], folder, i + 1));
        if (child < 0)
            code = EXIT_CODE_HOST;
    }
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_CODE_OK)
            code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_CODE_HOST;
    return code;
}

static int run(int argc, char **argv)
{
    char folder[STATE_PATH_MAX];
    struct clone_options options = {0};
    struct error error = {0};
    int result = vm_command_open(&command_clone, &options.vm, argc, argv, &error);
    if (result == 0)
        result = prepare(&options, folder, &error);
    int code = command_end(result, &error);
    if (result == 0)
        code = start_clones(&options, folder);
    vm_command_close(&options.vm);
    return code;
}

static const struct option_spec option_table[] = {
    {"tag", "TAG", "of an existing snapshot, instead of saving the running VM now", set_tag, NULL},
    {0},
};

const struct command command_clone = {
    .name = "clone",
    .summary = "make VMs that go on from where another one is, sharing its memory and disks",
    .usage = "NAME NEW... [OPTION...]",
    .examples = "  nacre clone web web2 web3\n"
                "  nacre clone web test --tag before-upgrade\n"
                "\nEach clone has network cards with addresses of its own, and its guest is told "
                "that it is another\nmachine now. Ports of the host that the VM forwards are one "
                "higher for the first clone, two for\nthe second.\n",
    .options = option_table,
    .run = run,
    .argument = take_word,
};
