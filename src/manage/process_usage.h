/* SPDX-License-Identifier: Apache-2.0 */
/* What a process uses of the host. proc(5): stat, statm. */
#ifndef NACRE_MANAGE_PROCESS_USAGE_H
#define NACRE_MANAGE_PROCESS_USAGE_H

#include <stdint.h>
#include <sys/types.h>

struct process_usage {
    double cpu_seconds;    /* of all its threads, in user and kernel mode */
    uint64_t memory_bytes; /* resident */
};

/* All zero when there is no such process; pid 0: none. */
void process_usage_read(pid_t pid, struct process_usage *usage);

#endif
