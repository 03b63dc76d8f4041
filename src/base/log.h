/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One-line messages to the user. A guest must not be able to flood the host, so every message
 * that a guest can provoke goes through log_guest(), which says at most a few a second.
 */
#ifndef NACRE_BASE_LOG_H
#define NACRE_BASE_LOG_H

#include "base/error.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log {
    FILE *stream;
    enum log_level level;
    const char *name; /* of the VM, in front of each message; NULL: none */
    pthread_mutex_t lock;
    uint64_t window_start_ns; /* rate limit of log_guest: start of the running second */
    unsigned window_count;    /* messages in that second */
    unsigned dropped;         /* messages swallowed since the last one shown */
};

void log_init(struct log *log, FILE *stream, enum log_level level);
/* Appends to the file from now on; errors are still said on stderr, too. -errno with *error. */
int log_open_file(struct log *log, const char *path, struct error *error);
/* Closes the file, if there is one. */
void log_destroy(struct log *log);

void log_message(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As log_message(LOG_WARNING), at most 10 lines a second: for what a guest can cause. log may be
 * NULL. */
void log_guest(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* "error", "warning" ...; NULL past the last. */
const char *log_level_name(unsigned level);

#endif
