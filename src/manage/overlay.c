/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/overlay.h"

#include "disk/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define OVERLAYS_MAX 1000 /* of a disk, in one folder */

/* Images of one folder name each other without it: it may be moved. */
static const char *backing_name(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    bool inside = !strncmp(path, folder, length) && path[length] == '/';
    return inside && !strchr(path + length + 1, '/') ? path + length + 1 : path;
}

int overlay_create(struct overlay_file *overlay, unsigned disk, const struct overlay_below *below,
                   const char *folder, struct error *error)
{
    const struct qcow2_create_options options = {.size = below->size,
                                                 .backing = backing_name(below->path, folder),
                                                 .backing_format = below->format};
    *overlay = (struct overlay_file){.disk = disk, .fd = -1, .below_fd = -1};
    for (unsigned number = 1; number < OVERLAYS_MAX; number++) {
        int length = snprintf(overlay->path, sizeof(overlay->path), "%s/disk%u-%u.qcow2", folder,
                              disk, number);
        if (length >= (int)sizeof(overlay->path))
            return error_set(error, ENAMETOOLONG, "%s: is too long a path for images", folder);
        int fd = open(overlay->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return error_set(error, errno, "%s: %s", overlay->path, strerror(errno));
        close(fd);
        int result = qcow2_create(overlay->path, &options, error);
        if (result < 0)
            unlink(overlay->path);
        return result;
    }
    return error_set(error, EEXIST, "%s: has %d images of disk %u already", folder, OVERLAYS_MAX,
                     disk);
}

int overlay_open(struct overlay_file *overlay, const struct overlay_below *below,
                 struct error *error)
{
    struct stat status;
    overlay->fd = open(overlay->path, O_RDWR | O_CLOEXEC);
    overlay->below_fd = open(below->path, O_RDONLY | O_CLOEXEC);
    if (overlay->fd < 0 || overlay->below_fd < 0 || fstat(overlay->fd, &status) < 0)
        return error_set(error, errno, "%s: %s", overlay->fd < 0 ? overlay->path : below->path,
                         strerror(errno));
    if (flock(overlay->fd, LOCK_EX | LOCK_NB) < 0)
        return error_set(error, EBUSY, "%s: is in use by another process", overlay->path);
    overlay->size = (uint64_t)status.st_size;
    return 0;
}

void overlay_close(struct overlay_file *overlay)
{
    if (overlay->fd >= 0)
        close(overlay->fd);
    if (overlay->below_fd >= 0)
        close(overlay->below_fd);
    overlay->fd = overlay->below_fd = -1;
}

/* The settings without format=, which the image's name says now. */
static void drop_format(json_t *disk)
{
    char kept[PATH_MAX] = "", copy[PATH_MAX];
    const char *settings = json_string_value(json_object_get(disk, "settings"));
    snprintf(copy, sizeof(copy), "%s", settings ? settings : "");
    for (char *rest = copy, *word; (word = strsep(&rest, ","));)
        if (*word && strncmp(word, "format=", 7))
            snprintf(kept + strlen(kept), sizeof(kept) - strlen(kept), "%s%s", *kept ? "," : "",
                     word);
    if (settings)
        json_object_set_new(disk, "settings", json_string(kept));
}

void overlay_enter(const struct overlay_file *overlay, json_t *config)
{
    json_t *disk = json_array_get(json_object_get(config, "disks"), overlay->disk);
    json_object_set_new(disk, "path", json_string(overlay->path));
    drop_format(disk);
}
