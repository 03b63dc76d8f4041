/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures in the libpcap file format with nanoseconds (draft-ietf-opsawg-pcap). Frames stand in it
 * as the guest sends and sees them: with segmentation offload, longer than on a wire and without
 * their checksums.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "net/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAGIC_NANOSECONDS 0xa1b23c4du
#define LINK_ETHERNET     1

struct file_header {
    uint32_t magic;
    uint16_t version_major, version_minor;
    uint32_t reserved[2];
    uint32_t snap_length, link_type;
};

struct record {
    uint32_t seconds, nanoseconds;
    uint32_t captured_length, original_length;
    uint8_t bytes[FRAME_MAX];
};

struct capture {
    struct frame_backend backend;
    struct frame_backend *below;
    struct log *log;
    int fd; /* -1: the file takes no more */
    struct record record;
};

static void write_frame(struct capture *capture, const struct frame *frame, size_t length)
{
    uint64_t now = clock_realtime_ns();
    struct record *record = &capture->record;
    size_t size = offsetof(struct record, bytes) + length;
    if (capture->fd < 0)
        return;
    record->seconds = (uint32_t)(now / NANOSECONDS_PER_SECOND);
    record->nanoseconds = (uint32_t)(now % NANOSECONDS_PER_SECOND);
    record->captured_length = record->original_length = (uint32_t)length;
    memcpy(record->bytes, frame->bytes, length);
    /* In one piece, so that a reader never sees half of it. */
    if (write(capture->fd, record, size) == (ssize_t)size)
        return;
    log_message(capture->log, LOG_ERROR, "--net pcap: the capture ends: %s",
                errno ? strerror(errno) : "the disk is full");
    close(capture->fd);
    capture->fd = -1;
}

static bool capture_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct capture *capture = (struct capture *)backend;
    if (!capture->below->ops->send(capture->below, frame, length))
        return false;
    write_frame(capture, frame, length);
    return true;
}

static void capture_ready(struct frame_backend *backend)
{
    struct capture *capture = (struct capture *)backend;
    capture->below->ops->ready(capture->below);
}

static void capture_close(struct frame_backend *backend)
{
    struct capture *capture = (struct capture *)backend;
    capture->below->ops->close(capture->below);
    if (capture->fd >= 0)
        close(capture->fd);
    free(capture);
}

static bool capture_receive(void *opaque, const struct frame *frame, size_t length)
{
    struct capture *capture = opaque;
    if (!frame_deliver(&capture->backend.sink, frame, length))
        return false;
    write_frame(capture, frame, length);
    return true;
}

static void capture_writable(void *opaque)
{
    const struct capture *capture = opaque;
    frame_writable(&capture->backend.sink);
}

static const struct frame_ops capture_ops = {
    .name = "pcap", .send = capture_send, .ready = capture_ready, .close = capture_close};

static int open_file(const char *path, struct error *error)
{
    const struct file_header header = {
        .magic = MAGIC_NANOSECONDS,
        .version_major = 2,
        .version_minor = 4,
        .snap_length = FRAME_MAX,
        .link_type = LINK_ETHERNET,
    };
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, &header, sizeof(header)) == (ssize_t)sizeof(header))
        return fd;
    error_set(error, errno, "--net pcap=%s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

struct frame_backend *capture_open(struct frame_backend *below, const char *path,
                                   const struct frame_host *host, struct error *error)
{
    struct capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        error_set(error, ENOMEM, "--net pcap: out of memory");
    if (!capture || (capture->fd = open_file(path, error)) < 0) {
        below->ops->close(below);
        free(capture);
        return NULL;
    }
    capture->backend.ops = &capture_ops;
    capture->below = below;
    capture->log = host->log;
    below->sink = (struct frame_sink){capture_receive, capture_writable, capture};
    return &capture->backend;
}
