/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The high precision event timer (IA-PC HPET specification 1.0a, §2.3): a free-running counter of
 * 100 MHz and three comparators, one-shot or periodic, without FSB delivery. Counts are computed
 * from the host's clock; one host timer waits for the nearest match that somebody wants to hear of.
 *
 * With legacy replacement (§2.3.4, table 3) comparators 0 and 1 take the lines of the 8254 and of
 * the RTC. Both therefore drive theirs through the switch in here, which remembers their levels.
 */
#include "device/hpet.h"

#include "base/clock.h"
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define TICK_NS          UINT64_C(10)
#define TICK_FEMTOSECOND (TICK_NS * 1000000)
#define NEVER            UINT64_MAX
#define TICKS_MAX        (NEVER / TICK_NS / 4) /* about 146 years: no need to wait for later */
#define SIZE             0x400
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

#define TIMER_LEVEL       BIT(1)
#define TIMER_ENABLE      BIT(2)
#define TIMER_PERIODIC    BIT(3)
#define TIMER_CAPABLE     (BIT(4) | BIT(5)) /* periodic, 64 bits */
#define TIMER_SET         BIT(6)            /* the next write sets the comparator itself, too */
#define TIMER_32BIT       BIT(8)
#define TIMER_ROUTE       (UINT64_C(31) << 9)
#define TIMER_ROUTE_SHIFT 9
#define TIMER_WRITABLE \
    (TIMER_LEVEL | TIMER_ENABLE | TIMER_PERIODIC | TIMER_SET | TIMER_32BIT | TIMER_ROUTE)
/* GSIs that nobody else drives: 16 to 19 are PCI's, those below are the ISA devices'. */
#define ROUTES (BIT(20) | BIT(21) | BIT(22) | BIT(23))

struct hpet_timer {
    uint32_t config; /* TIMER_WRITABLE bits */
    uint64_t comparator, period;
    uint64_t match; /* counter at which it fires next, beyond 32 bits as well; or NEVER */
    bool raised;    /* edge-triggered: the line has been high since it fired */
};

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
    unsigned route = (hpet->timers[number].config & TIMER_ROUTE) >> TIMER_ROUTE_SHIFT;
    return ROUTES >> route & 1 ? (int)route : -1;
}

static bool timer_asserts(const struct hpet *hpet, unsigned number)
{
    const struct hpet_timer *timer = &hpet->timers[number];
    if (!(hpet->config & CONFIG_ENABLE) || !(timer->config & TIMER_ENABLE))
        return false;
    return timer->config & TIMER_LEVEL ? hpet->status >> number & 1 : timer->raised;
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
    return hpet->counter + (now - hpet->counter_ns) / TICK_NS;
}

static uint64_t timer_mask(const struct hpet_timer *timer)
{
    return timer->config & TIMER_32BIT ? UINT32_MAX : UINT64_MAX;
}

/* Finds the next match behind `counter`. 32-bit timers match whenever the counter's low half comes
 * round; 64 bits take longer than the host will live. */
static void timer_plan(struct hpet_timer *timer, uint64_t counter)
{
    uint64_t distance = timer->comparator - counter;
    if (timer->config & TIMER_32BIT)
        distance = ((distance - 1) & UINT32_MAX) + 1;
    timer->match = counter + distance > counter ? counter + distance : NEVER;
}

static void plan_all(struct hpet *hpet, uint64_t counter)
{
    for (unsigned i = 0; i < HPET_TIMER_COUNT; i++)
        timer_plan(&hpet->timers[i], counter);
}

/* A periodic comparator moves on, past the periods that were missed; interrupts for those merge. */
static void timer_repeat(struct hpet_timer *timer, uint64_t counter)
{
    if (!(timer->config & TIMER_PERIODIC) || !timer->period) {
        timer_plan(timer, counter);
        return;
    }
    uint64_t steps = 1 + (counter - timer->match) / timer->period;
    uint64_t next = timer->match + steps * timer->period;
    timer->comparator = next & timer_mask(timer);
    timer->match = next > counter ? next : NEVER;
}

static void timer_fire(struct hpet *hpet, unsigned number)
{
    struct hpet_timer *timer = &hpet->timers[number];
    if (timer->config & TIMER_LEVEL) {
        hpet->status |= 1u << number;
    } else {
        timer->raised = false; /* an edge needs a low level before it */
        drive_lines(hpet);
        timer->raised = timer->config & TIMER_ENABLE;
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
        timer_repeat(&hpet->timers[i], counter);
        timer_fire(hpet, i);
    }
}

/* When the host's timer must look at a timer again, or NEVER. */
static uint64_t timer_deadline(const struct hpet *hpet, const struct hpet_timer *timer,
                               uint64_t now)
{
    if (!(timer->config & TIMER_ENABLE) || timer->match == NEVER)
        return NEVER;
    uint64_t ticks = timer->match > hpet->counter ? timer->match - hpet->counter : 0;
    if (ticks > TICKS_MAX)
        return NEVER;
    uint64_t deadline = hpet->counter_ns + ticks * TICK_NS, earliest = now + INTERVAL_MIN_NS;
    bool hurried = timer->config & TIMER_PERIODIC && timer->period < INTERVAL_MIN_NS / TICK_NS;
    return hurried && deadline < earliest ? earliest : deadline;
}

/* Sets the host's timer to the nearest match that interrupts. */
static void arm(struct hpet *hpet, uint64_t now)
{
    uint64_t nearest = NEVER;
    for (unsigned i = 0; i < HPET_TIMER_COUNT && hpet->config & CONFIG_ENABLE; i++) {
        uint64_t deadline = timer_deadline(hpet, &hpet->timers[i], now);
        nearest = deadline < nearest ? deadline : nearest;
    }
    if (nearest == NEVER)
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

static uint64_t timer_read(const struct hpet_timer *timer, unsigned offset)
{
    if (offset == TIMER_CONFIG)
        return (timer->config & ~TIMER_SET) | TIMER_CAPABLE | ROUTES << 32;
    return offset == TIMER_COMPARATOR ? timer->comparator : 0;
}

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
        return timer_read(&hpet->timers[number], offset % TIMER_SIZE);
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

static void write_timer_config(struct hpet *hpet, unsigned number, uint64_t value)
{
    struct hpet_timer *timer = &hpet->timers[number];
    uint64_t route = value >> TIMER_ROUTE_SHIFT & 31;
    if (!(ROUTES >> route & 1)) /* a route that is not there does not read back */
        value = (value & ~TIMER_ROUTE) | (timer->config & TIMER_ROUTE);
    timer->config = value & TIMER_WRITABLE;
    timer->comparator &= timer_mask(timer);
    timer->period &= timer_mask(timer);
    timer->raised = false;
    if (!(timer->config & TIMER_LEVEL))
        hpet->status &= ~(1u << number);
}

/* One write sets a periodic timer's period; after TIMER_SET it sets the comparator as well. */
static void write_comparator(struct hpet_timer *timer, uint64_t value)
{
    value &= timer_mask(timer);
    if (timer->config & TIMER_PERIODIC)
        timer->period = value;
    if (!(timer->config & TIMER_PERIODIC) || timer->config & TIMER_SET)
        timer->comparator = value;
    timer->config &= ~TIMER_SET;
}

static void write_timer(struct hpet *hpet, unsigned offset, uint64_t value, uint64_t mask,
                        uint64_t now)
{
    unsigned number = (offset - REGISTER_TIMERS) / TIMER_SIZE;
    if (number >= HPET_TIMER_COUNT)
        return;
    struct hpet_timer *timer = &hpet->timers[number];
    if (offset % TIMER_SIZE == TIMER_CONFIG)
        write_timer_config(hpet, number, (timer->config & ~mask) | value);
    else if (offset % TIMER_SIZE == TIMER_COMPARATOR)
        write_comparator(timer, (timer->comparator & ~mask) | value);
    timer_plan(timer, counter_at(hpet, now));
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
        hpet->timers[i] = (struct hpet_timer){.comparator = UINT64_MAX, .match = NEVER};
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
        hpet->timers[i].config &= TIMER_WRITABLE;
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
static const struct state_field timer_fields[] = {
    STATE_FIELD(struct hpet_timer, config), STATE_FIELD(struct hpet_timer, comparator),
    STATE_FIELD(struct hpet_timer, period), STATE_FIELD(struct hpet_timer, match),
    STATE_FIELD(struct hpet_timer, raised),
};
static const struct state_table timer_state = STATE_TABLE("hpet-timer", 1, timer_fields);
static const struct state_field hpet_fields[] = {
    STATE_STRUCT_ARRAY(struct hpet, timers, &timer_state),
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
