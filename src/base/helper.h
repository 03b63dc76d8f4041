/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of its own for code that talks to the world and shall have none of the machine: it is
 * forked before there is a guest, and keeps two descriptors besides the standard three, which lead
 * nowhere but for messages.
 */
#ifndef NACRE_BASE_HELPER_H
#define NACRE_BASE_HELPER_H

#include "base/error.h"

#include <stdbool.h>

#define HELPER_FD   3 /* in the helper: a message socket to the machine, which ends with it */
#define HELPER_MORE 4 /* in the helper: what it was given */

struct helper_config {
    const char *name; /* of the process: "nacre-vnc" */
    const char *what; /* in messages: "--display vnc" */
    int more;         /* a descriptor that becomes HELPER_MORE; -1: none */
    /* The helper's life: helper_started() comes first. Returning ends it. */
    void (*run)(void *opaque);
    void *opaque;
};

/* Before other threads are made, and before there is anything in memory that the helper should not
 * see. Our end of the socket, blocking, when its start went well; -errno with *error. */
int helper_start(const struct helper_config *config, struct error *error);

/* For other processes just forked, too: closes everything but fd, which becomes HELPER_FD (what is
 * returned), and more, which becomes HELPER_MORE (-1: none). The standard three lead nowhere then;
 * stderr may stay what it is. */
int helper_keep_only(int fd, int more, bool keep_stderr);

/* In the helper: how its start went. Does not return after a failure (error->code). */
void helper_started(const struct error *error);

#endif
