/* SPDX-License-Identifier: Apache-2.0 */
/* What happens when a thread makes a system call that its kind may not. */
#ifndef NACRE_JAIL_VIOLATION_H
#define NACRE_JAIL_VIOLATION_H

#include "base/error.h"
#include "base/thread.h"
#include "jail/jail.h"

#define CALL_NAME_MAX 24
#define CALL_NUMBERS  512 /* x86-64 has fewer */

/* What the handler of SIGSYS reads. Never changes once threads are jailed. */
struct violation_config {
    enum jail_mode mode;
    int exit_code;
    char names[CALL_NUMBERS][CALL_NAME_MAX]; /* of system calls; "" where there is none */
};

/* Lies at the foot of a jailed thread's signal stack: that is how the handler finds it without
 * global state. */
struct violation_thread {
    const struct violation_config *config;
    enum thread_kind kind;
    int resolver_fd;               /* of a network's process: jail/resolver.h; else -1 */
    const struct handout *handout; /* of the same: jail/handout.h; NULL: none */
};

/* Looks up the names and installs the handler. -errno with *error. */
int violation_catch(struct violation_config *config, struct error *error);

/* Bytes of a signal stack, its foot included. */
size_t violation_stack_size(void);

/* Gives the calling thread its signal stack of violation_stack_size() bytes, which replaces any it
 * has and serves other handlers, too. 0 or -errno. */
int violation_prepare_thread(void *stack, const struct violation_config *config,
                             enum thread_kind kind);

/* The address behind the instruction with which JAIL_LOG carries forbidden calls out. */
uint64_t violation_through(void);

#endif
