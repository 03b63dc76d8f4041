/* SPDX-License-Identifier: Apache-2.0 */
/* nacre log: who did what with a VM, and when; what it said. */
#include "cli/vm_command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct log_options {
    struct vm_command vm;
    bool console, messages, json;
};

static int set_console(void *target, const char *text, struct error *error)
{
    ((struct log_options *)target)->console = true;
    return 0;
}

static int set_messages(void *target, const char *text, struct error *error)
{
    ((struct log_options *)target)->messages = true;
    return 0;
}

static int set_json(void *target, const char *text, struct error *error)
{
    ((struct log_options *)target)->json = true;
    return 0;
}

/* NULL: there is no such file, as nothing was written yet. */
static FILE *open_file(const struct state_directory *directory, const char *file)
{
    int fd = openat(directory->fd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
    if (fd >= 0 && !stream)
        close(fd);
    return stream;
}

static void copy_file(const struct state_directory *directory, const char *file)
{
    char bytes[65536];
    FILE *stream = open_file(directory, file);
    if (!stream)
        return;
    for (size_t count; (count = fread(bytes, 1, sizeof(bytes), stream));)
        fwrite(bytes, 1, count, stdout);
    fclose(stream);
}

/* 2026-11-21 11:35:01 paused by root (process 12) */
static void print_event(const char *line)
{
    json_int_t seconds = 0;
    const char *event = "?", *by = NULL, *message = NULL;
    struct tm local;
    char when[24] = "?";
    json_t *json = json_loads(line, 0, NULL);
    json_unpack(json, "{s:{s:I}, s:s, s?s, s?{s?s}}", "timestamp", "secs", &seconds, "event",
                &event, "by", &by, "properties", "message", &message);
    time_t time = (time_t)seconds;
    if (localtime_r(&time, &local))
        strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
    printf("%s %s%s%s%s%s\n", when, event, by ? " by " : "", by ? by : "", message ? ": " : "",
           message ? message : "");
    json_decref(json);
}

static void print_events(const struct state_directory *directory)
{
    char *line = NULL;
    size_t size = 0;
    FILE *stream = open_file(directory, STATE_EVENTS);
    if (!stream)
        return;
    while (getline(&line, &size, stream) > 0)
        print_event(line);
    free(line);
    fclose(stream);
}

static int print_log(struct vm_command *vm, struct error *error)
{
    const struct log_options *options = (const struct log_options *)vm;
    if (options->console) {
        copy_file(&vm->directory, STATE_SAID ".old");
        copy_file(&vm->directory, STATE_SAID);
    } else if (options->messages || options->json) {
        copy_file(&vm->directory, options->messages ? STATE_LOG : STATE_EVENTS);
    } else {
        print_events(&vm->directory);
    }
    return 0;
}

static int run(int argc, char **argv)
{
    struct log_options options = {0};
    return vm_command_run(&command_log, &options.vm, argc, argv, print_log);
}

static const struct option_spec option_table[] = {
    {"console", NULL, "what the guest said on its serial port", set_console, NULL},
    {"messages", NULL, "what nacre itself said", set_messages, NULL},
    {"json", NULL, "events for programs, an object a line", set_json, NULL},
    {0},
};

const struct command command_log = {
    .name = "log",
    .summary = "say who did what with a VM, and when",
    .usage = "NAME [OPTION...]",
    .examples = "  nacre log web\n  nacre log --console web | tail\n",
    .options = option_table,
    .run = run,
    .argument = vm_command_argument,
};
