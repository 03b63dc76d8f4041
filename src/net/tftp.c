/* SPDX-License-Identifier: Apache-2.0 */
#include "net/tftp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 128
#define DEPTH_MAX 8

/* Takes over the folder's descriptor. -errno. */
static int open_files(int folder, unsigned depth, unsigned *count)
{
    DIR *entries = fdopendir(folder);
    int result = 0;
    if (!entries) {
        result = -errno;
        close(folder);
        return result;
    }
    for (struct dirent *entry; result == 0 && (entry = readdir(entries));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        struct stat status;
        int fd = openat(folder, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        bool known = fd >= 0 && fstat(fd, &status) == 0;
        if (known && S_ISDIR(status.st_mode))
            result = depth < DEPTH_MAX ? open_files(fd, depth + 1, count) : -ELOOP;
        else if (known && S_ISREG(status.st_mode))
            result = ++*count <= FILES_MAX ? 0 : -E2BIG;
        else if (fd >= 0)
            close(fd);
    }
    closedir(entries);
    return result;
}

char *tftp_open_folder(const char *path, struct error *error)
{
    unsigned count = 0;
    char *real = realpath(path, NULL);
    /* Two: reading it uses one up. */
    int kept = real ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int read = kept >= 0 ? open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = read >= 0 ? open_files(read, 0, &count) : -errno;
    if (result == 0)
        return real;
    if (result == -E2BIG)
        error_set(error, E2BIG, "--net user,tftp=%s: has more than %d files", path, FILES_MAX);
    else
        error_set(error, -result, "--net user,tftp=%s: %s", path, strerror(-result));
    if (kept >= 0)
        close(kept);
    free(real);
    return NULL;
}
