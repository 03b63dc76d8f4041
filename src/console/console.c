/* SPDX-License-Identifier: Apache-2.0 */
/* What all back ends have in common: the option's text, input at the guest's pace, output. */
#include "console/console.h"

#include "base/bits.h"
#include "console/backend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static const struct console_ops *const backends[] = {&console_stdio, &console_pty, &console_unix,
                                                     &console_file, &console_descriptor};

static int wrong(const char *option, const char *text, struct error *error)
{
    return error_set(error, EINVAL, "--%s %s: must be one of " CONSOLE_SYNTAX, option, text);
}

/* Takes ",server" off the end of a path. */
static bool strip_server(char *path)
{
    static const char suffix[] = ",server";
    size_t length = strlen(path), tail = sizeof(suffix) - 1;
    if (length < tail || strcmp(path + length - tail, suffix))
        return false;
    path[length - tail] = '\0';
    return true;
}

int console_parse(const char *option, char *text, struct console_config *config,
                  struct error *error)
{
    size_t length = strcspn(text, ":");
    char *path = text[length] ? text + length + 1 : NULL;
    *config = (struct console_config){.option = option};
    if (!strcmp(text, "none"))
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(backends); i++) {
        const struct console_ops *ops = backends[i];
        if (strlen(ops->name) != length || strncmp(ops->name, text, length))
            continue;
        if (ops->takes_path != (path != NULL))
            return wrong(option, text, error);
        config->server = ops->can_serve && strip_server(path);
        if (path && !*path)
            return wrong(option, text, error);
        config->ops = ops;
        config->path = path;
        return 0;
    }
    return wrong(option, text, error);
}

const char *console_word(unsigned index)
{
    if (index == ARRAY_SIZE(backends))
        return "none";
    return index < ARRAY_SIZE(backends) ? backends[index]->word : NULL;
}

bool console_is_stdio(const struct console_config *config)
{
    return config->ops == &console_stdio;
}

bool console_is_unix_server(const struct console_config *config)
{
    return config->ops == &console_unix && config->server;
}

bool console_is_unix_client(const struct console_config *config)
{
    return config->ops == &console_unix && !config->server;
}

/* --- input --- */

/* Hands the guest what it has room for. */
static void feed(struct console *console)
{
    unsigned waiting = console->input_end - console->input_start;
    if (waiting && console->sink.receive)
        console->input_start += console->sink.receive(
            console->sink.opaque, console->input + console->input_start, waiting);
    if (console->input_start == console->input_end)
        console->input_start = console->input_end = 0;
}

/* Off: until console_drained(). The end of a connection is wanted all the same. */
static void watch_input(struct console *console, bool on)
{
    uint32_t off = console->ops->leaving ? EPOLLHUP : 0;
    if (console->input_watch)
        loop_watch_change(console->input_watch, on ? EPOLLIN : off);
}

static void input_ended(struct console *console)
{
    if (console->ops->hung_up) {
        console_detach(console);
        console->ops->hung_up(console);
    } else {
        loop_watch_remove(console->input_watch);
        console->input_watch = NULL;
        console->input_fd = -1;
    }
}

static bool read_input(struct console *console)
{
    ssize_t count = read(console->input_fd, console->input, sizeof(console->input));
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (count <= 0) {
        input_ended(console);
        return false;
    }
    console->input_end = (unsigned)count;
    if (console->ops->filter)
        console->input_end = console->ops->filter(console, console->input, (unsigned)count);
    return true;
}

/* Reads more only when all that was read before is gone: the guest sets the pace. */
static void input_ready(void *opaque, uint32_t events)
{
    struct console *console = opaque;
    feed(console);
    if (console->input_end && events & EPOLLHUP && console->ops->leaving) {
        loop_watch_change(console->input_watch, 0);
        console->ops->leaving(console);
    } else if (console->input_end) {
        watch_input(console, false);
    } else if (console->input_fd >= 0 && read_input(console)) {
        feed(console);
    }
}

static void input_resume(void *opaque)
{
    struct console *console = opaque;
    feed(console);
    if (console->input_end || console->input_fd < 0)
        return;
    if (console->input_watch)
        watch_input(console, true);
    else
        input_ready(console, EPOLLIN);
}

void console_drained(struct console *console)
{
    loop_post(console->loop, input_resume, console);
}

/* --- connecting --- */

void console_attach(struct console *console, int input_fd, int output_fd)
{
    console->input_start = console->input_end = 0;
    console->input_fd = input_fd;
    output_connect(console->output, output_fd);
    if (input_fd < 0)
        return;
    /* epoll refuses regular files: those are read as the guest takes their bytes. */
    console->input_watch =
        loop_watch_add(console->loop, input_fd, EPOLLIN, input_ready, console, NULL);
    if (!console->input_watch)
        console_drained(console);
}

void console_detach(struct console *console)
{
    loop_watch_remove(console->input_watch);
    console->input_watch = NULL;
    console->input_fd = -1;
    output_connect(console->output, -1);
}

struct console *console_create(const struct console_config *config, struct loop *loop,
                               void (*quit)(void *opaque), void *opaque, struct error *error)
{
    struct console *console = calloc(1, config->ops->size);
    if (!console) {
        error_set(error, ENOMEM, "--%s: out of memory", config->option);
        return NULL;
    }
    console->ops = config->ops;
    console->config = *config;
    console->loop = loop;
    console->quit = quit;
    console->quit_opaque = opaque;
    console->input_fd = -1;
    console->output = output_create(loop, config->ops->output_max, error);
    if (!console->output) {
        free(console);
        return NULL;
    }
    if (console->ops->prepare)
        console->ops->prepare(console);
    return console;
}

void console_bind(struct console *console, const struct console_sink *sink)
{
    console->sink = *sink;
}

int console_connect(struct console *console, struct error *error)
{
    return console->ops->connect(console, error);
}

void console_write(struct console *console, const uint8_t *bytes, size_t count)
{
    output_write(console->output, bytes, count);
}

bool console_size(const struct console *console, uint16_t *columns, uint16_t *rows)
{
    return console->ops->terminal_size && console->ops->terminal_size(console, columns, rows);
}

void console_size_changed(struct console *console)
{
    if (console->sink.resized)
        console->sink.resized(console->sink.opaque);
}

void console_restore(struct console *console)
{
    if (!console)
        return;
    output_flush(console->output); /* the guest's last words before ours */
    if (console->ops->restore)
        console->ops->restore(console);
}

void console_take_again(struct console *console)
{
    if (console && console->ops->take_again)
        console->ops->take_again(console);
}

void console_destroy(struct console *console)
{
    if (!console)
        return;
    console_restore(console);
    console_detach(console);
    if (console->ops->close)
        console->ops->close(console);
    output_destroy(console->output);
    free(console);
}
