/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include "cli/output.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE       0x01 /* Ctrl-A */
#define INPUT_BUFFER 256

struct terminal {
    struct loop *loop;
    struct serial *serial;
    struct output *output;
    int output_fd;
    void (*quit)(void *opaque);
    void *opaque;
    bool raw, escaped;
    struct termios saved;
    struct loop_watch *watch;
    struct loop_timer *retry;    /* input that cannot be watched: regular files */
    uint8_t input[INPUT_BUFFER]; /* read, not yet taken by the guest */
    unsigned input_start, input_end;
    bool input_closed;
};

static void say(struct terminal *terminal, const char *text)
{
    output_write(terminal->output, text, strlen(text));
}

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT};

/*
 * nacre itself has crashed: makes the terminal usable again. A handler cannot reach the saved
 * settings without global state, so it sets what raw mode cleared. SA_RESETHAND: the second raise
 * ends the process with the right status.
 */
static void restore_and_die(int number)
{
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) == 0) {
        settings.c_iflag |= ICRNL | IXON | BRKINT;
        settings.c_oflag |= OPOST;
        settings.c_lflag |= ICANON | ECHO | ISIG | IEXTEN;
        tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    }
    raise(number);
}

static void catch_crashes(void)
{
    const struct sigaction action = {.sa_handler = restore_and_die,
                                     .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (unsigned i = 0; i < sizeof(fatal_signals) / sizeof(fatal_signals[0]); i++)
        sigaction(fatal_signals[i], &action, NULL);
}

static int make_raw(struct terminal *terminal, struct error *error)
{
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
        return error_set(error, errno, "terminal: %s", strerror(errno));
    raw = terminal->saved;
    catch_crashes();
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return error_set(error, errno, "terminal: %s", strerror(errno));
    terminal->raw = true;
    return 0;
}

/* The key after Ctrl-A. True when a byte is to go to the guest. */
static bool escape_key(struct terminal *terminal, uint8_t key)
{
    switch (key) {
    case ESCAPE:
        return true;
    case 'x':
        say(terminal, "\r\nnacre: quit\r\n");
        terminal->quit(terminal->opaque);
        return false;
    default:
        say(terminal,
            "\r\nnacre: Ctrl-A x  quit    Ctrl-A h  this help    Ctrl-A Ctrl-A  send Ctrl-A\r\n");
        return false;
    }
}

/* Takes escape sequences out of what was typed; returns what is left. */
static unsigned filter_escapes(struct terminal *terminal, uint8_t *bytes, unsigned count)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (terminal->escaped) {
            terminal->escaped = false;
            if (escape_key(terminal, bytes[i]))
                bytes[kept++] = bytes[i];
        } else if (bytes[i] == ESCAPE) {
            terminal->escaped = true;
        } else {
            bytes[kept++] = bytes[i];
        }
    }
    return kept;
}

/* Hands the guest what it has room for. */
static void feed(struct terminal *terminal)
{
    unsigned waiting = terminal->input_end - terminal->input_start;
    if (waiting && terminal->serial)
        terminal->input_start +=
            serial_receive(terminal->serial, terminal->input + terminal->input_start, waiting);
    if (terminal->input_start == terminal->input_end)
        terminal->input_start = terminal->input_end = 0;
}

/* Reads more only when all that was read before is gone: the guest sets the pace. */
static void input_ready(void *opaque, uint32_t events)
{
    struct terminal *terminal = opaque;
    feed(terminal);
    if (terminal->input_end || terminal->input_closed) {
        if (terminal->watch)
            loop_watch_change(terminal->watch, 0);
        return;
    }
    ssize_t count = read(STDIN_FILENO, terminal->input, sizeof(terminal->input));
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count <= 0) {
        terminal->input_closed = true;
        if (terminal->watch)
            loop_watch_change(terminal->watch, 0);
        return;
    }
    terminal->input_end = (unsigned)count;
    if (terminal->raw)
        terminal->input_end = filter_escapes(terminal, terminal->input, (unsigned)count);
    feed(terminal);
}

static void input_resume(void *opaque)
{
    struct terminal *terminal = opaque;
    feed(terminal);
    if (terminal->input_end || terminal->input_closed)
        return;
    if (terminal->watch)
        loop_watch_change(terminal->watch, EPOLLIN);
    else
        input_ready(terminal, EPOLLIN);
}

void terminal_drained(void *opaque)
{
    struct terminal *terminal = opaque;
    if (terminal->input_end || !terminal->watch)
        loop_post(terminal->loop, input_resume, terminal);
}

void terminal_transmit(void *opaque, uint8_t byte)
{
    struct terminal *terminal = opaque;
    output_write(terminal->output, (const char *)&byte, 1);
}

struct terminal *terminal_create(struct loop *loop, bool use_input, void (*quit)(void *opaque),
                                 void *opaque, struct error *error)
{
    struct terminal *terminal = calloc(1, sizeof(*terminal));
    if (!terminal) {
        error_set(error, ENOMEM, "terminal: out of memory");
        return NULL;
    }
    *terminal = (struct terminal){.loop = loop,
                                  .output_fd = STDOUT_FILENO,
                                  .quit = quit,
                                  .opaque = opaque,
                                  .input_closed = !use_input};
    terminal->output = output_create(loop, error);
    if (terminal->output)
        return terminal;
    free(terminal);
    return NULL;
}

int terminal_attach(struct terminal *terminal, struct serial *serial, int output_fd,
                    struct error *error)
{
    terminal->serial = serial;
    terminal->output_fd = output_fd;
    output_connect(terminal->output, output_fd);
    if (terminal->input_closed)
        return 0;
    if (isatty(STDIN_FILENO) && make_raw(terminal, error) < 0)
        return -error->code;
    /* epoll refuses regular files: those are read as the guest drains its FIFO. */
    terminal->watch =
        loop_watch_add(terminal->loop, STDIN_FILENO, EPOLLIN, input_ready, terminal, NULL);
    return terminal->watch ? 0 : loop_post(terminal->loop, input_resume, terminal);
}

void terminal_restore(struct terminal *terminal)
{
    if (!terminal)
        return;
    output_flush(terminal->output); /* the guest's last words before ours */
    if (!terminal->raw)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal->saved);
    terminal->raw = false;
}

void terminal_destroy(struct terminal *terminal)
{
    if (!terminal)
        return;
    loop_watch_remove(terminal->watch);
    terminal_restore(terminal); /* flushes the output: before its end */
    output_destroy(terminal->output);
    if (terminal->output_fd != STDOUT_FILENO)
        close(terminal->output_fd);
    free(terminal);
}
