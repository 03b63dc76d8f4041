/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The switch's own process: takes machines in, learns who is where, passes frames on. A machine
 * that is slow to take its frames has a queue of its own; when that is full it loses some, as
 * behind any switch, and nobody else waits for it.
 */
#include "net/switch.h"

#include "base/bits.h"
#include "base/clock.h"
#include "net/link.h"
#include "net/mac_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH_MAX    64                    /* frames of one port until others get their turn */
#define QUEUE_MAX    (4u << 20)            /* bytes that wait for one port */
#define START_NS     UINT64_C(10000000000) /* for the first machine to come */
#define BUFFER_BYTES (1 << 20)

struct waiting {
    struct waiting *next;
    size_t size;
    uint8_t message[];
};

struct port {
    struct switch_state *state;
    int fd; /* -1: nobody */
    struct loop_watch *watch;
    struct waiting *first, **last;
    size_t waiting_bytes;
};

struct switch_state {
    struct loop *loop;
    struct loop_timer *timer;
    int listener;
    unsigned port_count;
    struct port ports[SWITCH_PORTS_MAX];
    struct mac_table table;
    struct frame frame;
};

static void drop_waiting(struct port *port)
{
    struct waiting *waiting = port->first;
    port->first = waiting->next;
    if (!port->first)
        port->last = &port->first;
    port->waiting_bytes -= waiting->size;
    free(waiting);
}

static void port_remove(struct port *port)
{
    struct switch_state *state = port->state;
    while (port->first)
        drop_waiting(port);
    loop_watch_remove(port->watch);
    close(port->fd);
    port->fd = -1;
    mac_table_forget_port(&state->table, (unsigned)(port - state->ports));
    if (--state->port_count == 0)
        loop_stop(state->loop);
}

static bool send_now(const struct port *port, const void *message, size_t size)
{
    return send(port->fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != EAGAIN;
}

static void port_send(struct port *port, const struct frame *frame, size_t length)
{
    size_t size = link_message_size(length);
    if (!port->first && send_now(port, frame, size))
        return;
    struct waiting *waiting =
        port->waiting_bytes + size <= QUEUE_MAX ? malloc(sizeof(*waiting) + size) : NULL;
    if (!waiting)
        return;
    *waiting = (struct waiting){.size = size};
    memcpy(waiting->message, frame, size);
    if (!port->first)
        loop_watch_change(port->watch, EPOLLIN | EPOLLOUT);
    *port->last = waiting;
    port->last = &waiting->next;
    port->waiting_bytes += size;
}

static void port_writable(struct port *port)
{
    while (port->first && send_now(port, port->first->message, port->first->size))
        drop_waiting(port);
    if (!port->first)
        loop_watch_change(port->watch, EPOLLIN);
}

/* Not to where it came from; a group's and a stranger's frames go to everybody else. */
static void pass_on(struct switch_state *state, unsigned from, size_t length)
{
    uint64_t now = clock_monotonic_ns(), to = mac_load(state->frame.bytes);
    mac_table_learn(&state->table, mac_load(state->frame.bytes + 6), from, now);
    int known = mac_is_group(to) ? -1 : mac_table_find(&state->table, to, now);
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        if (i != from && state->ports[i].fd >= 0 && (known < 0 || (unsigned)known == i))
            port_send(&state->ports[i], &state->frame, length);
}

static void port_event(void *opaque, uint32_t events)
{
    struct port *port = opaque;
    struct switch_state *state = port->state;
    if (events & EPOLLOUT)
        port_writable(port);
    for (unsigned i = 0; i < BATCH_MAX; i++) {
        ssize_t size = recv(port->fd, &state->frame, sizeof(state->frame), MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0) {
            port_remove(port);
            return;
        }
        size_t length = link_frame_length(&state->frame, size);
        if (length)
            pass_on(state, (unsigned)(port - state->ports), length);
    }
}

static void machine_comes(void *opaque, uint32_t events)
{
    struct switch_state *state = opaque;
    const char hello = SWITCH_HELLO;
    const int bytes = BUFFER_BYTES;
    int fd = accept(state->listener, NULL, NULL);
    struct port *port = state->ports;
    while (port < state->ports + SWITCH_PORTS_MAX && port->fd >= 0)
        port++;
    if (fd < 0)
        return;
    if (port < state->ports + SWITCH_PORTS_MAX)
        port->watch = loop_watch_add(state->loop, fd, EPOLLIN, port_event, port, NULL);
    if (port == state->ports + SWITCH_PORTS_MAX || !port->watch) {
        close(fd);
        return;
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    port->fd = fd;
    state->port_count++;
    send_now(port, &hello, sizeof(hello));
}

static void nobody_came(void *opaque)
{
    struct switch_state *state = opaque;
    if (!state->port_count)
        loop_stop(state->loop);
}

int switch_run(int listener, const struct thread_guard *guard)
{
    struct switch_state *state = calloc(1, sizeof(*state));
    if (!state)
        return -ENOMEM;
    state->listener = listener;
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
        state->ports[i] = (struct port){.state = state, .fd = -1};
        state->ports[i].last = &state->ports[i].first;
    }
    state->loop = loop_create(NULL);
    bool ready = state->loop &&
                 (state->timer = loop_timer_create(state->loop, nobody_came, state, NULL)) &&
                 loop_watch_add(state->loop, listener, EPOLLIN, machine_comes, state, NULL);
    if (!ready)
        return -ENOMEM; /* the process ends */
    loop_timer_arm(state->timer, clock_monotonic_ns() + START_NS);
    thread_enter(guard, THREAD_NET);
    return loop_run(state->loop);
}
