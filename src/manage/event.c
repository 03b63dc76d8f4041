/* SPDX-License-Identifier: Apache-2.0 */
#include "manage/event.h"

#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

char *event_line(const char *event, json_t *properties, const char *by)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    json_t *json = json_pack("{s:{s:I, s:I}, s:s, s:s, s:O*, s:s*}", "timestamp", "secs",
                             (json_int_t)now.tv_sec, "nanos", (json_int_t)now.tv_nsec, "source",
                             "vm", "event", event, "properties", properties, "by", by);
    char *text = json_dumps(json, JSON_COMPACT), *line = NULL;
    json_decref(json);
    if (!text || asprintf(&line, "%s\n", text) < 0)
        line = NULL;
    free(text);
    return line;
}

int event_open(const struct state_directory *directory, struct error *error)
{
    int fd = openat(directory->fd, STATE_EVENTS,
                    O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0)
        return fd;
    return error_set(error, errno, "%s/" STATE_EVENTS ": %s", directory->path, strerror(errno));
}

void event_own_name(char *text, size_t size)
{
    process_describe(getuid(), getpid(), text, size);
}

void event_record(const struct state_directory *directory, const char *event)
{
    char by[64];
    struct error ignored;
    event_own_name(by, sizeof(by));
    char *line = event_line(event, NULL, by);
    int fd = line ? event_open(directory, &ignored) : -1;
    if (fd >= 0 && write(fd, line, strlen(line)) < 0)
        fprintf(stderr, "nacre: %s/" STATE_EVENTS ": %s\n", directory->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    free(line);
}
