/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp filters made from the rules. seccomp(2); Linux
 * Documentation/userspace-api/seccomp_filter. */
#ifndef NACRE_JAIL_FILTER_H
#define NACRE_JAIL_FILTER_H

#include "base/error.h"
#include "base/thread.h"

#include <linux/filter.h>
#include <stdint.h>

/*
 * The program for a kind of thread: what its rules do not allow raises SIGSYS. needs: enum
 * jail_need. through: the address
 * behind a system call instruction from which everything is allowed, or 0. -errno with *error;
 * filter_free() is due after success.
 */
int filter_create(struct sock_fprog *program, enum thread_kind kind, unsigned needs,
                  uint64_t through, struct error *error);
void filter_free(struct sock_fprog *program);

/* For the calling thread, for good. 0 or -errno. */
int filter_load(const struct sock_fprog *program);

#endif
