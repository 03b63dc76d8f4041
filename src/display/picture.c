/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the registers mean: IBM VGA Technical Reference, "CRT Controller", "Attribute Controller"
 * and "Video Digital to Analog Converter". Addresses count groups of four bytes, one of each plane
 * (device/vga_memory.c says why).
 */
#include "display/picture.h"

#include "display/codepage.h"

#include <stdlib.h>

#define DOUBLE_SCAN BIT(7) /* in CRTC_MAX_SCAN */
#define CURSOR_OFF  BIT(5) /* in CRTC_CURSOR_START */

static unsigned at_most(unsigned value, unsigned limit)
{
    return value < limit ? value : limit;
}

static uint32_t colour_of(const struct screen_registers *registers, uint8_t index)
{
    const uint8_t *entry = registers->palette + 3 * (index & registers->palette_mask);
    bool wide = registers->vbe[VBE_ENABLE] & VBE_8_BIT_DAC;
    uint32_t colour = 0;
    for (unsigned i = 0; i < 3; i++)
        colour = colour << 8 | (wide ? entry[i] : (entry[i] & 63u) << 2 | (entry[i] & 63u) >> 4);
    return colour;
}

/* The attribute controller's 16 colours. */
static uint32_t attribute_colour(const struct screen_registers *registers, unsigned index)
{
    const uint8_t *attribute = registers->attribute;
    uint8_t colour = attribute[index & attribute[ATTRIBUTE_PLANES] & 15];
    uint8_t select = attribute[ATTRIBUTE_COLOUR];
    if (attribute[ATTRIBUTE_MODE] & ATTRIBUTE_P54)
        colour = (uint8_t)((colour & 15) | (select & 3) << 4);
    return colour_of(registers, (uint8_t)((colour & 63) | (select & 12) << 4));
}

static void describe_colours(struct picture *picture, const struct screen_registers *registers)
{
    bool direct = picture->kind == PICTURE_BYTES;
    for (unsigned i = 0; i < (direct ? 256u : 16u); i++)
        picture->colours[i] =
            direct ? colour_of(registers, (uint8_t)i) : attribute_colour(registers, i);
}

static unsigned crtc_word(const uint8_t *crtc, enum screen_crtc high)
{
    return crtc[high] << 8 | crtc[high + 1];
}

/* Lines of the picture, and the last one before the split. */
static unsigned line_count(const uint8_t *crtc)
{
    unsigned overflow = crtc[CRTC_OVERFLOW];
    unsigned lines = 1 + (crtc[CRTC_ROWS] | (overflow & 2) << 7 | (overflow & 0x40) << 3);
    return crtc[CRTC_MAX_SCAN] & DOUBLE_SCAN ? lines / 2 : lines;
}

static unsigned line_compare(const uint8_t *crtc)
{
    unsigned line = crtc[CRTC_LINE_COMPARE] | (crtc[CRTC_OVERFLOW] & 0x10u) << 4 |
                    (crtc[CRTC_MAX_SCAN] & 0x40u) << 3;
    return crtc[CRTC_MAX_SCAN] & DOUBLE_SCAN ? line / 2 : line;
}

/* Font number to the byte of video memory: banks of 8 KiB in an odd order, in plane 2. */
static uint32_t font_start(unsigned number)
{
    return ((number & 3) * (uint32_t)KIB(16) + (number & 4 ? (uint32_t)KIB(8) : 0)) * 4 + 2;
}

static void describe_text(struct picture *picture, const struct screen_registers *registers)
{
    const uint8_t *crtc = registers->crtc;
    uint8_t clocking = registers->sequencer[SEQUENCER_CLOCKING];
    uint8_t font = registers->sequencer[SEQUENCER_FONT],
            mode = registers->attribute[ATTRIBUTE_MODE];
    picture->kind = PICTURE_TEXT;
    picture->columns = at_most(crtc[CRTC_COLUMNS] + 1u, PICTURE_COLUMNS_MAX);
    picture->cell_width = clocking & CLOCKING_8_DOTS ? 8 : 9;
    picture->cell_height = (crtc[CRTC_MAX_SCAN] & 31u) + 1;
    picture->rows = at_most(line_count(crtc) / picture->cell_height, PICTURE_ROWS_MAX);
    picture->rows = picture->rows ? picture->rows : 1;
    picture->columns = at_most(picture->columns, PICTURE_WIDTH_MAX / picture->cell_width);
    picture->width = picture->columns * picture->cell_width;
    picture->height = at_most(picture->rows * picture->cell_height, PICTURE_HEIGHT_MAX);
    picture->cursor = crtc_word(crtc, CRTC_CURSOR_HIGH) * 4;
    picture->cursor_first =
        crtc[CRTC_CURSOR_START] & CURSOR_OFF ? 32 : crtc[CRTC_CURSOR_START] & 31u;
    picture->cursor_last = at_most(crtc[CRTC_CURSOR_END] & 31u, picture->cell_height - 1);
    picture->fonts[0] = font_start((font & 3u) | (font >> 2 & 4u));
    picture->fonts[1] = font_start((font >> 2 & 3u) | (font >> 3 & 4u));
    picture->blinks = mode & ATTRIBUTE_BLINK;
    picture->joins = mode & ATTRIBUTE_LINE_GRAPH;
}

static void describe_dots(struct picture *picture, const struct screen_registers *registers)
{
    const uint8_t *crtc = registers->crtc;
    uint8_t mode = registers->graphics[GRAPHICS_MODE];
    unsigned repeat = (crtc[CRTC_MAX_SCAN] & 31u) + 1;
    picture->kind = mode & GRAPHICS_MODE_256 ? PICTURE_BYTES : PICTURE_PLANAR;
    if (picture->kind == PICTURE_PLANAR && mode & GRAPHICS_MODE_CGA)
        picture->kind = PICTURE_CGA;
    /* CGA's modes show two banks on the two lines of what would be a row of characters: the row
     * takes the place of address bit 13. */
    if (!(crtc[CRTC_MODE] & CRTC_NO_BANKS) && repeat == 2) {
        picture->bank = picture->kind == PICTURE_CGA ? KIB(4) * 4 : KIB(8) * 4;
    } else {
        picture->height /= repeat;
        picture->split /= repeat;
    }
    picture->height = picture->height ? picture->height : 1;
    /* A byte takes two dots' time. */
    picture->width = (crtc[CRTC_COLUMNS] + 1u) * (picture->kind == PICTURE_BYTES ? 4 : 8);
}

static void describe_vga(struct picture *picture, const struct screen_registers *registers)
{
    const uint8_t *crtc = registers->crtc;
    picture->height = at_most(line_count(crtc), PICTURE_HEIGHT_MAX);
    picture->start = crtc_word(crtc, CRTC_START_HIGH) * 4;
    picture->line = crtc[CRTC_OFFSET] * 8u;
    picture->split = line_compare(crtc) + 1;
    if (registers->sequencer[SEQUENCER_CLOCKING] & CLOCKING_OFF ||
        !(registers->attribute_index & ATTRIBUTE_VIDEO)) {
        picture->width = 640;
        picture->height = 400;
    } else if (registers->graphics[GRAPHICS_MISC] & GRAPHICS_NO_TEXT) {
        describe_dots(picture, registers);
    } else {
        describe_text(picture, registers);
    }
}

static void describe_vbe(struct picture *picture, const struct screen_registers *registers)
{
    const uint16_t *vbe = registers->vbe;
    unsigned depth = vbe[VBE_DEPTH], bits = depth == 15 ? 16 : depth;
    picture->kind = depth == 4 ? PICTURE_PLANAR : depth == 8 ? PICTURE_BYTES : PICTURE_DIRECT;
    picture->depth = depth;
    picture->width = at_most(vbe[VBE_WIDTH], PICTURE_WIDTH_MAX);
    picture->height = at_most(vbe[VBE_HEIGHT], PICTURE_HEIGHT_MAX);
    picture->width = picture->width ? picture->width : 1;
    picture->height = picture->height ? picture->height : 1;
    picture->split = PICTURE_HEIGHT_MAX;
    picture->line = vbe[VBE_VIRTUAL_WIDTH] * bits / 8;
    picture->start = vbe[VBE_Y] * picture->line + vbe[VBE_X] * bits / 8;
}

void picture_describe(struct picture *picture, const struct screen_registers *registers)
{
    *picture = (struct picture){.kind = PICTURE_OFF};
    if (registers->vbe[VBE_ENABLE] & VBE_ENABLED)
        describe_vbe(picture, registers);
    else
        describe_vga(picture, registers);
    describe_colours(picture, registers);
}

/* Memory wraps. */
static uint32_t cell_start(const struct picture *picture, unsigned column, unsigned row)
{
    uint32_t start = picture->start;
    if (row * picture->cell_height >= picture->split) {
        start = 0;
        row -= picture->split / (picture->cell_height);
    }
    return (start + row * picture->line + column * 4) & (SCREEN_MEMORY_SIZE - 1);
}

uint16_t picture_cell(const struct picture *picture, const uint8_t *memory, unsigned column,
                      unsigned row)
{
    if (column >= picture->columns || row >= picture->rows)
        return 0;
    return (uint16_t)load_le(memory + cell_start(picture, column, row), 2);
}

bool picture_cursor(const struct picture *picture, unsigned *column, unsigned *row)
{
    if (picture->kind != PICTURE_TEXT || picture->cursor_first > picture->cursor_last ||
        !picture->line || picture->cursor < picture->start)
        return false;
    *row = (picture->cursor - picture->start) / picture->line;
    *column = (picture->cursor - picture->start) % picture->line / 4;
    return *row < picture->rows && *column < picture->columns;
}

char *picture_text(const struct screen *screen)
{
    struct screen_registers registers;
    struct picture picture = {.kind = PICTURE_OFF};
    if (screen_registers(screen, &registers))
        picture_describe(&picture, &registers);
    char *text = malloc((picture.columns * CODEPAGE_UTF8_MAX + 1) * picture.rows + 1), *end = text;
    if (!text)
        return NULL;
    for (unsigned row = 0; row < picture.rows; row++) {
        for (unsigned column = 0; column < picture.columns; column++)
            end += codepage_utf8((uint8_t)picture_cell(&picture, screen->memory, column, row), end);
        while (end > text && end[-1] == ' ')
            end--;
        *end++ = '\n';
    }
    *end = 0;
    return text;
}
