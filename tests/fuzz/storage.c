/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The IDE controller with a disk and a CD-ROM drive, and the floppy controller with its DMA
 * controller, by their registers: the input is a list of port accesses, whole commands, packets,
 * descriptors of the bus master, and completions of the back ends in between. Nothing the guest
 * does may crash us or reach behind the end of a medium.
 */
#include "fuzz/fuzz.h"

#include "base/bits.h"
#include "base/loop.h"
#include "device/bridges.h"
#include "device/floppy/floppy.h"
#include "device/ide/ide.h"
#include "device/ram_block.h"

#define MEMORY_SIZE MIB(1)
#define ACTIONS_MAX 300
#define DISK_SIZE   KIB(200)

enum action {
    PORT_WRITE,
    PORT_READ,
    DATA_WRITE,
    DATA_READ,
    IDE_COMMAND,
    IDE_PACKET,
    IDE_DMA,
    FLOPPY_COMMAND,
    FLOPPY_DMA,
    MEMORY_WRITE,
    COMPLETE,
    TURN,
    STATE,
    ACTION_COUNT
};

struct fixture {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct ram_block *disk, *cdrom, *floppy;
};

static void stop_loop(void *opaque)
{
    loop_stop(opaque);
}

/* Runs what has been posted so far. */
static void turn(struct fixture *fixture)
{
    loop_post(fixture->loop, stop_loop, fixture->loop);
    loop_run(fixture->loop);
}

static void out(struct fixture *fixture, unsigned port, uint64_t value, unsigned size)
{
    bus_write(&fixture->bus, BUS_PORT, port, value, size);
}

static uint16_t choose_port(struct fuzz_input *input)
{
    static const uint16_t bases[] = {0x1f0, 0x170, 0x3f0, 0x376, 0x00, PCI_PORT_BASE, 0x80, 0xc0};
    uint8_t pick = (uint8_t)fuzz_take_integer(input, 1);
    return (uint16_t)(bases[pick % ARRAY_SIZE(bases)] + (pick >> 4));
}

/* The command block of the drive that the input chooses. */
static unsigned choose_drive(struct fixture *fixture, struct fuzz_input *input)
{
    unsigned pick = (unsigned)fuzz_take_integer(input, 1), base = pick & 1 ? 0x170 : 0x1f0;
    out(fixture, base + 6, pick & 0xff, 1);
    return base;
}

/* Data in a run, as guests move them. */
static void move_data(struct fixture *fixture, struct fuzz_input *input, bool write)
{
    unsigned base = fuzz_take_integer(input, 1) & 1 ? 0x170 : 0x1f0;
    unsigned count = (unsigned)fuzz_take_integer(input, 1) * 8,
             value = (unsigned)fuzz_take_integer(input, 1);
    for (unsigned i = 0; i < count; i++) {
        if (write)
            out(fixture, base, value + i, 4);
        else
            bus_read(&fixture->bus, BUS_PORT, base, 4);
    }
}

static void ide_command(struct fixture *fixture, struct fuzz_input *input)
{
    unsigned base = choose_drive(fixture, input);
    for (unsigned reg = 1; reg <= 5; reg++)
        out(fixture, base + reg, fuzz_take_integer(input, 1), 1);
    out(fixture, base + 7, fuzz_take_integer(input, 1), 1);
}

static void ide_packet(struct fixture *fixture, struct fuzz_input *input)
{
    unsigned base = choose_drive(fixture, input);
    out(fixture, base + 1, fuzz_take_integer(input, 1), 1);
    out(fixture, base + 4, fuzz_take_integer(input, 2), 2);
    out(fixture, base + 7, 0xa0, 1);
    for (unsigned i = 0; i < 6; i++)
        out(fixture, base, fuzz_take_integer(input, 2), 2);
}

/* Bus mastering on or off, a table with one descriptor from the input, and go. */
static void ide_dma(struct fixture *fixture, struct fuzz_input *input)
{
    unsigned base = PCI_PORT_BASE + (fuzz_take_integer(input, 1) & 1 ? 8 : 0);
    uint32_t table = (uint32_t)fuzz_take_integer(input, 2) << 4;
    const uint32_t descriptor[] = {(uint32_t)fuzz_take_integer(input, 3),
                                   (uint32_t)fuzz_take_integer(input, 4)};
    out(fixture, 0xcf8, BIT(31) | 1 << 11 | 1 << 8 | 4, 4);
    out(fixture, 0xcfc, fuzz_take_integer(input, 1) | 1, 2);
    memory_write(fixture->memory, table, descriptor, sizeof(descriptor));
    out(fixture, base, 0, 1);
    out(fixture, base + 4, table, 4);
    out(fixture, base, 1, 1);
}

/* A controller that runs, at the medium's data rate, and nine bytes: no command has more. */
static void floppy_command(struct fixture *fixture, struct fuzz_input *input)
{
    out(fixture, 0x3f2, 0x1c, 1);
    out(fixture, 0x3f7, 0, 1);
    for (unsigned i = 0; i < 9; i++)
        out(fixture, 0x3f5, fuzz_take_integer(input, 1), 1);
}

/* Channel 2 with an address, a count and a mode from the input. */
static void floppy_dma(struct fixture *fixture, struct fuzz_input *input)
{
    static const uint16_t ports[] = {0x0c, 0x0b, 0x04, 0x04, 0x81, 0x05, 0x05};
    for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
        out(fixture, ports[i], fuzz_take_integer(input, 1), 1);
    out(fixture, 0x0a, 2, 1);
}

/* Every device's state with some bytes changed: refused, or it must run on. */
static void damage_state(struct fixture *fixture, struct fuzz_input *input)
{
    for (struct device *device = fixture->bus.devices; device; device = device->next) {
        struct error error;
        size_t size = state_size(device->state);
        uint8_t *bytes = malloc(size);
        if (!bytes)
            abort();
        device_save(device, bytes);
        bytes[fuzz_take_integer(input, 3) % size] = (uint8_t)fuzz_take_integer(input, 1);
        device_load(device, device->state->version, bytes, size, &error);
        free(bytes);
    }
}

static void act(struct fixture *fixture, struct fuzz_input *input)
{
    enum action action = fuzz_take_integer(input, 1) % ACTION_COUNT;
    unsigned size = 1u << fuzz_take_integer(input, 1) % 3;
    uint8_t bytes[64];
    switch (action) {
    case PORT_WRITE:
        out(fixture, choose_port(input), fuzz_take_integer(input, size), size);
        break;
    case PORT_READ:
        bus_read(&fixture->bus, BUS_PORT, choose_port(input), size);
        break;
    case DATA_WRITE:
    case DATA_READ:
        move_data(fixture, input, action == DATA_WRITE);
        break;
    case IDE_COMMAND:
        ide_command(fixture, input);
        break;
    case IDE_PACKET:
        ide_packet(fixture, input);
        break;
    case IDE_DMA:
        ide_dma(fixture, input);
        break;
    case FLOPPY_COMMAND:
        floppy_command(fixture, input);
        break;
    case FLOPPY_DMA:
        floppy_dma(fixture, input);
        break;
    case MEMORY_WRITE:
        fuzz_take(input, bytes, sizeof(bytes));
        memory_write(fixture->memory, fuzz_take_integer(input, 2) * 16, bytes, sizeof(bytes));
        break;
    case COMPLETE:
        fixture->disk->failure = fixture->floppy->failure = size == 1 ? -5 : 0;
        block_drain(&fixture->disk->block);
        block_drain(&fixture->cdrom->block);
        block_drain(&fixture->floppy->block);
        break;
    case STATE:
        damage_state(fixture, input);
        break;
    default:
        turn(fixture);
    }
}

static void build(struct fixture *fixture)
{
    struct error error = {0};
    struct ide_config ide = {0};
    fixture->disk = ram_block_create(DISK_SIZE);
    fixture->cdrom = ram_block_create(DISK_SIZE);
    fixture->floppy = ram_block_create(FLOPPY_SIZE);
    fixture->cdrom->block.read_only = true;
    fixture->loop = loop_create(&error);
    fixture->memory = memory_create(MEMORY_SIZE, &error);
    fuzz_require(fixture->loop && fixture->memory, &error);
    fuzz_require(bus_init(&fixture->bus, fixture->memory, fixture->loop, NULL, &error) == 0,
                 &error);
    struct pci_bus *pci = pci_bus_create(&fixture->bus, &error);
    fuzz_require(pci && bridges_create(pci, &error) == 0, &error);
    ide.drives[0].block = &fixture->disk->block;
    ide.drives[2].block = &fixture->cdrom->block;
    ide.drives[2].is_cdrom = true;
    fuzz_require(ide_create(pci, &ide, &error) == 0, &error);
    pci_assign_resources(pci);
    struct isa_dma *dma = isa_dma_create(&fixture->bus, &error);
    fuzz_require(dma && floppy_create(&fixture->bus, dma, &fixture->floppy->block, &error) == 0,
                 &error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct fixture fixture = {0};
    build(&fixture);
    for (unsigned i = 0; i < ACTIONS_MAX && input.length; i++)
        act(&fixture, &input);
    bus_reset_devices(&fixture.bus);
    turn(&fixture);
    bus_destroy(&fixture.bus);
    memory_destroy(fixture.memory);
    loop_destroy(fixture.loop);
    ram_block_destroy(fixture.disk);
    ram_block_destroy(fixture.cdrom);
    ram_block_destroy(fixture.floppy);
    return 0;
}
