/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware (ACPI 6.4 §4.8): PM1a events and control, the PM timer, the power button; and
 * another way a PC is reset, port 0x92. pvpanic: the guest's kernel says that it has panicked.
 */
#include "base/clock.h"
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define PM_TIMER_HZ     3579545
#define PM_TIMER_MASK   (BIT(24) - 1)
#define PM_TIMER_HALF   BIT(23) /* ticks between two changes of the highest bit */
#define PM1_TIMER       BIT(0)
#define PM1_POWERBUTTON BIT(8)
#define PM1_CONTROL_SCI BIT(0)
#define PM1_SLEEP_TYPE  (BIT(10) | BIT(11) | BIT(12))
#define PM1_SLEEP       BIT(13)
#define PM1_EVENTS      (PM1_TIMER | PM1_POWERBUTTON)
#define SLEEP_TYPE_S5   5 /* what the DSDT's \_S5 says */

enum {
    PM1_STATUS = 0,
    PM1_ENABLE = 2,
    PM1_CONTROL = 4,
    PM_TIMER = 8,
    GPE_STATUS = 12, /* general-purpose events, a bit each: ACPI 6.4 §4.8.4.1 */
    GPE_ENABLE = 13,
    PM_SIZE = 14,
};

struct acpi_power {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    uint16_t status, enable, control;
    uint8_t gpe_status, gpe_enable;
    uint64_t timer_start_ns; /* when the PM timer stood at 0 */
    uint64_t timer_ns;       /* since then: what the state holds in its place */
    uint64_t halves;         /* changes of the PM timer's highest bit that status has seen */
    struct loop_timer *overflow;
    bool a20_closed; /* what the state holds in the place of the memory's */
    struct irq_line sci;
    struct bus_region regions[3];
};

/* The PM timer before its upper bits are cut off. The caller holds the lock, here and below. */
static uint64_t timer_ticks(const struct acpi_power *power)
{
    return clock_scale(clock_monotonic_ns() - power->timer_start_ns, PM_TIMER_HZ,
                       NANOSECONDS_PER_SECOND);
}

/* Brings the timer's status bit up to date, drives the line, and waits for the timer's next event
 * when the guest wants to hear of it. */
static void power_update(struct acpi_power *power)
{
    uint64_t halves = timer_ticks(power) / PM_TIMER_HALF;
    if (halves != power->halves)
        power->status |= PM1_TIMER;
    power->halves = halves;
    irq_set(&power->sci,
            power->status & power->enable & PM1_EVENTS || power->gpe_status & power->gpe_enable);
    if (power->enable & PM1_TIMER)
        loop_timer_arm(power->overflow, power->timer_start_ns + 1 +
                                            clock_scale((halves + 1) * PM_TIMER_HALF,
                                                        NANOSECONDS_PER_SECOND, PM_TIMER_HZ));
    else
        loop_timer_disarm(power->overflow);
}

static void timer_overflowed(void *opaque)
{
    struct acpi_power *power = opaque;
    pthread_mutex_lock(&power->lock);
    power_update(power);
    pthread_mutex_unlock(&power->lock);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    struct acpi_power *power = opaque;
    uint8_t registers[PM_SIZE] = {0};
    pthread_mutex_lock(&power->lock);
    if (offset < PM1_CONTROL)
        power_update(power);
    store_le(registers + PM1_STATUS, power->status, 2);
    store_le(registers + PM1_ENABLE, power->enable, 2);
    store_le(registers + PM1_CONTROL, power->control, 2);
    store_le(registers + PM_TIMER, timer_ticks(power) & PM_TIMER_MASK, 4);
    registers[GPE_STATUS] = power->gpe_status;
    registers[GPE_ENABLE] = power->gpe_enable;
    pthread_mutex_unlock(&power->lock);
    return load_le(registers + offset, size);
}

/* A byte of a 16-bit register. */
static void write_byte(uint16_t *word, unsigned offset, uint8_t value)
{
    store_le((uint8_t *)word + offset % 2, value, 1);
}

/* Accesses of any width come as their bytes: the sleep bit and its type share one. */
static void pm_write_byte(struct acpi_power *power, unsigned offset, uint8_t value)
{
    switch (offset & ~1u) {
    case PM1_STATUS: /* write one to clear */
        power->status &= ~(uint16_t)(value << offset % 2 * 8);
        break;
    case PM1_ENABLE:
        write_byte(&power->enable, offset, value);
        break;
    case PM1_CONTROL:
        write_byte(&power->control, offset, value);
        if (power->control & PM1_SLEEP &&
            (power->control & PM1_SLEEP_TYPE) == SLEEP_TYPE_S5 * BIT(10))
            bus_power(power->bus, BUS_POWER_OFF);
        power->control &= ~PM1_SLEEP; /* reads as 0 */
        break;
    case GPE_STATUS:
        if (offset == GPE_STATUS)
            power->gpe_status &= ~value;
        else
            power->gpe_enable = value;
        break;
    default:
        break;
    }
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    pthread_mutex_lock(&power->lock);
    power_update(power);
    for (unsigned i = 0; i < size; i++)
        pm_write_byte(power, (unsigned)offset + i, (uint8_t)(value >> (8 * i)));
    power_update(power);
    pthread_mutex_unlock(&power->lock);
}

/* System control port A. */
#define CONTROL_A_RESET BIT(0)
#define CONTROL_A_A20   BIT(1)

static uint64_t control_a_read(void *opaque, uint64_t offset, unsigned size)
{
    const struct acpi_power *power = opaque;
    return atomic_load(&power->bus->memory->a20_closed) ? 0 : CONTROL_A_A20;
}

static void control_a_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    bus_set_a20(power->bus, value & CONTROL_A_A20);
    if (value & CONTROL_A_RESET)
        bus_power(power->bus, BUS_POWER_RESET);
}

#define PVPANIC_PANICKED BIT(0)

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned size)
{
    return PVPANIC_PANICKED;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    if (value & PVPANIC_PANICKED)
        bus_power(power->bus, BUS_POWER_PANIC);
}

static const struct bus_ops pm_ops = {pm_read, pm_write};
static const struct bus_ops control_a_ops = {control_a_read, control_a_write};
static const struct bus_ops pvpanic_ops = {pvpanic_read, pvpanic_write};

static void power_reset(struct device *device)
{
    struct acpi_power *power = (struct acpi_power *)device;
    pthread_mutex_lock(&power->lock);
    power->status = power->enable = 0;
    bus_set_a20(power->bus, true);
    power->gpe_status = power->gpe_enable = 0;
    power->timer_start_ns = clock_monotonic_ns();
    power->halves = 0;
    power->control =
        PM1_CONTROL_SCI; /* ACPI mode from the start: there is no firmware to switch to it */
    power_update(power);
    pthread_mutex_unlock(&power->lock);
}

static void power_destroy(struct device *device)
{
    struct acpi_power *power = (struct acpi_power *)device;
    loop_timer_destroy(power->overflow);
    pthread_mutex_destroy(&power->lock);
    free(power);
}

static void power_before_save(struct device *device)
{
    struct acpi_power *power = (struct acpi_power *)device;
    pthread_mutex_lock(&power->lock);
    power->timer_ns = clock_monotonic_ns() - power->timer_start_ns;
    power->a20_closed = atomic_load(&power->bus->memory->a20_closed);
    pthread_mutex_unlock(&power->lock);
}

static int power_after_load(struct device *device, struct error *error)
{
    struct acpi_power *power = (struct acpi_power *)device;
    pthread_mutex_lock(&power->lock);
    power->timer_start_ns = clock_monotonic_ns() - power->timer_ns;
    bus_set_a20(power->bus, !power->a20_closed);
    power_update(power);
    pthread_mutex_unlock(&power->lock);
    return 0;
}

static const struct device_ops power_ops = {
    .reset = power_reset,
    .destroy = power_destroy,
    .before_save = power_before_save,
    .after_load = power_after_load,
};
static const struct state_field power_fields[] = {
    STATE_FIELD(struct acpi_power, status),     STATE_FIELD(struct acpi_power, enable),
    STATE_FIELD(struct acpi_power, control),    STATE_FIELD(struct acpi_power, timer_ns),
    STATE_FIELD(struct acpi_power, halves),     STATE_FIELD(struct acpi_power, gpe_status),
    STATE_FIELD(struct acpi_power, gpe_enable), STATE_FIELD(struct acpi_power, a20_closed),
};
static const struct state_table power_state = STATE_TABLE("acpi-power", 4, power_fields);

/* NULL: the machine has none. */
static struct acpi_power *find(struct bus *bus)
{
    struct device *device = bus->devices;
    while (device && device->ops != &power_ops)
        device = device->next;
    return (struct acpi_power *)device;
}

void acpi_power_button(struct bus *bus)
{
    struct acpi_power *power = find(bus);
    if (!power)
        return;
    pthread_mutex_lock(&power->lock);
    power->status |= PM1_POWERBUTTON;
    power_update(power);
    pthread_mutex_unlock(&power->lock);
}

void acpi_general_event(struct bus *bus, enum acpi_event event)
{
    struct acpi_power *power = find(bus);
    if (!power)
        return;
    pthread_mutex_lock(&power->lock);
    power->gpe_status |= (uint8_t)BIT(event);
    power_update(power);
    pthread_mutex_unlock(&power->lock);
}

int acpi_power_create(struct bus *bus, struct error *error)
{
    struct acpi_power *power = calloc(1, sizeof(*power));
    if (!power)
        return error_set(error, ENOMEM, "acpi: out of memory");
    power->overflow = loop_timer_create(bus->loop, timer_overflowed, power, error);
    if (!power->overflow) {
        free(power);
        return -ENOMEM;
    }
    power->device = (struct device){.name = "acpi-power", .ops = &power_ops, .state = &power_state};
    power->bus = bus;
    power->sci = bus_gsi(bus, ACPI_SCI);
    pthread_mutex_init(&power->lock, NULL);
    power_reset(&power->device);
    bus_add_device(bus, &power->device);
    const struct bus_region regions[] = {
        {"acpi-pm", BUS_PORT, ACPI_PM_BASE, PM_SIZE, 4, &pm_ops, power},
        {"control-a", BUS_PORT, 0x92, 1, 1, &control_a_ops, power},
        {"pvpanic", BUS_PORT, PVPANIC_PORT, 1, 1, &pvpanic_ops, power},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
        power->regions[i] = regions[i];
        if (bus_add_region(bus, &power->regions[i], error) < 0)
            return -EBUSY;
    }
    return 0;
}
