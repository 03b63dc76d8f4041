/* SPDX-License-Identifier: Apache-2.0 */
/* What the process and its threads give up besides system calls. */
#ifndef NACRE_JAIL_PRIVILEGES_H
#define NACRE_JAIL_PRIVILEGES_H

#include "base/error.h"

#include <stdbool.h>

/* For the process, before other threads are made: no new privileges, no core dumps, no memory that
 * is executable because it is readable. -errno with *error. */
int privileges_limit(struct error *error);

/* For the calling thread: all capabilities. 0 or -errno. */
int privileges_drop(void);

/*
 * For the calling thread: the file system, abstract sockets and, unless it is to keep it, TCP. What
 * can still be done: to remove files in the folders given (descriptors; -1: none). 0, also where
 * the host has no Landlock, or -errno.
 */
int landlock_enter(bool keep_tcp, const int *folders, unsigned count);

#endif
