/* SPDX-License-Identifier: Apache-2.0 */
/* Errors that a user can act on: one line that says what failed, on which file or option, why, and
 * what to do. */
#ifndef NACRE_BASE_ERROR_H
#define NACRE_BASE_ERROR_H

#include <stdarg.h>

#define ERROR_MESSAGE_MAX 512

struct error {
    int code;                        /* positive errno, 0 when no error was set */
    char message[ERROR_MESSAGE_MAX]; /* one line, no trailing newline */
};

/*
 * Fills *error (which may be NULL) with a formatted line and returns -code, so that a failing
 * function can end with `return error_set(error, EINVAL, "...", ...)`.
 */
int error_set(struct error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "text: " in front of an error that is already set; returns -error->code. */
int error_prefix(struct error *error, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
