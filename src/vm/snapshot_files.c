/* SPDX-License-Identifier: Apache-2.0 */
/* The two files of a snapshot in their folder. */
#include "vm/snapshot_private.h"

#include "base/bits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int snapshot_open_folder(const char *folder, int flags, struct snapshot_files *files,
                         struct error *error)
{
    *files = (struct snapshot_files){-1, -1};
    const struct {
        const char *name;
        int *fd;
    } parts[] = {{SNAPSHOT_STATE, &files->state}, {SNAPSHOT_MEMORY, &files->memory}};
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%s/%s", folder, parts[i].name);
        *parts[i].fd = open(path, flags | O_CLOEXEC, 0600);
        if (*parts[i].fd >= 0)
            continue;
        int result = error_set(error, errno, "%s: %s", path, strerror(errno));
        snapshot_close_files(files);
        return result;
    }
    return 0;
}

int snapshot_create_files(const char *folder, struct snapshot_files *files, struct error *error)
{
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return error_set(error, errno, "%s: %s", folder, strerror(errno));
    return snapshot_open_folder(folder, O_RDWR | O_CREAT | O_EXCL, files, error);
}

void snapshot_close_files(struct snapshot_files *files)
{
    if (files->state >= 0)
        close(files->state);
    if (files->memory >= 0)
        close(files->memory);
    *files = (struct snapshot_files){-1, -1};
}
