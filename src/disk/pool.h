/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that carry out requests on an image; results come back on the event loop's thread. */
#ifndef NACRE_DISK_POOL_H
#define NACRE_DISK_POOL_H

#include "disk/image.h"

struct pool;

#define POOL_THREADS 8 /* at most; an idle one costs a stack that was never touched */

/* image may be NULL until pool_set_image(). finished: on the loop's thread, for each request. NULL
 * with *error. */
struct pool *pool_create(struct image *image, unsigned threads, const struct thread_guard *guard,
                         struct loop *loop,
                         void (*finished)(void *opaque, struct block_request *request),
                         void *opaque, struct error *error);
void pool_submit(struct pool *pool, struct block_request *request);
/* Waits for all requests and delivers them. Loop's thread. */
void pool_drain(struct pool *pool);
/* What requests from now on are for. Only when drained, here and below. */
void pool_set_image(struct pool *pool, struct image *image);
void pool_destroy(struct pool *pool);

#endif
