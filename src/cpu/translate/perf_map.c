/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/perf_map.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

FILE *perf_map_open(struct error *error)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
    /* Not through a link that somebody else has laid there. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *map = fd < 0 ? NULL : fdopen(fd, "w");
    if (map)
        return map;
    error_set(error, errno, "--perf-map: cannot write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return NULL;
}

void perf_map_add(FILE *map, const void *code, unsigned size, uint64_t gva, bool user)
{
    (void)fprintf(map, "%llx %x guest %s %#llx\n", (unsigned long long)(uintptr_t)code, size,
                  user ? "user" : "kernel", (unsigned long long)gva);
}
