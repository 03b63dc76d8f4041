/* SPDX-License-Identifier: Apache-2.0 */
#include "base/runtime_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int choose(char path[RUNTIME_FOLDER_MAX])
{
    const char *own = getenv("NACRE_RUNTIME"), *session = getenv("XDG_RUNTIME_DIR");
    if (own && *own == '/')
        return snprintf(path, RUNTIME_FOLDER_MAX, "%s", own);
    if (geteuid() == 0)
        return snprintf(path, RUNTIME_FOLDER_MAX, "/run/nacre");
    if (session && *session == '/')
        return snprintf(path, RUNTIME_FOLDER_MAX, "%s/nacre", session);
    return snprintf(path, RUNTIME_FOLDER_MAX, "/tmp/nacre-%u", geteuid());
}

/* In /tmp somebody else may have been first. */
static int make_private(const char *path, struct error *error)
{
    struct stat status;
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    if (lstat(path, &status) < 0)
        return error_set(error, errno, "%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & 077))
        return 0;
    return error_set(error, EPERM,
                     "%s: must be a folder of yours that nobody else may enter: chmod 700", path);
}

int runtime_folder(char path[RUNTIME_FOLDER_MAX], const char *part, struct error *error)
{
    int length = choose(path);
    if (length + 1 + (int)strlen(part) >= RUNTIME_FOLDER_MAX)
        return error_set(error, ENAMETOOLONG, "NACRE_RUNTIME or XDG_RUNTIME_DIR: is too long");
    int result = make_private(path, error);
    if (result < 0)
        return result;
    snprintf(path + length, RUNTIME_FOLDER_MAX - (size_t)length, "/%s", part);
    return make_private(path, error);
}
