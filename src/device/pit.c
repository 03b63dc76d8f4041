/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254 interval timer (data sheet 231164) at ports 0x40 to 0x43, and port 0x61, which gates
 * channel 2 and shows its output. Counts are computed from the host's clock; only channel 0, whose
 * output is IRQ 0, has a host timer, and only while its output will rise again.
 */
#include "base/clock.h"
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define PIT_HZ 1193182

enum access_mode { ACCESS_LATCH, ACCESS_LOW, ACCESS_HIGH, ACCESS_BOTH };

struct pit_channel {
    uint32_t count; /* reload value: 1 to 65536; 0: not programmed */
    uint8_t mode, access;
    bool bcd, gate, null_count;
    uint8_t write_low; /* first half of a two-byte write */
    bool write_high_next, read_high_next;
    bool count_latched, status_latched;
    uint16_t latched_count;
    uint8_t latched_status;
    uint64_t start_ns; /* when the count was loaded */
};

struct pit {
    struct device device;
    pthread_mutex_t lock;
    struct pit_channel channels[3];
    uint8_t speaker; /* bits 0 and 1 of port 0x61 */
    struct irq_line irq;
    struct loop_timer *timer;
    uint64_t next_edge_ns;
    struct bus_region regions[2];
};

static uint64_t ticks_since(const struct pit_channel *channel, uint64_t now)
{
    return clock_scale(now - channel->start_ns, PIT_HZ, NANOSECONDS_PER_SECOND);
}

static bool is_periodic(const struct pit_channel *channel)
{
    return channel->mode == 2 || channel->mode == 3;
}

static uint16_t channel_count(const struct pit_channel *channel, uint64_t now)
{
    if (!channel->count)
        return 0;
    uint64_t ticks = ticks_since(channel, now);
    if (channel->mode == 3)
        return (uint16_t)(channel->count - 2 * ticks % channel->count);
    if (channel->mode == 2)
        return (uint16_t)(channel->count - ticks % channel->count);
    return (uint16_t)(channel->count - ticks);
}

static bool channel_output(const struct pit_channel *channel, uint64_t now)
{
    if (!channel->count)
        return channel->mode != 0;
    uint64_t ticks = ticks_since(channel, now), phase = ticks % channel->count;
    switch (channel->mode) {
    case 0:
    case 1:
        return ticks >= channel->count;
    case 2:
        return phase != channel->count - 1;
    case 3:
        return phase < (channel->count + 1) / 2;
    default:
        return ticks != channel->count;
    }
}

static uint64_t ticks_to_ns(uint64_t ticks)
{
    return clock_scale(ticks, NANOSECONDS_PER_SECOND, PIT_HZ);
}

/* Plans the next rise of channel 0's output. */
static void pit_arm(struct pit *pit, uint64_t now)
{
    const struct pit_channel *channel = &pit->channels[0];
    uint64_t next = 0;
    if (channel->count) {
        uint64_t periods =
            is_periodic(channel) ? ticks_since(channel, now) / channel->count + 1 : 1;
        next = channel->start_ns + ticks_to_ns(periods * channel->count) + 1;
        if (!is_periodic(channel) && next <= now)
            next = 0;
    }
    pit->next_edge_ns = next;
    if (next)
        loop_timer_arm(pit->timer, next);
    else
        loop_timer_disarm(pit->timer);
}

static void pit_expired(void *opaque)
{
    struct pit *pit = opaque;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&pit->lock);
    bool fire = pit->next_edge_ns && pit->next_edge_ns <= now;
    bool periodic = is_periodic(&pit->channels[0]);
    if (fire)
        pit_arm(pit, now);
    pthread_mutex_unlock(&pit->lock);
    if (!fire)
        return;
    /* Modes 2 and 3 fall and rise; in the others the output rises once and stays. */
    irq_set(&pit->irq, 0);
    irq_set(&pit->irq, 1);
    if (periodic)
        irq_set(&pit->irq, 0);
}

static void channel_load(struct pit *pit, unsigned number, uint32_t value)
{
    struct pit_channel *channel = &pit->channels[number];
    uint64_t now = clock_monotonic_ns();
    channel->count = value ? value : 0x10000;
    channel->start_ns = now;
    channel->null_count = false;
    if (number == 0) {
        if (channel->mode == 0 || channel->mode == 4)
            irq_set(&pit->irq, 0);
        pit_arm(pit, now);
    }
}

static void latch_count(struct pit_channel *channel)
{
    if (channel->count_latched)
        return;
    channel->latched_count = channel_count(channel, clock_monotonic_ns());
    channel->count_latched = true;
}

static void latch_status(struct pit_channel *channel)
{
    if (channel->status_latched)
        return;
    uint64_t now = clock_monotonic_ns();
    channel->latched_status =
        (uint8_t)(channel_output(channel, now) << 7 | channel->null_count << 6 |
                  channel->access << 4 | channel->mode << 1 | channel->bcd);
    channel->status_latched = true;
}

static void write_read_back(struct pit *pit, uint8_t value)
{
    for (unsigned i = 0; i < 3; i++) {
        if (!(value >> (i + 1) & 1))
            continue;
        if (!(value & BIT(5)))
            latch_count(&pit->channels[i]);
        if (!(value & BIT(4)))
            latch_status(&pit->channels[i]);
    }
}

static void write_control(struct pit *pit, uint8_t value)
{
    unsigned number = value >> 6;
    if (number == 3) {
        write_read_back(pit, value);
        return;
    }
    struct pit_channel *channel = &pit->channels[number];
    if ((value >> 4 & 3) == ACCESS_LATCH) {
        latch_count(channel);
        return;
    }
    uint8_t mode = value >> 1 & 7;
    *channel = (struct pit_channel){.access = value >> 4 & 3,
                                    .mode = mode > 5 ? mode - 4 : mode,
                                    .bcd = value & 1,
                                    .gate = channel->gate,
                                    .null_count = true};
    if (number == 0) {
        pit->next_edge_ns = 0;
        loop_timer_disarm(pit->timer);
        irq_set(&pit->irq, channel->mode != 0);
    }
}

/* BCD counts are only ever written by tests: four decimal digits. */
static uint32_t decode_count(const struct pit_channel *channel, uint32_t value)
{
    if (!channel->bcd)
        return value;
    return (value >> 12 & 15) * 1000 + (value >> 8 & 15) * 100 + (value >> 4 & 15) * 10 +
           (value & 15);
}

static void write_count(struct pit *pit, unsigned number, uint8_t value)
{
    struct pit_channel *channel = &pit->channels[number];
    uint32_t count;
    if (channel->access == ACCESS_LOW) {
        count = value;
    } else if (channel->access == ACCESS_HIGH) {
        count = (uint32_t)value << 8;
    } else if (!channel->write_high_next) {
        channel->write_low = value;
        channel->write_high_next = true;
        return;
    } else {
        channel->write_high_next = false;
        count = channel->write_low | (uint32_t)value << 8;
    }
    channel_load(pit, number, decode_count(channel, count));
}

static uint8_t read_count(struct pit_channel *channel)
{
    if (channel->status_latched) {
        channel->status_latched = false;
        return channel->latched_status;
    }
    uint16_t value = channel->count_latched ? channel->latched_count
                                            : channel_count(channel, clock_monotonic_ns());
    bool high = channel->access == ACCESS_HIGH ||
                (channel->access == ACCESS_BOTH && channel->read_high_next);
    if (channel->access == ACCESS_BOTH)
        channel->read_high_next = !channel->read_high_next;
    if (channel->access != ACCESS_BOTH || !channel->read_high_next)
        channel->count_latched = false;
    return (uint8_t)(high ? value >> 8 : value);
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *pit = opaque;
    if (offset == 3)
        return 0xff;
    pthread_mutex_lock(&pit->lock);
    uint8_t value = read_count(&pit->channels[offset]);
    pthread_mutex_unlock(&pit->lock);
    return value;
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = opaque;
    pthread_mutex_lock(&pit->lock);
    if (offset == 3)
        write_control(pit, (uint8_t)value);
    else
        write_count(pit, (unsigned)offset, (uint8_t)value);
    pthread_mutex_unlock(&pit->lock);
}

/* Port 0x61: bit 4 toggles with memory refresh, bit 5 is channel 2's output. */
static uint64_t speaker_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *pit = opaque;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&pit->lock);
    bool output = channel_output(&pit->channels[2], now);
    uint64_t value = pit->speaker | (now / 15000 & 1) << 4 | (uint64_t)output << 5;
    pthread_mutex_unlock(&pit->lock);
    return value;
}

static void speaker_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = opaque;
    pthread_mutex_lock(&pit->lock);
    bool gate = value & 1;
    if (gate && !pit->channels[2].gate) /* a rising gate starts the count again */
        pit->channels[2].start_ns = clock_monotonic_ns();
    pit->channels[2].gate = gate;
    pit->speaker = value & 3;
    pthread_mutex_unlock(&pit->lock);
}

static const struct bus_ops counter_ops = {pit_read, pit_write};
static const struct bus_ops speaker_ops = {speaker_read, speaker_write};

static void pit_reset(struct device *device)
{
    struct pit *pit = (struct pit *)device;
    pthread_mutex_lock(&pit->lock);
    memset(pit->channels, 0, sizeof(pit->channels));
    for (int i = 0; i < 3; i++) {
        pit->channels[i].access = ACCESS_BOTH;
        pit->channels[i].mode = 3;
        pit->channels[i].gate = i != 2;
    }
    pit->speaker = 0;
    pit->next_edge_ns = 0;
    loop_timer_disarm(pit->timer);
    pthread_mutex_unlock(&pit->lock);
}

static void pit_destroy(struct device *device)
{
    struct pit *pit = (struct pit *)device;
    loop_timer_destroy(pit->timer);
    pthread_mutex_destroy(&pit->lock);
    free(pit);
}

static const struct device_ops pit_ops = {.reset = pit_reset, .destroy = pit_destroy};
static const struct state_field channel_fields[] = {
    STATE_FIELD(struct pit_channel, count),
    STATE_FIELD(struct pit_channel, mode),
    STATE_FIELD(struct pit_channel, access),
    STATE_FIELD(struct pit_channel, bcd),
    STATE_FIELD(struct pit_channel, gate),
    STATE_FIELD(struct pit_channel, null_count),
    STATE_FIELD(struct pit_channel, write_low),
    STATE_FIELD(struct pit_channel, write_high_next),
    STATE_FIELD(struct pit_channel, read_high_next),
    STATE_FIELD(struct pit_channel, count_latched),
    STATE_FIELD(struct pit_channel, status_latched),
    STATE_FIELD(struct pit_channel, latched_count),
    STATE_FIELD(struct pit_channel, latched_status),
    STATE_FIELD(struct pit_channel, start_ns),
};
static const struct state_table channel_state = STATE_TABLE("8254-channel", 1, channel_fields);
static const struct state_field pit_fields[] = {
    STATE_STRUCT_ARRAY(struct pit, channels, &channel_state),
    STATE_FIELD(struct pit, speaker),
    STATE_FIELD(struct pit, next_edge_ns),
};
static const struct state_table pit_state = STATE_TABLE("pit", 1, pit_fields);

int pit_create(struct bus *bus, struct irq_line irq, struct error *error)
{
    struct pit *pit = calloc(1, sizeof(*pit));
    if (!pit)
        return error_set(error, ENOMEM, "8254: out of memory");
    pit->timer = loop_timer_create(bus->loop, pit_expired, pit, error);
    if (!pit->timer) {
        free(pit);
        return -ENOMEM;
    }
    pit->device = (struct device){.name = "pit", .ops = &pit_ops, .state = &pit_state};
    pit->irq = irq;
    pthread_mutex_init(&pit->lock, NULL);
    pit_reset(&pit->device);
    bus_add_device(bus, &pit->device);
    pit->regions[0] = (struct bus_region){"pit", BUS_PORT, 0x40, 4, 1, &counter_ops, pit};
    pit->regions[1] = (struct bus_region){"speaker", BUS_PORT, 0x61, 1, 1, &speaker_ops, pit};
    int result = bus_add_region(bus, &pit->regions[0], error);
    return result < 0 ? result : bus_add_region(bus, &pit->regions[1], error);
}
