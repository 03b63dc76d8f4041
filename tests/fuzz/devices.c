/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register interface of every device and the virtqueues behind it: the input is a list of port,
 * MMIO and guest memory accesses, with turns of the event loop in between. Nothing the guest writes
 * may crash us.
 */
#include "fuzz/fuzz.h"

#include "base/loop.h"
#include "bus/pci.h"
#include "device/hpet.h"
#include "vm/vm_devices.h"

#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE MIB(1)
#define ACTIONS_MAX 400

enum action { PORT_WRITE, PORT_READ, MMIO_WRITE, MMIO_READ, MEMORY_WRITE, TURN, ACTION_COUNT };

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs what has been posted so far. */
static void turn(struct loop *loop)
{
    loop_post(loop, stop_loop, loop);
    loop_run(loop);
}

/* Half of the ports asked for are ones that somebody answers. */
static uint16_t choose_port(struct fuzz_input *input)
{
    static const uint16_t bases[] = {0x20,  0x40,  0x60,  0x70,  0xa0,  0x92,
                                     0x3f8, 0x4d0, 0x505, 0x600, 0xcf8, 0xcfc};
    uint8_t pick = (uint8_t)fuzz_take_integer(input, 1);
    if (pick & 0x80)
        return (uint16_t)fuzz_take_integer(input, 2);
    return (uint16_t)(bases[pick % ARRAY_SIZE(bases)] + fuzz_take_integer(input, 1) % 16);
}

static uint64_t choose_mmio(struct fuzz_input *input)
{
    uint8_t pick = (uint8_t)fuzz_take_integer(input, 1);
    if (pick < 0x20)
        return IOAPIC_ADDRESS + fuzz_take_integer(input, 1);
    if (pick < 0x40)
        return HPET_ADDRESS + fuzz_take_integer(input, 2) % KIB(1);
    return PCI_MMIO_BASE + (pick & 0x1f) * KIB(4) + fuzz_take_integer(input, 2) % KIB(4);
}

static void act(struct bus *bus, struct fuzz_input *input)
{
    enum action action = fuzz_take_integer(input, 1) % ACTION_COUNT;
    unsigned size = 1u << fuzz_take_integer(input, 1) % 3;
    uint8_t bytes[64];
    switch (action) {
    case PORT_WRITE:
        bus_write(bus, BUS_PORT, choose_port(input), fuzz_take_integer(input, size), size);
        break;
    case PORT_READ:
        bus_read(bus, BUS_PORT, choose_port(input), size);
        break;
    case MMIO_WRITE:
        bus_write(bus, BUS_MMIO, choose_mmio(input), fuzz_take_integer(input, size), size);
        break;
    case MMIO_READ:
        bus_read(bus, BUS_MMIO, choose_mmio(input), size);
        break;
    case MEMORY_WRITE:
        fuzz_take(input, bytes, sizeof(bytes));
        memory_write(bus->memory, fuzz_take_integer(input, 2) * 16, bytes, sizeof(bytes));
        break;
    default:
        turn(bus->loop);
    }
}

/* The other end of the serial port and of the virtio console. */
static struct console *open_console(struct loop *loop, struct error *error)
{
    char where[] = "file:/dev/null";
    struct console_config config;
    fuzz_require(loop && console_parse("console", where, &config, error) == 0, error);
    struct console *console = console_create(&config, loop, NULL, NULL, error);
    fuzz_require(console && console_connect(console, error) == 0, error);
    return console;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    struct bus bus;
    struct vm_devices devices = {0};
    char path[64];
    int disk = memfd_create("fuzz-disk", MFD_CLOEXEC);
    if (disk < 0 || ftruncate(disk, 65536) < 0)
        abort();
    snprintf(path, sizeof(path), "/proc/self/fd/%d", disk);
    struct loop *loop = loop_create(&error);
    struct console *console = open_console(loop, &error);
    const struct vm_config config = {
        .serial = console,
        .console = console,
        .disks = {{.path = path}},
        .disk_count = 1,
    };
    struct memory *memory = memory_create(MEMORY_SIZE, &error);
    fuzz_require(loop && memory && bus_init(&bus, memory, loop, NULL, &error) == 0, &error);
    fuzz_require(vm_devices_create(&devices, &config, &bus, &error) == 0, &error);
    pci_assign_resources(devices.pci);
    for (unsigned i = 0; i < ACTIONS_MAX && input.length; i++)
        act(&bus, &input);
    turn(loop);
    bus_reset_devices(&bus);
    /* Back ends first: no completion may arrive at a device that is gone. */
    vm_devices_close(&devices);
    turn(loop);
    bus_destroy(&bus);
    console_destroy(console);
    loop_destroy(loop);
    memory_destroy(memory);
    close(disk);
    return 0;
}
