/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdio: standard input and output. A terminal is put into raw mode, and given back as it was on
 * every way out; Ctrl-A is the escape. Other input is fed to the guest as fast as it reads.
 */
#include "base/bits.h"
#include "console/backend.h"
#include "console/watcher.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x01 /* Ctrl-A */

struct stdio_console {
    struct console console;
    bool is_terminal, raw, escaped;
    struct termios saved;
    int watcher; /* of is_terminal */
};

static int make_raw(struct stdio_console *terminal)
{
    struct termios raw = terminal->saved;
    cfmakeraw(&raw);
    terminal_watcher_tell(terminal->watcher, true);
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) < 0)
        return -1;
    terminal->raw = true;
    return 0;
}

static void say(struct stdio_console *terminal, const char *text)
{
    console_write(&terminal->console, (const uint8_t *)text, strlen(text));
}

/* The key after Ctrl-A. True when a byte is to go to the guest. */
static bool escape_key(struct stdio_console *terminal, uint8_t key)
{
    switch (key) {
    case ESCAPE:
        return true;
    case 'x':
        say(terminal, "\r\nnacre: quit\r\n");
        terminal->console.quit(terminal->console.quit_opaque);
        return false;
    default:
        say(terminal,
            "\r\nnacre: Ctrl-A x  quit    Ctrl-A h  this help    Ctrl-A Ctrl-A  send Ctrl-A\r\n");
        return false;
    }
}

/* Takes escape sequences out of what was typed; returns what is left. */
static unsigned stdio_filter(struct console *console, uint8_t *bytes, unsigned count)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    unsigned kept = 0;
    if (!terminal->raw)
        return count;
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

static int stdio_connect(struct console *console, struct error *error)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    if (terminal->is_terminal && make_raw(terminal) < 0)
        return error_set(error, errno, "--%s stdio: cannot set up the terminal: %s",
                         console->config.option, strerror(errno));
    console_attach(console, STDIN_FILENO, STDOUT_FILENO);
    return 0;
}

static bool stdio_size(const struct console *console, uint16_t *columns, uint16_t *rows)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return false;
    *columns = size.ws_col;
    *rows = size.ws_row;
    return true;
}

static void stdio_prepare(struct console *console)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    terminal->is_terminal = tcgetattr(STDIN_FILENO, &terminal->saved) == 0;
    if (terminal->is_terminal)
        terminal->watcher = terminal_watcher_start(STDIN_FILENO, &terminal->saved);
}

static void stdio_restore(struct console *console)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    if (!terminal->raw)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal->saved);
    terminal_watcher_tell(terminal->watcher, false);
    terminal->raw = false;
}

static void stdio_take_again(struct console *console)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    if (terminal->is_terminal)
        make_raw(terminal);
}

static void stdio_close(struct console *console)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    if (terminal->is_terminal && terminal->watcher >= 0)
        close(terminal->watcher);
}

const struct console_ops console_stdio = {
    .name = "stdio",
    .word = "stdio",
    .size = sizeof(struct stdio_console),
    .output_max = MIB(16),
    .prepare = stdio_prepare,
    .connect = stdio_connect,
    .filter = stdio_filter,
    .terminal_size = stdio_size,
    .restore = stdio_restore,
    .take_again = stdio_take_again,
    .close = stdio_close,
};
