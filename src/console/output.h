/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way from a guest to a file descriptor. A vcpu thread must never wait for a reader
 * that has stopped reading, else the machine could not be stopped either: bytes are buffered and
 * written on the loop's thread.
 */
#ifndef NACRE_CONSOLE_OUTPUT_H
#define NACRE_CONSOLE_OUTPUT_H

#include "base/loop.h"

#include <stddef.h>
#include <stdint.h>

struct output;

/* Keeps at most `limit` bytes (a power of two), the latest ones. NULL with *error. */
struct output *output_create(struct loop *loop, size_t limit, struct error *error);
/* Drops what waits. The descriptor stays the caller's. */
void output_destroy(struct output *output);

/* Where the bytes go from now on; -1: nowhere yet, they are kept. Loop's thread. */
void output_connect(struct output *output, int fd);
/* Writes what waits; gives up when the reader takes nothing for a second. Loop's thread. */
void output_flush(struct output *output);

/* Never blocks. Any thread. */
void output_write(struct output *output, const uint8_t *bytes, size_t count);

#endif
