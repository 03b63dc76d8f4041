/* SPDX-License-Identifier: Apache-2.0 */
/* Signals to nacre as events on the loop. */
#ifndef NACRE_CLI_SIGNALS_H
#define NACRE_CLI_SIGNALS_H

#include "base/loop.h"

#include <stdbool.h>

struct signals;

/*
 * Calls caught() on the loop's thread for SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGWINCH and SIGUSR1.
 * Before any thread is made, so that all inherit the mask. NULL with *error.
 */
struct signals *signals_watch(struct loop *loop, void (*caught)(void *opaque, int number),
                              void *opaque, struct error *error);

/* SIGINT, SIGTERM and SIGHUP ask for the end. */
bool signals_is_ending(int number);

/* The next SIGINT, SIGTERM or SIGHUP ends nacre on the spot, whatever it is doing. */
void signals_let_kill(void);

void signals_unwatch(struct signals *signals);

#endif
