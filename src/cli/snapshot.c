/* SPDX-License-Identifier: Apache-2.0 */
/* nacre snapshot: saves a running VM under a name. */
#include "cli/snapshot.h"

#include "base/bits.h"
#include "cli/vm_command.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FOLDER "snapshots" /* in the VM's directory */

struct snapshot_options {
    struct vm_command vm;
    const char *tag;
    bool remove;
};

static int snapshot_folder(const struct state_directory *directory, const char *tag,
                           char folder[STATE_PATH_MAX], struct error *error)
{
    int result = vm_name_check("snapshot", tag, error);
    if (result < 0)
        return result;
    int length = snprintf(folder, STATE_PATH_MAX, "%s/" FOLDER "/%s", directory->path, tag);
    return length < STATE_PATH_MAX ? 0 : error_set(error, ENAMETOOLONG, "%s: is too long", tag);
}

int snapshot_find(const struct state_directory *directory, const char *tag,
                  char folder[STATE_PATH_MAX], struct error *error)
{
    int result = snapshot_folder(directory, tag, folder, error);
    if (result < 0 || access(folder, R_OK) == 0)
        return result;
    return error_set(error, errno, "VM %s: has no snapshot %s; nacre snapshot %s lists them",
                     directory->name, tag, directory->name);
}

int snapshot_make(const struct state_directory *directory, const char *tag, bool lasting,
                  struct error *error)
{
    char folder[STATE_PATH_MAX];
    json_t *reply = NULL;
    int result = snapshot_folder(directory, tag, folder, error);
    if (result < 0)
        return result;
    if (mkdirat(directory->fd, FOLDER, 0700) < 0 && errno != EEXIST)
        return error_set(error, errno, "%s/" FOLDER ": %s", directory->path, strerror(errno));
    json_t *body = json_object();
    json_object_set_new(body, "destination_url", json_sprintf("file://%s", folder));
    json_object_set_new(body, "sync", json_boolean(lasting));
    result = vm_command_ask(directory, "PUT", "vm.snapshot", body, &reply, error);
    json_decref(body);
    if (result == 0)
        printf("VM %s: snapshot %s after a pause of %.1f ms\n", directory->name, tag,
               (double)json_integer_value(json_object_get(reply, "pause_us")) / 1000);
    json_decref(reply);
    return result;
}

/* --- nacre snapshot --- */

static int is_snapshot(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void print_one(int folder, const char *name)
{
    char when[32];
    struct stat state, memory;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstatat(fd, "state", &state, 0) == 0 && fstatat(fd, "memory", &memory, 0) == 0) {
        strftime(when, sizeof(when), "%F %T", localtime(&state.st_mtime));
        printf("%-32s %s %6llu MiB\n", name, when, (unsigned long long)memory.st_blocks / 2048);
    }
    close(fd);
}

static int list(const struct state_directory *directory, struct error *error)
{
    char path[STATE_PATH_MAX];
    struct dirent **entries;
    int folder = openat(directory->fd, FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 && errno == ENOENT)
        return 0; /* none yet */
    state_directory_file(directory, FOLDER, path);
    int count = folder < 0 ? -1 : scandirat(folder, ".", &entries, is_snapshot, alphasort);
    if (count < 0)
        error_set(error, errno, "%s: %s", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        print_one(folder, entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (folder >= 0)
        close(folder);
    return count < 0 ? -error->code : 0;
}

/* Its images stay: the VM's disks and clones stand on them. */
static int remove_snapshot(const struct state_directory *directory, const char *tag,
                           struct error *error)
{
    static const char *const files[] = {"state", "memory", "machine.json"};
    char folder[STATE_PATH_MAX];
    int result = snapshot_find(directory, tag, folder, error);
    if (result < 0)
        return result;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, errno, "%s: %s", folder, strerror(errno));
    for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
        unlinkat(fd, files[i], 0);
    close(fd);
    return rmdir(folder) < 0 ? error_set(error, errno, "%s: %s", folder, strerror(errno)) : 0;
}

static int set_delete(void *target, const char *text, struct error *error)
{
    ((struct snapshot_options *)target)->remove = true;
    return 0;
}

static int carry_out(struct vm_command *vm, struct error *error)
{
    const struct snapshot_options *options = (const struct snapshot_options *)vm;
    const struct state_directory *directory = &options->vm.directory;
    if (options->remove && !options->tag)
        return error_set(error, EINVAL, "--delete: which snapshot?");
    if (options->remove)
        return remove_snapshot(directory, options->tag, error);
    return options->tag ? snapshot_make(directory, options->tag, true, error)
                        : list(directory, error);
}

static int take_word(void *target, const char *text, struct error *error)
{
    struct snapshot_options *options = target;
    if (!options->vm.name)
        return vm_command_argument(target, text, error);
    if (options->tag)
        return error_set(error, EINVAL, "%s: unexpected argument: the snapshot is %s", text,
                         options->tag);
    options->tag = text;
    return 0;
}

static int run(int argc, char **argv)
{
    struct snapshot_options options = {0};
    return vm_command_run(&command_snapshot, &options.vm, argc, argv, carry_out);
}

static const struct option_spec option_table[] = {
    {"delete", NULL, "delete the snapshot; images that others stand on stay", set_delete, NULL},
    {0},
};

const struct command command_snapshot = {
    .name = "snapshot",
    .summary = "save a running VM: memory, devices and disks; without TAG, list what was saved",
    .usage = "NAME [TAG [--delete]]",
    .examples = "  nacre snapshot web before-upgrade\n"
                "  nacre snapshot web\n",
    .options = option_table,
    .run = run,
    .argument = take_word,
};
