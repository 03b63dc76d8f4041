/* SPDX-License-Identifier: Apache-2.0 */
/* The dots of each kind of picture. The memory may change meanwhile, and its addresses wrap. */
#include "display/picture.h"

#define MEMORY_MASK       ((uint32_t)SCREEN_MEMORY_SIZE - 1)
#define FONT_CELL         32 /* bytes of plane 2 for a character */
#define LINE_GRAPHICS     0xc0
#define LINE_GRAPHICS_END 0xdf

static uint8_t byte_at(const uint8_t *memory, uint32_t address)
{
    return memory[address & MEMORY_MASK];
}

static void draw_text(const struct picture *picture, const uint8_t *memory, unsigned line,
                      uint32_t *dots)
{
    unsigned row = line / picture->cell_height;
    unsigned scan = line % picture->cell_height;
    unsigned cursor_column = picture->columns, cursor_row = 0;
    if (!picture_cursor(picture, &cursor_column, &cursor_row) || cursor_row != row ||
        scan < picture->cursor_first || scan > picture->cursor_last)
        cursor_column = picture->columns;
    for (unsigned column = 0; column < picture->columns; column++) {
        uint16_t cell = picture_cell(picture, memory, column, row);
        uint8_t character = (uint8_t)cell, attribute = (uint8_t)(cell >> 8);
        uint32_t font = picture->fonts[!(attribute & 8)];
        uint32_t ink = picture->colours[attribute & 15];
        uint32_t paper = picture->colours[attribute >> 4 & (picture->blinks ? 7 : 15)];
        unsigned bits = byte_at(memory, font + (character * FONT_CELL + scan) * 4) << 1;
        if (picture->joins && character >= LINE_GRAPHICS && character <= LINE_GRAPHICS_END)
            bits |= bits >> 1 & 1;
        if (column == cursor_column)
            bits = 0x1ff;
        for (unsigned dot = 0; dot < picture->cell_width; dot++)
            *dots++ = bits & 0x100u >> dot ? ink : paper;
    }
}

/* Where a line of a graphics mode starts. */
static uint32_t line_start(const struct picture *picture, unsigned line)
{
    if (line >= picture->split)
        return (line - picture->split) * picture->line;
    if (picture->bank)
        return picture->start + line / 2 * picture->line + line % 2 * picture->bank;
    return picture->start + line * picture->line;
}

static void draw_planar(const struct picture *picture, const uint8_t *memory, unsigned line,
                        uint32_t *dots)
{
    uint32_t start = line_start(picture, line);
    for (unsigned x = 0; x < picture->width; x++) {
        unsigned colour = 0;
        for (unsigned plane = 0; plane < 4; plane++)
            colour |= (byte_at(memory, start + x / 8 * 4 + plane) >> (7 - x % 8) & 1u) << plane;
        dots[x] = picture->colours[colour];
    }
}

static void draw_cga(const struct picture *picture, const uint8_t *memory, unsigned line,
                     uint32_t *dots)
{
    uint32_t start = line_start(picture, line);
    for (unsigned x = 0; x < picture->width; x++) {
        /* Planes 0 and 1 hold the even and the odd bytes. */
        uint8_t bits = byte_at(memory, start + x / 8 * 4 + x / 4 % 2);
        dots[x] = picture->colours[bits >> (6 - x % 4 * 2) & 3];
    }
}

static void draw_bytes(const struct picture *picture, const uint8_t *memory, unsigned line,
                       uint32_t *dots)
{
    uint32_t start = line_start(picture, line);
    for (unsigned x = 0; x < picture->width; x++)
        dots[x] = picture->colours[byte_at(memory, start + x)];
}

/* `bits` bits of value from bit `shift` on, as a component of 8 bits. */
static uint32_t component(uint32_t value, unsigned shift, unsigned bits)
{
    uint32_t part = value >> shift & ((1u << bits) - 1);
    return part << (8 - bits) | part >> (2 * bits - 8);
}

static uint32_t colour_16(uint32_t value, unsigned green_bits)
{
    return component(value, 5 + green_bits, 5) << 16 | component(value, 5, green_bits) << 8 |
           component(value, 0, 5);
}

static void draw_direct(const struct picture *picture, const uint8_t *memory, unsigned line,
                        uint32_t *dots)
{
    unsigned bytes = (picture->depth + 7) / 8;
    uint32_t start = line_start(picture, line) & MEMORY_MASK;
    if (bytes == 4 && range_within(start, picture->width * UINT64_C(4), SCREEN_MEMORY_SIZE)) {
        memcpy(dots, memory + start, picture->width * sizeof(*dots));
        for (unsigned x = 0; x < picture->width; x++)
            dots[x] &= 0xffffff;
        return;
    }
    for (unsigned x = 0; x < picture->width; x++) {
        uint32_t value = 0;
        for (unsigned i = 0; i < bytes; i++)
            value |= (uint32_t)byte_at(memory, start + x * bytes + i) << 8 * i;
        dots[x] = bytes == 2 ? colour_16(value, picture->depth == 15 ? 5 : 6) : value & 0xffffff;
    }
}

void picture_draw_line(const struct picture *picture, const uint8_t *memory, unsigned line,
                       uint32_t *dots)
{
    static void (*const draw[])(const struct picture *, const uint8_t *, unsigned, uint32_t *) = {
        [PICTURE_TEXT] = draw_text,   [PICTURE_PLANAR] = draw_planar, [PICTURE_CGA] = draw_cga,
        [PICTURE_BYTES] = draw_bytes, [PICTURE_DIRECT] = draw_direct,
    };
    if (picture->kind == PICTURE_OFF)
        memset(dots, 0, picture->width * sizeof(*dots));
    else
        draw[picture->kind](picture, memory, line, dots);
}
