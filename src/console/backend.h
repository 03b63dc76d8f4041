/* SPDX-License-Identifier: Apache-2.0 */
/* What the back ends of a console and their common part know of each other. */
#ifndef NACRE_CONSOLE_BACKEND_H
#define NACRE_CONSOLE_BACKEND_H

#include "console/console.h"
#include "console/output.h"

#define CONSOLE_INPUT_SIZE 256

struct console_ops {
    const char *name; /* as in the option's text */
    const char *word; /* the same as far as it can be completed: "file:" */
    bool takes_path;  /* name:PATH */
    bool can_serve;   /* name:PATH,server */
    size_t size;      /* of the struct that begins with struct console */
    size_t output_max;
    /* At creation, before any thread is made. Optional. */
    void (*prepare)(struct console *console);
    /* Opens and calls console_attach(), now or whenever somebody comes. -errno with *error. */
    int (*connect)(struct console *console, struct error *error);
    /* The other end has gone: its descriptors are detached already. Optional. */
    void (*hung_up)(struct console *console);
    /* It has gone, but the guest has yet to read what it sent. Optional, beside hung_up. */
    void (*leaving)(struct console *console);
    /* Looks through input before the guest gets it; returns how much is left of it. Optional. */
    unsigned (*filter)(struct console *console, uint8_t *bytes, unsigned count);
    bool (*terminal_size)(const struct console *console, uint16_t *columns, uint16_t *rows);
    void (*restore)(struct console *console);    /* Optional. */
    void (*take_again)(struct console *console); /* Optional. */
    /* Closes its descriptors; they are detached already. Optional. */
    void (*close)(struct console *console);
};

extern const struct console_ops console_stdio;
extern const struct console_ops console_pty;
extern const struct console_ops console_unix;
extern const struct console_ops console_file;
extern const struct console_ops console_descriptor;

/* The common part; each back end's struct begins with it. */
struct console {
    const struct console_ops *ops;
    struct console_config config;
    struct loop *loop;
    struct console_sink sink;
    void (*quit)(void *opaque);
    void *quit_opaque;
    struct output *output;
    int input_fd; /* -1: nobody there, or its input has ended */
    struct loop_watch *input_watch;
    uint8_t input[CONSOLE_INPUT_SIZE]; /* read, not yet taken by the guest */
    unsigned input_start, input_end;
};

/* Input and output flow from now on; -1: there is none. The descriptors stay the back end's. */
void console_attach(struct console *console, int input_fd, int output_fd);
/* Lets go of both; output is kept for who comes next. */
void console_detach(struct console *console);

#endif
