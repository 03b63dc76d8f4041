/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's screen for its user: what the graphics card shows, and keys and pointer for the
 * machine's keyboard and mouse. One small file a view: none, the terminal (text.c), VNC (vnc.c).
 */
#ifndef NACRE_DISPLAY_DISPLAY_H
#define NACRE_DISPLAY_DISPLAY_H

#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"
#include "display/input.h"
#include "display/screen.h"

struct display;
struct display_ops;

/* What --display says. ops NULL: there is no screen at all. */
struct display_config {
    const struct display_ops *ops;
    const char *address;       /* vnc: ADDRESS:PORT */
    const char *password_file; /* vnc; NULL: none */
};

#define DISPLAY_SYNTAX "none, text, vnc=ADDRESS:PORT[,password-file=FILE]"

/* Understands the argument of --display. The text is cut up and kept. Looks at no file. -EINVAL
 * with *error. */
int display_parse(char *text, struct display_config *config, struct error *error);
/* The words it may begin with; NULL past the last. */
const char *display_word(unsigned index);
/* It takes standard input and output. */
bool display_is_terminal(const struct display_config *config);

/* What a view works with. */
struct display_host {
    struct loop *loop;
    struct log *log;
    const struct thread_guard *guard; /* of a view's own process; NULL: none */
    void (*quit)(void *opaque);       /* the user asks to end; on the loop's thread */
    void *opaque;
};

/* May fork, for a process that shall have none of the machine's memory: before there is any. NULL
 * with *error. */
struct display *display_create(const struct display_config *config, const struct display_host *host,
                               struct error *error);

/* What the graphics card draws to, and what the keyboard controller fills in: of this display's
 * life. */
struct screen *display_screen(struct display *display);
struct input_sink *display_input(struct display *display);

/* From now on the screen is shown; changes a terminal's mode. Once the machine is complete. -errno
 * with *error. */
int display_start(struct display *display, struct error *error);

/* Presses keys: "ctrl-alt-del"; types ASCII text. On the loop's thread. -errno with *error. */
int display_press(struct display *display, const char *chord, struct error *error);
int display_type(struct display *display, const char *text, size_t length, struct error *error);

/* As the console's functions of these names. NULL is allowed. */
void display_restore(struct display *display);
void display_take_again(struct display *display);
void display_size_changed(struct display *display);

/* No vcpu may run any more. NULL is allowed. */
void display_destroy(struct display *display);

#endif
