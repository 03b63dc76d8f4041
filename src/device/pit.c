/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The 8254 interval timer (data sheet 231164) at ports 0x40 to 0x43, and port 0x61, which gates
 * channel 2 and shows its output. Counting: pit_channel.c. Only channel 0, whose output is an
 * interrupt line, has a host timer, and only while its output will rise again.
 */
#include "base/clock.h"
#include "device/devices.h"
#include "device/pit_channel.h"

#include <errno.h>
#include <stdlib.h>

#define CONTROL_PORT  3
#define CHANNEL_COUNT 3
#define READ_BACK     3 /* in the place of a channel's number */
/* Edges nearer than this to the last are left out: no host serves them, and they would keep the
 * event loop busy. */
#define EDGE_MIN_NS UINT64_C(20000)

#define SPEAKER_GATE     BIT(0) /* of channel 2 */
#define SPEAKER_WRITABLE (SPEAKER_GATE | BIT(1))
#define REFRESH_NS       15085 /* bit 4 of port 0x61 toggles with each refresh of the memory */

struct pit {
    struct device device;
    pthread_mutex_t lock;
    struct pit_channel channels[CHANNEL_COUNT];
    uint8_t speaker; /* SPEAKER_WRITABLE bits of port 0x61 */
    struct irq_line irq;
    struct loop_timer *timer;
    uint64_t edge_ns;    /* when channel 0's output rises next; 0: never */
    uint64_t edge_in_ns; /* the same from now on, plus one: what the state holds */
    struct bus_region regions[2];
};

/* Plans the next rise of channel 0's output. The caller holds the lock, here and below. */
static void pit_arm(struct pit *pit, uint64_t now)
{
    pit->edge_ns = pit_channel_next_rise(&pit->channels[0], now, EDGE_MIN_NS);
    if (pit->edge_ns)
        loop_timer_arm(pit->timer, pit->edge_ns);
    else
        loop_timer_disarm(pit->timer);
}

/* Raises the line when that is due. It stays high until the next edge: an 8259 drops a request
 * whose line falls again. */
static void pit_advance(struct pit *pit, uint64_t now)
{
    if (!pit->edge_ns || pit->edge_ns > now)
        return;
    irq_set(&pit->irq, 0);
    irq_set(&pit->irq, 1);
    pit_arm(pit, now);
}

static void pit_expired(void *opaque)
{
    struct pit *pit = opaque;
    pthread_mutex_lock(&pit->lock);
    pit_advance(pit, clock_monotonic_ns());
    pthread_mutex_unlock(&pit->lock);
}

/* Channel 0 was programmed: its line follows, and its timer. */
static void channel_0_changed(struct pit *pit, uint64_t now)
{
    irq_set(&pit->irq, pit_channel_output(&pit->channels[0], now));
    pit_arm(pit, now);
}

static void write_read_back(struct pit *pit, uint8_t value, uint64_t now)
{
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        if (!(value >> (i + 1) & 1))
            continue;
        if (!(value & BIT(5)))
            pit_channel_latch_count(&pit->channels[i], now);
        if (!(value & BIT(4)))
            pit_channel_latch_status(&pit->channels[i], now);
    }
}

static void write_control(struct pit *pit, uint8_t value, uint64_t now)
{
    unsigned number = value >> 6;
    if (number == READ_BACK) {
        write_read_back(pit, value, now);
    } else if (pit_channel_control(&pit->channels[number], value, now) && number == 0) {
        channel_0_changed(pit, now);
    }
}

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *pit = opaque;
    if (offset == CONTROL_PORT)
        return 0xff;
    pthread_mutex_lock(&pit->lock);
    uint8_t value = pit_channel_read(&pit->channels[offset], clock_monotonic_ns());
    pthread_mutex_unlock(&pit->lock);
    return value;
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = opaque;
    pthread_mutex_lock(&pit->lock);
    uint64_t now = clock_monotonic_ns();
    pit_advance(pit, now);
    if (offset == CONTROL_PORT) {
        write_control(pit, (uint8_t)value, now);
    } else {
        pit_channel_write(&pit->channels[offset], (uint8_t)value, now);
        if (offset == 0)
            channel_0_changed(pit, now);
    }
    pthread_mutex_unlock(&pit->lock);
}

/* Port 0x61: bit 4 toggles with memory refresh, bit 5 is channel 2's output. */
static uint64_t speaker_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pit *pit = opaque;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&pit->lock);
    bool output = pit_channel_output(&pit->channels[2], now);
    uint64_t value = pit->speaker | (now / REFRESH_NS & 1) << 4 | (uint64_t)output << 5;
    pthread_mutex_unlock(&pit->lock);
    return value;
}

static void speaker_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct pit *pit = opaque;
    pthread_mutex_lock(&pit->lock);
    pit->speaker = value & SPEAKER_WRITABLE;
    pit_channel_gate(&pit->channels[2], value & SPEAKER_GATE, clock_monotonic_ns());
    pthread_mutex_unlock(&pit->lock);
}

static const struct bus_ops counter_ops = {pit_read, pit_write};
static const struct bus_ops speaker_ops = {speaker_read, speaker_write};

static void pit_reset(struct device *device)
{
    struct pit *pit = (struct pit *)device;
    pthread_mutex_lock(&pit->lock);
    for (unsigned i = 0; i < CHANNEL_COUNT; i++)
        pit_channel_reset(&pit->channels[i], i != 2);
    pit->speaker = 0;
    pit->edge_ns = 0;
    loop_timer_disarm(pit->timer);
    irq_set(&pit->irq, 0);
    pthread_mutex_unlock(&pit->lock);
}

static void pit_destroy(struct device *device)
{
    struct pit *pit = (struct pit *)device;
    loop_timer_destroy(pit->timer);
    pthread_mutex_destroy(&pit->lock);
    free(pit);
}

static void pit_before_save(struct device *device)
{
    struct pit *pit = (struct pit *)device;
    pthread_mutex_lock(&pit->lock);
    uint64_t now = clock_monotonic_ns();
    for (unsigned i = 0; i < CHANNEL_COUNT; i++)
        pit_channel_before_save(&pit->channels[i], now);
    pit->edge_in_ns = 0;
    if (pit->edge_ns)
        pit->edge_in_ns = 1 + (pit->edge_ns > now ? pit->edge_ns - now : 0);
    pthread_mutex_unlock(&pit->lock);
}

static int pit_after_load(struct device *device, struct error *error)
{
    struct pit *pit = (struct pit *)device;
    int result = 0;
    pthread_mutex_lock(&pit->lock);
    uint64_t now = clock_monotonic_ns();
    for (unsigned i = 0; i < CHANNEL_COUNT && result == 0; i++)
        result = pit_channel_after_load(&pit->channels[i], now, error);
    if (result == 0 && pit->edge_in_ns) {
        pit->edge_ns = now + pit->edge_in_ns - 1;
        loop_timer_arm(pit->timer, pit->edge_ns);
    } else {
        pit->edge_ns = 0;
        loop_timer_disarm(pit->timer);
    }
    pthread_mutex_unlock(&pit->lock);
    return result;
}

static const struct device_ops pit_ops = {
    .reset = pit_reset,
    .destroy = pit_destroy,
    .before_save = pit_before_save,
    .after_load = pit_after_load,
};
static const struct state_field pit_fields[] = {
    STATE_STRUCT_ARRAY(struct pit, channels, &pit_channel_state),
    STATE_FIELD(struct pit, speaker),
    STATE_FIELD(struct pit, edge_in_ns),
};
static const struct state_table pit_state = STATE_TABLE("pit", 2, pit_fields);

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
