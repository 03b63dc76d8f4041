/* SPDX-License-Identifier: Apache-2.0 */
/*
 * epoll with three kinds of sources: watched descriptors, timers (a timerfd each, so that any
 * thread can arm one with a single system call and no lock), and an eventfd that announces posted
 * functions and the wish to stop.
 */
#include "base/loop.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LOOP_BATCH 32

struct loop_watch {
    struct loop *loop;
    int fd;
    bool paused;  /* not in the epoll set */
    bool removed; /* waits for the end of the batch that may still name it */
    void (*ready)(void *opaque, uint32_t events);
    void *opaque;
    struct loop_watch *next_removed;
};

struct loop_timer {
    struct loop_watch *watch;
    int fd;
    void (*expired)(void *opaque);
    void *opaque;
};

struct loop_post {
    void (*function)(void *opaque);
    void *opaque;
    struct loop_post *next;
};

struct loop {
    int epoll_fd;
    int wake_fd;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards the list of posts */
    struct loop_post *posts, **posts_tail;
    struct loop_watch *removed; /* freed after each batch */
};

static void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    /* A full counter still wakes the loop, and a write of eight bytes to an eventfd cannot be
     * short. */
    if (write(loop->wake_fd, &one, sizeof(one)) < 0)
        return;
}

static void loop_drain(int fd)
{
    uint64_t count;
    if (read(fd, &count, sizeof(count)) < 0)
        return; /* already drained: a timer that was re-armed in between */
}

static void loop_run_posts(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct loop_post *post = loop->posts;
    loop->posts = NULL;
    loop->posts_tail = &loop->posts;
    pthread_mutex_unlock(&loop->lock);
    while (post) {
        struct loop_post *next = post->next;
        post->function(post->opaque);
        free(post);
        post = next;
    }
}

static void loop_free_removed(struct loop *loop)
{
    while (loop->removed) {
        struct loop_watch *watch = loop->removed;
        loop->removed = watch->next_removed;
        free(watch);
    }
}

struct loop *loop_create(struct error *error)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    if (!loop) {
        error_set(error, ENOMEM, "event loop: out of memory");
        return NULL;
    }
    loop->posts_tail = &loop->posts;
    pthread_mutex_init(&loop->lock, NULL);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (loop->wake_fd < 0 || loop->epoll_fd < 0 ||
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) < 0) {
        error_set(error, errno, "event loop: cannot create it: %s", strerror(errno));
        loop_destroy(loop);
        return NULL;
    }
    return loop;
}

void loop_destroy(struct loop *loop)
{
    if (!loop)
        return;
    while (loop->posts) {
        struct loop_post *next = loop->posts->next;
        free(loop->posts);
        loop->posts = next;
    }
    loop_free_removed(loop);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop);
}

static void loop_dispatch(struct loop *loop, const struct epoll_event *event)
{
    struct loop_watch *watch = event->data.ptr;
    if (!watch) {
        loop_drain(loop->wake_fd);
        loop_run_posts(loop);
    } else if (!watch->removed) {
        watch->ready(watch->opaque, event->events);
    }
}

int loop_run(struct loop *loop)
{
    struct epoll_event events[LOOP_BATCH];
    while (!atomic_load(&loop->stop)) {
        int count = epoll_wait(loop->epoll_fd, events, LOOP_BATCH, -1);
        if (count < 0 && errno != EINTR)
            return -errno;
        for (int i = 0; i < count; i++)
            loop_dispatch(loop, &events[i]);
        loop_free_removed(loop);
    }
    atomic_store(&loop->stop, false);
    return 0;
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop, true);
    loop_wake(loop);
}

int loop_post(struct loop *loop, void (*function)(void *opaque), void *opaque)
{
    struct loop_post *post = malloc(sizeof(*post));
    if (!post)
        return -ENOMEM;
    *post = (struct loop_post){.function = function, .opaque = opaque};
    pthread_mutex_lock(&loop->lock);
    *loop->posts_tail = post;
    loop->posts_tail = &post->next;
    pthread_mutex_unlock(&loop->lock);
    loop_wake(loop);
    return 0;
}

struct loop_watch *loop_watch_add(struct loop *loop, int fd, uint32_t events,
                                  void (*ready)(void *opaque, uint32_t events), void *opaque,
                                  struct error *error)
{
    struct loop_watch *watch = calloc(1, sizeof(*watch));
    if (!watch) {
        error_set(error, ENOMEM, "event loop: out of memory");
        return NULL;
    }
    *watch = (struct loop_watch){.loop = loop, .fd = fd, .ready = ready, .opaque = opaque};
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        error_set(error, errno, "event loop: cannot watch descriptor %d: %s", fd, strerror(errno));
        free(watch);
        return NULL;
    }
    return watch;
}

void loop_watch_change(struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    int operation = watch->paused ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    /* In the set, even without events, a descriptor whose other end is closed is reported forever.
     */
    if (!events && !watch->paused)
        operation = EPOLL_CTL_DEL;
    if (events || !watch->paused)
        epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event);
    watch->paused = !events;
}

void loop_watch_remove(struct loop_watch *watch)
{
    if (!watch)
        return;
    if (!watch->paused)
        epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    watch->removed = true;
    watch->next_removed = watch->loop->removed;
    watch->loop->removed = watch;
}

static void loop_timer_ready(void *opaque, uint32_t events)
{
    struct loop_timer *timer = opaque;
    uint64_t count;
    /* Nothing to read: disarmed or re-armed after the descriptor was reported. */
    if (read(timer->fd, &count, sizeof(count)) == (ssize_t)sizeof(count))
        timer->expired(timer->opaque);
}

struct loop_timer *loop_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
                                     struct error *error)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    if (!timer) {
        error_set(error, ENOMEM, "timer: out of memory");
        return NULL;
    }
    timer->expired = expired;
    timer->opaque = opaque;
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer->fd < 0) {
        error_set(error, errno, "timer: cannot create it: %s", strerror(errno));
        free(timer);
        return NULL;
    }
    timer->watch = loop_watch_add(loop, timer->fd, EPOLLIN, loop_timer_ready, timer, error);
    if (!timer->watch) {
        close(timer->fd);
        free(timer);
        return NULL;
    }
    return timer;
}

static void loop_timer_set(struct loop_timer *timer, uint64_t deadline_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(deadline_ns / NANOSECONDS_PER_SECOND),
                     .tv_nsec = (long)(deadline_ns % NANOSECONDS_PER_SECOND)}};
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Deadlines further away than this (about 146 years) would overflow the kernel's signed
 * nanoseconds. */
#define LOOP_DEADLINE_MAX (UINT64_MAX / 4)

void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns)
{
    if (deadline_ns > LOOP_DEADLINE_MAX)
        deadline_ns = LOOP_DEADLINE_MAX;
    /* Zero would disarm: the earliest deadline is one nanosecond. */
    loop_timer_set(timer, deadline_ns ? deadline_ns : 1);
}

void loop_timer_disarm(struct loop_timer *timer)
{
    loop_timer_set(timer, 0);
}

void loop_timer_destroy(struct loop_timer *timer)
{
    if (!timer)
        return;
    loop_watch_remove(timer->watch);
    close(timer->fd);
    free(timer);
}
