/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register interface of every device and the virtqueues behind it: the input is a list of port,
 * MMIO and guest memory accesses, with turns of the event loop in between, and of what is too rare
 * to come by chance: drivers that start and offer requests, frames that come. Nothing the guest
 * writes may crash us.
 */
#include "fuzz/fuzz.h"

#include "base/loop.h"
#include "bus/pci.h"
#include "console/backend.h"
#include "device/flash.h"
#include "device/fw_cfg.h"
#include "device/hpet.h"
#include "device/test_device.h"
#include "net/offload.h"
#include "vm/vm_devices.h"

#include <sys/mman.h>
#include <unistd.h>

#define MEMORY_SIZE MIB(1)
#define ACTIONS_MAX 400

#define QUEUES     5 /* of a network card with two pairs */
#define QUEUE_SIZE 8

enum action {
    PORT_WRITE,
    PORT_READ,
    MMIO_WRITE,
    MMIO_READ,
    MEMORY_WRITE,
    DRIVER_START,
    DRIVER_OFFER,
    CONSOLE_INPUT,
    CARD_START,
    CARD_WRITE,
    FRAME_INPUT,
    TURN,
    ACTION_COUNT
};

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
    static const uint16_t bases[] = {0x20,  0x40,  0x60,  0x70,  0xa0,  0x92,  0xe0,  0xf4,
                                     0x3f8, 0x402, 0x4d0, 0x505, 0x510, 0x600, 0xcf8, 0xcfc};
    uint8_t pick = (uint8_t)fuzz_take_integer(input, 1);
    if (pick & 0x80)
        return (uint16_t)fuzz_take_integer(input, 2);
    return (uint16_t)(bases[pick % ARRAY_SIZE(bases)] + fuzz_take_integer(input, 1) % 16);
}

#define FLASH_GPA  UINT64_C(0xffc00000)
#define FLASH_SIZE (2 * FLASH_BLOCK_SIZE)

static uint64_t choose_mmio(struct fuzz_input *input)
{
    uint8_t pick = (uint8_t)fuzz_take_integer(input, 1);
    if (pick < 0x10)
        return FLASH_GPA + fuzz_take_integer(input, 2) % FLASH_SIZE;
    if (pick < 0x20)
        return IOAPIC_ADDRESS + fuzz_take_integer(input, 1);
    if (pick < 0x40)
        return HPET_ADDRESS + fuzz_take_integer(input, 2) % KIB(1);
    return PCI_MMIO_BASE + (pick & 0x1f) * KIB(4) + fuzz_take_integer(input, 2) % KIB(4);
}

/* --- the part of a virtio driver that chance would hardly find --- */

static uint64_t config_address(unsigned slot, unsigned reg)
{
    return BIT(31) | slot << 11 | reg;
}

static uint64_t config_read(struct bus *bus, unsigned slot, unsigned reg)
{
    bus_write(bus, BUS_PORT, 0xcf8, config_address(slot, reg), 4);
    return bus_read(bus, BUS_PORT, 0xcfc, 4);
}

/* The registers of the device in a slot; 0: not a virtio device. */
static uint64_t virtio_registers(struct bus *bus, unsigned slot)
{
    if ((config_read(bus, slot, 0) & 0xffff) != 0x1af4)
        return 0;
    return config_read(bus, slot, 0x20) & ~UINT64_C(15);
}

/* A page for each queue: descriptors, available ring, used ring. */
static uint64_t queue_address(unsigned slot, unsigned queue)
{
    return KIB(64) + (slot % 16 * QUEUES + queue) * PAGE_SIZE;
}

static void driver_start(struct bus *bus, struct fuzz_input *input)
{
    unsigned slot = (unsigned)fuzz_take_integer(input, 1) % 16;
    uint64_t registers = virtio_registers(bus, slot);
    if (!registers)
        return;
    bus_write(bus, BUS_PORT, 0xcf8, config_address(slot, 4), 4);
    bus_write(bus, BUS_PORT, 0xcfc, 6, 2); /* memory, bus master */
    bus_write(bus, BUS_MMIO, registers + 20, 0, 1);
    bus_write(bus, BUS_MMIO, registers + 20, 3, 1);
    for (unsigned i = 0; i < 2; i++) { /* features: some of the lower ones, VERSION_1 */
        bus_write(bus, BUS_MMIO, registers + 8, i, 4);
        bus_write(bus, BUS_MMIO, registers + 12, i ? 1 : fuzz_take_integer(input, 4), 4);
    }
    bus_write(bus, BUS_MMIO, registers + 20, 11, 1);
    for (unsigned queue = 0; queue < QUEUES; queue++) {
        uint64_t address = queue_address(slot, queue);
        bus_write(bus, BUS_MMIO, registers + 22, queue, 2);
        bus_write(bus, BUS_MMIO, registers + 24, QUEUE_SIZE, 2);
        bus_write(bus, BUS_MMIO, registers + 32, address, 4);
        bus_write(bus, BUS_MMIO, registers + 40, address + 0x400, 4);
        bus_write(bus, BUS_MMIO, registers + 48, address + 0x800, 4);
        bus_write(bus, BUS_MMIO, registers + 28, 1, 2);
    }
    bus_write(bus, BUS_MMIO, registers + 20, 15, 1);
}

/* One descriptor with an address, length, flags and successor from the input, and a notification.
 */
static void driver_offer(struct bus *bus, struct fuzz_input *input)
{
    unsigned slot = (unsigned)fuzz_take_integer(input, 1) % 16;
    unsigned queue = (unsigned)fuzz_take_integer(input, 1) % QUEUES;
    uint64_t address = queue_address(slot, queue), registers = virtio_registers(bus, slot);
    uint8_t descriptor[16] = {0};
    uint16_t index = (uint16_t)fuzz_take_integer(input, 1) % QUEUE_SIZE, available = 0;
    store_le(descriptor, fuzz_take_integer(input, 3), 8);
    store_le(descriptor + 8, fuzz_take_integer(input, 2), 4);
    store_le(descriptor + 12, fuzz_take_integer(input, 1) % 8, 2);
    store_le(descriptor + 14, fuzz_take_integer(input, 1) % QUEUE_SIZE, 2);
    memory_write(bus->memory, address + index * sizeof(descriptor), descriptor, sizeof(descriptor));
    memory_read(bus->memory, address + 0x402, &available, 2);
    memory_write(bus->memory, address + 0x404 + available % QUEUE_SIZE * 2u, &index, 2);
    available++;
    memory_write(bus->memory, address + 0x402, &available, 2);
    if (registers)
        bus_write(bus, BUS_MMIO, registers + 0x3000 + 4u * queue, queue, 2);
}

static void console_input(struct console *console, struct fuzz_input *input)
{
    uint8_t bytes[64];
    fuzz_take(input, bytes, sizeof(bytes));
    if (console->sink.receive)
        console->sink.receive(console->sink.opaque, bytes, bytes[0] % sizeof(bytes));
    console_size_changed(console);
}

/* --- network cards --- */

#define CARDS     2
#define RING_SIZE 8 /* descriptors */

/* A back end that takes frames or not, as the next byte of the input has it. */
struct wire {
    struct frame_backend backend;
    struct fuzz_input *input;
};

static bool wire_send(struct frame_backend *backend, const struct frame *frame, size_t length)
{
    const struct wire *wire = (const struct wire *)backend;
    if (!frame_valid(frame, length))
        abort();
    return fuzz_take_integer(wire->input, 1) % 8;
}

static void wire_ready(struct frame_backend *backend)
{
}

static const struct frame_ops wire_ops = {"wire", wire_send, wire_ready, wire_ready};

/* The registers of the first e1000; its rings lie in the first two pages. */
static uint64_t card_registers(struct bus *bus)
{
    for (unsigned slot = 0; slot < PCI_SLOT_COUNT; slot++)
        if (config_read(bus, slot, 0) == 0x100e8086) {
            bus_write(bus, BUS_PORT, 0xcf8, config_address(slot, 4), 4);
            bus_write(bus, BUS_PORT, 0xcfc, 7, 2);
            return config_read(bus, slot, 0x10) & ~UINT64_C(15);
        }
    abort();
}

static void card_start(struct bus *bus, struct fuzz_input *input)
{
    uint64_t registers = card_registers(bus);
    for (unsigned ring = 0; ring < 2; ring++) {
        uint64_t base = registers + (ring ? 0x3800 : 0x2800);
        bus_write(bus, BUS_MMIO, base, ring * PAGE_SIZE, 4);
        bus_write(bus, BUS_MMIO, base + 0x08, RING_SIZE * 16, 4);
        bus_write(bus, BUS_MMIO, base + 0x10, 0, 4);
        bus_write(bus, BUS_MMIO, base + 0x18, fuzz_take_integer(input, 1) % RING_SIZE, 4);
    }
    bus_write(bus, BUS_MMIO, registers + 0x100, fuzz_take_integer(input, 4) | 0x800a, 4);
    bus_write(bus, BUS_MMIO, registers + 0x400, 2, 4);
}

/* A register that does something, with any value. */
static void card_write(struct bus *bus, struct fuzz_input *input)
{
    static const uint16_t offsets[] = {0x0,    0x10,   0x14,   0x20,   0x38,   0xc0,
                                       0xc8,   0xd0,   0xd8,   0x100,  0x2808, 0x2810,
                                       0x2818, 0x3808, 0x3810, 0x3818, 0x5400, 0x5404};
    uint64_t offset = offsets[fuzz_take_integer(input, 1) % ARRAY_SIZE(offsets)];
    bus_write(bus, BUS_MMIO, card_registers(bus) + offset, fuzz_take_integer(input, 4), 4);
}

static void frame_input(struct wire *wires, struct fuzz_input *input)
{
    struct frame frame = {0};
    const struct frame_sink *sink = &wires[fuzz_take_integer(input, 1) % CARDS].backend.sink;
    size_t length = fuzz_take_integer(input, 2);
    fuzz_take(input, &frame, sizeof(frame.header) + 64);
    if (frame_valid(&frame, length))
        frame_deliver(sink, &frame, length);
    frame_writable(sink);
}

static void act(struct bus *bus, struct console *console, struct wire *wires,
                struct fuzz_input *input)
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
    case DRIVER_START:
        driver_start(bus, input);
        break;
    case DRIVER_OFFER:
        driver_offer(bus, input);
        break;
    case CONSOLE_INPUT:
        console_input(console, input);
        break;
    case CARD_START:
        card_start(bus, input);
        break;
    case CARD_WRITE:
        card_write(bus, input);
        break;
    case FRAME_INPUT:
        frame_input(wires, input);
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

static void test_ended(void *opaque, uint32_t number)
{
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct error error = {0};
    struct bus bus;
    struct wire wires[CARDS] = {{{&wire_ops, {0}}, &input}, {{&wire_ops, {0}}, &input}};
    struct vm_devices devices = {
        .nets = {&wires[0].backend, &wires[1].backend},
        .net_options = {{.queue_pairs = 2}, {.model = NET_MODEL_E1000}},
    };
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
        .debug_console = console,
        .disks = {{.path = path}},
        .disk_count = 1,
        .net_count = CARDS,
    };
    struct memory *memory = memory_create(MEMORY_SIZE, &error);
    fuzz_require(loop && memory && bus_init(&bus, memory, loop, NULL, &error) == 0, &error);
    fuzz_require(vm_devices_create(&devices, &config, &bus, &error) == 0, &error);
    static const uint8_t content[FLASH_SIZE];
    const struct flash_config flash = {.gpa = FLASH_GPA, .size = FLASH_SIZE, .content = content};
    fuzz_require(flash_create(&bus, &flash, &error) == 0, &error);
    const struct test_device_config test = {.ended = test_ended};
    fuzz_require(test_device_create(&bus, &test, &error) == 0, &error);
    struct fw_cfg *fw_cfg = fw_cfg_create(&bus, &error);
    fuzz_require(fw_cfg && fw_cfg_add_file(fw_cfg, "file", path, sizeof(path), &error) == 0,
                 &error);
    pci_assign_resources(devices.pci);
    for (unsigned i = 0; i < ACTIONS_MAX && input.length; i++)
        act(&bus, console, wires, &input);
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
