/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Bochs VBE extension ("DISPI"): an index and a data port of 16 bits, behind which modes of any
 * size with 4 to 32 bits a pixel are set without touching the VGA's registers. Described in the VGA
 * BIOS of the Bochs project (vbe_display_api.txt).
 */
#include "device/vga_private.h"

#define ID_FIRST 0xb0c0
#define ID_LAST  0xb0c5

bool vga_vbe_enabled(const struct vga *vga)
{
    return vga->registers.vbe[VBE_ENABLE] & VBE_ENABLED;
}

static unsigned bits_a_pixel(const struct vga *vga)
{
    unsigned depth = vga->registers.vbe[VBE_DEPTH];
    return depth == 15 ? 16 : depth;
}

static unsigned bytes_a_line(const struct vga *vga, unsigned pixels)
{
    return pixels * bits_a_pixel(vga) / 8;
}

uint16_t vga_vbe_read(struct vga *vga, unsigned index)
{
    static const uint16_t limits[VBE_COUNT] = {
        [VBE_WIDTH] = VBE_WIDTH_MAX, [VBE_HEIGHT] = VBE_HEIGHT_MAX, [VBE_DEPTH] = 32};
    if (index >= VBE_COUNT)
        return 0;
    if (vga->registers.vbe[VBE_ENABLE] & VBE_ASK_LIMITS && limits[index])
        return limits[index];
    return vga->registers.vbe[index];
}

/* The virtual picture: as wide as asked, as high as memory allows. */
static void set_virtual(struct vga *vga, unsigned width)
{
    uint16_t *vbe = vga->registers.vbe;
    unsigned line = bytes_a_line(vga, width);
    if (width < vbe[VBE_WIDTH] || !line || SCREEN_MEMORY_SIZE / line < vbe[VBE_HEIGHT]) {
        width = vbe[VBE_WIDTH];
        line = bytes_a_line(vga, width);
    }
    uint64_t height = line ? SCREEN_MEMORY_SIZE / line : vbe[VBE_HEIGHT];
    vbe[VBE_VIRTUAL_WIDTH] = (uint16_t)width;
    vbe[VBE_VIRTUAL_HEIGHT] = (uint16_t)(height > UINT16_MAX ? UINT16_MAX : height);
}

static bool is_depth(unsigned depth)
{
    return depth == 4 || depth == 8 || depth == 15 || depth == 16 || depth == 24 || depth == 32;
}

static void set_enable(struct vga *vga, uint16_t value)
{
    uint16_t *vbe = vga->registers.vbe;
    bool enabled = vga_vbe_enabled(vga);
    vbe[VBE_ENABLE] =
        value & (VBE_ENABLED | VBE_ASK_LIMITS | VBE_8_BIT_DAC | VBE_LINEAR | VBE_KEEP);
    if (enabled || !(value & VBE_ENABLED))
        return;
    vbe[VBE_BANK] = vbe[VBE_X] = vbe[VBE_Y] = 0;
    set_virtual(vga, vbe[VBE_WIDTH]);
    uint64_t bytes = (uint64_t)vbe[VBE_HEIGHT] * bytes_a_line(vga, vbe[VBE_VIRTUAL_WIDTH]);
    if (!(value & VBE_KEEP))
        memset(vga->memory, 0, bytes < SCREEN_MEMORY_SIZE ? bytes : SCREEN_MEMORY_SIZE);
}

void vga_vbe_write(struct vga *vga, unsigned index, uint16_t value)
{
    uint16_t *vbe = vga->registers.vbe;
    bool enabled = vga_vbe_enabled(vga);
    switch (index) {
    case VBE_ID:
        if (value >= ID_FIRST && value <= ID_LAST)
            vbe[VBE_ID] = value;
        break;
    case VBE_WIDTH:
        if (!enabled && value >= 8 && value <= VBE_WIDTH_MAX)
            vbe[VBE_WIDTH] = value & ~7u;
        break;
    case VBE_HEIGHT:
        if (!enabled && value && value <= VBE_HEIGHT_MAX)
            vbe[VBE_HEIGHT] = value;
        break;
    case VBE_DEPTH:
        if (!enabled && (is_depth(value) || !value))
            vbe[VBE_DEPTH] = value ? value : 8;
        break;
    case VBE_ENABLE:
        set_enable(vga, value);
        break;
    case VBE_BANK:
        if (value < SCREEN_MEMORY_SIZE / VGA_BANK_SIZE)
            vbe[VBE_BANK] = value;
        break;
    case VBE_VIRTUAL_WIDTH:
        set_virtual(vga, value);
        break;
    case VBE_X:
    case VBE_Y:
        vbe[index] = value; /* the picture's reader looks at the memory's end */
        break;
    default: /* read only, or not there */
        break;
    }
}

void vga_vbe_reset(struct vga *vga)
{
    uint16_t *vbe = vga->registers.vbe;
    memset(vbe, 0, sizeof(vga->registers.vbe));
    vbe[VBE_ID] = ID_LAST;
    vbe[VBE_DEPTH] = 8;
    vbe[VBE_MEMORY] = SCREEN_MEMORY_SIZE / KIB(64);
}
