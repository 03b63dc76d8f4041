/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one thread, epoll, file descriptors, timers and posted functions. All
 * callbacks run on the loop's thread; timers may be armed and disarmed from any thread.
 */
#ifndef NACRE_BASE_LOOP_H
#define NACRE_BASE_LOOP_H

#include "base/error.h"

#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;

struct loop *loop_create(struct error *error);
void loop_destroy(struct loop *loop);

/* Runs until loop_stop(). Returns 0, or -errno when epoll itself fails. */
int loop_run(struct loop *loop);

/* Makes loop_run() return; callable from any thread and from a signal handler. */
void loop_stop(struct loop *loop);

/* Calls function(opaque) once on the loop's thread; callable from any thread. 0 or -ENOMEM. */
int loop_post(struct loop *loop, void (*function)(void *opaque), void *opaque);

/*
 * Watches fd for EPOLLIN, EPOLLOUT ... (events). The descriptor stays the caller's. Add, change
 * and remove belong on the loop's thread, or before loop_run(). NULL with *error on failure.
 * Changing to no events pauses the watch: not even an error or a hang-up is reported then.
 */
struct loop_watch *loop_watch_add(struct loop *loop, int fd, uint32_t events,
                                  void (*ready)(void *opaque, uint32_t events), void *opaque,
                                  struct error *error);
void loop_watch_change(struct loop_watch *watch, uint32_t events);
void loop_watch_remove(struct loop_watch *watch);

/* A one-shot timer on CLOCK_MONOTONIC, disarmed at first. NULL with *error on failure. */
struct loop_timer *loop_timer_create(struct loop *loop, void (*expired)(void *opaque), void *opaque,
                                     struct error *error);
/* Fires at deadline_ns of clock_monotonic_ns(); a deadline in the past fires at once. Re-arming
 * replaces. */
void loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns);
/* May race with a callback that is already under way: the callback must check its own state. */
void loop_timer_disarm(struct loop_timer *timer);
void loop_timer_destroy(struct loop_timer *timer);

#endif
