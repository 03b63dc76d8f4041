/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/snapshot.h"

#include "manage/overlay.h"
#include "vm/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define FDS_MAX (2 + 2 * VM_DISKS_MAX)

/* A snapshot on its way. */
struct job {
    struct supervisor *supervisor;
    char folder[PATH_MAX], by[64];
    supervisor_done *done;
    void *opaque;
    bool lasting;
    struct snapshot_files files;
    json_t *frozen; /* machine.json's "disks" */
    struct overlay_file overlays[VM_DISKS_MAX];
    unsigned overlay_count;
};

static void remove_file(const struct job *job, const char *name)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/%s", job->folder, name);
    unlink(path);
}

static void remove_all(struct job *job)
{
    remove_file(job, SNAPSHOT_STATE);
    remove_file(job, SNAPSHOT_MEMORY);
    remove_file(job, SNAPSHOT_MACHINE);
    rmdir(job->folder);
}

static void job_free(struct job *job)
{
    snapshot_close_files(&job->files);
    for (unsigned i = 0; i < job->overlay_count; i++)
        overlay_close(&job->overlays[i]);
    json_decref(job->frozen);
    free(job);
}

static void fail(struct job *job, const char *why)
{
    remove_all(job);
    job->done(job->opaque, NULL, why);
    job_free(job);
}

/* --- third: the machine has answered --- */

static int write_machine(const struct job *job, struct error *error)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/" SNAPSHOT_MACHINE, job->folder);
    const struct state_directory *directory = supervisor_directory(job->supervisor);
    json_t *machine = json_pack("{s:s*, s:O, s:O}", "name", directory ? directory->name : NULL,
                                "config", supervisor_config(job->supervisor), "disks", job->frozen);
    int result = machine && json_dump_file(machine, path, JSON_INDENT(2)) == 0
                     ? 0
                     : error_set(error, EIO, "%s: cannot be written", path);
    json_decref(machine);
    return result;
}

/* The VM goes on in its overlays; the images below are the snapshot's, and are locked as such. */
static int enter_overlays(struct job *job, struct error *error)
{
    json_t *config = json_deep_copy(supervisor_config(job->supervisor));
    for (unsigned i = 0; i < job->overlay_count; i++) {
        overlay_enter(&job->overlays[i], config);
        flock(job->overlays[i].below_fd, LOCK_SH | LOCK_NB);
    }
    return config ? supervisor_set_config(job->supervisor, config, error)
                  : error_set(error, ENOMEM, "out of memory");
}

static void saved(void *opaque, const json_t *body, const char *why)
{
    struct job *job = opaque;
    struct error error = {0};
    bool switched = json_is_true(json_object_get(body, "switched"));
    /* First: the old configuration names the images of this moment. */
    int result = why ? 0 : write_machine(job, &error);
    if (switched && enter_overlays(job, &error) < 0)
        result = -error.code;
    for (unsigned i = 0; !switched && i < job->overlay_count; i++)
        unlink(job->overlays[i].path);
    if (why || result < 0) {
        fail(job, why ? why : error.message);
        return;
    }
    json_t *properties = json_pack("{s:s}", "folder", job->folder);
    supervisor_event(job->supervisor, "snapshotted", properties, job->by);
    json_decref(properties);
    job->done(job->opaque, body, NULL);
    job_free(job);
}

/* --- second: its disks are known --- */

/* The path of an image as seen from the snapshot's folder, when both are in the VM's directory. */
static json_t *path_from_folder(const struct job *job, const char *path)
{
    const struct state_directory *directory = supervisor_directory(job->supervisor);
    size_t length = directory ? strlen(directory->path) : 0;
    if (!directory || strncmp(path, directory->path, length) || path[length] != '/' ||
        strncmp(job->folder, directory->path, length) || job->folder[length] != '/')
        return json_string(path);
    char up[PATH_MAX] = "";
    for (const char *slash = job->folder + length; (slash = strchr(slash, '/')); slash++)
        strncat(up, "../", sizeof(up) - strlen(up) - 1);
    return json_sprintf("%s%s", up, path + length + 1);
}

static int add_overlay(struct job *job, unsigned disk, const json_t *info, struct error *error)
{
    const json_t *config = supervisor_config(job->supervisor);
    const json_t *entry = json_array_get(json_object_get(config, "disks"), disk);
    struct overlay_below below = {
        .path = json_string_value(json_object_get(entry, "path")),
        .format = json_string_value(json_object_get(info, "format")),
        .size = (uint64_t)json_integer_value(json_object_get(info, "size")),
    };
    if (json_is_true(json_object_get(info, "readonly")))
        return 0;
    if (!below.path || !below.format)
        return error_set(error, EINVAL, "disk %u: is none that could be frozen", disk);
    const struct state_directory *directory = supervisor_directory(job->supervisor);
    struct overlay_file *overlay = &job->overlays[job->overlay_count++];
    int result =
        overlay_create(overlay, disk, &below, directory ? directory->path : job->folder, error);
    if (result == 0)
        result = overlay_open(overlay, &below, error);
    json_array_append_new(job->frozen, json_pack("{s:i, s:o, s:s, s:I}", "disk", (int)disk, "path",
                                                 path_from_folder(job, below.path), "format",
                                                 below.format, "size", (json_int_t)below.size));
    return result;
}

static int ask_machine(struct job *job, struct error *error)
{
    int fds[FDS_MAX] = {job->files.state, job->files.memory};
    unsigned count = 2;
    json_t *overlays = json_array();
    for (unsigned i = 0; i < job->overlay_count; i++) {
        const struct overlay_file *overlay = &job->overlays[i];
        json_array_append_new(overlays,
                              json_pack("{s:i, s:s, s:I}", "disk", (int)overlay->disk, "path",
                                        overlay->path, "size", (json_int_t)overlay->size));
        fds[count++] = overlay->fd;
        fds[count++] = overlay->below_fd;
    }
    json_t *body = json_pack("{s:b, s:o}", "lasting", job->lasting, "overlays", overlays);
    int result =
        supervisor_ask(job->supervisor, "vm.snapshot", body, fds, count, saved, job, error);
    json_decref(body);
    return result;
}

static void disks_known(void *opaque, const json_t *body, const char *why)
{
    struct job *job = opaque;
    struct error error = {0};
    int result = why ? error_set(&error, EIO, "%s", why) : 0;
    for (unsigned i = 0; i < json_array_size(body) && i < VM_DISKS_MAX && result == 0; i++)
        result = add_overlay(job, i, json_array_get(body, i), &error);
    if (result == 0)
        result = ask_machine(job, &error);
    if (result == 0)
        return;
    for (unsigned i = 0; i < job->overlay_count; i++)
        unlink(job->overlays[i].path);
    fail(job, error.message);
}

/* --- first --- */

int snapshot_take(struct supervisor *supervisor, const char *folder, bool lasting, const char *by,
                  supervisor_done *done, void *opaque, struct error *error)
{
    struct job *job = calloc(1, sizeof(*job));
    if (!job)
        return error_set(error, ENOMEM, "out of memory");
    *job = (struct job){.supervisor = supervisor,
                        .lasting = lasting,
                        .done = done,
                        .opaque = opaque,
                        .files = {-1, -1},
                        .frozen = json_array()};
    snprintf(job->folder, sizeof(job->folder), "%s", folder);
    snprintf(job->by, sizeof(job->by), "%s", by ? by : "");
    int result = snapshot_create_files(folder, &job->files, error);
    if (result == 0) {
        result = supervisor_ask(supervisor, "disks", NULL, NULL, 0, disks_known, job, error);
        if (result < 0)
            remove_all(job);
    }
    if (result < 0)
        job_free(job);
    return result;
}
