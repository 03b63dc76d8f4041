/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a network's process serves (by TFTP): it may open none, so all of them are open when
 * it enters the jail, and the handler of SIGSYS answers for the kernel when libslirp opens one by
 * its name.
 */
#ifndef NACRE_JAIL_HANDOUT_H
#define NACRE_JAIL_HANDOUT_H

#include <stdbool.h>

struct handout;

/* Of the files and the folder that this process has open now; NULL: no folder. Never freed: it
 * serves as long as the process lives. Before the jail. */
struct handout *handout_create(void);

/* Is this system call about something in the folder? Then *result is what the kernel would return:
 * a descriptor of its own, or -ENOENT. In a signal handler. handout may be NULL. */
bool handout_answer(const struct handout *handout, int number, const long long *arguments,
                    long long *result);

#endif
