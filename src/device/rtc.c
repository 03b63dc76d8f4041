/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MC146818 real-time clock (Motorola data sheet ADI1016) with its CMOS RAM, ports 0x70 and
 * 0x71, IRQ 8. Time of day is the host's, in UTC, plus what the guest has set it ahead. Flags are
 * worked out when somebody looks; the host's timer runs only while the guest waits for an
 * interrupt.
 */
#include "base/clock.h"
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

enum {
    RTC_SECONDS = 0,
    RTC_SECONDS_ALARM,
    RTC_MINUTES,
    RTC_MINUTES_ALARM,
    RTC_HOURS,
    RTC_HOURS_ALARM,
    RTC_WEEKDAY,
    RTC_DAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D,
    RTC_CENTURY = 0x32,
    RTC_SIZE = 128,
};
#define A_UPDATING   BIT(7)
#define A_RATE       0x0fu
#define B_SET        BIT(7)
#define B_PERIODIC   BIT(6)
#define B_ALARM      BIT(5)
#define B_UPDATE     BIT(4)
#define B_BINARY     BIT(2)
#define B_24_HOURS   BIT(1)
#define B_INTERRUPTS (B_PERIODIC | B_ALARM | B_UPDATE) /* the same bits in C are the flags */
#define C_INTERRUPT  BIT(7)
#define D_VALID      BIT(7)
#define ALARM_ANY    0xc0u /* two top bits set: matches every value */
/* An update takes 1984 us, and is announced 244 us before. */
#define UPDATE_NS  UINT64_C(2228000)
#define DAY_S      86400
#define TIME_MAX_S INT64_C(1000000000000) /* beyond any year that the registers can hold */

struct rtc {
    struct device device;
    pthread_mutex_t lock;
    uint8_t index;
    uint8_t cmos[RTC_SIZE];
    int64_t offset_s; /* what the guest has set its clock ahead of the host's */
    int64_t seen_s;   /* the guest's time up to which updates and alarms are in register C */
    uint64_t next_periodic_ns; /* 0: the periodic flag is off */
    struct irq_line irq;
    struct loop_timer *timer;
    struct bus_region region;
};

static uint8_t encode(const struct rtc *rtc, unsigned value)
{
    return (uint8_t)(rtc->cmos[RTC_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static unsigned decode(const struct rtc *rtc, uint8_t value)
{
    return rtc->cmos[RTC_B] & B_BINARY ? value : (unsigned)(value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, unsigned hour)
{
    if (rtc->cmos[RTC_B] & B_24_HOURS)
        return encode(rtc, hour);
    unsigned half = hour % 12 ? hour % 12 : 12;
    return encode(rtc, half) | (hour >= 12 ? 0x80 : 0);
}

static int64_t host_seconds(void)
{
    return (int64_t)(clock_realtime_ns() / NANOSECONDS_PER_SECOND);
}

/* Fills the clock registers from the host's time. */
static void rtc_refresh(struct rtc *rtc)
{
    struct tm now;
    time_t seconds = (time_t)(host_seconds() + rtc->offset_s);
    if (rtc->cmos[RTC_B] & B_SET)
        return;
    gmtime_r(&seconds, &now);
    rtc->cmos[RTC_SECONDS] = encode(rtc, (unsigned)now.tm_sec);
    rtc->cmos[RTC_MINUTES] = encode(rtc, (unsigned)now.tm_min);
    rtc->cmos[RTC_HOURS] = encode_hour(rtc, (unsigned)now.tm_hour);
    rtc->cmos[RTC_WEEKDAY] = encode(rtc, (unsigned)now.tm_wday + 1);
    rtc->cmos[RTC_DAY] = encode(rtc, (unsigned)now.tm_mday);
    rtc->cmos[RTC_MONTH] = encode(rtc, (unsigned)now.tm_mon + 1);
    rtc->cmos[RTC_YEAR] = encode(rtc, (unsigned)now.tm_year % 100);
    rtc->cmos[RTC_CENTURY] = encode(rtc, ((unsigned)now.tm_year + 1900) / 100);
}

/* The guest wrote clock registers: remember how far off the host's clock that is. */
static void rtc_adopt(struct rtc *rtc)
{
    unsigned hour = decode(rtc, rtc->cmos[RTC_HOURS] & 0x7f);
    if (!(rtc->cmos[RTC_B] & B_24_HOURS))
        hour = hour % 12 + (rtc->cmos[RTC_HOURS] & 0x80 ? 12 : 0);
    struct tm set = {
        .tm_sec = (int)decode(rtc, rtc->cmos[RTC_SECONDS]),
        .tm_min = (int)decode(rtc, rtc->cmos[RTC_MINUTES]),
        .tm_hour = (int)hour,
        .tm_mday = (int)decode(rtc, rtc->cmos[RTC_DAY]),
        .tm_mon = (int)decode(rtc, rtc->cmos[RTC_MONTH]) - 1,
        .tm_year =
            (int)(decode(rtc, rtc->cmos[RTC_CENTURY]) * 100 + decode(rtc, rtc->cmos[RTC_YEAR])) -
            1900,
    };
    rtc->seen_s = timegm(&set);
    rtc->offset_s = rtc->seen_s - host_seconds();
}

/* An alarm register against the value that the clock had at that time. */
static bool alarm_register_matches(const struct rtc *rtc, unsigned index, uint8_t value)
{
    uint8_t alarm = rtc->cmos[index];
    return (alarm & ALARM_ANY) == ALARM_ANY || alarm == value;
}

static bool alarm_matches(const struct rtc *rtc, unsigned second_of_day)
{
    return alarm_register_matches(rtc, RTC_SECONDS_ALARM, encode(rtc, second_of_day % 60)) &&
           alarm_register_matches(rtc, RTC_MINUTES_ALARM, encode(rtc, second_of_day / 60 % 60)) &&
           alarm_register_matches(rtc, RTC_HOURS_ALARM, encode_hour(rtc, second_of_day / 3600));
}

/* Did the alarm's time come in the seconds after `from`, up to `to`? A day has them all. */
static bool alarm_between(const struct rtc *rtc, int64_t from, int64_t to)
{
    if (to - from > DAY_S)
        from = to - DAY_S;
    while (from < to) {
        int64_t second = ++from % DAY_S;
        if (alarm_matches(rtc, (unsigned)(second < 0 ? second + DAY_S : second)))
            return true;
    }
    return false;
}

static uint64_t period_ns(const struct rtc *rtc)
{
    unsigned rate = rtc->cmos[RTC_A] & A_RATE;
    return rate ? clock_scale(NANOSECONDS_PER_SECOND, 1u << ((rate < 3 ? rate + 7 : rate) - 1),
                              32768)
                : 0;
}

/* The periodic flag comes at whole periods of the host's clock: a guest cannot tell. */
static void plan_period(struct rtc *rtc)
{
    uint64_t period = period_ns(rtc), now = clock_monotonic_ns();
    rtc->next_periodic_ns = period ? now - now % period + period : 0;
}

/* Sets the flags of what has happened since the last look, and drives the line. The caller holds
 * the lock, here and below. */
static void rtc_advance(struct rtc *rtc)
{
    uint8_t *flags = &rtc->cmos[RTC_C];
    int64_t seconds = host_seconds() + rtc->offset_s;
    if (rtc->next_periodic_ns && rtc->next_periodic_ns <= clock_monotonic_ns()) {
        *flags |= B_PERIODIC;
        plan_period(rtc);
    }
    if (!(rtc->cmos[RTC_B] & B_SET) && seconds != rtc->seen_s) {
        *flags |= B_UPDATE | (alarm_between(rtc, rtc->seen_s, seconds) ? B_ALARM : 0);
        rtc->seen_s = seconds;
    }
    if (*flags & rtc->cmos[RTC_B] & B_INTERRUPTS)
        *flags |= C_INTERRUPT;
    irq_set(&rtc->irq, *flags & C_INTERRUPT ? 1 : 0);
}

/* Waits for the next event that interrupts. While an interrupt is up there is none: the guest reads
 * register C first. */
static void rtc_arm(struct rtc *rtc)
{
    uint8_t enabled = rtc->cmos[RTC_B];
    uint64_t deadline = UINT64_MAX;
    if (enabled & B_PERIODIC && rtc->next_periodic_ns)
        deadline = rtc->next_periodic_ns;
    if (enabled & (B_ALARM | B_UPDATE) && !(enabled & B_SET)) {
        uint64_t rest = NANOSECONDS_PER_SECOND - clock_realtime_ns() % NANOSECONDS_PER_SECOND;
        uint64_t second = clock_monotonic_ns() + rest;
        deadline = second < deadline ? second : deadline;
    }
    if (rtc->cmos[RTC_C] & C_INTERRUPT || deadline == UINT64_MAX)
        loop_timer_disarm(rtc->timer);
    else
        loop_timer_arm(rtc->timer, deadline);
}

static void rtc_expired(void *opaque)
{
    struct rtc *rtc = opaque;
    pthread_mutex_lock(&rtc->lock);
    rtc_advance(rtc);
    rtc_arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

static bool update_in_progress(const struct rtc *rtc)
{
    uint64_t rest = NANOSECONDS_PER_SECOND - clock_realtime_ns() % NANOSECONDS_PER_SECOND;
    return !(rtc->cmos[RTC_B] & B_SET) && rest <= UPDATE_NS;
}

static uint8_t read_register(struct rtc *rtc, unsigned index)
{
    if (index == RTC_A)
        return rtc->cmos[RTC_A] | (update_in_progress(rtc) ? A_UPDATING : 0);
    if (index <= RTC_YEAR || index == RTC_CENTURY)
        rtc_refresh(rtc);
    uint8_t value = rtc->cmos[index];
    if (index == RTC_C) {
        rtc->cmos[RTC_C] = 0;
        irq_set(&rtc->irq, 0);
        rtc_arm(rtc);
    }
    return value;
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rtc *rtc = opaque;
    if (!offset)
        return 0xff;
    pthread_mutex_lock(&rtc->lock);
    rtc_advance(rtc);
    uint8_t value = read_register(rtc, rtc->index);
    pthread_mutex_unlock(&rtc->lock);
    return value;
}

/* Bit SET stops the clock, so that the guest can write it register by register. */
static void write_b(struct rtc *rtc, uint8_t value)
{
    bool was_set = rtc->cmos[RTC_B] & B_SET;
    if (value & B_SET) {
        rtc_refresh(rtc);
        value &= ~B_UPDATE;
    }
    rtc->cmos[RTC_B] = value;
    if (was_set && !(value & B_SET))
        rtc_adopt(rtc);
}

static void write_clock(struct rtc *rtc, unsigned index, uint8_t value)
{
    rtc_refresh(rtc);
    rtc->cmos[index] = value;
    if (!(rtc->cmos[RTC_B] & B_SET))
        rtc_adopt(rtc);
}

static void write_register(struct rtc *rtc, unsigned index, uint8_t value)
{
    switch (index) {
    case RTC_SECONDS:
    case RTC_MINUTES:
    case RTC_HOURS:
    case RTC_WEEKDAY:
    case RTC_DAY:
    case RTC_MONTH:
    case RTC_YEAR:
    case RTC_CENTURY:
        write_clock(rtc, index, value);
        break;
    case RTC_A:
        rtc->cmos[RTC_A] = value & ~A_UPDATING;
        plan_period(rtc);
        break;
    case RTC_B:
        write_b(rtc, value);
        break;
    case RTC_C:
    case RTC_D:
        break;
    default:
        rtc->cmos[index] = value;
    }
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct rtc *rtc = opaque;
    pthread_mutex_lock(&rtc->lock);
    if (!offset) {
        rtc->index = value % RTC_SIZE; /* bit 7 would mask NMIs */
    } else {
        rtc_advance(rtc);
        write_register(rtc, rtc->index, (uint8_t)value);
        rtc_advance(rtc); /* a flag that is set interrupts as soon as that is enabled */
        rtc_arm(rtc);
    }
    pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops cmos_ops = {rtc_read, rtc_write};

/* The clock has a battery: only the interrupt enables are reset. */
static void rtc_reset(struct device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    pthread_mutex_lock(&rtc->lock);
    rtc->cmos[RTC_B] &= ~B_INTERRUPTS;
    rtc->cmos[RTC_C] = 0;
    irq_set(&rtc->irq, 0);
    rtc_arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

static void rtc_destroy(struct device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    loop_timer_destroy(rtc->timer);
    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}

static bool is_time(int64_t seconds)
{
    return seconds >= -TIME_MAX_S && seconds <= TIME_MAX_S;
}

/* The time of day is the host's, so that nothing of it need be saved. */
static int rtc_after_load(struct device *device, struct error *error)
{
    struct rtc *rtc = (struct rtc *)device;
    rtc->index %= RTC_SIZE;
    if (!is_time(rtc->offset_s) || !is_time(rtc->seen_s)) {
        rtc->offset_s = rtc->seen_s = 0;
        return error_set(error, EINVAL, "state of the RTC: no such time: file damaged");
    }
    pthread_mutex_lock(&rtc->lock);
    plan_period(rtc);
    rtc_advance(rtc);
    rtc_arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
    return 0;
}

static const struct device_ops rtc_ops = {
    .reset = rtc_reset,
    .destroy = rtc_destroy,
    .after_load = rtc_after_load,
};
static const struct state_field rtc_fields[] = {
    STATE_FIELD(struct rtc, index),
    STATE_BLOB(struct rtc, cmos),
    STATE_FIELD(struct rtc, offset_s),
    STATE_FIELD(struct rtc, seen_s),
};
static const struct state_table rtc_state = STATE_TABLE("rtc", 2, rtc_fields);

int rtc_create(struct bus *bus, struct irq_line irq, struct error *error)
{
    struct rtc *rtc = calloc(1, sizeof(*rtc));
    if (!rtc)
        return error_set(error, ENOMEM, "rtc: out of memory");
    rtc->timer = loop_timer_create(bus->loop, rtc_expired, rtc, error);
    if (!rtc->timer) {
        free(rtc);
        return -ENOMEM;
    }
    rtc->device = (struct device){.name = "rtc", .ops = &rtc_ops, .state = &rtc_state};
    rtc->irq = irq;
    rtc->cmos[RTC_A] = 0x26;
    rtc->cmos[RTC_B] = B_24_HOURS;
    rtc->cmos[RTC_D] = D_VALID;
    rtc->seen_s = host_seconds();
    plan_period(rtc);
    pthread_mutex_init(&rtc->lock, NULL);
    bus_add_device(bus, &rtc->device);
    rtc->region = (struct bus_region){"rtc", BUS_PORT, 0x70, 2, 1, &cmos_ops, rtc};
    return bus_add_region(bus, &rtc->region, error);
}
