/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text: the text screen in the terminal nacre was started on, in its colours, with its keys. The
 * screen is compared with what the terminal shows some 30 times a second, and only what differs is
 * written (ECMA-48 sequences). Graphics are named, not shown.
 */
#include "base/clock.h"
#include "display/codepage.h"
#include "display/picture.h"
#include "display/terminal_keys.h"
#include "display/view.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define OUTPUT_SIZE 16384
#define PIECE_SIZE  64          /* of output, at most */
#define UNKNOWN     0xffffffffu /* what the terminal shows in a cell nobody has written to */

struct text_view {
    struct display display;
    struct loop_timer *timer;
    unsigned columns, rows; /* that the terminal shows now; 0: all is to be written */
    uint32_t shown[PICTURE_ROWS_MAX][PICTURE_COLUMNS_MAX];
    unsigned pen_column, pen_row; /* where the terminal's cursor is */
    uint32_t colours;             /* attribute set last, or UNKNOWN */
    unsigned cursor_column, cursor_row;
    bool cursor_seen;
    char output[OUTPUT_SIZE];
    size_t output_length;
};

static void flush(struct text_view *view)
{
    console_write(view->display.console, (const uint8_t *)view->output, view->output_length);
    view->output_length = 0;
}

static void put(struct text_view *view, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void put(struct text_view *view, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (view->output_length + PIECE_SIZE > OUTPUT_SIZE)
        flush(view);
    int length = vsnprintf(view->output + view->output_length, PIECE_SIZE, format, arguments);
    va_end(arguments);
    view->output_length += (size_t)(length < PIECE_SIZE ? length : PIECE_SIZE - 1);
}

static void move_to(struct text_view *view, unsigned column, unsigned row)
{
    if (view->pen_column != column || view->pen_row != row)
        put(view, "\x1b[%u;%uH", row + 1, column + 1);
    view->pen_column = column;
    view->pen_row = row;
}

/* The PC's colours are blue-green-red, the terminal's red-green-blue; bit 3 is brightness. */
static unsigned terminal_colour(unsigned colour, unsigned normal, unsigned bright)
{
    unsigned swapped = (colour & 2) | (colour >> 2 & 1) | (colour & 1) << 2;
    return swapped + (colour & 8 ? bright : normal);
}

static void set_colours(struct text_view *view, const struct picture *picture, uint8_t attribute)
{
    unsigned paper = attribute >> 4 & (picture->blinks ? 7u : 15u);
    if (view->colours == attribute)
        return;
    put(view, "\x1b[0;%u;%u%sm", terminal_colour(attribute & 15, 30, 90),
        terminal_colour(paper, 40, 100), picture->blinks && attribute & 0x80 ? ";5" : "");
    view->colours = attribute;
}

static void put_cell(struct text_view *view, const struct picture *picture, unsigned column,
                     unsigned row, uint16_t cell)
{
    char text[CODEPAGE_UTF8_MAX];
    if (view->shown[row][column] == cell)
        return;
    move_to(view, column, row);
    set_colours(view, picture, (uint8_t)(cell >> 8));
    put(view, "%.*s", (int)codepage_utf8((uint8_t)cell, text), text);
    view->shown[row][column] = cell;
    view->pen_column++;
}

static void start_over(struct text_view *view, unsigned columns, unsigned rows)
{
    memset(view->shown, 0xff, sizeof(view->shown));
    view->columns = columns;
    view->rows = rows;
    view->colours = view->pen_column = view->pen_row = UNKNOWN;
    view->cursor_seen = false;
    put(view, "\x1b[0m\x1b[2J\x1b[?25l");
}

/* The terminal's own cursor stands in for the screen's. */
static void put_cursor(struct text_view *view, const struct picture *picture, unsigned columns,
                       unsigned rows)
{
    unsigned column, row;
    bool seen = picture_cursor(picture, &column, &row) && column < columns && row < rows;
    if (seen)
        move_to(view, column, row);
    if (seen != view->cursor_seen)
        put(view, seen ? "\x1b[?25h" : "\x1b[?25l");
    view->cursor_seen = seen;
}

static unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static void show_text(struct text_view *view, const struct picture *picture)
{
    uint16_t columns = PICTURE_COLUMNS_MAX, rows = PICTURE_ROWS_MAX;
    console_size(view->display.console, &columns, &rows);
    unsigned width = smaller(picture->columns, columns), height = smaller(picture->rows, rows);
    if (view->columns != width || view->rows != height)
        start_over(view, width, height);
    for (unsigned row = 0; row < height; row++)
        for (unsigned column = 0; column < width; column++)
            put_cell(view, picture, column, row,
                     picture_cell(picture, view->display.screen->memory, column, row));
    put_cursor(view, picture, width, height);
}

/* One line in place of what the terminal cannot show. */
static void show_note(struct text_view *view, const struct picture *picture)
{
    if (view->columns == picture->width && view->rows == picture->height)
        return;
    start_over(view, picture->width, picture->height);
    put(view, "\x1b[H(graphics: %u x %u)", picture->width, picture->height);
}

static void look(void *opaque)
{
    struct text_view *view = opaque;
    struct screen_registers registers;
    struct picture picture;
    if (screen_registers(view->display.screen, &registers)) {
        picture_describe(&picture, &registers);
        if (picture.kind == PICTURE_TEXT)
            show_text(view, &picture);
        else if (picture.kind != PICTURE_OFF)
            show_note(view, &picture);
        flush(view);
    }
    loop_timer_arm(view->timer, clock_monotonic_ns() + VIEW_INTERVAL_NS);
}

static unsigned terminal_input(void *opaque, const uint8_t *bytes, unsigned count)
{
    struct text_view *view = opaque;
    terminal_keys_type(view->display.typist, bytes, count);
    return count;
}

static void terminal_resized(void *opaque)
{
    ((struct text_view *)opaque)->columns = 0;
}

static int text_create(struct display *display, struct error *error)
{
    struct text_view *view = (struct text_view *)display;
    struct console_config config;
    int result = console_parse("display text", (char[]){"stdio"}, &config, error);
    if (result < 0)
        return result;
    display->console = console_create(&config, display->host.loop, display->host.quit,
                                      display->host.opaque, error);
    if (!display->console)
        return -EIO;
    const struct console_sink sink = {
        .receive = terminal_input, .resized = terminal_resized, .opaque = view};
    console_bind(display->console, &sink);
    view->timer = loop_timer_create(display->host.loop, look, view, error);
    return view->timer ? 0 : -ENOMEM;
}

static int text_start(struct display *display, struct error *error)
{
    int result = console_connect(display->console, error);
    if (result == 0)
        look(display);
    return result;
}

/* Leaves the terminal with its own colours and cursor, below the screen. */
static void text_close(struct display *display)
{
    struct text_view *view = (struct text_view *)display;
    if (view->columns) {
        put(view, "\x1b[0m\x1b[?25h\x1b[%u;1H\r\n", view->rows);
        flush(view);
    }
    if (view->timer)
        loop_timer_destroy(view->timer);
}

const struct display_ops display_text = {
    .name = "text",
    .word = "text",
    .is_terminal = true,
    .size = sizeof(struct text_view),
    .create = text_create,
    .start = text_start,
    .close = text_close,
};
