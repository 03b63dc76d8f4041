/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vm_table.h"

#include "base/bits.h"
#include "cli/vm_command.h"
#include "manage/config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What its files take, holes and sharing aside; *last: when something happened to it. */
static uint64_t look_at_files(const struct state_directory *directory, time_t *last)
{
    struct stat status;
    uint64_t bytes = 0;
    int fd = directory->fd < 0 ? -1 : dup(directory->fd);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (!folder)
        return 0;
    rewinddir(folder);
    for (const struct dirent *entry; (entry = readdir(folder));) {
        if (fstatat(directory->fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(status.st_mode))
            bytes += (uint64_t)status.st_blocks * 512;
        if (!strcmp(entry->d_name, STATE_EVENTS))
            *last = status.st_mtime;
    }
    closedir(folder);
    return bytes;
}

static int look_at(const char *name,
                   int (*each)(void *opaque, const struct vm_summary *vm, struct error *error),
                   void *opaque, struct error *error)
{
    struct state_directory directory;
    struct vm_summary vm = {
        .name = name, .state = "Damaged", .parent = "", .directory = &directory};
    struct error ignored;
    if (state_directory_open(&directory, name, &ignored) == 0) {
        vm.disk_bytes = look_at_files(&directory, &vm.last_used);
        vm_command_info(&directory, &vm.info, &ignored);
    }
    json_unpack(vm.info, "{s:s, s:{s?s}}", "state", &vm.state, "config", CONFIG_PARENT, &vm.parent);
    if (vm.info && strcmp(vm.state, "Stopped"))
        vm.last_used = time(NULL);
    int result = each(opaque, &vm, error);
    json_decref(vm.info);
    state_directory_close(&directory);
    return result;
}

int vm_table_each(int (*each)(void *opaque, const struct vm_summary *vm, struct error *error),
                  void *opaque, struct error *error)
{
    char **names = NULL;
    unsigned count = 0;
    int result = state_directory_names(&names, &count, error);
    for (unsigned i = 0; i < count && result == 0; i++)
        result = look_at(names[i], each, opaque, error);
    state_directory_free_names(names, count);
    return result;
}

void size_print(uint64_t bytes, char text[16])
{
    static const char units[] = "KMGT";
    double value = (double)bytes / 1024;
    unsigned unit = 0;
    while (value >= 1024 && unit < sizeof(units) - 2) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 16, value < 10 && unit ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

void duration_print(uint64_t seconds, char text[16])
{
    static const struct {
        uint64_t seconds;
        char name;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    unsigned first = 0;
    while (first < ARRAY_SIZE(units) - 2 && seconds < units[first].seconds)
        first++;
    snprintf(text, 16, "%u%c %u%c", (unsigned)(seconds / units[first].seconds % 100000),
             units[first].name,
             (unsigned)(seconds % units[first].seconds / units[first + 1].seconds),
             units[first + 1].name);
}
