/* SPDX-License-Identifier: Apache-2.0 */
/* What the views of a display and their common part know of each other. */
#ifndef NACRE_DISPLAY_VIEW_H
#define NACRE_DISPLAY_VIEW_H

#include "console/console.h"
#include "display/display.h"
#include "display/typist.h"

/* How often a view looks at the screen while somebody looks at the view. */
#define VIEW_INTERVAL_NS UINT64_C(33000000)

struct display_ops {
    const char *name;
    const char *word;   /* the same as far as it can be completed */
    bool takes_address; /* NAME=ADDRESS, with settings behind commas */
    bool is_terminal;
    size_t size; /* of the struct that begins with struct display */
    /* All optional. -errno with *error. */
    int (*create)(struct display *display, struct error *error);
    int (*start)(struct display *display, struct error *error);
    void (*close)(struct display *display);
};

extern const struct display_ops display_none;
extern const struct display_ops display_text;
extern const struct display_ops display_vnc;

/* The common part; each view's struct begins with it. */
struct display {
    const struct display_ops *ops;
    struct display_config config;
    struct display_host host;
    struct screen *screen;
    struct input_sink input;
    struct typist *typist;
    struct console *console; /* of a view on the terminal; else NULL */
};

#endif
