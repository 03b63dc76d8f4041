/* SPDX-License-Identifier: Apache-2.0 */
/* io_uring: reads, writes and flushes of a file without a thread waiting for each. */
#ifndef NACRE_DISK_URING_H
#define NACRE_DISK_URING_H

#include "disk/file.h"

struct uring;

/* NULL with *error: this host has none, or does not let us use it. All calls on the loop's thread;
 * finished likewise. */
struct uring *uring_create(struct file *file, struct loop *loop,
                           void (*finished)(void *opaque, struct block_request *request),
                           void *opaque, struct error *error);
/* READ, WRITE or FLUSH, at `offset` of the file. */
void uring_submit(struct uring *uring, struct block_request *request, uint64_t offset);
void uring_kick(struct uring *uring);
void uring_drain(struct uring *uring);
/* What requests from now on are for. Only when drained, here and below. */
void uring_set_file(struct uring *uring, struct file *file);
void uring_destroy(struct uring *uring);

#endif
