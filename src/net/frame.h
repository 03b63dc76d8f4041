/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network back ends behind one struct. They exchange Ethernet frames without FCS, each with a
 * header that says what its sender has left undone (offload.h). All on the event loop's thread.
 */
#ifndef NACRE_NET_FRAME_H
#define NACRE_NET_FRAME_H

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/thread.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest IP packet behind an Ethernet header with a VLAN tag, rounded up. */
#define FRAME_MAX 65556
#define FRAME_MIN 14 /* an Ethernet header */

#define FRAME_NEEDS_CHECKSUM 1u /* flags */
#define FRAME_CHECKSUM_VALID 2u /* the checksum was verified: the receiver need not */

#define FRAME_SEGMENT_NONE 0u /* segment_type */
#define FRAME_SEGMENT_TCP4 1u
#define FRAME_SEGMENT_TCP6 4u
#define FRAME_SEGMENT_ECN  0x80u /* beside TCP4 or TCP6: CWR in the first segment only */

/* As struct virtio_net_hdr in virtio 1.2 §5.1.6, which the host's taps use as well: little-endian,
 * offsets from the start of the frame. */
struct frame_header {
    uint8_t flags, segment_type;
    uint16_t header_length; /* a hint only */
    uint16_t segment_size;  /* payload of each segment */
    uint16_t checksum_start, checksum_offset;
    uint16_t buffer_count; /* for receivers with mergeable buffers; else 0 */
};

/* What goes over sockets and taps in one message: lengths are those of the bytes. */
struct frame {
    struct frame_header header;
    uint8_t bytes[FRAME_MAX];
};

struct frame_backend;

/* The device's side. */
struct frame_sink {
    /* A frame for the guest. False: no room now; the back end keeps it until `ready`. */
    bool (*receive)(void *opaque, const struct frame *frame, size_t length);
    /* The back end takes frames again after it has refused one. */
    void (*writable)(void *opaque);
    void *opaque;
};

struct frame_ops {
    const char *name; /* "user", "tap", "switch" */
    /* A frame from the guest, valid by frame_valid(). False: no room now; the device keeps it until
     * `writable`. */
    bool (*send)(struct frame_backend *backend, const struct frame *frame, size_t length);
    /* The guest has put out new receive buffers. */
    void (*ready)(struct frame_backend *backend);
    void (*close)(struct frame_backend *backend);
};

struct frame_backend {
    const struct frame_ops *ops;
    struct frame_sink sink;
};

/* What a back end works with. */
struct frame_host {
    struct loop *loop;
    struct log *log;                  /* may be NULL */
    const struct thread_guard *guard; /* of a back end's own process; NULL: none */
};

/* What --net may name. */
struct frame_kind {
    const char *name;
    bool own_process; /* runs in one (process.h) */
    /* settings: what follows the name and its comma, cut up in place, or NULL. NULL with *error. */
    struct frame_backend *(*open)(char *settings, const struct frame_host *host,
                                  struct error *error);
};

/* For back ends that always have room, and the end of those that are gone. */
static inline bool frame_deliver(const struct frame_sink *sink, const struct frame *frame,
                                 size_t length)
{
    return !sink->receive || sink->receive(sink->opaque, frame, length);
}

static inline void frame_writable(const struct frame_sink *sink)
{
    if (sink->writable)
        sink->writable(sink->opaque);
}

#endif
