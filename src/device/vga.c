/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graphics card: a VGA (IBM VGA Technical Reference) with the Bochs VBE extension, as PCI
 * device 1234:1111. Ports: vga_ports.c; planes: vga_memory.c; VBE: vga_vbe.c. BAR 0 is the linear
 * frame buffer, BAR 2 a page with the same registers as the ports, and the expansion ROM the VGA
 * BIOS.
 *
 * The frame buffer, and the window at 0xa0000 while it is plain memory, are windows of guest
 * memory: guests write there at the speed of RAM. What changed is found by those who look
 * (display/), who compare; text and planar modes come here byte by byte.
 */
#include "device/vga.h"

#include "device/vga_private.h"

#include <errno.h>
#include <stdlib.h>

#define PORT_VBE_INDEX 0x1ce /* the data port is the next one: words that overlap */

/* BAR 2, as drivers know it: linux drivers/gpu/drm/tiny/bochs.c */
enum { REGISTERS_SIZE = 4096, REGISTERS_PORTS = 0x400, REGISTERS_VBE = 0x500 };
#define REGISTERS_FIRST_PORT 0x3c0
#define REGISTERS_PORT_COUNT 0x20

static void update_window(struct vga *vga, struct memory_window *window, bool open, uint64_t gpa,
                          uint8_t *hva)
{
    if (memory_window_move(window, open ? gpa : MEMORY_WINDOW_CLOSED, hva))
        bus_mapping_changed(pci_device_bus(&vga->pci));
}

/* After any register has changed. The caller holds the lock. */
static void vga_changed(struct vga *vga)
{
    int64_t direct = vga_memory_direct(vga);
    screen_publish(vga->screen, &vga->registers);
    update_window(vga, vga->banked, direct >= 0, MEMORY_VIDEO,
                  vga->memory + (direct >= 0 ? direct : 0));
}

/* --- ports --- */

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    uint8_t value = vga_port_read(vga, VGA_PORT_FIRST + (unsigned)offset);
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    vga_port_write(vga, VGA_PORT_FIRST + (unsigned)offset, (uint8_t)value);
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
}

/* Two words in a row; only accesses to a whole one mean anything. */
static uint64_t vbe_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    uint16_t value = offset ? vga_vbe_read(vga, vga->vbe_index) : vga->vbe_index;
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void vbe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    if (offset)
        vga_vbe_write(vga, vga->vbe_index, (uint16_t)value);
    else
        vga->vbe_index = (uint16_t)value;
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
}

/* --- the window at 0xa0000 --- */

static uint64_t window_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *vga = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)vga_memory_read(vga, (uint32_t)offset + i) << 8 * i;
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void window_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    for (unsigned i = 0; i < size; i++)
        vga_memory_write(vga, (uint32_t)offset + i, (uint8_t)(value >> 8 * i));
    pthread_mutex_unlock(&vga->lock);
}

/* --- BARs --- */

/* For accesses that do not go through the memory window, as those under watchpoints. */
static uint64_t linear_read(void *opaque, uint64_t offset, unsigned size)
{
    return load_le(((struct vga *)opaque)->memory + offset, size);
}

static void linear_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    store_le(((struct vga *)opaque)->memory + offset, value, size);
}

static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct vga *vga = opaque;
    uint64_t value = bytes_mask(size);
    pthread_mutex_lock(&vga->lock);
    if (offset >= REGISTERS_VBE && offset < REGISTERS_VBE + 2 * VBE_COUNT) {
        value = vga_vbe_read(vga, (unsigned)(offset - REGISTERS_VBE) / 2);
    } else if (offset >= REGISTERS_PORTS &&
               offset + size <= REGISTERS_PORTS + REGISTERS_PORT_COUNT) {
        value = 0;
        for (unsigned i = 0; i < size; i++)
            value |= (uint64_t)vga_port_read(vga, REGISTERS_FIRST_PORT + (unsigned)offset % 32 + i)
                     << 8 * i;
    }
    pthread_mutex_unlock(&vga->lock);
    return value;
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct vga *vga = opaque;
    pthread_mutex_lock(&vga->lock);
    if (offset >= REGISTERS_VBE && offset < REGISTERS_VBE + 2 * VBE_COUNT)
        vga_vbe_write(vga, (unsigned)(offset - REGISTERS_VBE) / 2, (uint16_t)value);
    else if (offset >= REGISTERS_PORTS && offset + size <= REGISTERS_PORTS + REGISTERS_PORT_COUNT)
        for (unsigned i = 0; i < size; i++)
            vga_port_write(vga, REGISTERS_FIRST_PORT + (unsigned)offset % 32 + i,
                           (uint8_t)(value >> 8 * i));
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
}

static void bars_moved(struct pci_device *device)
{
    struct vga *vga = (struct vga *)device;
    const struct pci_bar *bar = &device->bars[0];
    update_window(vga, vga->linear, bar->mapped, bar->region.base, vga->memory);
}

static const struct bus_ops ports_ops = {ports_read, ports_write};
static const struct bus_ops vbe_ops = {vbe_read, vbe_write};
static const struct bus_ops window_ops = {window_read, window_write};
static const struct bus_ops linear_ops = {linear_read, linear_write};
static const struct bus_ops registers_ops = {registers_read, registers_write};

/* --- the device --- */

static void vga_reset(struct device *device)
{
    struct vga *vga = (struct vga *)device;
    pci_reset_config(&vga->pci);
    pthread_mutex_lock(&vga->lock);
    memset(&vga->registers, 0, sizeof(vga->registers));
    vga->misc = vga->feature = 0;
    vga->sequencer_index = vga->crtc_index = vga->graphics_index = 0;
    vga->attribute_data = vga->palette_reading = false;
    vga->palette_read = vga->palette_write = vga->palette_component = 0;
    vga->vbe_index = 0;
    vga->latch = 0;
    vga_vbe_reset(vga);
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
}

/* What the VGA BIOS would do. */
static void vga_configure(struct pci_device *device)
{
    struct vga *vga = (struct vga *)device;
    pthread_mutex_lock(&vga->lock);
    vga_set_text_mode(vga);
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
}

static void vga_destroy(struct device *device)
{
    struct vga *vga = (struct vga *)device;
    pthread_mutex_destroy(&vga->lock);
    free(vga);
}

static int vga_after_load(struct device *device, struct error *error)
{
    struct vga *vga = (struct vga *)device;
    vga->sequencer_index %= SEQUENCER_COUNT;
    vga->crtc_index %= CRTC_COUNT;
    vga->graphics_index %= GRAPHICS_COUNT;
    vga->palette_component %= 3;
    if (vga->registers.vbe[VBE_BANK] >= SCREEN_MEMORY_SIZE / VGA_BANK_SIZE)
        return error_set(error, EINVAL, "state of the VGA: no such bank: file damaged");
    pthread_mutex_lock(&vga->lock);
    vga_changed(vga);
    pthread_mutex_unlock(&vga->lock);
    return 0;
}

static const struct device_ops vga_ops = {
    .reset = vga_reset, .destroy = vga_destroy, .after_load = vga_after_load};
static const struct state_field register_fields[] = {
    STATE_ARRAY(struct screen_registers, sequencer),
    STATE_ARRAY(struct screen_registers, crtc),
    STATE_ARRAY(struct screen_registers, graphics),
    STATE_ARRAY(struct screen_registers, attribute),
    STATE_FIELD(struct screen_registers, attribute_index),
    STATE_FIELD(struct screen_registers, palette_mask),
    STATE_BLOB(struct screen_registers, palette),
    STATE_ARRAY(struct screen_registers, vbe),
};
static const struct state_table register_state = STATE_TABLE("vga-registers", 1, register_fields);
static const struct state_field vga_fields[] = {
    STATE_NESTED(struct vga, pci, &pci_device_state),
    STATE_NESTED(struct vga, registers, &register_state),
    STATE_FIELD(struct vga, misc),
    STATE_FIELD(struct vga, feature),
    STATE_FIELD(struct vga, sequencer_index),
    STATE_FIELD(struct vga, crtc_index),
    STATE_FIELD(struct vga, graphics_index),
    STATE_FIELD(struct vga, attribute_data),
    STATE_FIELD(struct vga, palette_read),
    STATE_FIELD(struct vga, palette_write),
    STATE_FIELD(struct vga, palette_component),
    STATE_FIELD(struct vga, palette_reading),
    STATE_ARRAY(struct vga, palette_latch),
    STATE_FIELD(struct vga, vbe_index),
    STATE_FIELD(struct vga, latch),
    STATE_POINTED(struct vga, memory, SCREEN_MEMORY_SIZE),
};
static const struct state_table vga_state = STATE_TABLE("vga", 1, vga_fields);

static int add_regions(struct vga *vga, struct bus *bus, struct error *error)
{
    const struct bus_region regions[] = {
        {"vga", BUS_PORT, VGA_PORT_FIRST, VGA_PORT_COUNT, 1, &ports_ops, vga},
        {"vga-vbe", BUS_PORT, PORT_VBE_INDEX, 3, 2, &vbe_ops, vga},
        {"vga-window", BUS_MMIO, MEMORY_VIDEO, MEMORY_VIDEO_SIZE, 8, &window_ops, vga},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(regions); i++) {
        vga->regions[i] = regions[i];
        int result = bus_add_region(bus, &vga->regions[i], error);
        if (result < 0)
            return result;
    }
    return 0;
}

int vga_create(struct pci_bus *pci, struct screen *screen, const uint8_t *rom, size_t rom_size,
               struct error *error)
{
    static const struct pci_identity identity = {
        .vendor = 0x1234,
        .device = 0x1111,
        .subsystem_vendor = 0x1af4,
        .subsystem = 0x1100,
        .revision = 2,
        .class_code = 0x030000,
    };
    struct vga *vga = calloc(1, sizeof(*vga));
    if (!vga)
        return error_set(error, ENOMEM, "vga: out of memory");
    pthread_mutex_init(&vga->lock, NULL);
    vga->pci.device = (struct device){.name = "vga", .ops = &vga_ops, .state = &vga_state};
    vga->pci.configure = vga_configure;
    vga->pci.bars_moved = bars_moved;
    vga->screen = screen;
    vga->memory = screen->memory;
    vga->rom = rom;
    vga->rom_size = rom_size;
    int result = pci_add_device(pci, &vga->pci, &identity, -1, 0, error);
    if (result < 0) {
        vga_destroy(&vga->pci.device);
        return result;
    }
    struct bus *bus = pci_device_bus(&vga->pci);
    vga->banked = memory_add_window(bus->memory, VGA_BANK_SIZE, error);
    vga->linear = vga->banked ? memory_add_window(bus->memory, SCREEN_MEMORY_SIZE, error) : NULL;
    if (!vga->linear)
        return -ENOSPC;
    pci_add_bar(&vga->pci, 0, BUS_MMIO, SCREEN_MEMORY_SIZE, false, &linear_ops, vga, "vga-linear");
    pci_add_bar(&vga->pci, 2, BUS_MMIO, REGISTERS_SIZE, false, &registers_ops, vga,
                "vga-registers");
    pci_add_rom(&vga->pci, rom, rom_size);
    vga_reset(&vga->pci.device);
    return add_regions(vga, bus, error);
}
