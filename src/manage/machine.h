/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process of a machine, as its supervisor sees it: `nacre run` with a channel (control/), in
 * its own session and jail.
 */
#ifndef NACRE_MANAGE_MACHINE_H
#define NACRE_MANAGE_MACHINE_H

#include "base/log.h"
#include "base/loop.h"
#include "control/channel.h"

#include <stdbool.h>
#include <sys/types.h>

/* Which descriptors the process finds its channel and its serial port at: parts of its arguments.
 */
#define MACHINE_CONTROL_OPTION "--control=3"
#define MACHINE_SERIAL_OPTION  "--serial=fd:4"

struct machine;

struct machine_events {
    /* Something happened by itself: "booted" first. properties may be NULL. */
    void (*happened)(void *opaque, const char *event, const json_t *properties);
    /* The process has ended, with the exit code of nacre run or 128 + a signal's number; last: its
     * last message, "" when it had none. The machine is still there, and machine_destroy() is due.
     */
    void (*ended)(void *opaque, int code, const char *last);
    void *opaque;
};

/* arguments: "nacre", "run" and its options, MACHINE_CONTROL_OPTION and
 * MACHINE_SERIAL_OPTION among them; NULL-terminated. serial: the process's end of the line, which
 * stays the caller's. NULL with *error. */
struct machine *machine_start(char **arguments, int serial, struct loop *loop, struct log *log,
                              const struct machine_events *events, struct error *error);
/* Kills the process if it still runs. What was asked for and not answered is answered: it failed.
 */
void machine_destroy(struct machine *machine);

/*
 * Asks for an operation. body may be NULL, and stays the caller's, as the descriptors do. done:
 * why is NULL when all went well; body may be NULL. It is called later, always, unless this returns
 * -errno with *error.
 */
int machine_ask(struct machine *machine, const char *operation, json_t *body, const int *fds,
                unsigned fd_count, void (*done)(void *opaque, const json_t *body, const char *why),
                void *opaque, struct error *error);

void machine_kill(struct machine *machine);
pid_t machine_pid(const struct machine *machine);

#endif
