/* SPDX-License-Identifier: Apache-2.0 */
#include "net/process.h"

#include "base/helper.h"
#include "net/link.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define BATCH_MAX 64 /* frames until the loop's other work gets its turn */

/* --- the back end's process --- */

struct child {
    struct loop *loop;
    struct frame_backend *backend;
    struct frame frame;
};

/* Waits when the other end is slow: the senders on the Internet will wait as well. */
static bool child_to_guest(void *opaque, const struct frame *frame, size_t length)
{
    send(HELPER_FD, frame, link_message_size(length), MSG_NOSIGNAL);
    return true;
}

/* Nothing more to read, or an empty message: the machine has ended. */
static void child_ready(void *opaque, uint32_t events)
{
    struct child *child = opaque;
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t size = recv(HELPER_FD, &child->frame, sizeof(child->frame), MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            loop_stop(child->loop);
            return;
        }
        size_t length = link_frame_length(&child->frame, size);
        if (length)
            child->backend->ops->send(child->backend, &child->frame, length);
    }
}

/* What is wanted of it, and by whom. */
struct order {
    const struct frame_kind *kind;
    char *settings;
    const struct thread_guard *guard;
};

static void child_open(struct child *child, const struct order *order, struct error *error)
{
    child->loop = loop_create(error);
    const struct frame_host host = {.loop = child->loop};
    if (child->loop)
        child->backend = order->kind->open(order->settings, &host, error);
    if (!child->backend)
        return;
    if (loop_watch_add(child->loop, HELPER_FD, EPOLLIN, child_ready, child, error))
        error->code = 0;
    else
        child->backend->ops->close(child->backend);
}

static void child_run(void *opaque)
{
    const struct order *order = opaque;
    struct child child = {0};
    struct error error = {0};
    child_open(&child, order, &error);
    helper_started(&error); /* returns only without an error */
    if (!child.backend)
        return;
    child.backend->sink.receive = child_to_guest;
    thread_enter(order->guard, THREAD_NET);
    loop_run(child.loop);
    child.backend->ops->close(child.backend);
}

/* Nobody waits for its status: that goes with the machine's own process. */
struct frame_backend *process_open(const struct frame_kind *kind, char *settings,
                                   const struct frame_host *host, struct error *error)
{
    struct order order = {kind, settings, host->guard};
    const struct helper_config config = {
        .name = "nacre-net", .what = "--net", .more = -1, .run = child_run, .opaque = &order};
    int fd = helper_start(&config, error);
    return fd < 0 ? NULL : link_open(fd, "the network's process", host, error);
}
