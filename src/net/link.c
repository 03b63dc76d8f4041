/* SPDX-License-Identifier: Apache-2.0 */
#include "net/link.h"

#include "net/offload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX     64 /* frames until the loop's other work gets its turn */
#define CLOSE_WAIT_MS 1000
#define BUFFER_BYTES  (4 << 20) /* asked for; the host gives what it allows */

struct link {
    struct frame_backend backend;
    struct log *log;
    const char *peer;
    int fd;
    struct loop_watch *watch; /* NULL: the other end has gone */
    bool blocked;             /* the socket is full: the device waits for `writable` */
    size_t held;              /* length of the frame for which the guest has no room; 0: none */
    struct frame frame;
};

size_t link_frame_length(const struct frame *frame, ssize_t size)
{
    size_t length =
        size > (ssize_t)sizeof(frame->header) ? (size_t)size - sizeof(frame->header) : 0;
    return frame_valid(frame, length) ? length : 0;
}

static void listen_for(struct link *link)
{
    if (link->watch)
        loop_watch_change(link->watch,
                          (link->held ? 0u : EPOLLIN) | (link->blocked ? EPOLLOUT : 0u));
}

static void link_gone(struct link *link)
{
    loop_watch_remove(link->watch);
    link->watch = NULL;
    log_message(link->log, LOG_ERROR,
                "%s has ended: the guest is cut off until it is started again", link->peer);
}

static void receive_batch(struct link *link)
{
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t size = read(link->fd, &link->frame, sizeof(link->frame));
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            link_gone(link);
            return;
        }
        size_t length = link_frame_length(&link->frame, size);
        if (length && !frame_deliver(&link->backend.sink, &link->frame, length)) {
            link->held = length;
            listen_for(link);
            return;
        }
    }
}

static void link_event(void *opaque, uint32_t events)
{
    struct link *link = opaque;
    if (link->blocked && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        link->blocked = false;
        listen_for(link);
        frame_writable(&link->backend.sink);
    }
    if (!link->held && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        receive_batch(link);
}

static bool link_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct link *link = (struct link *)backend;
    if (link->blocked)
        return false;
    if (!link->watch || write(link->fd, frame, link_message_size(length)) >= 0 || errno != EAGAIN)
        return true; /* sent; or nobody is there any more */
    link->blocked = true;
    listen_for(link);
    return false;
}

static void link_ready(struct frame_backend *backend)
{
    struct link *link = (struct link *)backend;
    if (!link->held || !frame_deliver(&link->backend.sink, &link->frame, link->held))
        return;
    link->held = 0;
    listen_for(link);
}

/* Waits for the other end, so that what it held of the host's is free again. */
static void link_close(struct frame_backend *backend)
{
    struct link *link = (struct link *)backend;
    struct pollfd poller = {.fd = link->fd, .events = POLLIN};
    loop_watch_remove(link->watch);
    if (write(link->fd, &link->frame, 0) == 0) /* "we have ended" */
        while (poll(&poller, 1, CLOSE_WAIT_MS) == 1 &&
               read(link->fd, &link->frame, sizeof(link->frame)) > 0)
            ;
    close(link->fd);
    free(link);
}

static const struct frame_ops link_ops = {
    .name = "link", .send = link_send, .ready = link_ready, .close = link_close};

struct frame_backend *link_open(int fd, const char *peer, const struct frame_host *host,
                                struct error *error)
{
    const int bytes = BUFFER_BYTES;
    struct link *link = calloc(1, sizeof(*link));
    if (!link) {
        error_set(error, ENOMEM, "--net: out of memory");
        close(fd);
        return NULL;
    }
    link->backend.ops = &link_ops;
    link->log = host->log;
    link->peer = peer;
    link->fd = fd;
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    link->watch = loop_watch_add(host->loop, fd, EPOLLIN, link_event, link, error);
    if (link->watch)
        return &link->backend;
    close(fd);
    free(link);
    return NULL;
}
