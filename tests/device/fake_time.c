/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_time.h"

#include "base/clock.h"
#include "base/loop.h"

#include <stdlib.h>

#define TURNS_MAX 1000000

struct loop_timer {
    void (*expired)(void *opaque);
    void *opaque;
    uint64_t deadline_ns; /* 0: disarmed */
    struct loop_timer *next;
};

static uint64_t now_ns;
static struct loop_timer *timers;

/* The linker's names for what takes a symbol's place. */
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);
struct loop_timer *__wrap_loop_timer_create(struct loop *loop, void (*expired)(void *opaque),
                                            void *opaque, struct error *error);
void __wrap_loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns);
void __wrap_loop_timer_disarm(struct loop_timer *timer);
void __wrap_loop_timer_destroy(struct loop_timer *timer);

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    uint64_t since = now_ns - FAKE_MONOTONIC_NS;
    uint64_t value =
        clock == CLOCK_REALTIME ? FAKE_REALTIME_S * NANOSECONDS_PER_SECOND + since : now_ns;
    time->tv_sec = (time_t)(value / NANOSECONDS_PER_SECOND);
    time->tv_nsec = (long)(value % NANOSECONDS_PER_SECOND);
    return 0;
}

struct loop_timer *__wrap_loop_timer_create(struct loop *loop, void (*expired)(void *opaque),
                                            void *opaque, struct error *error)
{
    struct loop_timer *timer = calloc(1, sizeof(*timer));
    timer->expired = expired;
    timer->opaque = opaque;
    timer->next = timers;
    timers = timer;
    return timer;
}

void __wrap_loop_timer_arm(struct loop_timer *timer, uint64_t deadline_ns)
{
    timer->deadline_ns = deadline_ns ? deadline_ns : 1;
}

void __wrap_loop_timer_disarm(struct loop_timer *timer)
{
    timer->deadline_ns = 0;
}

void __wrap_loop_timer_destroy(struct loop_timer *timer)
{
    struct loop_timer **link = &timers;
    while (*link && *link != timer)
        link = &(*link)->next;
    if (*link)
        *link = timer->next;
    free(timer);
}

void fake_time_reset(void)
{
    now_ns = FAKE_MONOTONIC_NS;
}

/* The armed timer with the earliest deadline up to `end`, or NULL. */
static struct loop_timer *next_due(uint64_t end)
{
    struct loop_timer *found = NULL;
    for (struct loop_timer *timer = timers; timer; timer = timer->next)
        if (timer->deadline_ns && timer->deadline_ns <= end &&
            (!found || timer->deadline_ns < found->deadline_ns))
            found = timer;
    return found;
}

/* Calls what is due up to `end`. A device that never stops firing is a failure. */
static void run_due(uint64_t end)
{
    struct loop_timer *timer;
    unsigned turns = 0;
    while ((timer = next_due(end))) {
        if (timer->deadline_ns > now_ns)
            now_ns = timer->deadline_ns;
        timer->deadline_ns = 0;
        timer->expired(timer->opaque);
        if (++turns > TURNS_MAX)
            abort();
    }
}

void fake_time_advance(uint64_t ns)
{
    uint64_t end = now_ns + ns;
    run_due(end);
    now_ns = end;
}

void fake_time_stall(uint64_t ns)
{
    now_ns += ns;
}

unsigned fake_time_armed(void)
{
    unsigned count = 0;
    for (struct loop_timer *timer = timers; timer; timer = timer->next)
        count += timer->deadline_ns != 0;
    return count;
}
