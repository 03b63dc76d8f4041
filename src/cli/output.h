/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way from a guest to a file descriptor. A vcpu thread must never wait for a reader
 * that has stopped reading, else the machine could not be stopped either: bytes are buffered and
 * written on the loop's thread.
 */
#ifndef NACRE_CLI_OUTPUT_H
#define NACRE_CLI_OUTPUT_H

#include "base/loop.h"

#include <stddef.h>

struct output;

/* NULL with *error. */
struct output *output_create(struct loop *loop, struct error *error);
/* Writes what waits; gives up when the reader takes nothing for a second. Loop's thread. */
void output_flush(struct output *output);
/* Flushes. The descriptor stays the caller's. */
void output_destroy(struct output *output);
/* Where the bytes go; before the first of them. */
void output_connect(struct output *output, int fd);

/* Never blocks; what comes when 16 MiB wait is dropped. Any thread. */
void output_write(struct output *output, const char *bytes, size_t count);

#endif
