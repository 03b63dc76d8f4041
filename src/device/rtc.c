/* SPDX-License-Identifier: Apache-2.0 */
/* The MC146818 real-time clock with its CMOS RAM, ports 0x70 and 0x71, IRQ 8. Time of day is the
 * host's, in UTC. */
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
#define A_UPDATING  BIT(7)
#define A_RATE      0x0fu
#define B_SET       BIT(7)
#define B_PERIODIC  BIT(6)
#define B_ALARM     BIT(5)
#define B_UPDATE    BIT(4)
#define B_BINARY    BIT(2)
#define B_24_HOURS  BIT(1)
#define C_INTERRUPT BIT(7)
#define D_VALID     BIT(7)
#define ALARM_ANY   0xc0u /* two top bits set: matches every value */

struct rtc {
    struct device device;
    pthread_mutex_t lock;
    uint8_t index;
    uint8_t cmos[RTC_SIZE];
    int64_t offset_s; /* what the guest has set its clock ahead of the host's */
    struct irq_line irq;
    struct loop_timer *timer;
    uint64_t next_periodic_ns;
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

/* Fills the clock registers from the host's time. */
static void rtc_refresh(struct rtc *rtc)
{
    struct tm now;
    time_t seconds = (time_t)(clock_realtime_ns() / NANOSECONDS_PER_SECOND) + rtc->offset_s;
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
    rtc->offset_s = timegm(&set) - (int64_t)(clock_realtime_ns() / NANOSECONDS_PER_SECOND);
}

static bool alarm_matches(const struct rtc *rtc)
{
    for (unsigned i = 0; i < 3; i++) {
        uint8_t alarm = rtc->cmos[RTC_SECONDS_ALARM + 2 * i];
        if ((alarm & ALARM_ANY) != ALARM_ANY && alarm != rtc->cmos[RTC_SECONDS + 2 * i])
            return false;
    }
    return true;
}

static uint64_t periodic_ns(const struct rtc *rtc)
{
    unsigned rate = rtc->cmos[RTC_A] & A_RATE;
    if (!rate || !(rtc->cmos[RTC_B] & B_PERIODIC))
        return 0;
    return clock_scale(NANOSECONDS_PER_SECOND, 1u << ((rate < 3 ? rate + 7 : rate) - 1), 32768);
}

/* A timer runs only while an interrupt is wanted: the periodic one, or every second for update and
 * alarm. */
static void rtc_arm(struct rtc *rtc)
{
    uint64_t period = periodic_ns(rtc), now = clock_monotonic_ns();
    if (!period && rtc->cmos[RTC_B] & (B_ALARM | B_UPDATE))
        period = NANOSECONDS_PER_SECOND;
    if (!period) {
        rtc->next_periodic_ns = 0;
        loop_timer_disarm(rtc->timer);
        return;
    }
    uint64_t last = rtc->next_periodic_ns;
    rtc->next_periodic_ns =
        last && last <= now && now - last < period ? last + period : now + period;
    loop_timer_arm(rtc->timer, rtc->next_periodic_ns);
}

static void rtc_expired(void *opaque)
{
    struct rtc *rtc = opaque;
    pthread_mutex_lock(&rtc->lock);
    uint8_t old_seconds = rtc->cmos[RTC_SECONDS];
    uint8_t enabled = rtc->cmos[RTC_B], raised = enabled & B_PERIODIC;
    rtc_refresh(rtc);
    if (rtc->cmos[RTC_SECONDS] != old_seconds)
        raised |= B_UPDATE | (alarm_matches(rtc) ? B_ALARM : 0);
    rtc->cmos[RTC_C] |= raised;
    bool fire = raised & enabled & (B_PERIODIC | B_ALARM | B_UPDATE);
    if (fire)
        rtc->cmos[RTC_C] |= C_INTERRUPT;
    rtc_arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
    if (fire)
        irq_set(&rtc->irq, 1);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    struct rtc *rtc = opaque;
    if (!offset)
        return 0xff;
    pthread_mutex_lock(&rtc->lock);
    unsigned index = rtc->index;
    if (index <= RTC_YEAR || index == RTC_CENTURY)
        rtc_refresh(rtc);
    uint8_t value = rtc->cmos[index];
    if (index == RTC_C)
        rtc->cmos[RTC_C] = 0;
    pthread_mutex_unlock(&rtc->lock);
    if (index == RTC_C)
        irq_set(&rtc->irq, 0);
    return value;
}

static void write_register(struct rtc *rtc, unsigned index, uint8_t value)
{
    bool was_set = rtc->cmos[RTC_B] & B_SET;
    if (index == RTC_C || index == RTC_D)
        return;
    if (index == RTC_B && value & B_SET)
        rtc_refresh(rtc);
    rtc->cmos[index] = index == RTC_A ? value & ~A_UPDATING : value;
    bool clock_register = (index <= RTC_YEAR && index != RTC_SECONDS_ALARM &&
                           index != RTC_MINUTES_ALARM && index != RTC_HOURS_ALARM) ||
                          index == RTC_CENTURY;
    if ((clock_register && !was_set) || (index == RTC_B && was_set && !(value & B_SET)))
        rtc_adopt(rtc);
    if (index == RTC_A || index == RTC_B)
        rtc_arm(rtc);
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct rtc *rtc = opaque;
    pthread_mutex_lock(&rtc->lock);
    if (!offset)
        rtc->index = value & 0x7f;
    else
        write_register(rtc, rtc->index, (uint8_t)value);
    pthread_mutex_unlock(&rtc->lock);
}

static const struct bus_ops cmos_ops = {rtc_read, rtc_write};

/* The clock has a battery: only the interrupt enables are reset. */
static void rtc_reset(struct device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    pthread_mutex_lock(&rtc->lock);
    rtc->cmos[RTC_B] &= ~(B_PERIODIC | B_ALARM | B_UPDATE);
    rtc->cmos[RTC_C] = 0;
    rtc_arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
    irq_set(&rtc->irq, 0);
}

static void rtc_destroy(struct device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    loop_timer_destroy(rtc->timer);
    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}

static const struct device_ops rtc_ops = {.reset = rtc_reset, .destroy = rtc_destroy};
static const struct state_field rtc_fields[] = {
    STATE_FIELD(struct rtc, index),
    STATE_BLOB(struct rtc, cmos),
    STATE_FIELD(struct rtc, offset_s),
};
static const struct state_table rtc_state = STATE_TABLE("rtc", 1, rtc_fields);

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
    pthread_mutex_init(&rtc->lock, NULL);
    bus_add_device(bus, &rtc->device);
    rtc->region = (struct bus_region){"rtc", BUS_PORT, 0x70, 2, 1, &cmos_ops, rtc};
    return bus_add_region(bus, &rtc->region, error);
}
