/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI fixed hardware (ACPI 6.4 §4.8): PM1a events and control, the PM timer, the power button; and
 * the other ways a PC is reset: the keyboard controller's pulse, port 0x92. pvpanic:
 * the guest's kernel says that it has panicked.
 */
#include "base/clock.h"
#include "device/devices.h"

#include <errno.h>
#include <stdlib.h>

#define PM_TIMER_HZ     3579545
#define PM1_TIMER       BIT(0)
#define PM1_POWERBUTTON BIT(8)
#define PM1_CONTROL_SCI BIT(0)
#define PM1_SLEEP       BIT(13)
#define SLEEP_TYPE_S5   5 /* what the DSDT's \_S5 says */

enum { PM1_STATUS = 0, PM1_ENABLE = 2, PM1_CONTROL = 4, PM_TIMER = 8, PM_SIZE = 12 };

struct acpi_power {
    struct device device;
    struct bus *bus;
    pthread_mutex_t lock;
    uint16_t status, enable, control;
    struct irq_line sci;
    struct bus_region regions[4];
};

/* The caller holds the lock. */
static void update_sci(struct acpi_power *power)
{
    irq_set(&power->sci, (power->status & power->enable & PM1_POWERBUTTON) != 0);
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size)
{
    struct acpi_power *power = opaque;
    uint8_t registers[PM_SIZE] = {0};
    pthread_mutex_lock(&power->lock);
    store_le(registers + PM1_STATUS, power->status, 2);
    store_le(registers + PM1_ENABLE, power->enable, 2);
    store_le(registers + PM1_CONTROL, power->control, 2);
    pthread_mutex_unlock(&power->lock);
    uint64_t ticks = clock_scale(clock_monotonic_ns(), PM_TIMER_HZ, NANOSECONDS_PER_SECOND);
    store_le(registers + PM_TIMER, ticks, 4);
    return load_le(registers + offset, size);
}

static void write_control(struct acpi_power *power, uint16_t value)
{
    power->control = value & ~PM1_SLEEP;
    if (!(value & PM1_SLEEP))
        return;
    if ((value >> 10 & 7) == SLEEP_TYPE_S5)
        bus_power(power->bus, BUS_POWER_OFF);
}

static void pm_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    pthread_mutex_lock(&power->lock);
    if (offset == PM1_STATUS)
        power->status &= ~value; /* write one to clear */
    if (offset == PM1_ENABLE)
        power->enable = (uint16_t)value;
    else if (offset == PM1_STATUS && size == 4)
        power->enable = (uint16_t)(value >> 16);
    if (offset == PM1_CONTROL)
        write_control(power, (uint16_t)value);
    update_sci(power);
    pthread_mutex_unlock(&power->lock);
}

/* Keyboard controller, no keyboard: 0xff is what an empty port reads, so that drivers give up at
 * once. */
static uint64_t keyboard_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xff;
}

static void keyboard_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    if (offset == 0 && (value & 0xf1) == 0xf0 && !(value & 1)) /* pulse the reset line */
        bus_power(power->bus, BUS_POWER_RESET);
}

/* System control port A: A20 is always open; bit 0 resets. */
static uint64_t control_a_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x02;
}

static void control_a_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct acpi_power *power = opaque;
    if (value & 1)
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
static const struct bus_ops keyboard_ops = {keyboard_read, keyboard_write};
static const struct bus_ops control_a_ops = {control_a_read, control_a_write};
static const struct bus_ops pvpanic_ops = {pvpanic_read, pvpanic_write};

static void power_reset(struct device *device)
{
    struct acpi_power *power = (struct acpi_power *)device;
    pthread_mutex_lock(&power->lock);
    power->status = power->enable = 0;
    power->control =
        PM1_CONTROL_SCI; /* ACPI mode from the start: there is no firmware to switch to it */
    update_sci(power);
    pthread_mutex_unlock(&power->lock);
}

static void power_destroy(struct device *device)
{
    struct acpi_power *power = (struct acpi_power *)device;
    pthread_mutex_destroy(&power->lock);
    free(power);
}

static const struct device_ops power_ops = {.reset = power_reset, .destroy = power_destroy};
static const struct state_field power_fields[] = {
    STATE_FIELD(struct acpi_power, status),
    STATE_FIELD(struct acpi_power, enable),
    STATE_FIELD(struct acpi_power, control),
};
static const struct state_table power_state = STATE_TABLE("acpi-power", 1, power_fields);

void acpi_power_button(struct bus *bus)
{
    for (struct device *device = bus->devices; device; device = device->next) {
        if (device->ops != &power_ops)
            continue;
        struct acpi_power *power = (struct acpi_power *)device;
        pthread_mutex_lock(&power->lock);
        power->status |= PM1_POWERBUTTON;
        update_sci(power);
        pthread_mutex_unlock(&power->lock);
    }
}

int acpi_power_create(struct bus *bus, struct error *error)
{
    struct acpi_power *power = calloc(1, sizeof(*power));
    if (!power)
        return error_set(error, ENOMEM, "acpi: out of memory");
    power->device = (struct device){.name = "acpi-power", .ops = &power_ops, .state = &power_state};
    power->bus = bus;
    power->sci = bus_gsi(bus, ACPI_SCI);
    pthread_mutex_init(&power->lock, NULL);
    power_reset(&power->device);
    bus_add_device(bus, &power->device);
    const struct bus_region regions[] = {
        {"acpi-pm", BUS_PORT, ACPI_PM_BASE, PM_SIZE, 4, &pm_ops, power},
        {"keyboard", BUS_PORT, 0x64, 1, 1, &keyboard_ops, power},
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
