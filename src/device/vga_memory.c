/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The graphics controller's way from the CPU to the four planes: IBM VGA Technical Reference,
 * "Graphics Controller Registers" and "Memory Address Mapping". A byte of each plane makes a group
 * of four neighbouring bytes of video memory, so that plane p of group n is byte 4 * n + p.
 * Odd/even and chain-4 addressing number the bytes of groups the same way, and the picture is read
 * by groups (display/picture.c): chain-4 memory is then plain memory, which the guest may reach
 * directly.
 */
#include "device/vga_private.h"

/* The four windows of GRAPHICS_MISC bits 2 and 3, within the 128 KiB. */
static const struct {
    uint32_t start, size;
} maps[] = {
    {0, KIB(128)},
    {0, KIB(64)},
    {KIB(64), KIB(32)},
    {KIB(96), KIB(32)},
};

static unsigned map_of(const struct vga *vga)
{
    return vga->registers.graphics[GRAPHICS_MISC] >> 2 & 3;
}

/* Makes *offset the one within the window chosen; false: the card does not answer there. */
static bool map(const struct vga *vga, uint32_t *offset)
{
    unsigned chosen = map_of(vga);
    if (*offset < maps[chosen].start || *offset - maps[chosen].start >= maps[chosen].size)
        return false;
    *offset -= maps[chosen].start;
    return true;
}

static bool is_packed(const struct vga *vga)
{
    return vga_vbe_enabled(vga) && vga->registers.vbe[VBE_DEPTH] >= 8;
}

static uint32_t bank_start(const struct vga *vga)
{
    if (!vga_vbe_enabled(vga))
        return 0;
    return vga->registers.vbe[VBE_BANK] * (uint32_t)VGA_BANK_SIZE;
}

/* How the CPU's addresses reach bytes: all in one row, alternating planes, or all planes at once.
 */
enum addressing { LINEAR, ODD_EVEN, PLANAR };

static enum addressing addressing(const struct vga *vga)
{
    uint8_t mode = vga->registers.sequencer[SEQUENCER_MODE];
    if (is_packed(vga) || mode & SEQUENCER_CHAIN_4)
        return LINEAR;
    return mode & SEQUENCER_NO_ODD ? PLANAR : ODD_EVEN;
}

int64_t vga_memory_direct(const struct vga *vga)
{
    if (addressing(vga) != LINEAR || map_of(vga) > 1)
        return -1;
    if (!is_packed(vga) && (vga->registers.sequencer[SEQUENCER_MAP_MASK] & 15) != 15)
        return -1;
    uint64_t start = bank_start(vga);
    return range_within(start, VGA_BANK_SIZE, SCREEN_MEMORY_SIZE) ? (int64_t)start : -1;
}

/* The group of four bytes behind an address; banks of VBE's planar modes are 64 KiB of each plane.
 */
static uint8_t *group(const struct vga *vga, uint32_t number)
{
    uint64_t byte = ((uint64_t)bank_start(vga) + number) * 4;
    return vga->memory + (byte & (SCREEN_MEMORY_SIZE - 1));
}

static uint8_t *linear_byte(const struct vga *vga, uint32_t offset)
{
    return vga->memory + ((bank_start(vga) + offset) & (SCREEN_MEMORY_SIZE - 1));
}

/* A byte for each plane of the low four bits: 0x00 or 0xff. */
static uint32_t spread(uint8_t bits)
{
    uint32_t planes = 0;
    for (unsigned plane = 0; plane < 4; plane++)
        if (bits & 1u << plane)
            planes |= 0xffu << 8 * plane;
    return planes;
}

static uint8_t read_latched(struct vga *vga)
{
    const uint8_t *graphics = vga->registers.graphics;
    if (!(graphics[GRAPHICS_MODE] & BIT(3)))
        return (uint8_t)(vga->latch >> 8 * (graphics[GRAPHICS_READ_MAP] & 3));
    /* Colour compare: a bit is set where all planes that matter have the colour wanted. */
    uint32_t differs =
        (vga->latch ^ spread(graphics[GRAPHICS_COMPARE])) & spread(graphics[GRAPHICS_DONT_CARE]);
    differs |= differs >> 16;
    return (uint8_t) ~(differs | differs >> 8);
}

uint8_t vga_memory_read(struct vga *vga, uint32_t offset)
{
    if (!map(vga, &offset))
        return 0xff;
    switch (addressing(vga)) {
    case LINEAR:
        return *linear_byte(vga, offset);
    case ODD_EVEN: {
        unsigned plane = (vga->registers.graphics[GRAPHICS_READ_MAP] & 2) | (offset & 1);
        vga->latch = (uint32_t)load_le(group(vga, offset >> 1), 4);
        return (uint8_t)(vga->latch >> 8 * plane);
    }
    default:
        vga->latch = (uint32_t)load_le(group(vga, offset), 4);
        return read_latched(vga);
    }
}

static uint32_t combine(const struct vga *vga, uint32_t value, uint8_t bit_mask)
{
    switch (vga->registers.graphics[GRAPHICS_ROTATE] >> 3 & 3) {
    case 1:
        value &= vga->latch;
        break;
    case 2:
        value |= vga->latch;
        break;
    case 3:
        value ^= vga->latch;
        break;
    default:
        break;
    }
    uint32_t mask = bit_mask * 0x01010101u;
    return (value & mask) | (vga->latch & ~mask);
}

static uint8_t rotate(const struct vga *vga, uint8_t value)
{
    unsigned count = vga->registers.graphics[GRAPHICS_ROTATE] & 7;
    return (uint8_t)(value >> count | value << (8 - count));
}

/* What the four write modes make of the CPU's byte. */
static uint32_t write_value(const struct vga *vga, uint8_t value)
{
    const uint8_t *graphics = vga->registers.graphics;
    uint32_t set = spread(graphics[GRAPHICS_SET_RESET]);
    uint8_t bit_mask = graphics[GRAPHICS_BIT_MASK];
    switch (graphics[GRAPHICS_MODE] & 3) {
    case 0: {
        uint32_t enable = spread(graphics[GRAPHICS_ENABLE_SET]);
        uint32_t all = rotate(vga, value) * 0x01010101u;
        return combine(vga, (all & ~enable) | (set & enable), bit_mask);
    }
    case 1:
        return vga->latch;
    case 2:
        return combine(vga, spread(value), bit_mask);
    default:
        return combine(vga, set, bit_mask & rotate(vga, value));
    }
}

void vga_memory_write(struct vga *vga, uint32_t offset, uint8_t value)
{
    uint8_t map_mask = vga->registers.sequencer[SEQUENCER_MAP_MASK];
    if (!map(vga, &offset))
        return;
    switch (addressing(vga)) {
    case LINEAR:
        if (is_packed(vga) || map_mask & 1u << offset % 4)
            *linear_byte(vga, offset) = value;
        break;
    case ODD_EVEN: {
        /* The even address writes planes 0 and 2, the odd one 1 and 3, as the map mask lets. */
        uint32_t mask = spread(map_mask & (offset & 1 ? 0xa : 0x5));
        uint8_t *bytes = group(vga, offset >> 1);
        uint32_t old = (uint32_t)load_le(bytes, 4);
        store_le(bytes, (old & ~mask) | (write_value(vga, value) & mask), 4);
        break;
    }
    default: {
        uint32_t mask = spread(map_mask);
        uint8_t *bytes = group(vga, offset);
        uint32_t old = (uint32_t)load_le(bytes, 4);
        store_le(bytes, (old & ~mask) | (write_value(vga, value) & mask), 4);
    }
    }
}
