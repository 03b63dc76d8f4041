/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The high precision event timer (IA-PC HPET specification 1.0a, §2.3): a free-running counter of
 * 100 MHz and three comparators, one-shot or periodic, without FSB delivery. Counts are computed
 * from the host's clock; one host timer waits for the nearest match that somebody wants to hear of.
 * The comparators: hpet_timer.c.
 *
 * With legacy replacement (§2.3.4, table 3) comparators 0 and 1 take the lines of the 8254 and of
 * the RTC. Both therefore drive theirs through the switch in here, which remembers their levels.
 */
#include "device/hpet.h"

#include "base/clock.h"
#include "device/devices.h"
#include "device/hpet_timer.h"

#include <errno.h>
#include <stdlib.h>

#define SIZE             0x400
#define TICK_FEMTOSECOND (HPET_TICK_NS * 1000000)
#define TICKS_MAX        (HPET_NEVER / HPET_TICK_NS / 4) /* 146 years: no need to wait for later */
/* No guest may keep the event loop busy with periods that no host can serve. */
#define INTERVAL_MIN_NS UINT64_C(20000)

enum {
    REGISTER_CAPABILITIES = 0x000,
    REGISTER_CONFIG = 0x010,
    REGISTER_STATUS = 0x020,
    REGISTER_COUNTER = 0x0f0,
    REGISTER_TIMERS = 0x100, /* of each timer, TIMER_SIZE bytes apart: */
    TIMER_CONFIG = 0x00,
    TIMER_COMPARATOR = 0x08,
    TIMER_SIZE = 0x20,
};

#define CONFIG_ENABLE   BIT(0)
#define CONFIG_LEGACY   BIT(1)
#define CONFIG_WRITABLE (CONFIG_ENABLE | CONFIG_LEGACY)

struct hpet {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    struct hpet_timer timers[HPET_TIMER_COUNT];
    uint8_t config, status;
    uint64_t counter; /* at counter_ns; when halted, at any time */
    uint64_t counter_ns;
    uint32_t inputs; /* levels of 8254 and RTC, by GSI */
    uint32_t lines;  /* levels driven, by GSI */
    struct loop_timer *alarm;
    struct bus_region region;
};

/* --- lines --- */

static const uint8_t legacy_gsi[HPET_LEGACY_COUNT] = {[HPET_LEGACY_PIT] = 0, [HPET_LEGACY_RTC] = 8};

static bool replaces_legacy(const struct hpet *hpet)
{
    return (hpet->config & CONFIG_WRITABLE) == CONFIG_WRITABLE;
}

/* The GSI that a timer drives, or -1. */
static int timer_gsi(const struct hpet *hpet, unsigned number)
{
    if (replaces_legacy(hpet) && number < HPET_LEGACY_COUNT)
        return legacy_gsi[number];
    return hpet_timer_route(&hpet->timers[number]);
}

static bool timer_asserts(const struct hpet *hpet, unsigned number)
{
    const struct hpet_timer *timer = &hpet->timers[number];
    if (!(hpet->config & CONFIG_ENABLE) || !(timer->config & HPET_TIMER_ENABLE))
        return false;
    return timer->config & HPET_TIMER_LEVEL ? hpet->status >> number & 1 : timer->raised;
}

/* Drives every line that has changed. The caller holds the lock, so that levels arrive in order. */
static void drive_lines(struct hpet *hpet)
{
    uint32_t levels = replaces_legacy(hpet) ? 0 : hpet->inputs;
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++) {
        int gsi = timer_gsi(hpet, i);
        if (gsi >= 0 && timer_asserts(hpet, i))
            levels |= 1u << gsi;
    }
    uint32_t changed = levels ^ hpet->lines;
    hpet->lines = levels;
    for (unsigned gsi = 0; gsi < BUS_GSI_COUNT; gsi++) {
        struct irq_line line = bus_gsi(hpet->bus, gsi);
        if (changed >> gsi & 1)
            irq_set(&line, levels >> gsi & 1);
    }
}

/* The 8254's or the RTC's output. */
static void set_input(void *opaque, unsigned gsi, int level)
{
    struct hpet *hpet = opaque;
    pthread_mutex_lock(&hpet->lock);
    hpet->inputs = level ? hpet->inputs | 1u << gsi : hpet->inputs & ~(1u << gsi);
    drive_lines(hpet);
    pthread_mutex_unlock(&hpet->lock);
}

/* --- counting; the caller holds the lock --- */

static uint64_t counter_at(const struct hpet *hpet, uint64_t now)
{
    if (!(hpet->config & CONFIG_ENABLE))
        return hpet->counter;
    return hpet->counter + (now - hpet->counter_ns) / HPET_TICK_NS;
}

static void plan_all(struct hpet *hpet, uint64_t counter)
{
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++)
        hpet_timer_plan(&hpet->timers[i], counter);
}

static void timer_fire(struct hpet *hpet, unsigned number)
{
    struct hpet_timer *timer = &hpet->timers[number];
    if (timer->config & HPET_TIMER_LEVEL) {
        hpet->status |= 1u << number;
    } else {
        timer->raised = false; /* an edge needs a low level before it */
        drive_lines(hpet);
        timer->raised = timer->config & HPET_TIMER_ENABLE;
    }
    drive_lines(hpet);
}

/* Lets everything happen that is due. */
static void advance(struct hpet *hpet, uint64_t now)
{
    uint64_t counter = counter_at(hpet, now);
    if (!(hpet->config & CONFIG_ENABLE))
        return;
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++) {
        if (hpet->timers[i].match > counter)
            continue;
        hpet_timer_advance(&hpet->timers[i], counter);
        timer_fire(hpet, i);
    }
}

/* When the host's timer must look at a comparator again, or HPET_NEVER. */
static uint64_t timer_deadline(const struct hpet *hpet, const struct hpet_timer *timer,
                               uint64_t now)
{
    if (!(timer->config & HPET_TIMER_ENABLE) || timer->match == HPET_NEVER)
        return HPET_NEVER;
    uint64_t ticks = timer->match > hpet->counter ? timer->match - hpet->counter : 0;
    if (ticks > TICKS_MAX)
        return HPET_NEVER;
    uint64_t deadline = hpet->counter_ns + ticks * HPET_TICK_NS, earliest = now + INTERVAL_MIN_NS;
    bool hurried =
        timer->config & HPET_TIMER_PERIODIC && timer->period < INTERVAL_MIN_NS / HPET_TICK_NS;
    return hurried && deadline < earliest ? earliest : deadline;
}

/* Sets the host's timer to the nearest match that interrupts. */
static void arm(struct hpet *hpet, uint64_t now)
{
    uint64_t nearest = HPET_NEVER;
    for (unsigned i = 0; i < HPET_TIMER_COUNT && hpet->config & CONFIG_ENABLE; i++) {
        uint64_t deadline = timer_deadline(hpet, &hpet->timers[i], now);
        nearest = deadline < nearest ? deadline : nearest;
    }
    if (nearest == HPET_NEVER)
        loop_timer_disarm(hpet->alarm);
    else
        loop_timer_arm(hpet->alarm, nearest);
}

static void hpet_expired(void *opaque)
{
    struct hpet *hpet = opaque;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&hpet->lock);
    advance(hpet, now);
    arm(hpet, now);
    pthread_mutex_unlock(&hpet->lock);
}

/* --- registers, 64 bits wide each --- */

static uint64_t register_read(const struct hpet *hpet, unsigned offset, uint64_t now)
{
    unsigned number = (offset - REGISTER_TIMERS) / TIMER_SIZE;
    switch (offset) {
    case REGISTER_CAPABILITIES:
        return HPET_ID | TICK_FEMTOSECOND << 32;
    case REGISTER_CONFIG:
        return hpet->config;
    case REGISTER_STATUS:
        return hpet->status;
    case REGISTER_COUNTER:
        return counter_at(hpet, now);
    default:
        if (offset < REGISTER_TIMERS || number >= HPET_TIMER_COUNT)
            return 0;
        if (offset % TIMER_SIZE == TIMER_CONFIG)
            return hpet_timer_read_config(&hpet->timers[number]);
        return offset % TIMER_SIZE == TIMER_COMPARATOR ? hpet->timers[number].comparator : 0;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    struct hpet *hpet = opaque;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&hpet->lock);
    advance(hpet, now);
    uint64_t value = register_read(hpet, (unsigned)(offset & ~7u), now);
    pthread_mutex_unlock(&hpet->lock);
    return value >> offset % 8 * 8;
}

static void write_config(struct hpet *hpet, uint8_t value, uint64_t now)
{
    hpet->counter = counter_at(hpet, now);
    hpet->counter_ns = now;
    bool starts = value & CONFIG_ENABLE && !(hpet->config & CONFIG_ENABLE);
    hpet->config = value & CONFIG_WRITABLE;
    if (starts)
        plan_all(hpet, hpet->counter);
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++)
        hpet->timers[i].raised = false;
}

static void write_counter(struct hpet *hpet, uint64_t value, uint64_t now)
{
    hpet->counter = value;
    hpet->counter_ns = now;
    plan_all(hpet, value);
}

static void write_timer(struct hpet *hpet, unsigned offset, uint64_t value, uint64_t mask,
                        uint64_t now)
{
    unsigned number = (offset - REGISTER_TIMERS) / TIMER_SIZE;
    if (number >= HPET_TIMER_COUNT)
        return;
    struct hpet_timer *timer = &hpet->timers[number];
    if (offset % TIMER_SIZE == TIMER_CONFIG)
        hpet_timer_write_config(timer, value, mask);
    else if (offset % TIMER_SIZE == TIMER_COMPARATOR)
        hpet_timer_write_comparator(timer, value, mask);
    if (!(timer->config & HPET_TIMER_LEVEL)) /* edges have no status */
        hpet->status &= ~(1u << number);
    hpet_timer_plan(timer, counter_at(hpet, now));
}

/* value and mask: what is written, and where, of the register's eight bytes. */
static void register_write(struct hpet *hpet, unsigned offset, uint64_t value, uint64_t mask,
                           uint64_t now)
{
    if (offset >= REGISTER_TIMERS)
        write_timer(hpet, offset, value, mask, now);
    else if (offset == REGISTER_CONFIG)
        write_config(hpet, (uint8_t)((hpet->config & ~mask) | value), now);
    else if (offset == REGISTER_STATUS)
        hpet->status &= ~value; /* write one to clear */
    else if (offset == REGISTER_COUNTER)
        write_counter(hpet, (counter_at(hpet, now) & ~mask) | value, now);
}

static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct hpet *hpet = opaque;
    unsigned shift = offset % 8 * 8;
    uint64_t now = clock_monotonic_ns(), mask = bytes_mask(size) << shift;
    pthread_mutex_lock(&hpet->lock);
    advance(hpet, now);
    register_write(hpet, (unsigned)(offset & ~7u), value << shift & mask, mask, now);
    drive_lines(hpet);
    arm(hpet, now);
    pthread_mutex_unlock(&hpet->lock);
}

static const struct bus_ops hpet_bus_ops = {hpet_read, hpet_write};

/* --- life --- */

static void hpet_reset(struct device *device)
{
    struct hpet *hpet = (struct hpet *)device;
    pthread_mutex_lock(&hpet->lock);
    hpet->config = hpet->status = 0;
    hpet->counter = 0;
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++)
        hpet_timer_reset(&hpet->timers[i]);
    drive_lines(hpet);
    arm(hpet, 0);
    pthread_mutex_unlock(&hpet->lock);
}

static void hpet_destroy(struct device *device)
{
    struct hpet *hpet = (struct hpet *)device;
    loop_timer_destroy(hpet->alarm);
    pthread_mutex_destroy(&hpet->lock);
    free(hpet);
}

/* What is stored is a count, not the host's time at which it was one. */
static void hpet_before_save(struct device *device)
{
    struct hpet *hpet = (struct hpet *)device;
    uint64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&hpet->lock);
    hpet->counter = counter_at(hpet, now);
    hpet->counter_ns = now;
    pthread_mutex_unlock(&hpet->lock);
}

static int hpet_after_load(struct device *device, struct error *error)
{
    struct hpet *hpet = (struct hpet *)device;
    pthread_mutex_lock(&hpet->lock);
    hpet->counter_ns = clock_monotonic_ns();
    hpet->config &= CONFIG_WRITABLE;
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++)
        hpet_timer_after_load(&hpet->timers[i]);
    arm(hpet, 0);
    pthread_mutex_unlock(&hpet->lock);
    return 0;
}

static const struct device_ops hpet_ops = {
    .reset = hpet_reset,
    .destroy = hpet_destroy,
    .before_save = hpet_before_save,
    .after_load = hpet_after_load,
};
static const struct state_field hpet_fields[] = {
    STATE_STRUCT_ARRAY(struct hpet, timers, &hpet_timer_state),
    STATE_FIELD(struct hpet, config),
    STATE_FIELD(struct hpet, status),
    STATE_FIELD(struct hpet, counter),
    STATE_FIELD(struct hpet, inputs),
    STATE_FIELD(struct hpet, lines),
};
static const struct state_table hpet_state = STATE_TABLE("hpet", 1, hpet_fields);

int hpet_create(struct bus *bus, struct irq_line legacy[HPET_LEGACY_COUNT], struct error *error)
{
    struct hpet *hpet = calloc(1, sizeof(*hpet));
    if (!hpet)
        return error_set(error, ENOMEM, "hpet: out of memory");
    hpet->alarm = loop_timer_create(bus->loop, hpet_expired, hpet, error);
    if (!hpet->alarm) {
        free(hpet);
        return -ENOMEM;
    }
    hpet->device = (struct device){.name = "hpet", .ops = &hpet_ops, .state = &hpet_state};
    hpet->bus = bus;
    pthread_mutex_init(&hpet->lock, NULL);
    hpet_reset(&hpet->device);
    bus_add_device(bus, &hpet->device);
    for (unsigned i = 0; i < HPET_LEGACY_COUNT; i++)
        legacy[i] = (struct irq_line){.set = set_input, .opaque = hpet, .number = legacy_gsi[i]};
    hpet->region =
        (struct bus_region){"hpet", BUS_MMIO, HPET_ADDRESS, SIZE, 8, &hpet_bus_ops, hpet};
    return bus_add_region(bus, &hpet->region, error);
}
