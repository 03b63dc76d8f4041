/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform devices as four threads use them: two vcpus at the registers, the event loop with
 * its timers, a back end at the lines. ThreadSanitizer says whether they lock (make check-leaks);
 * the assertions here, that no level arrives in the wrong order.
 */
#include "base/bits.h"
#include "base/clock.h"
#include "bus/pci.h"
#include "device/bridges.h"
#include "device/devices.h"
#include "device/hpet.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ROUNDS = 3000, CARD_SLOT = 3, LINE = 5, VECTORS = 4 };

struct machine {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct pci_bus *pci;
    struct pci_device card;
    struct serial *serial;
    atomic_int intr;      /* the level that arrived last */
    atomic_uint repeated; /* levels that were the same as the one before */
    atomic_bool done;
};

static void probe_intr(void *opaque, unsigned number, int level)
{
    struct machine *machine = opaque;
    if (level)
        sched_yield(); /* time for another thread's level to overtake, if it may */
    if (atomic_exchange(&machine->intr, level) == level)
        atomic_fetch_add(&machine->repeated, 1);
}

static void card_reset(struct device *device)
{
    pci_reset_config((struct pci_device *)device);
}

static void card_destroy(struct device *device)
{
    pci_msix_destroy((struct pci_device *)device);
}

static const struct device_ops card_ops = {.reset = card_reset, .destroy = card_destroy};

static void create_devices(struct machine *machine)
{
    const struct pci_identity identity = {
        .vendor = 0x1234, .device = 0x5678, .class_code = 0x00ff00, .interrupt_pin = 1};
    const struct serial_config serial = {0};
    struct irq_line lines[HPET_LEGACY_COUNT];
    struct bus *bus = &machine->bus;
    struct error error;
    assert_int_equal(pic_create(bus, &error), 0);
    assert_int_equal(ioapic_create(bus, &error), 0);
    assert_int_equal(acpi_power_create(bus, &error), 0);
    assert_int_equal(hpet_create(bus, lines, &error), 0);
    assert_int_equal(pit_create(bus, lines[HPET_LEGACY_PIT], &error), 0);
    assert_int_equal(rtc_create(bus, lines[HPET_LEGACY_RTC], &error), 0);
    machine->serial = serial_create(bus, &serial, &error);
    machine->pci = pci_bus_create(bus, &error);
    assert_true(machine->serial && machine->pci);
    assert_int_equal(bridges_create(machine->pci, &error), 0);
    machine->card.device =
        (struct device){.name = "card", .ops = &card_ops, .state = &pci_device_state};
    assert_int_equal(pci_add_device(machine->pci, &machine->card, &identity, CARD_SLOT, 0, &error),
                     0);
    assert_int_equal(pci_add_msix(&machine->card, 0, VECTORS, &error), 0);
    pci_assign_resources(machine->pci);
}

static int setup(void **state)
{
    struct error error;
    struct machine *machine = calloc(1, sizeof(*machine));
    machine->loop = loop_create(&error);
    machine->memory = memory_create(MIB(1), &error);
    if (!machine->loop || !machine->memory ||
        bus_init(&machine->bus, machine->memory, machine->loop, NULL, &error) < 0)
        return -1;
    machine->bus.intr = (struct irq_line){.set = probe_intr, .opaque = machine};
    create_devices(machine);
    *state = machine;
    return 0;
}

static int teardown(void **state)
{
    struct machine *machine = *state;
    bus_destroy(&machine->bus);
    memory_destroy(machine->memory);
    loop_destroy(machine->loop);
    free(machine);
    return 0;
}

static void out(struct machine *machine, uint16_t port, uint64_t value, unsigned size)
{
    bus_write(&machine->bus, BUS_PORT, port, value, size);
}

static void put(struct machine *machine, uint64_t gpa, uint64_t value)
{
    bus_write(&machine->bus, BUS_MMIO, gpa, value, 4);
}

static void config_write(struct machine *machine, unsigned offset, uint32_t value)
{
    out(machine, 0xcf8, BIT(31) | CARD_SLOT << 11 | offset, 4);
    out(machine, 0xcfc, value, 4);
}

static void start_pic(struct machine *machine)
{
    for (uint16_t port = 0x20; port <= 0xa0; port += 0x80) {
        out(machine, port, 0x11, 1);
        out(machine, port + 1, 0x30, 1);
        out(machine, port + 1, port == 0x20 ? 4 : 2, 1);
        out(machine, port + 1, 0x03, 1); /* automatic EOI */
    }
}

/* Timers that fire every 100 us or so, and whatever else a vcpu can do meanwhile. */
static void *vcpu_main(void *opaque)
{
    struct machine *machine = opaque;
    for (unsigned i = 0; i < ROUNDS; i++) {
        put(machine, HPET_ADDRESS + 0x100, 0x4c | (i & 2) | 20u << 9);
        put(machine, HPET_ADDRESS + 0x108, 10000);
        put(machine, HPET_ADDRESS + 0x10, i % 64 ? 1 : 3);
        put(machine, HPET_ADDRESS + 0x20, 1);
        out(machine, 0x43, 0x34, 1);
        out(machine, 0x40, 120, 1);
        out(machine, 0x40, 0, 1);
        out(machine, 0x70, 0x0b, 1);
        out(machine, 0x71, i & 0x70, 1);
        out(machine, 0x70, 0x0c, 1);
        bus_read(&machine->bus, BUS_PORT, 0x71, 1);
        put(machine, IOAPIC_ADDRESS, 0x10 + 2 * (i % 24));
        put(machine, IOAPIC_ADDRESS + 0x10, 0x8000 | (0x30 + i % 64));
        bus_eoi(&machine->bus, (uint8_t)(0x30 + i % 64));
        out(machine, ACPI_PM_BASE, 0x01010101, 4);
        out(machine, 0x3f9, i & 0xf, 1);
        config_write(machine, 4, 6 | (i & 1) << 10);
        config_write(machine, machine->card.msix.capability, (i & 3u) << 30);
        put(machine, machine->card.bars[0].region.base + 12, i >> 2 & 1);
        out(machine, 0x4d0, i & 0xffff, 2);
        bus_read(&machine->bus, BUS_PORT, 0x4d0, 2);
        bus_read(&machine->bus, BUS_PORT, 0xcf8, 4);
        bus_read(&machine->bus, BUS_MMIO, HPET_ADDRESS + 0xf0, 8);
        machine->bus.intr_acknowledge(machine->bus.intr_acknowledge_opaque);
    }
    return NULL;
}

static void *back_end_main(void *opaque)
{
    struct machine *machine = opaque;
    for (unsigned i = 0; !atomic_load(&machine->done); i++) {
        struct irq_line line = bus_gsi(&machine->bus, LINE);
        irq_set(&line, i & 1);
        pci_set_intx(&machine->card, i >> 1 & 1);
        pci_msix_send(&machine->card, i % VECTORS);
        serial_receive(machine->serial, (const uint8_t *)"x", 1);
        acpi_power_button(&machine->bus);
    }
    return NULL;
}

static void *loop_main(void *opaque)
{
    loop_run(((struct machine *)opaque)->loop);
    return NULL;
}

/* In the end the processor must see what the 8259s say: their poll command asks them. */
static void test_four_threads(void **state)
{
    struct machine *machine = *state;
    pthread_t loop, back_end, vcpu;
    start_pic(machine);
    assert_int_equal(pthread_create(&loop, NULL, loop_main, machine), 0);
    assert_int_equal(pthread_create(&back_end, NULL, back_end_main, machine), 0);
    assert_int_equal(pthread_create(&vcpu, NULL, vcpu_main, machine), 0);
    vcpu_main(machine);
    pthread_join(vcpu, NULL);
    atomic_store(&machine->done, true);
    pthread_join(back_end, NULL);
    loop_stop(machine->loop);
    pthread_join(loop, NULL);

    /* All edges from here on, so that what is polled is gone. */
    struct irq_line line = bus_gsi(&machine->bus, LINE);
    unsigned pending = 0x80;
    out(machine, 0x4d0, 0, 2);
    for (unsigned i = 0; i < 16 && pending; i++) {
        out(machine, 0xa0, 0x0c, 1);
        bus_read(&machine->bus, BUS_PORT, 0xa0, 1);
        out(machine, 0x20, 0x0c, 1);
        pending = bus_read(&machine->bus, BUS_PORT, 0x20, 1) & 0x80;
    }
    assert_int_equal(pending, 0);
    assert_int_equal(atomic_load(&machine->intr), 0);
    assert_int_equal(atomic_load(&machine->repeated), 0); /* only changes are told: in order */
    irq_set(&line, 0);
    irq_set(&line, 1);
    assert_int_equal(atomic_load(&machine->intr), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_four_threads, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
