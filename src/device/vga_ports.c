/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The VGA's registers at ports 0x3b0 to 0x3df: IBM VGA Technical Reference, "VGA Function
 * Registers". Timing registers are kept and have no effect; the retrace bits follow the host's
 * clock, for programs that wait for them.
 */
#include "base/clock.h"
#include "device/vga_private.h"

enum port {
    PORT_ATTRIBUTE = 0x3c0,
    PORT_ATTRIBUTE_READ = 0x3c1,
    PORT_MISC = 0x3c2, /* read: input status 0 */
    PORT_SEQUENCER_INDEX = 0x3c4,
    PORT_SEQUENCER_DATA = 0x3c5,
    PORT_PALETTE_MASK = 0x3c6,
    PORT_PALETTE_READ = 0x3c7, /* read: state */
    PORT_PALETTE_WRITE = 0x3c8,
    PORT_PALETTE_DATA = 0x3c9,
    PORT_FEATURE_READ = 0x3ca,
    PORT_MISC_READ = 0x3cc,
    PORT_GRAPHICS_INDEX = 0x3ce,
    PORT_GRAPHICS_DATA = 0x3cf,
    PORT_CRTC_INDEX = 0x3d4, /* and 0x20 lower on a monochrome screen, as the next two */
    PORT_CRTC_DATA = 0x3d5,
    PORT_STATUS = 0x3da, /* write: feature control */
};

#define MISC_COLOUR        BIT(0)
#define MONOCHROME_OFFSET  0x20
#define CRTC_PROTECT       BIT(7) /* in RETRACE_END: registers 0 to 7 keep their values */
#define OVERFLOW_COMPARE   BIT(4) /* which is writable nevertheless */
#define STATUS_NOT_DISPLAY BIT(0)
#define STATUS_RETRACE     BIT(3)
#define FRAME_NS           UINT64_C(16666667)
#define RETRACE_NS         UINT64_C(900000)
#define LINE_NS            UINT64_C(31778)
#define LINE_BLANK_NS      UINT64_C(6000)

/* Bits that there are. */
static const uint8_t sequencer_mask[SEQUENCER_COUNT] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const uint8_t graphics_mask[GRAPHICS_COUNT] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03,
                                                      0x7b, 0x0f, 0x0f, 0xff};

/* As on a colour screen; 0: nothing answers there now. */
static unsigned colour_port(const struct vga *vga, unsigned port)
{
    bool colour = vga->misc & MISC_COLOUR;
    if (port >= PORT_ATTRIBUTE && port <= PORT_GRAPHICS_DATA)
        return port;
    if (port < PORT_ATTRIBUTE)
        return colour ? 0 : port + MONOCHROME_OFFSET;
    return colour ? port : 0;
}

static uint8_t status(struct vga *vga)
{
    uint64_t frame = clock_monotonic_ns() % FRAME_NS;
    vga->attribute_data = false;
    if (frame < RETRACE_NS)
        return STATUS_RETRACE | STATUS_NOT_DISPLAY;
    return frame % LINE_NS < LINE_BLANK_NS ? STATUS_NOT_DISPLAY : 0;
}

static uint8_t palette_data_read(struct vga *vga)
{
    uint8_t value = vga->registers.palette[vga->palette_read * 3 + vga->palette_component];
    if (++vga->palette_component == 3) {
        vga->palette_component = 0;
        vga->palette_read++;
    }
    return value;
}

/* A colour changes when its third component has come. */
static void palette_data_write(struct vga *vga, uint8_t value)
{
    bool wide = vga->registers.vbe[VBE_ENABLE] & VBE_8_BIT_DAC;
    vga->palette_latch[vga->palette_component] = wide ? value : value & 0x3f;
    if (++vga->palette_component < 3)
        return;
    memcpy(vga->registers.palette + vga->palette_write * 3, vga->palette_latch, 3);
    vga->palette_component = 0;
    vga->palette_write++;
}

uint8_t vga_port_read(struct vga *vga, unsigned port)
{
    const struct screen_registers *registers = &vga->registers;
    switch (colour_port(vga, port)) {
    case PORT_ATTRIBUTE:
        return registers->attribute_index;
    case PORT_ATTRIBUTE_READ:
        return registers->attribute[registers->attribute_index % ATTRIBUTE_COUNT];
    case PORT_MISC:
        return 0;
    case PORT_SEQUENCER_INDEX:
        return vga->sequencer_index;
    case PORT_SEQUENCER_DATA:
        return registers->sequencer[vga->sequencer_index];
    case PORT_PALETTE_MASK:
        return registers->palette_mask;
    case PORT_PALETTE_READ:
        return vga->palette_reading ? 3 : 0;
    case PORT_PALETTE_WRITE:
        return vga->palette_write;
    case PORT_PALETTE_DATA:
        return palette_data_read(vga);
    case PORT_FEATURE_READ:
        return vga->feature;
    case PORT_MISC_READ:
        return vga->misc;
    case PORT_GRAPHICS_INDEX:
        return vga->graphics_index;
    case PORT_GRAPHICS_DATA:
        return registers->graphics[vga->graphics_index];
    case PORT_CRTC_INDEX:
        return vga->crtc_index;
    case PORT_CRTC_DATA:
        return registers->crtc[vga->crtc_index];
    case PORT_STATUS:
        return status(vga);
    default:
        return 0xff;
    }
}

static void attribute_write(struct vga *vga, uint8_t value)
{
    struct screen_registers *registers = &vga->registers;
    vga->attribute_data = !vga->attribute_data;
    if (vga->attribute_data) {
        registers->attribute_index = value & 0x3f;
        return;
    }
    unsigned index = registers->attribute_index % ATTRIBUTE_COUNT;
    registers->attribute[index] = index < ATTRIBUTE_MODE ? value & 0x3f : value;
}

static void crtc_write(struct vga *vga, uint8_t value)
{
    uint8_t *crtc = vga->registers.crtc;
    if (!(crtc[CRTC_RETRACE_END] & CRTC_PROTECT) || vga->crtc_index > CRTC_OVERFLOW)
        crtc[vga->crtc_index] = value;
    else if (vga->crtc_index == CRTC_OVERFLOW)
        crtc[CRTC_OVERFLOW] =
            (uint8_t)((crtc[CRTC_OVERFLOW] & ~OVERFLOW_COMPARE) | (value & OVERFLOW_COMPARE));
}

void vga_port_write(struct vga *vga, unsigned port, uint8_t value)
{
    struct screen_registers *registers = &vga->registers;
    switch (colour_port(vga, port)) {
    case PORT_ATTRIBUTE:
        attribute_write(vga, value);
        break;
    case PORT_MISC:
        vga->misc = value;
        break;
    case PORT_SEQUENCER_INDEX:
        vga->sequencer_index = value % SEQUENCER_COUNT;
        break;
    case PORT_SEQUENCER_DATA:
        registers->sequencer[vga->sequencer_index] = value & sequencer_mask[vga->sequencer_index];
        break;
    case PORT_PALETTE_MASK:
        registers->palette_mask = value;
        break;
    case PORT_PALETTE_READ:
        vga->palette_read = value;
        vga->palette_component = 0;
        vga->palette_reading = true;
        break;
    case PORT_PALETTE_WRITE:
        vga->palette_write = value;
        vga->palette_component = 0;
        vga->palette_reading = false;
        break;
    case PORT_PALETTE_DATA:
        palette_data_write(vga, value);
        break;
    case PORT_GRAPHICS_INDEX:
        vga->graphics_index = value % GRAPHICS_COUNT;
        break;
    case PORT_GRAPHICS_DATA:
        registers->graphics[vga->graphics_index] = value & graphics_mask[vga->graphics_index];
        break;
    case PORT_CRTC_INDEX:
        vga->crtc_index = value % CRTC_COUNT;
        break;
    case PORT_CRTC_DATA:
        crtc_write(vga, value);
        break;
    case PORT_STATUS:
        vga->feature = value;
        break;
    default:
        break;
    }
}
