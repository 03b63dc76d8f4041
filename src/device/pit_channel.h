/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One counter of the 8254. It has no thread and no timer: `now`, of clock_monotonic_ns(), says
 * where its count stands. The caller serialises.
 */
#ifndef NACRE_DEVICE_PIT_CHANNEL_H
#define NACRE_DEVICE_PIT_CHANNEL_H

#include "base/error.h"
#include "base/state.h"

#include <stdbool.h>
#include <stdint.h>

#define PIT_HZ 1193182

struct pit_channel {
    uint32_t count;      /* what it counts down from: 1 to 65536; 0: none yet */
    uint32_t next_count; /* written, and waits for a trigger or the end of the period; 0: none */
    uint8_t mode;        /* 0 to 5 */
    uint8_t access;      /* bytes of the count that are read and written */
    bool bcd, gate;
    bool running;      /* counts with the clock; else it stands at held_ticks */
    uint64_t start_ns; /* running: when it was at count */
    uint64_t held_ticks;
    uint64_t elapsed_ns; /* since start_ns: what the state holds in its place */
    uint8_t write_low;   /* first half of a two-byte write */
    bool write_high_next, read_high_next;
    bool count_latched, status_latched;
    uint16_t latched_count;
    uint8_t latched_status;
};

void pit_channel_reset(struct pit_channel *channel, bool gate);

/* A control word for this channel: false when it only latched the count. */
bool pit_channel_control(struct pit_channel *channel, uint8_t value, uint64_t now);
void pit_channel_write(struct pit_channel *channel, uint8_t value, uint64_t now);
uint8_t pit_channel_read(struct pit_channel *channel, uint64_t now);
void pit_channel_latch_count(struct pit_channel *channel, uint64_t now);
void pit_channel_latch_status(struct pit_channel *channel, uint64_t now);

void pit_channel_gate(struct pit_channel *channel, bool gate, uint64_t now);
bool pit_channel_output(struct pit_channel *channel, uint64_t now);

/* When the output rises next, in nanoseconds; 0: not again. Rises of a periodic output that are
 * nearer than apart_ns are left out. */
uint64_t pit_channel_next_rise(struct pit_channel *channel, uint64_t now, uint64_t apart_ns);

void pit_channel_before_save(struct pit_channel *channel, uint64_t now);
/* -EINVAL with *error when the state is none that a channel can have. */
int pit_channel_after_load(struct pit_channel *channel, uint64_t now, struct error *error);
extern const struct state_table pit_channel_state;

#endif
