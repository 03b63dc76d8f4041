/* SPDX-License-Identifier: Apache-2.0 */
/* Linux's Documentation/admin-guide/cgroup-v2.rst, "memory.max": each group's limit holds for all
 * below it. */
#include "memory/host.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define CGROUPS "/sys/fs/cgroup"

/* The limit in a group's file; ~0: none. */
static uint64_t group_limit(const char *group)
{
    char path[PATH_MAX], text[32] = "";
    snprintf(path, sizeof(path), CGROUPS "%s/memory.max", group);
    FILE *file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    bool found = fgets(text, sizeof(text), file) && text[0] >= '0' && text[0] <= '9';
    fclose(file);
    return found ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* The version 2 group of this process, as "/user.slice/x"; empty when there is none. */
static void own_group(char group[PATH_MAX])
{
    char line[PATH_MAX];
    FILE *file = fopen("/proc/self/cgroup", "re");
    group[0] = '\0';
    while (file && fgets(line, sizeof(line), file))
        if (!strncmp(line, "0::/", 4))
            snprintf(group, PATH_MAX, "%.*s", (int)strcspn(line + 3, "\n"), line + 3);
    if (file)
        fclose(file);
}

static uint64_t groups_limit(void)
{
    char group[PATH_MAX];
    uint64_t least = UINT64_MAX;
    own_group(group);
    for (;;) {
        uint64_t limit = group_limit(group);
        if (limit < least)
            least = limit;
        char *parent = strrchr(group, '/');
        if (!parent)
            return least;
        *parent = '\0';
    }
}

uint64_t host_memory_most(void)
{
    struct sysinfo host;
    if (sysinfo(&host) < 0)
        return UINT64_MAX;
    uint64_t most = (uint64_t)host.totalram * host.mem_unit, limit = groups_limit();
    if (limit < most)
        most = limit;
    return most + (uint64_t)host.totalswap * host.mem_unit;
}
