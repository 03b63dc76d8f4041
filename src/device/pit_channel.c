/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter of the 8254 (data sheet 231164, "Operational Description" and "Mode Definitions"). The
 * clock that loads a new count is not modelled: a count stands as soon as it is written.
 */
#include "device/pit_channel.h"

#include "base/bits.h"
#include "base/clock.h"

#include <errno.h>

enum access_mode { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

enum {
    MODE_TERMINAL_COUNT, /* output rises at the end */
    MODE_ONE_SHOT,       /* a rising gate starts a low pulse */
    MODE_RATE,           /* low for the last tick of each period */
    MODE_SQUARE,         /* high for half of each period */
    MODE_STROBE,         /* low for one tick at the end */
    MODE_GATE_STROBE,    /* the same, started by a rising gate */
    MODE_COUNT
};

static const struct {
    bool periodic;
    bool gate_starts;  /* only a rising gate starts the count */
    bool gate_holds;   /* a low gate stops the count where it is */
    bool starts_low;   /* the output, before the count */
    bool write_starts; /* a new count takes the place of the old at once */
} modes[MODE_COUNT] = {
    [MODE_TERMINAL_COUNT] = {.gate_holds = true, .starts_low = true, .write_starts = true},
    [MODE_ONE_SHOT] = {.gate_starts = true},
    [MODE_RATE] = {.periodic = true},
    [MODE_SQUARE] = {.periodic = true},
    [MODE_STROBE] = {.gate_holds = true, .write_starts = true},
    [MODE_GATE_STROBE] = {.gate_starts = true},
};

static uint64_t ticks_to_ns(uint64_t ticks)
{
    /* Rounded up: at that time the tick has happened. */
    return clock_scale(ticks, NANOSECONDS_PER_SECOND, PIT_HZ) + 1;
}

static uint32_t modulus(const struct pit_channel *channel)
{
    return channel->bcd ? 10000 : 0x10000;
}

static uint64_t ticks_at(const struct pit_channel *channel, uint64_t now)
{
    if (!channel->running)
        return channel->held_ticks;
    return clock_scale(now - channel->start_ns, PIT_HZ, NANOSECONDS_PER_SECOND);
}

/* Counts `count` down from its beginning, if the gate lets it. */
static void start(struct pit_channel *channel, uint32_t count, uint64_t now)
{
    channel->count = count;
    channel->next_count = 0;
    channel->start_ns = now;
    channel->held_ticks = 0;
    channel->running = channel->gate || modes[channel->mode].gate_starts;
}

/* A count that waits for the end of a period takes over when that has come. */
static void settle(struct pit_channel *channel, uint64_t now)
{
    if (!modes[channel->mode].periodic || !channel->next_count || !channel->running)
        return;
    uint64_t end = ticks_to_ns(channel->count);
    if (now - channel->start_ns >= end)
        start(channel, channel->next_count, channel->start_ns + end);
}

/* A new count in the middle of a period waits for its end: of this one, not of the first. */
static void rebase(struct pit_channel *channel, uint64_t now)
{
    uint64_t periods = ticks_at(channel, now) / channel->count;
    if (channel->running && periods)
        channel->start_ns += ticks_to_ns(periods * channel->count);
}

static void load(struct pit_channel *channel, uint32_t value, uint64_t now)
{
    if (channel->bcd)
        value =
            (value >> 12) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 + (value & 15);
    if (!value)
        value = modulus(channel);
    settle(channel, now);
    if (modes[channel->mode].gate_starts) {
        channel->next_count = value;
    } else if (modes[channel->mode].periodic && channel->count && channel->gate) {
        rebase(channel, now);
        channel->next_count = value;
    } else {
        start(channel, value, now);
    }
}

static uint16_t count_at(struct pit_channel *channel, uint64_t now)
{
    settle(channel, now);
    uint32_t count = channel->count, value;
    if (!count)
        return 0;
    uint64_t ticks = ticks_at(channel, now), phase = ticks % count;
    if (channel->mode == MODE_SQUARE) {
        uint32_t high = (count + 1) / 2; /* by two a tick, twice a period; odd counts as even */
        value = (count & ~1u) - 2 * (uint32_t)(phase < high ? phase : phase - high);
    } else if (channel->mode == MODE_RATE) {
        value = count - (uint32_t)phase;
    } else { /* past its end it goes on from the top */
        value = (uint32_t)((count + modulus(channel) - ticks % modulus(channel)));
    }
    value %= modulus(channel);
    if (!channel->bcd)
        return (uint16_t)value;
    return (uint16_t)(value / 1000 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 |
                      value % 10);
}

bool pit_channel_output(struct pit_channel *channel, uint64_t now)
{
    settle(channel, now);
    if (!channel->count)
        return !modes[channel->mode].starts_low;
    uint64_t ticks = ticks_at(channel, now), phase = ticks % channel->count;
    switch (channel->mode) {
    case MODE_TERMINAL_COUNT:
    case MODE_ONE_SHOT:
        return ticks >= channel->count;
    case MODE_RATE:
        return !channel->gate || phase != channel->count - 1;
    case MODE_SQUARE:
        return !channel->gate || phase < (channel->count + 1) / 2;
    default:
        return ticks != channel->count;
    }
}

uint64_t pit_channel_next_rise(struct pit_channel *channel, uint64_t now, uint64_t apart_ns)
{
    settle(channel, now);
    if (!channel->count || !channel->running)
        return 0;
    if (modes[channel->mode].periodic) {
        uint64_t periods = channel->next_count ? 1 : ticks_at(channel, now) / channel->count + 1;
        uint64_t next = channel->start_ns + ticks_to_ns(periods * channel->count);
        return next > now + apart_ns || ticks_to_ns(channel->count) > apart_ns ? next
                                                                               : now + apart_ns;
    }
    /* The strobes fall at the end, and rise a tick later. */
    bool strobe = channel->mode == MODE_STROBE || channel->mode == MODE_GATE_STROBE;
    uint64_t rise = channel->start_ns + ticks_to_ns(channel->count + strobe);
    return rise > now ? rise : 0;
}

void pit_channel_gate(struct pit_channel *channel, bool gate, uint64_t now)
{
    bool rises = gate && !channel->gate;
    settle(channel, now);
    if (gate == channel->gate)
        return;
    uint64_t ticks = ticks_at(channel, now);
    uint32_t count = channel->next_count ? channel->next_count : channel->count;
    channel->gate = gate;
    if (rises && modes[channel->mode].gate_holds) { /* goes on where it stopped */
        channel->start_ns = now - (ticks ? ticks_to_ns(ticks) : 0);
        channel->running = channel->count;
    } else if (rises && count) { /* trigger: from the beginning */
        start(channel, count, now);
    } else if (!rises && !modes[channel->mode].gate_starts) {
        channel->held_ticks = ticks;
        channel->running = false;
    }
}

/* --- registers --- */

void pit_channel_reset(struct pit_channel *channel, bool gate)
{
    *channel = (struct pit_channel){.access = ACCESS_BOTH, .mode = MODE_SQUARE, .gate = gate};
}

bool pit_channel_control(struct pit_channel *channel, uint8_t value, uint64_t now)
{
    uint8_t access = value >> 4 & 3, mode = value >> 1 & 7;
    if (access == ACCESS_LATCH) {
        pit_channel_latch_count(channel, now);
        return false;
    }
    *channel = (struct pit_channel){
        .access = access,
        .mode = mode >= MODE_COUNT ? mode - 4 : mode, /* 6 and 7 are 2 and 3 again */
        .bcd = value & 1,
        .gate = channel->gate,
    };
    return true;
}

void pit_channel_write(struct pit_channel *channel, uint8_t value, uint64_t now)
{
    if (channel->access == ACCESS_LOW) {
        load(channel, value, now);
    } else if (channel->access == ACCESS_HIGH) {
        load(channel, (uint32_t)value << 8, now);
    } else if (channel->write_high_next) {
        channel->write_high_next = false;
        load(channel, channel->write_low | (uint32_t)value << 8, now);
    } else {
        channel->write_low = value;
        channel->write_high_next = true;
        if (channel->mode == MODE_TERMINAL_COUNT) /* the first byte stops the count */
            channel->count = channel->running = 0;
    }
}

void pit_channel_latch_count(struct pit_channel *channel, uint64_t now)
{
    if (channel->count_latched)
        return;
    channel->latched_count = count_at(channel, now);
    channel->count_latched = true;
}

/* The null count bit: the last count written is not yet the one that counts. */
void pit_channel_latch_status(struct pit_channel *channel, uint64_t now)
{
    if (channel->status_latched)
        return;
    unsigned output = pit_channel_output(channel, now);
    unsigned null_count = !channel->count || channel->next_count;
    channel->latched_status =
        (uint8_t)(output << 7 | null_count << 6 | (unsigned)channel->access << 4 |
                  (unsigned)channel->mode << 1 | channel->bcd);
    channel->status_latched = true;
}

uint8_t pit_channel_read(struct pit_channel *channel, uint64_t now)
{
    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->latched_status;
    }
    uint16_t value = channel->count_latched ? channel->latched_count : count_at(channel, now);
    bool both = channel->access == ACCESS_BOTH;
    bool high = both ? channel->read_high_next : channel->access == ACCESS_HIGH;
    channel->read_high_next = both && !channel->read_high_next;
    channel->count_latched &= channel->read_high_next;
    return (uint8_t)(high ? value >> 8 : value);
}

/* --- state: times since the start, never the host's --- */

void pit_channel_before_save(struct pit_channel *channel, uint64_t now)
{
    channel->elapsed_ns = channel->running ? now - channel->start_ns : 0;
}

int pit_channel_after_load(struct pit_channel *channel, uint64_t now, struct error *error)
{
    bool sound = channel->mode < MODE_COUNT && channel->count <= 0x10000 &&
                 channel->next_count <= 0x10000 && channel->access <= ACCESS_BOTH &&
                 (channel->count || !channel->running);
    channel->start_ns = now - channel->elapsed_ns;
    if (sound)
        return 0;
    pit_channel_reset(channel, channel->gate);
    return error_set(error, EINVAL, "state of the 8254: no such mode or count: file damaged");
}

static const struct state_field channel_fields[] = {
    STATE_FIELD(struct pit_channel, count),
    STATE_FIELD(struct pit_channel, next_count),
    STATE_FIELD(struct pit_channel, mode),
    STATE_FIELD(struct pit_channel, access),
    STATE_FIELD(struct pit_channel, bcd),
    STATE_FIELD(struct pit_channel, gate),
    STATE_FIELD(struct pit_channel, running),
    STATE_FIELD(struct pit_channel, held_ticks),
    STATE_FIELD(struct pit_channel, elapsed_ns),
    STATE_FIELD(struct pit_channel, write_low),
    STATE_FIELD(struct pit_channel, write_high_next),
    STATE_FIELD(struct pit_channel, read_high_next),
    STATE_FIELD(struct pit_channel, count_latched),
    STATE_FIELD(struct pit_channel, status_latched),
    STATE_FIELD(struct pit_channel, latched_count),
    STATE_FIELD(struct pit_channel, latched_status),
};
const struct state_table pit_channel_state = STATE_TABLE("8254-channel", 2, channel_fields);
