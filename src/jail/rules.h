/* SPDX-License-Identifier: Apache-2.0 */
/* Which system calls each kind of thread may make, with which arguments, and what for. */
#ifndef NACRE_JAIL_RULES_H
#define NACRE_JAIL_RULES_H

#include "base/thread.h"

#include <seccomp.h>
#include <stdbool.h>

#define JAIL_CALLS_MAX 30 /* different system calls that a process makes in its jail */

struct jail_rule {
    int number;     /* __NR_... */
    unsigned kinds; /* 1 << enum thread_kind: who may */
    const char *reason;
    unsigned needs;   /* enum jail_need: only where one of them is configured; 0: always */
    bool own_process; /* the first argument must be our process */
    unsigned argument_count;
    struct scmp_arg_cmp arguments[3]; /* all must hold */
};

/* Several rows with one number: any of them suffices. */
extern const struct jail_rule jail_rules[];
extern const unsigned jail_rule_count;

/* What libraries try and can do without: fails with an error, and harms nobody. */
struct jail_refusal {
    int number;
    unsigned kinds; /* 1 << enum thread_kind */
    int code;       /* errno */
    const char *reason;
};

extern const struct jail_refusal jail_refusals[];
extern const unsigned jail_refusal_count;

/* needs: enum jail_need. */
bool jail_rule_applies(const struct jail_rule *rule, enum thread_kind kind, unsigned needs);
/* With some arguments at least. */
bool jail_allows(int number, enum thread_kind kind, unsigned needs);

/* "vcpu": for messages. */
const char *thread_kind_name(enum thread_kind kind);

#endif
