/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdio: standard input and output. A terminal is put into raw mode, and given back as it was on
 * every way out; Ctrl-A is the escape. Other input is fed to the guest as fast as it reads.
 */
#include "base/bits.h"
#include "console/backend.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE 0x01 /* Ctrl-A */

struct stdio_console {
    struct console console;
    bool raw, escaped;
    struct termios saved;
};

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGQUIT, SIGTRAP};

/* A handler cannot reach the saved settings without global state: it sets what raw mode cleared. */
void console_rescue_terminal(void)
{
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) == 0) {
        settings.c_iflag |= ICRNL | IXON | BRKINT;
        settings.c_oflag |= OPOST;
        settings.c_lflag |= ICANON | ECHO | ISIG | IEXTEN;
        tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    }
}

/* nacre itself has crashed. SA_RESETHAND: the second raise ends the process with the right status.
 */
static void restore_and_die(int number)
{
    console_rescue_terminal();
    raise(number);
}

static void catch_crashes(void)
{
    const struct sigaction action = {.sa_handler = restore_and_die,
                                     .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    for (unsigned i = 0; i < ARRAY_SIZE(fatal_signals); i++)
        sigaction(fatal_signals[i], &action, NULL);
}

static int make_raw(struct stdio_console *terminal)
{
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &terminal->saved) < 0)
        return -1;
    raw = terminal->saved;
    cfmakeraw(&raw);
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
    if (isatty(STDIN_FILENO)) {
        catch_crashes();
        if (make_raw(terminal) < 0)
            return error_set(error, errno, "--%s stdio: cannot set up the terminal: %s",
                             console->config.option, strerror(errno));
    }
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

static void stdio_restore(struct console *console)
{
    struct stdio_console *terminal = (struct stdio_console *)console;
    if (terminal->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &terminal->saved);
    terminal->raw = false;
}

static void stdio_take_again(struct console *console)
{
    if (isatty(STDIN_FILENO))
        make_raw((struct stdio_console *)console);
}

const struct console_ops console_stdio = {
    .name = "stdio",
    .word = "stdio",
    .size = sizeof(struct stdio_console),
    .output_max = MIB(16),
    .connect = stdio_connect,
    .filter = stdio_filter,
    .terminal_size = stdio_size,
    .restore = stdio_restore,
    .take_again = stdio_take_again,
};
