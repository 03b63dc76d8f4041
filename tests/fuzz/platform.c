/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The platform devices (timers, interrupt controllers, RTC, ACPI, serial port, PCI's configuration)
 * with time in the input's hand: accesses, passing time, acknowledged and ended interrupts, and
 * states that were damaged on their way. Whatever comes, nothing may crash, hang, or fire without
 * end.
 */
#include "fuzz/fuzz.h"

#include "bus/pci.h"
#include "device/bridges.h"
#include "device/devices.h"
#include "device/fake_time.h"
#include "device/hpet.h"

#define MEMORY_SIZE MIB(1)
#define ACTIONS_MAX 400

struct machine {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct pci_bus *pci;
    struct serial *serial;
};

/* Registers of the devices, in ports or memory. */
static const struct place {
    enum bus_space space;
    uint64_t base;
    uint16_t size; /* bytes from which an offset is taken */
} places[] = {
    {BUS_PORT, 0x20, 2},
    {BUS_PORT, 0xa0, 2},
    {BUS_PORT, 0x4d0, 2},
    {BUS_PORT, 0x40, 4},
    {BUS_PORT, 0x61, 1},
    {BUS_PORT, 0x70, 2},
    {BUS_PORT, 0x3f8, 8},
    {BUS_PORT, 0xcf8, 8},
    {BUS_PORT, ACPI_PM_BASE, 14},
    {BUS_PORT, 0, 0xffff},
    {BUS_MMIO, 0, 0x1000},
    {BUS_MMIO, HPET_ADDRESS, 0x400},
    {BUS_MMIO, GENERATION_ADDRESS, 32},
    {BUS_MMIO, IOAPIC_ADDRESS, 32},
    {BUS_MMIO, HPET_ADDRESS + 0xf0, 0x80},
};

static uint64_t choose(const struct place *place, struct fuzz_input *input)
{
    return place->base + fuzz_take_integer(input, 2) % place->size;
}

static void do_write(struct machine *machine, struct fuzz_input *input)
{
    const struct place *place = &places[fuzz_take_integer(input, 1) % ARRAY_SIZE(places)];
    unsigned size = 1u << fuzz_take_integer(input, 1) % (place->space == BUS_PORT ? 3 : 4);
    uint64_t address = choose(place, input);
    bus_write(&machine->bus, place->space, address, fuzz_take_integer(input, size), size);
}

static void do_read(struct machine *machine, struct fuzz_input *input)
{
    const struct place *place = &places[fuzz_take_integer(input, 1) % ARRAY_SIZE(places)];
    unsigned size = 1u << fuzz_take_integer(input, 1) % (place->space == BUS_PORT ? 3 : 4);
    bus_read(&machine->bus, place->space, choose(place, input), size);
}

static void do_time(struct machine *machine, struct fuzz_input *input)
{
    uint64_t amount = fuzz_take_integer(input, 2), unit = fuzz_take_integer(input, 1);
    if (unit & 1) /* the event loop is late, perhaps by days */
        fake_time_stall(amount << unit % 48);
    fake_time_advance(amount * (unit & 2 ? 1 : 100));
}

static void do_interrupt(struct machine *machine, struct fuzz_input *input)
{
    unsigned number = (unsigned)fuzz_take_integer(input, 1);
    struct irq_line line = bus_gsi(&machine->bus, number % BUS_GSI_COUNT);
    if (number & 0x80)
        irq_set(&line, number >> 6 & 1);
    else if (number & 0x40)
        bus_eoi(&machine->bus, (uint8_t)fuzz_take_integer(input, 1));
    else
        machine->bus.intr_acknowledge(machine->bus.intr_acknowledge_opaque);
}

static void do_serial(struct machine *machine, struct fuzz_input *input)
{
    uint8_t bytes[20];
    fuzz_take(input, bytes, sizeof(bytes));
    serial_receive(machine->serial, bytes, bytes[0] % sizeof(bytes));
}

/* Saves a device, changes some bytes, and loads it. What is refused has to be reset. */
static void do_state(struct machine *machine, struct fuzz_input *input)
{
    struct device *device = machine->bus.devices;
    struct error error;
    for (uint64_t i = fuzz_take_integer(input, 1) % 16; i && device->next; i--)
        device = device->next;
    size_t size = state_size(device->state);
    uint8_t *state = malloc(size);
    device_save(device, state);
    for (uint64_t i = fuzz_take_integer(input, 1) % 16; i; i--)
        state[fuzz_take_integer(input, 2) % size] = (uint8_t)fuzz_take_integer(input, 1);
    if (device_load(device, device->state->version, state, size, &error) < 0)
        device->ops->reset(device);
    free(state);
}

static void (*const actions[])(struct machine *machine, struct fuzz_input *input) = {
    do_write, do_write, do_write, do_read, do_read, do_time, do_interrupt, do_serial, do_state,
};

static void create_devices(struct machine *machine)
{
    struct bus *bus = &machine->bus;
    struct irq_line lines[HPET_LEGACY_COUNT];
    const struct serial_config config = {0};
    struct error error = {0};
    fuzz_require(pic_create(bus, &error) == 0 && ioapic_create(bus, &error) == 0 &&
                     acpi_power_create(bus, &error) == 0 && generation_create(bus, &error) == 0 &&
                     hpet_create(bus, lines, &error) == 0 &&
                     pit_create(bus, lines[HPET_LEGACY_PIT], &error) == 0 &&
                     rtc_create(bus, lines[HPET_LEGACY_RTC], &error) == 0,
                 &error);
    fuzz_require(pci_slots_create(bus, &error) != NULL, &error);
    machine->serial = serial_create(bus, &config, &error);
    machine->pci = pci_bus_create(bus, &error);
    fuzz_require(machine->serial && machine->pci && bridges_create(machine->pci, &error) == 0,
                 &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    struct machine machine = {0};
    fake_time_reset();
    machine.loop = loop_create(&error);
    machine.memory = memory_create(MEMORY_SIZE, &error);
    fuzz_require(machine.loop && machine.memory &&
                     bus_init(&machine.bus, machine.memory, machine.loop, NULL, &error) == 0,
                 &error);
    create_devices(&machine);
    pci_assign_resources(machine.pci);
    for (unsigned i = 0; i < ACTIONS_MAX && input.length; i++)
        actions[fuzz_take_integer(&input, 1) % ARRAY_SIZE(actions)](&machine, &input);
    bus_reset_devices(&machine.bus);
    if (fake_time_armed())
        abort(); /* a reset machine waits for nothing */
    bus_destroy(&machine.bus);
    loop_destroy(machine.loop);
    memory_destroy(machine.memory);
    return 0;
}
