/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors that no one here opened. */
#include "jail/jail.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 256 /* 8 disks, 8 networks, timers: far below */

/* All of ours close on exec; what came through our own exec does not. */
static void close_inherited(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    if (fd > STDERR_FILENO && flags >= 0 && !(flags & FD_CLOEXEC))
        close(fd);
}

void jail_close_strangers(void)
{
    const struct rlimit limit = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};
    DIR *folder = opendir("/proc/self/fd");
    if (folder) {
        for (const struct dirent *entry; (entry = readdir(folder));)
            if (entry->d_name[0] != '.')
                close_inherited((int)strtol(entry->d_name, NULL, 10));
        closedir(folder);
    }
    setrlimit(RLIMIT_NOFILE, &limit); /* may already be lower: as well */
}
