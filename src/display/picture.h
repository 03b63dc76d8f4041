/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a graphics card's registers and memory to what a monitor would show: the characters of the
 * text modes, and dots of every mode. Any register values give a picture of bounded size; nothing
 * outside the video memory is read.
 */
#ifndef NACRE_DISPLAY_PICTURE_H
#define NACRE_DISPLAY_PICTURE_H

#include "display/screen.h"

#include <stdbool.h>

#define PICTURE_WIDTH_MAX   VBE_WIDTH_MAX
#define PICTURE_HEIGHT_MAX  VBE_HEIGHT_MAX
#define PICTURE_COLUMNS_MAX 256
#define PICTURE_ROWS_MAX    256

enum picture_kind {
    PICTURE_OFF,    /* black */
    PICTURE_TEXT,   /* characters from plane 0, attributes from plane 1, their font from plane 2 */
    PICTURE_PLANAR, /* a bit of each plane makes a dot */
    PICTURE_CGA,    /* two bits a dot */
    PICTURE_BYTES,  /* a byte a dot */
    PICTURE_DIRECT, /* 16, 24 or 32 bits a dot */
};

struct picture {
    enum picture_kind kind;
    unsigned width, height; /* dots, at least 1 */
    unsigned depth;         /* PICTURE_DIRECT: 15, 16, 24 or 32 */
    uint32_t start;         /* byte of video memory at which the picture begins */
    uint32_t line;          /* bytes from a line to the next */
    uint32_t bank;          /* bytes that odd lines lie beyond the even ones; 0: lines follow */
    unsigned split;         /* from this line on, memory is shown from its start */
    unsigned columns, rows; /* PICTURE_TEXT */
    unsigned cell_width, cell_height;
    uint32_t cursor;                    /* byte of video memory of the cursor's cell */
    unsigned cursor_first, cursor_last; /* its lines; first > last: not shown */
    uint32_t fonts[2];                  /* bytes of video memory; by bit 3 of the attribute */
    bool blinks;                        /* bit 7 of attributes makes blink, not bright */
    bool joins;                         /* the ninth dot of line graphics repeats the eighth */
    uint32_t colours[256];              /* 0x00rrggbb, for the kinds with a palette */
};

void picture_describe(struct picture *picture, const struct screen_registers *registers);

/* A character with its attribute in the high byte, as the text modes hold it. Blank outside. */
uint16_t picture_cell(const struct picture *picture, const uint8_t *memory, unsigned column,
                      unsigned row);
/* Where the cursor is; false: nowhere to be seen. */
bool picture_cursor(const struct picture *picture, unsigned *column, unsigned *row);

/* Draws one line of picture->width dots, 0x00rrggbb. line < picture->height. */
void picture_draw_line(const struct picture *picture, const uint8_t *memory, unsigned line,
                       uint32_t *dots);

/* The text shown, as UTF-8 with a newline after each row, to be freed; "" when no text mode is set.
 * NULL: out of memory. */
char *picture_text(const struct screen *screen);

#endif
