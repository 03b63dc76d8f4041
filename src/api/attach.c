/* SPDX-License-Identifier: Apache-2.0 */
/* vm.add-disk: the image is opened here, as the machine may not. */
#include "api/api.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens and locks the image; *size in bytes. -errno with *error. */
static int open_image(const char *path, bool read_only, uint64_t *size, struct error *error)
{
    struct stat status;
    int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    int result = 0;
    if (flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
        result = error_set(error, EBUSY, "%s: is in use by another process", path);
    else if (fstat(fd, &status) < 0)
        result = error_set(error, errno, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
        result = error_set(error, EINVAL, "%s: is neither a file nor a block device", path);
    else if (S_ISREG(status.st_mode))
        *size = (uint64_t)status.st_size;
    else if (ioctl(fd, BLKGETSIZE64, size) < 0)
        result = error_set(error, errno, "%s: %s", path, strerror(errno));
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

static void added(void *opaque, const json_t *body, const char *why)
{
    struct api_call *call = opaque;
    if (!why) {
        supervisor_add_disk(call->supervisor, call->body);
        supervisor_event(call->supervisor, "disk-added", (json_t *)body, call->request->peer);
    }
    api_done(call, body, why);
}

/* The names that Cloud Hypervisor gives are like that, too. */
static void name_disk(json_t *disk, const struct supervisor *supervisor)
{
    const json_t *disks = json_object_get(supervisor_config(supervisor), "disks");
    if (!json_object_get(disk, "id"))
        json_object_set_new(disk, "id", json_sprintf("_disk%zu", json_array_size(disks)));
}

void api_vm_add_disk(struct api_call *call)
{
    struct error error = {0};
    const char *path, *format = NULL, *id;
    int read_only = 0;
    uint64_t size = 0;
    name_disk(call->body, call->supervisor);
    if (json_unpack(call->body, "{s:s, s:s, s?b, s?s}", "path", &path, "id", &id, "readonly",
                    &read_only, "format", &format) < 0) {
        api_fail(call, 400,
                 "vm.add-disk: it must have a \"path\"; \"id\", \"readonly\" and "
                 "\"format\" are optional");
        return;
    }
    int fd = open_image(path, read_only, &size, &error);
    json_t *request = json_pack("{s:s, s:s, s:I, s:b, s:s*}", "id", id, "path", path, "size",
                                (json_int_t)size, "readonly", read_only, "format", format);
    int result = fd < 0 ? fd
                        : supervisor_ask(call->supervisor, "vm.add-disk", request, &fd, 1, added,
                                         call, &error);
    json_decref(request);
    if (fd >= 0)
        close(fd); /* the machine has its own */
    if (result < 0)
        api_fail(call, 500, error.message);
}
