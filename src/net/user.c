/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User-mode NAT: libslirp answers DHCP (10.0.2.15), DNS (10.0.2.3) and ARP, and opens the host's
 * own sockets for the guest's connections. Its descriptors are polled by a small epoll set of our
 * own, rebuilt whenever slirp has had its say.
 */
#include "net/user.h"

#include "base/clock.h"
#include "net/offload.h"
#include "net/tftp.h"
#include "net/user_settings.h"

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
    struct frame to_slirp, to_guest;
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
    if (length > FRAME_MAX)
        return -1;
    user->to_guest.header = (struct frame_header){.flags = FRAME_CHECKSUM_VALID};
    memcpy(user->to_guest.bytes, bytes, length);
    frame_deliver(&user->backend.sink, &user->to_guest, length);
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

/* slirp takes TCP segments of any length, but it looks at their checksums. */
static bool user_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    struct user *user = (struct user *)backend;
    const uint8_t *bytes = frame->bytes;
    if (frame->header.flags & FRAME_NEEDS_CHECKSUM) {
        memcpy(&user->to_slirp, frame, sizeof(frame->header) + length);
        frame_checksum(&user->to_slirp, length);
        bytes = user->to_slirp.bytes;
    }
    slirp_input(user->slirp, bytes, (int)length);
    schedule(user);
    return true;
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

static int add_forward(struct user *user, const struct user_forward *forward, struct error *error)
{
    if (slirp_add_hostfwd(user->slirp, forward->udp, forward->host, (int)forward->host_port,
                          forward->guest, (int)forward->guest_port) == 0)
        return 0;
    return error_set(error, errno, "--net user,hostfwd=%s: port %u of the host: %s", forward->text,
                     forward->host_port, strerror(errno));
}

static int start(struct user *user, const struct user_settings *settings, struct error *error)
{
    const char *domains[] = {settings->domain, NULL};
    char *tftp = settings->tftp ? tftp_open_folder(settings->tftp, error) : NULL;
    if (settings->tftp && !tftp)
        return -error->code;
    const SlirpConfig config = {
        .version = 4,
        .tftp_path = tftp,
        .bootfile = settings->bootfile,
        .restricted = settings->restricted,
        .in_enabled = true,
        .vnetwork = settings->network,
        .vnetmask = settings->mask,
        .vhost = settings->gateway,
        .vdhcp_start = settings->dhcp,
        .vnameserver = settings->dns,
        .vhostname = settings->hostname,
        .vdnssearch = settings->domain ? domains : NULL,
    };
    user->slirp = slirp_new(&config, &callbacks, user); /* copies what it needs */
    free(tftp);
    if (!user->slirp)
        return error_set(error, EIO, "--net user: libslirp does not start");
    int result = 0;
    for (unsigned i = 0; result == 0 && i < settings->forward_count; i++)
        result = add_forward(user, &settings->forwards[i], error);
    return result;
}

struct frame_backend *user_open(char *text, const struct frame_host *host, struct error *error)
{
    struct user_settings settings;
    struct user *user = calloc(1, sizeof(*user));
    if (!user) {
        error_set(error, ENOMEM, "--net user: out of memory");
        return NULL;
    }
    user->backend.ops = &user_ops;
    user->loop = host->loop;
    user->timer = loop_timer_create(host->loop, timer_expired, user, error);
    if (!user->timer || user_settings_parse(&settings, text, error) < 0 ||
        start(user, &settings, error) < 0) {
        user_close(&user->backend);
        return NULL;
    }
    schedule(user);
    return &user->backend;
}
