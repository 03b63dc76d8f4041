/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of a guest's serial port or virtio console: the terminal nacre was started on, a
 * pseudo-terminal, a unix socket, a file or what the parent process opened. One interface for the
 * devices, one small file a back end. Whatever is at the other end, a vcpu never waits for it: what
 * the guest writes goes into a bounded buffer that the loop's thread empties.
 */
#ifndef NACRE_CONSOLE_CONSOLE_H
#define NACRE_CONSOLE_CONSOLE_H

#include "base/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct console;
struct console_ops;

/* What an option's text says. ops NULL: none, nobody is at the other end. */
struct console_config {
    const struct console_ops *ops;
    const char *option; /* "serial": what messages name */
    const char *path;   /* of unix: and file: */
    bool server;        /* unix: listen instead of connecting */
};

/* Understands the argument of --option: CONSOLE_SYNTAX. The text is cut up and kept. Looks at no
 * file. -EINVAL with *error. */
int console_parse(const char *option, char *text, struct console_config *config,
                  struct error *error);
#define CONSOLE_SYNTAX "stdio, pty, unix:PATH[,server], file:PATH, fd:N, none"

/* The words an option's text may begin with; NULL past the last. */
const char *console_word(unsigned index);

/* True for the back end on standard input and output: there can be one only. */
bool console_is_stdio(const struct console_config *config);

/* What a back end on a unix socket needs while the machine runs. */
bool console_is_unix_server(const struct console_config *config);
bool console_is_unix_client(const struct console_config *config);

/* The device's side. Both are called on the loop's thread. */
struct console_sink {
    /* Bytes for the guest: takes what there is room for and returns how many. */
    unsigned (*receive)(void *opaque, const uint8_t *bytes, unsigned count);
    /* The terminal's size is another now: console_size(). Optional. */
    void (*resized)(void *opaque);
    void *opaque;
};

/*
 * Takes output from now on, but opens nothing yet. quit: the user asks to end (Ctrl-A x on the
 * terminal); on the loop's thread. NULL with *error.
 */
struct console *console_create(const struct console_config *config, struct loop *loop,
                               void (*quit)(void *opaque), void *opaque, struct error *error);

/* Who takes input; before console_connect(). */
void console_bind(struct console *console, const struct console_sink *sink);

/* Opens the back end: this empties a file, changes a terminal's mode, makes a socket. -errno with
 * *error. */
int console_connect(struct console *console, struct error *error);

/* Output of the guest. Never blocks; of what nobody reads, the latest is kept. Any thread. */
void console_write(struct console *console, const uint8_t *bytes, size_t count);

/* The guest has room for input again. Any thread. */
void console_drained(struct console *console);

/* The size of the terminal at the other end; false when it has none. */
bool console_size(const struct console *console, uint16_t *columns, uint16_t *rows);
/* SIGWINCH came: tells the device. Loop's thread. */
void console_size_changed(struct console *console);

/* Gives a terminal back as it was, after what waits is written; and takes it again. NULL is allowed
 * here and in console_destroy(). */
void console_restore(struct console *console);
void console_take_again(struct console *console);

/* Writes what waits, restores, closes. No vcpu may run any more. */
void console_destroy(struct console *console);

#endif
