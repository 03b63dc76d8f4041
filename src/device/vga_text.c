/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text mode 3, 80 columns and 25 lines of 8x16 dots in cells of 9, as firmware leaves it: for
 * kernels that are started without firmware. The values are those of IBM's mode table (VGA
 * Technical Reference, "BIOS mode 3+"); the font is found in the VGA BIOS.
 */
#include "device/vga_private.h"

#define FONT_HEIGHT 16
#define FONT_CELL   32 /* bytes of plane 2 for a character */
#define FONT_SIZE   (256 * FONT_HEIGHT)

static const uint8_t sequencer[] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t crtc[] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00,
                               0x4f, 0x0d, 0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e,
                               0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const uint8_t graphics[] = {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff};
static const uint8_t attribute[] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                    0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
                                    0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};
#define MISC_MODE_3 0x67

/* The EGA's 64 colours, two bits a component: bits 2 to 0 are worth 0x2a, bits 5 to 3 0x15. */
static void set_palette(uint8_t *palette)
{
    for (unsigned colour = 0; colour < 64; colour++)
        for (unsigned component = 0; component < 3; component++) {
            unsigned bit = 2 - component;
            palette[colour * 3 + component] =
                (uint8_t)((colour >> bit & 1) * 0x2a + (colour >> (bit + 3) & 1) * 0x15);
        }
}

/* Character 0 is empty, and character 1 the face that every PC has there. NULL: no font. */
static const uint8_t *find_font(const uint8_t *rom, size_t size)
{
    static const uint8_t start[2 * FONT_HEIGHT] = {
        [FONT_HEIGHT + 2] = 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
    const uint8_t *font = size < FONT_SIZE ? NULL : memmem(rom, size, start, sizeof(start));
    return font && (size_t)(font - rom) <= size - FONT_SIZE ? font : NULL;
}

void vga_set_text_mode(struct vga *vga)
{
    struct screen_registers *registers = &vga->registers;
    memcpy(registers->sequencer, sequencer, sizeof(sequencer));
    memcpy(registers->crtc, crtc, sizeof(crtc));
    memcpy(registers->graphics, graphics, sizeof(graphics));
    memcpy(registers->attribute, attribute, sizeof(attribute));
    registers->attribute_index = ATTRIBUTE_VIDEO;
    registers->palette_mask = 0xff;
    set_palette(registers->palette);
    vga->misc = MISC_MODE_3;
    for (unsigned cell = 0; cell < KIB(16); cell++)
        store_le(vga->memory + cell * 4, 0x0720, 2); /* grey blanks on black */
    const uint8_t *font = find_font(vga->rom, vga->rom_size);
    for (unsigned i = 0; font && i < FONT_SIZE; i++)
        vga->memory[(i / FONT_HEIGHT * FONT_CELL + i % FONT_HEIGHT) * 4 + 2] = font[i];
}
