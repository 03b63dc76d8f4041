/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.snapshot, as the supervisor asks for it. The descriptors are the snapshot's state and memory,
 * then an overlay and the image below it for each disk that "overlays" names:
 *
 *   {"lasting": true, "overlays": [{"disk": 0, "path": "/.../disk0.qcow2", "size": 196608}]}
 *
 * and the answer is {"switched": true, "pause_us": 5800, "total_us": 310000}; "switched" says that
 * the disks are on their overlays, also when the snapshot failed.
 */
#include "vm/snapshot.h"
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FDS_FIXED 2 /* state and memory */

struct snapshot_call {
    struct control *control;
    json_int_t id;
    struct snapshot_request request;
};

static void close_overlays(struct snapshot_call *call)
{
    for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
        struct snapshot_files files = {call->request.overlays[i].fd,
                                       call->request.overlays[i].below_fd};
        snapshot_close_files(&files);
    }
}

static void saved(void *opaque, const struct snapshot_outcome *outcome)
{
    struct snapshot_call *call = opaque;
    struct error error = {0};
    json_t *body = json_pack("{s:b, s:I, s:I}", "switched", outcome->switched, "pause_us",
                             (json_int_t)(outcome->pause_ns / 1000), "total_us",
                             (json_int_t)(outcome->total_ns / 1000));
    if (outcome->result < 0)
        error_set(&error, -outcome->result, "snapshot: %s", strerror(-outcome->result));
    snapshot_close_files(&call->request.files);
    control_finish(call->control, call->id, body, outcome->result < 0 ? error.message : NULL);
    free(call);
}

static int take_fd(const struct control_call *call, unsigned index)
{
    int fd = index < call->fd_count ? call->fds[index] : -1;
    if (fd >= 0)
        call->fds[index] = -1;
    return fd;
}

static int take_overlays(const struct control_call *call, struct snapshot_request *request,
                         struct error *error)
{
    const json_t *list = json_object_get(call->body, "overlays");
    size_t index;
    json_t *entry;
    json_array_foreach(list, index, entry)
    {
        const char *path = NULL;
        json_int_t disk = 0, size = 0;
        int result =
            json_unpack(entry, "{s:I, s:s, s:I}", "disk", &disk, "path", &path, "size", &size);
        if (result < 0 || disk < 0 || disk >= VM_DISKS_MAX || size < 0 ||
            request->overlays[disk].fd >= 0)
            return error_set(error, EINVAL, "vm.snapshot: overlays: entry %zu is wrong", index);
        request->overlays[disk] =
            (struct block_overlay){.path = path,
                                   .size = (uint64_t)size,
                                   .fd = take_fd(call, FDS_FIXED + 2 * (unsigned)index),
                                   .below_fd = take_fd(call, FDS_FIXED + 2 * (unsigned)index + 1)};
        if (request->overlays[disk].fd < 0 || request->overlays[disk].below_fd < 0)
            return error_set(error, EINVAL, "vm.snapshot: overlays: entry %zu has no files", index);
    }
    return 0;
}

static int take_request(const struct control_call *call, struct snapshot_request *request,
                        struct error *error)
{
    for (unsigned i = 0; i < VM_DISKS_MAX; i++)
        request->overlays[i] = (struct block_overlay){.fd = -1, .below_fd = -1};
    request->lasting = json_is_true(json_object_get(call->body, "lasting"));
    request->files = (struct snapshot_files){take_fd(call, 0), take_fd(call, 1)};
    if (request->files.state < 0 || request->files.memory < 0)
        return error_set(error, EINVAL, "vm.snapshot: its files are missing");
    return take_overlays(call, request, error);
}

int control_snapshot(struct control_call *call, struct error *error)
{
    struct snapshot_call *pending = calloc(1, sizeof(*pending));
    if (!pending)
        return error_set(error, ENOMEM, "vm.snapshot: out of memory");
    pending->control = call->control;
    pending->id = call->id;
    int result = take_request(call, &pending->request, error);
    if (result == 0)
        result = vm_save(call->vm, &pending->request, saved, pending, error);
    if (result == 0)
        return CONTROL_LATER;
    close_overlays(pending);
    snapshot_close_files(&pending->request.files);
    free(pending);
    return result;
}

int control_disks(struct control_call *call, struct error *error)
{
    call->reply = json_array();
    for (unsigned i = 0; i < VM_DISKS_MAX; i++) {
        const struct block *disk = vm_disk(call->vm, i);
        if (disk)
            json_array_append_new(call->reply,
                                  json_pack("{s:I, s:b, s:s}", "size", (json_int_t)disk->size,
                                            "readonly", disk->read_only, "format", disk->format));
    }
    return 0;
}
