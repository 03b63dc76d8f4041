/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host time under the tests' control. The linker's --wrap puts these in the place of
 * clock_gettime() and of the event loop's timers, so a test says to the nanosecond when something
 * happens.
 */
#ifndef NACRE_TESTS_DEVICE_FAKE_TIME_H
#define NACRE_TESTS_DEVICE_FAKE_TIME_H

#include <stdint.h>

/* What fake_time_reset() sets the clocks to: time of day is 2026-11-21 08:00:00 UTC, a Saturday. */
#define FAKE_MONOTONIC_NS UINT64_C(1000000000000)
#define FAKE_REALTIME_S   UINT64_C(1795248000)

#define MICROSECONDS(n) ((uint64_t)(n)*1000)
#define MILLISECONDS(n) ((uint64_t)(n)*1000000)
#define SECONDS(n)      ((uint64_t)(n)*1000000000)

void fake_time_reset(void);
/* Time goes on; timers that fall due are called in their order, each at its deadline. */
void fake_time_advance(uint64_t ns);
/* Time goes on while the event loop hangs: timers that fall due wait for fake_time_advance(). */
void fake_time_stall(uint64_t ns);
/* Timers that wait for a deadline. */
unsigned fake_time_armed(void);

#endif
