/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/process_usage.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static FILE *open_proc(pid_t pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return fopen(path, "re");
}

void process_usage_read(pid_t pid, struct process_usage *usage)
{
    char line[1024] = "";
    unsigned long user, kernel, pages;
    *usage = (struct process_usage){0};
    FILE *stat = pid ? open_proc(pid, "stat") : NULL;
    const char *fields = stat && fgets(line, sizeof(line), stat) ? strrchr(line, ')') : NULL;
    /* The name before the bracket may hold anything; then state and ten numbers come first. */
    if (fields && sscanf(fields, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                         &kernel) == 2)
        usage->cpu_seconds = (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    if (stat)
        fclose(stat);
    FILE *statm = pid ? open_proc(pid, "statm") : NULL;
    if (statm && fscanf(statm, "%*u %lu", &pages) == 1)
        usage->memory_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
    if (statm)
        fclose(statm);
}
