/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User-mode NAT: libslirp answers DHCP (10.0.2.15), DNS (10.0.2.3) and ARP, and opens the host's
 * own sockets for the guest's connections. Its descriptors are polled by a small epoll set of our
 * own, rebuilt whenever slirp has had its say.
 */
#include "net/user.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define POLL_MAX        256
#define DEADLINE_MAX_MS 60000u

struct user_watch {
    struct user *user;
    struct loop_watch *watch;
    int fd;
    uint32_t wanted, ready;
};

struct user {
    struct frame_backend backend;
    struct loop *loop;
    Slirp *slirp;
    struct loop_timer *timer; /* slirp's own poll time-out */
    struct user_watch *watches[POLL_MAX];
    unsigned watch_count;
    bool polling; /* a poll round waits to be run */
};

static void poll_round(void *opaque);

static void schedule(struct user *user)
{
    if (user->polling)
        return;
    user->polling = true;
    if (loop_post(user->loop, poll_round, user) < 0)
        user->polling = false;
}

static void watch_ready(void *opaque, uint32_t events)
{
    struct user_watch *watch = opaque;
    watch->ready |= events;
    loop_watch_change(watch->watch, 0); /* until the round has been run */
    schedule(watch->user);
}

static uint32_t to_epoll(int events)
{
    return (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
           (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);
}

static int from_epoll(uint32_t events)
{
    return (events & EPOLLIN ? SLIRP_POLL_IN : 0) | (events & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
           (events & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (events & EPOLLERR ? SLIRP_POLL_ERR : 0) |
           (events & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

/* slirp names a descriptor it wants polled; returns our index for it. */
static int add_poll(int fd, int events, void *opaque)
{
    struct user *user = opaque;
    for (unsigned i = 0; i < user->watch_count; i++) {
        if (user->watches[i]->fd == fd) {
            user->watches[i]->wanted |= to_epoll(events);
            return (int)i;
        }
    }
    if (user->watch_count == POLL_MAX)
        return -1;
    struct user_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return -1;
    *watch = (struct user_watch){.user = user, .fd = fd, .wanted = to_epoll(events)};
    watch->watch = loop_watch_add(user->loop, fd, 0, watch_ready, watch, NULL);
    if (!watch->watch) {
        free(watch);
        return -1;
    }
    user->watches[user->watch_count] = watch;
    return (int)user->watch_count++;
}

static int get_events(int index, void *opaque)
{
    const struct user *user = opaque;
    if (index < 0 || (unsigned)index >= user->watch_count)
        return 0;
    return from_epoll(user->watches[index]->ready);
}

static void drop_watch(struct user *user, unsigned index)
{
    loop_watch_remove(user->watches[index]->watch);
    free(user->watches[index]);
    user->watches[index] = user->watches[--user->watch_count];
}

/* What is ready goes to slirp, then it says anew what it waits for. */
static void poll_round(void *opaque)
{
    struct user *user = opaque;
    uint32_t timeout = DEADLINE_MAX_MS;
    user->polling = false;
    slirp_pollfds_poll(user->slirp, 0, get_events, user);
    for (unsigned i = 0; i < user->watch_count; i++)
        user->watches[i]->wanted = user->watches[i]->ready = 0;
    slirp_pollfds_fill(user->slirp, &timeout, add_poll, user);
    for (unsigned i = user->watch_count; i-- > 0;) {
        if (user->watches[i]->wanted)
            loop_watch_change(user->watches[i]->watch, user->watches[i]->wanted);
        else
            drop_watch(user, i);
    }
    if (timeout < DEADLINE_MAX_MS)
        loop_timer_arm(user->timer, clock_monotonic_ns() + (uint64_t)timeout * 1000000);
}

/* --- what slirp calls --- */

static ssize_t send_packet(const void *bytes, size_t length, void *opaque)
{
    struct user *user = opaque;
    const struct frame_sink *sink = &user->backend.sink;
    if (sink->receive)
        sink->receive(sink->opaque, bytes, length); /* no room: dropped, as on a wire */
    return (ssize_t)length;
}

static void guest_error(const char *message, void *opaque)
{
}

static int64_t clock_now(void *opaque)
{
    return (int64_t)clock_monotonic_ns();
}

struct user_timer {
    struct loop_timer *timer;
    SlirpTimerCb callback;
    void *opaque;
};

static void user_timer_expired(void *opaque)
{
    struct user_timer *timer = opaque;
    timer->callback(timer->opaque);
}

static void *timer_new(SlirpTimerCb callback, void *callback_opaque, void *opaque)
{
    struct user *user = opaque;
    struct user_timer *timer = calloc(1, sizeof(*timer));
    if (!timer)
        return NULL;
    timer->callback = callback;
    timer->opaque = callback_opaque;
    timer->timer = loop_timer_create(user->loop, user_timer_expired, timer, NULL);
    return timer;
}

static void timer_free(void *pointer, void *opaque)
{
    struct user_timer *timer = pointer;
    if (!timer)
        return;
    loop_timer_destroy(timer->timer);
    free(timer);
}

static void timer_mod(void *pointer, int64_t expire_ms, void *opaque)
{
    struct user_timer *timer = pointer;
    if (timer && timer->timer)
        loop_timer_arm(timer->timer, (uint64_t)expire_ms * 1000000);
}

static void register_poll(int fd, void *opaque)
{
}

static void unregister_poll(int fd, void *opaque)
{
    struct user *user = opaque;
    for (unsigned i = 0; i < user->watch_count; i++) {
        if (user->watches[i]->fd == fd) {
            drop_watch(user, i);
            return;
        }
    }
}

static void slirp_notify(void *opaque)
{
    schedule(opaque);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_now,
    .timer_new = timer_new,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_poll,
    .unregister_poll_fd = unregister_poll,
    .notify = slirp_notify,
};

/* --- the device's side --- */

static void user_send(struct frame_backend *backend, const uint8_t *frame, size_t length)
{
    struct user *user = (struct user *)backend;
    slirp_input(user->slirp, frame, (int)length);
    schedule(user);
}

static void user_ready(struct frame_backend *backend)
{
    schedule((struct user *)backend);
}

static void user_close(struct frame_backend *backend)
{
    struct user *user = (struct user *)backend;
    if (user->slirp)
        slirp_cleanup(user->slirp);
    while (user->watch_count)
        drop_watch(user, user->watch_count - 1);
    loop_timer_destroy(user->timer);
    free(user);
}

static const struct frame_ops user_ops = {
    .name = "user", .send = user_send, .ready = user_ready, .close = user_close};

static void timer_expired(void *opaque)
{
    schedule(opaque);
}

/* "tcp:127.0.0.1:2222-10.0.2.15:22"; both addresses may be left out. */
static int add_forward(struct user *user, const char *text, struct error *error)
{
    char host[64] = "", guest[64] = "";
    unsigned host_port = 0, guest_port = 0;
    bool udp = !strncmp(text, "udp:", 4);
    struct in_addr host_address = {.s_addr = INADDR_ANY}, guest_address = {.s_addr = 0};
    const char *rest = strncmp(text, "tcp:", 4) && !udp ? NULL : text + 4;
    int used = 0;
    bool parsed =
        rest && ((sscanf(rest, "%63[0-9.]:%u-%63[0-9.]:%u%n", host, &host_port, guest, &guest_port,
                         &used) == 4 &&
                  !rest[used]) ||
                 (guest[0] = 0, used = 0,
                  sscanf(rest, "%63[0-9.]:%u-:%u%n", host, &host_port, &guest_port, &used) == 3 &&
                      !rest[used]) ||
                 (host[0] = 0, used = 0,
                  sscanf(rest, ":%u-:%u%n", &host_port, &guest_port, &used) == 2 && !rest[used]));
    if (!parsed || host_port > 65535 || guest_port > 65535 ||
        (host[0] && !inet_aton(host, &host_address)) ||
        (guest[0] && !inet_aton(guest, &guest_address)))
        return error_set(error, EINVAL, "--net user,hostfwd=%s: write it as tcp:127.0.0.1:2222-:22",
                         text);
    if (slirp_add_hostfwd(user->slirp, udp, host_address, (int)host_port, guest_address,
                          (int)guest_port) < 0)
        return error_set(error, errno, "--net user,hostfwd=%s: port %u of the host: %s", text,
                         host_port, strerror(errno));
    return 0;
}

static struct in_addr address(const char *text)
{
    struct in_addr result = {0};
    inet_aton(text, &result);
    return result;
}

static int start(struct user *user, bool restricted, struct error *error)
{
    const SlirpConfig config = {
        .version = 4,
        .restricted = restricted,
        .in_enabled = true,
        .vnetwork = address("10.0.2.0"),
        .vnetmask = address("255.255.255.0"),
        .vhost = address("10.0.2.2"),
        .vdhcp_start = address("10.0.2.15"),
        .vnameserver = address("10.0.2.3"),
        .vhostname = "nacre",
    };
    user->slirp = slirp_new(&config, &callbacks, user);
    return user->slirp ? 0 : error_set(error, EIO, "--net user: libslirp does not start");
}

/* restrict= counts for the whole network: it is looked for before slirp starts. */
static int configure(struct user *user, char *settings, struct error *error)
{
    bool restricted = settings && strstr(settings, "restrict=on");
    int result = start(user, restricted, error);
    for (char *word; result == 0 && settings && (word = strsep(&settings, ","));) {
        if (!strncmp(word, "hostfwd=", 8))
            result = add_forward(user, word + 8, error);
        else if (strncmp(word, "restrict=o", 10))
            result =
                error_set(error, EINVAL,
                          "--net user,%s: unknown setting; known are hostfwd=, restrict=", word);
    }
    return result;
}

struct frame_backend *user_open(char *settings, struct loop *loop, struct error *error)
{
    struct user *user = calloc(1, sizeof(*user));
    if (!user) {
        error_set(error, ENOMEM, "--net user: out of memory");
        return NULL;
    }
    user->backend.ops = &user_ops;
    user->loop = loop;
    user->timer = loop_timer_create(loop, timer_expired, user, error);
    if (!user->timer || configure(user, settings, error) < 0) {
        user_close(&user->backend);
        return NULL;
    }
    schedule(user);
    return &user->backend;
}
