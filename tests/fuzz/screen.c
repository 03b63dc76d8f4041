/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graphics card, the keyboard controller and those who look at the screen: the input is a list
 * of register writes, accesses to video memory by all its ways, keys, and looks at the picture,
 * whatever mode that is in by now.
 */
#include "fuzz/fuzz.h"

#include "bus/pci.h"
#include "device/i8042.h"
#include "device/vga.h"
#include "display/picture.h"
#include "display/terminal_keys.h"

#define MEMORY_SIZE  MIB(1)
#define ACTIONS_MAX  600
#define LINES_DRAWN  8
#define VBE_INDEX    0x1ce
#define VBE_DATA     0x1cf
#define VGA_PORTS    0x3b0
#define BAR_LINEAR   0xe0000000u
#define BAR_REGISTER 0xf0000000u
#define BAR_ROM      0xf1000000u

enum action {
    PORT_WRITE,
    PORT_READ,
    INDEXED_WRITE,
    VBE_WRITE,
    MODE_SET,
    WINDOW_WRITE,
    WINDOW_READ,
    LINEAR_WRITE,
    LINEAR_READ,
    REGISTER_WRITE,
    REGISTER_READ,
    ROM_READ,
    MOVE_BAR,
    CONTROLLER_WRITE,
    CONTROLLER_READ,
    KEY,
    POINTER,
    TERMINAL,
    LOOK,
    ACTION_COUNT
};

struct fixture {
    struct loop *loop;
    struct memory *memory;
    struct bus bus;
    struct pci_bus *pci;
    struct screen *screen;
    struct input_sink input;
    struct typist *typist;
};

static void port_out(struct fixture *fixture, unsigned port, uint64_t value, unsigned size)
{
    bus_write(&fixture->bus, BUS_PORT, port, value, size);
}

static void config_write(struct fixture *fixture, unsigned reg, uint32_t value)
{
    port_out(fixture, 0xcf8, BIT(31) | reg, 4);
    port_out(fixture, 0xcfc, value, 4);
}

/* What chance would hardly find: a mode of VBE's that is turned on. */
static void set_mode(struct fixture *fixture, struct fuzz_input *input)
{
    static const uint8_t depths[] = {4, 8, 15, 16, 24, 32};
    const uint16_t values[] = {
        [1] = (uint16_t)fuzz_take_integer(input, 2),
        [2] = (uint16_t)fuzz_take_integer(input, 2),
        [3] = depths[fuzz_take_integer(input, 1) % ARRAY_SIZE(depths)],
        [4] = 1 | (uint16_t)fuzz_take_integer(input, 1),
    };
    port_out(fixture, VBE_INDEX, 4, 2);
    port_out(fixture, VBE_DATA, 0, 2);
    for (unsigned index = 1; index < ARRAY_SIZE(values); index++) {
        port_out(fixture, VBE_INDEX, index, 2);
        port_out(fixture, VBE_DATA, values[index], 2);
    }
}

/* The first and the last lines, and some between. */
static void look(struct fixture *fixture)
{
    uint32_t dots[PICTURE_WIDTH_MAX];
    struct screen_registers registers;
    struct picture picture;
    unsigned column, row;
    if (!screen_registers(fixture->screen, &registers))
        abort(); /* nobody else is at work */
    picture_describe(&picture, &registers);
    if (!picture.width || picture.width > PICTURE_WIDTH_MAX || !picture.height ||
        picture.height > PICTURE_HEIGHT_MAX)
        abort();
    for (unsigned i = 0; i < LINES_DRAWN; i++)
        picture_draw_line(&picture, fixture->screen->memory,
                          i * (picture.height - 1) / (LINES_DRAWN - 1), dots);
    picture_cursor(&picture, &column, &row);
    free(picture_text(fixture->screen));
}

static void type(struct fixture *fixture, struct fuzz_input *input)
{
    uint8_t bytes[16];
    size_t count = fuzz_take_integer(input, 1) % sizeof(bytes);
    fuzz_take(input, bytes, count);
    terminal_keys_type(fixture->typist, bytes, count);
}

static void act_on_card(struct fixture *fixture, struct fuzz_input *input, enum action action,
                        unsigned size)
{
    struct bus *bus = &fixture->bus;
    unsigned port = VGA_PORTS + fuzz_take_integer(input, 1) % 0x30;
    uint64_t place = fuzz_take_integer(input, 3);
    switch (action) {
    case PORT_WRITE:
        port_out(fixture, port, fuzz_take_integer(input, size), size);
        break;
    case PORT_READ:
        bus_read(bus, BUS_PORT, port, size);
        break;
    case INDEXED_WRITE: {
        static const uint16_t ports[] = {0x3c4, 0x3ce, 0x3d4};
        port_out(fixture, ports[place % ARRAY_SIZE(ports)], fuzz_take_integer(input, 2), 2);
        break;
    }
    case VBE_WRITE:
        port_out(fixture, VBE_INDEX, fuzz_take_integer(input, 1) % 12, 2);
        port_out(fixture, VBE_DATA, fuzz_take_integer(input, 2), 2);
        break;
    case MODE_SET:
        set_mode(fixture, input);
        break;
    case WINDOW_WRITE:
        bus_write(bus, BUS_MMIO, MEMORY_VIDEO + place % MEMORY_VIDEO_SIZE,
                  fuzz_take_integer(input, size), size);
        break;
    case WINDOW_READ:
        bus_read(bus, BUS_MMIO, MEMORY_VIDEO + place % MEMORY_VIDEO_SIZE, size);
        break;
    default:
        bus_read(bus, BUS_MMIO, BAR_ROM + place % KIB(128), size);
    }
}

static void act_on_bars(struct fixture *fixture, struct fuzz_input *input, enum action action,
                        unsigned size)
{
    struct bus *bus = &fixture->bus;
    uint64_t place = fuzz_take_integer(input, 3);
    switch (action) {
    case LINEAR_WRITE:
        bus_write(bus, BUS_MMIO, BAR_LINEAR + place, fuzz_take_integer(input, size), size);
        break;
    case LINEAR_READ:
        bus_read(bus, BUS_MMIO, BAR_LINEAR + place, size);
        break;
    case REGISTER_WRITE:
        bus_write(bus, BUS_MMIO, BAR_REGISTER + place % 0x600, fuzz_take_integer(input, size),
                  size);
        break;
    case REGISTER_READ:
        bus_read(bus, BUS_MMIO, BAR_REGISTER + place % 0x600, size);
        break;
    default: {
        static const uint8_t registers[] = {0x04, 0x10, 0x18, 0x30};
        config_write(fixture, registers[place % ARRAY_SIZE(registers)],
                     (uint32_t)fuzz_take_integer(input, 4));
        uint8_t *hva = memory_window_hva(fixture->memory, fuzz_take_integer(input, 4));
        if (hva)
            *(volatile uint8_t *)hva = 1;
    }
    }
}

static void act_on_keys(struct fixture *fixture, struct fuzz_input *input, enum action action)
{
    const struct input_sink *sink = &fixture->input;
    unsigned port = fuzz_take_integer(input, 1) & 1 ? 0x64 : 0x60;
    switch (action) {
    case CONTROLLER_WRITE:
        port_out(fixture, port, fuzz_take_integer(input, 1), 1);
        break;
    case CONTROLLER_READ:
        bus_read(&fixture->bus, BUS_PORT, port, 1);
        break;
    case KEY:
        sink->key(sink->opaque, (uint16_t)fuzz_take_integer(input, 2),
                  fuzz_take_integer(input, 1) & 1);
        break;
    case POINTER: {
        int right = (int32_t)fuzz_take_integer(input, 4),
            down = (int32_t)fuzz_take_integer(input, 4);
        sink->pointer(sink->opaque, right, down, (int8_t)fuzz_take_integer(input, 1),
                      (unsigned)fuzz_take_integer(input, 1));
        break;
    }
    case TERMINAL:
        type(fixture, input);
        break;
    default:
        look(fixture);
    }
}

static void act(struct fixture *fixture, struct fuzz_input *input)
{
    enum action action = fuzz_take_integer(input, 1) % ACTION_COUNT;
    unsigned size = 1u << fuzz_take_integer(input, 1) % 4;
    if (action <= WINDOW_READ || action == ROM_READ)
        act_on_card(fixture, input, action, action < WINDOW_WRITE && size == 8 ? 4 : size);
    else if (action <= MOVE_BAR)
        act_on_bars(fixture, input, action, size);
    else
        act_on_keys(fixture, input, action);
}

static void open_machine(struct fixture *fixture)
{
    static const uint8_t rom[40000];
    struct error error = {0};
    fixture->loop = loop_create(&error);
    fixture->memory = memory_create(MEMORY_SIZE, &error);
    fixture->screen = screen_create(&error);
    fuzz_require(fixture->loop && fixture->memory && fixture->screen &&
                     bus_init(&fixture->bus, fixture->memory, fixture->loop, NULL, &error) == 0,
                 &error);
    fixture->pci = pci_bus_create(&fixture->bus, &error);
    fuzz_require(fixture->pci && i8042_create(&fixture->bus, &fixture->input, &error) == 0 &&
                     vga_create(fixture->pci, fixture->screen, rom, sizeof(rom), &error) == 0,
                 &error);
    fixture->typist = typist_create(fixture->loop, &fixture->input, &error);
    fuzz_require(fixture->typist != NULL, &error);
    config_write(fixture, 0x10, BAR_LINEAR);
    config_write(fixture, 0x18, BAR_REGISTER);
    config_write(fixture, 0x30, BAR_ROM | 1);
    config_write(fixture, 0x04, 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fuzz_input input = {bytes, length};
    struct fixture fixture = {0};
    open_machine(&fixture);
    if (fuzz_take_integer(&input, 1) & 1)
        pci_assign_resources(fixture.pci); /* text mode, as without firmware */
    for (unsigned i = 0; i < ACTIONS_MAX && input.length; i++)
        act(&fixture, &input);
    look(&fixture);
    bus_reset_devices(&fixture.bus);
    look(&fixture);
    typist_destroy(fixture.typist);
    bus_destroy(&fixture.bus);
    screen_destroy(fixture.screen);
    memory_destroy(fixture.memory);
    loop_destroy(fixture.loop);
    return 0;
}
