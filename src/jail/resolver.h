/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libslirp looks at resolv.conf whenever the guest asks for a name. A network's process may open no
 * file, so the handler of SIGSYS answers for the kernel: the file was opened before the jail, is
 * handed out once, and never changes.
 */
#ifndef NACRE_JAIL_RESOLVER_H
#define NACRE_JAIL_RESOLVER_H

#include <stdbool.h>

/* The descriptor to hand out; -1: there is none. Before the jail. */
int resolver_open(void);

/* Is this system call such a look? Then *result is what the kernel would return. *fd becomes -1
 * when it has been handed out. In a signal handler. */
bool resolver_answer(int *fd, int number, const long long *arguments, long long *result);

#endif
