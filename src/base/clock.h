/* SPDX-License-Identifier: Apache-2.0 */
/* Host clocks in nanoseconds. */
#ifndef NACRE_BASE_CLOCK_H
#define NACRE_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NANOSECONDS_PER_SECOND UINT64_C(1000000000)

static inline uint64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NANOSECONDS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* Time for timers and guest clocks: never jumps. */
static inline uint64_t clock_monotonic_ns(void)
{
    return clock_read_ns(CLOCK_MONOTONIC);
}

/* Time of day, nanoseconds since 1970. */
static inline uint64_t clock_realtime_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

/* value * multiplier / divisor without overflow in between. */
static inline uint64_t clock_scale(uint64_t value, uint64_t multiplier, uint64_t divisor)
{
    return (uint64_t)((__uint128_t)value * multiplier / divisor);
}

#endif
