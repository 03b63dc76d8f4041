/* SPDX-License-Identifier: Apache-2.0 */
/* Network back ends behind one struct: they exchange Ethernet frames without FCS. All on the event
 * loop's thread. */
#ifndef NACRE_NET_FRAME_H
#define NACRE_NET_FRAME_H

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 65550

struct frame_backend;

/* The device's side. */
struct frame_sink {
    /* A frame for the guest. False: no room now; the back end may drop it or wait for frame_ready.
     */
    bool (*receive)(void *opaque, const uint8_t *frame, size_t length);
    void *opaque;
};

struct frame_ops {
    const char *name; /* "user", "tap", "switch" */
    void (*send)(struct frame_backend *backend, const uint8_t *frame, size_t length);
    /* The guest has put out new receive buffers. */
    void (*ready)(struct frame_backend *backend);
    void (*close)(struct frame_backend *backend);
};

struct frame_backend {
    const struct frame_ops *ops;
    struct frame_sink sink;
};

/* What --net may name. */
struct frame_kind {
    const char *name;
    /* settings: what follows the name and its comma, cut up in place, or NULL. NULL with *error. */
    struct frame_backend *(*open)(char *settings, struct loop *loop, struct error *error);
};

/* What a back end works with. */
struct frame_host {
    struct loop *loop;
    struct log *log;                  /* may be NULL */
    const struct thread_guard *guard; /* of a back end's own process; NULL: none */
};

/* text: what follows --net, as "user,hostfwd=tcp:127.0.0.1:2222-:22". May fork: early, before there
 * are threads. */
struct frame_backend *frame_open(const char *text, const struct frame_host *host,
                                 struct error *error);

#endif
