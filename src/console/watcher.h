/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives a terminal back when nacre could not: after a crash, SIGKILL, a stop by the jail. A process
 * of its own does it, since a signal handler sees only some of these ends, would need global state
 * to know the settings, and could not share signals with an engine that handles faults.
 */
#ifndef NACRE_CONSOLE_WATCHER_H
#define NACRE_CONSOLE_WATCHER_H

#include <stdbool.h>
#include <termios.h>

/*
 * Starts the process. It ends when nacre does, and before that sets the terminal to `saved` if it
 * is taken then. Before any thread is made. Returns a descriptor to tell it by, -errno without one.
 */
int terminal_watcher_start(int terminal, const struct termios *saved);

/* True: the terminal's mode is about to be changed; false: it is as it was. */
void terminal_watcher_tell(int watcher, bool taken);

#endif
