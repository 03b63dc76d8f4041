/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vm.add-disk and vm.remove-device. The descriptor is the image's, open and locked:
 *
 *   {"id": "data", "path": "/srv/data.qcow2", "size": 4194304, "readonly": false, "format": null}
 *
 * and the answer is {"id": "data", "bdf": "0000:00:07.0"}. When a disk has gone, the event
 * "device-removed" has its id.
 */
#include "vm/attach.h"
#include "control/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct attach_call {
    struct control *control;
    json_int_t id;
    char disk[VM_ATTACH_ID_MAX + 1];
};

static void attached(void *opaque, int result, const char *why)
{
    struct attach_call *call = opaque;
    char place[32];
    snprintf(place, sizeof(place), "0000:00:%02x.0", result < 0 ? 0 : (unsigned)result);
    json_t *body = result < 0 ? NULL : json_pack("{s:s, s:s}", "id", call->disk, "bdf", place);
    control_finish(call->control, call->id, body, result < 0 ? why : NULL);
    free(call);
}

int control_add_disk(struct control_call *call, struct error *error)
{
    const char *id, *path, *format = NULL;
    json_int_t size;
    int read_only = 0;
    if (call->fd_count != 1 ||
        json_unpack((json_t *)call->body, "{s:s, s:s, s:I, s?b, s?s}", "id", &id, "path", &path,
                    "size", &size, "readonly", &read_only, "format", &format) < 0)
        return error_set(error, EINVAL, "vm.add-disk: the request is wrong");
    struct attach_call *waiting = calloc(1, sizeof(*waiting));
    if (!waiting)
        return error_set(error, ENOMEM, "vm.add-disk: out of memory");
    *waiting = (struct attach_call){.control = call->control, .id = call->id};
    snprintf(waiting->disk, sizeof(waiting->disk), "%s", id);
    const struct block_medium medium = {.path = path,
                                        .format = format,
                                        .read_only = read_only,
                                        .fd = call->fds[0],
                                        .size = (uint64_t)size};
    int result = vm_attach_disk(call->vm, id, &medium, attached, waiting, error);
    if (result < 0) {
        free(waiting);
        return result;
    }
    call->fds[0] = -1;
    return CONTROL_LATER;
}

int control_remove_device(struct control_call *call, struct error *error)
{
    const char *id;
    if (json_unpack((json_t *)call->body, "{s:s}", "id", &id) < 0)
        return error_set(error, EINVAL, "vm.remove-device: it has no \"id\"");
    return vm_detach(call->vm, id, error);
}

void control_detached(void *control, const char *id)
{
    control_event(control, "device-removed", json_pack("{s:s}", "id", id));
}
