/* SPDX-License-Identifier: Apache-2.0 */
/* The graphics card through its registers and windows, and the picture that comes of it. */
#include "board.h"
#include "device/vga.h"
#include "display/picture.h"
#include "display/png.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW   0xa0000u
#define TEXT     0xb8000u
#define LINEAR   0xe0000000u
#define REGISTER 0xf0000000u
#define ROM      0xf1000000u
#define WHITE    0xffffffu

enum { SEQUENCER = 0x3c4, GRAPHICS = 0x3ce, CRTC = 0x3d4 };

struct fixture {
    struct board *board;
    struct screen *screen;
    struct pci_bus *pci;
    uint8_t rom[8192]; /* with a font at an odd place */
};

#define FONT_START 777

static void config_write(struct fixture *fixture, unsigned reg, uint32_t value)
{
    bus_write(&fixture->board->bus, BUS_PORT, 0xcf8, BIT(31) | reg, 4);
    bus_write(&fixture->board->bus, BUS_PORT, 0xcfc, value, 4);
}

static uint32_t config_read(struct fixture *fixture, unsigned reg)
{
    bus_write(&fixture->board->bus, BUS_PORT, 0xcf8, BIT(31) | reg, 4);
    return (uint32_t)bus_read(&fixture->board->bus, BUS_PORT, 0xcfc, 4);
}

/* A font whose character c has the line pattern c in each line, but for the face that marks it. */
static void make_font(uint8_t *font)
{
    static const uint8_t face[] = {0,    0,    0x7e, 0x81, 0xa5, 0x81,
                                   0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
    memset(font, 0, 16);
    for (unsigned c = 1; c < 256; c++)
        memset(font + c * 16, (int)c, 16);
    memset(font + 16, 0, 16);
    memcpy(font + 16, face, sizeof(face));
}

static int setup(void **state)
{
    struct error error = {0};
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    board_setup((void **)&fixture->board);
    make_font(fixture->rom + FONT_START);
    fixture->screen = screen_create(&error);
    fixture->pci = pci_bus_create(&fixture->board->bus, &error);
    assert_int_equal(
        vga_create(fixture->pci, fixture->screen, fixture->rom, sizeof(fixture->rom), &error), 0);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    board_destroy(fixture->board);
    screen_destroy(fixture->screen);
    free(fixture);
    return 0;
}

/* As firmware without its own program: text mode 3, BARs where these tests want them. */
static void start(struct fixture *fixture)
{
    pci_assign_resources(fixture->pci);
    config_write(fixture, 0x10, LINEAR);
    config_write(fixture, 0x18, REGISTER);
}

static void set(struct fixture *fixture, unsigned port, unsigned index, unsigned value)
{
    bus_write(&fixture->board->bus, BUS_PORT, port, index | value << 8, 2);
}

static void vbe(struct fixture *fixture, unsigned index, unsigned value)
{
    bus_write(&fixture->board->bus, BUS_PORT, 0x1ce, index, 2);
    bus_write(&fixture->board->bus, BUS_PORT, 0x1cf, value, 2);
}

static uint16_t vbe_get(struct fixture *fixture, unsigned index)
{
    bus_write(&fixture->board->bus, BUS_PORT, 0x1ce, index, 2);
    return (uint16_t)bus_read(&fixture->board->bus, BUS_PORT, 0x1cf, 2);
}

static void vbe_mode(struct fixture *fixture, unsigned width, unsigned height, unsigned depth)
{
    vbe(fixture, VBE_ENABLE, 0);
    vbe(fixture, VBE_WIDTH, width);
    vbe(fixture, VBE_HEIGHT, height);
    vbe(fixture, VBE_DEPTH, depth);
    vbe(fixture, VBE_ENABLE, VBE_ENABLED | VBE_LINEAR);
}

static void poke(struct fixture *fixture, uint64_t address, uint64_t value, unsigned size)
{
    bus_write(&fixture->board->bus, BUS_MMIO, address, value, size);
}

static uint64_t peek(struct fixture *fixture, uint64_t address, unsigned size)
{
    return bus_read(&fixture->board->bus, BUS_MMIO, address, size);
}

static struct picture look(struct fixture *fixture)
{
    struct screen_registers registers;
    struct picture picture;
    assert_true(screen_registers(fixture->screen, &registers));
    picture_describe(&picture, &registers);
    return picture;
}

static uint32_t dot(struct fixture *fixture, unsigned x, unsigned y)
{
    uint32_t dots[PICTURE_WIDTH_MAX];
    struct picture picture = look(fixture);
    assert_in_range(y, 0, picture.height - 1);
    picture_draw_line(&picture, fixture->screen->memory, y, dots);
    return dots[x];
}

static void write_text(struct fixture *fixture, unsigned row, unsigned column, const char *text,
                       uint8_t attribute)
{
    for (; *text; text++, column++)
        poke(fixture, TEXT + (row * 80 + column) * 2, (uint8_t)*text | attribute << 8, 2);
}

static void test_text(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(look(fixture).kind, PICTURE_OFF);
    start(fixture);
    struct picture picture = look(fixture);
    assert_int_equal(picture.kind, PICTURE_TEXT);
    assert_int_equal(picture.columns, 80);
    assert_int_equal(picture.rows, 25);
    assert_int_equal(picture.width, 720);
    assert_int_equal(picture.height, 400);
    write_text(fixture, 0, 0, "Hello", 0x07);
    write_text(fixture, 24, 76, "end\xc9", 0x4f);
    char *text = picture_text(fixture->screen);
    assert_int_equal(strncmp(text, "Hello\n\n", 7), 0);
    const char *last = "end\xe2\x95\x94\n"; /* ╔ */
    assert_string_equal(text + strlen(text) - strlen(last), last);
    free(text);
    assert_int_equal(peek(fixture, TEXT, 2), 'H' | 0x0700);
}

/* The font's dots in the attribute's colours, the ninth dot of line graphics, the cursor. */
static void test_text_dots(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    set(fixture, CRTC, CRTC_CURSOR_START, 0x20);
    write_text(fixture, 1, 2, "\x80", 0x1e); /* the leftmost dot */
    assert_int_equal(dot(fixture, 2 * 9, 16), 0xffff55);
    assert_int_equal(dot(fixture, 2 * 9 + 1, 16), 0x0000aa);
    assert_int_equal(dot(fixture, 2 * 9 + 8, 31), 0x0000aa);
    write_text(fixture, 1, 3, "\xc1", 0x07); /* dots 0, 1 and 7: the ninth joins */
    assert_int_equal(dot(fixture, 3 * 9 + 8, 20), 0xaaaaaa);
    write_text(fixture, 1, 4, "\x01", 0x07);
    assert_int_equal(dot(fixture, 4 * 9 + 1, 16 + 2), 0xaaaaaa);
    set(fixture, CRTC, CRTC_CURSOR_START, 14);
    set(fixture, CRTC, CRTC_CURSOR_END, 15);
    set(fixture, CRTC, CRTC_CURSOR_HIGH, 0);
    set(fixture, CRTC, CRTC_CURSOR_LOW, 85);
    assert_int_equal(dot(fixture, 5 * 9, 16 + 13), 0);
    assert_int_equal(dot(fixture, 5 * 9, 16 + 14), 0xaaaaaa);
}

/* The screen begins elsewhere, and memory's end is not one. */
static void test_start_address(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    write_text(fixture, 3, 0, "third", 0x07);
    set(fixture, CRTC, CRTC_START_LOW, 3 * 80 % 256);
    char *text = picture_text(fixture->screen);
    assert_int_equal(strncmp(text, "third\n", 6), 0);
    free(text);
    set(fixture, CRTC, CRTC_START_HIGH, 0xff);
    set(fixture, CRTC, CRTC_OFFSET, 0xff);
    free(picture_text(fixture->screen));
    for (unsigned y = 0; y < 400; y += 13)
        dot(fixture, 0, y);
}

static void set_planar_mode(struct fixture *fixture)
{
    start(fixture);
    set(fixture, SEQUENCER, SEQUENCER_MODE, 0x06);
    set(fixture, SEQUENCER, SEQUENCER_MAP_MASK, 0x0f);
    set(fixture, GRAPHICS, GRAPHICS_MODE, 0);
    set(fixture, GRAPHICS, GRAPHICS_MISC, 0x05); /* graphics at 0xa0000 */
    set(fixture, GRAPHICS, GRAPHICS_BIT_MASK, 0xff);
    set(fixture, CRTC, CRTC_MAX_SCAN, 0x40);
    set(fixture, CRTC, CRTC_MODE, 0xe3);
}

static void test_planar_writes(void **state)
{
    struct fixture *fixture = *state;
    set_planar_mode(fixture);
    struct picture picture = look(fixture);
    assert_int_equal(picture.kind, PICTURE_PLANAR);
    assert_int_equal(picture.width, 640);
    const uint8_t *memory = fixture->screen->memory;
    poke(fixture, WINDOW + 10, 0xa5, 1); /* mode 0: all planes */
    assert_int_equal(load_le(memory + 40, 4), 0xa5a5a5a5);
    set(fixture, SEQUENCER, SEQUENCER_MAP_MASK, 0x05);
    poke(fixture, WINDOW + 10, 0x3c, 1);
    assert_int_equal(load_le(memory + 40, 4), 0xa53ca53c);
    set(fixture, SEQUENCER, SEQUENCER_MAP_MASK, 0x0f);
    peek(fixture, WINDOW + 10, 1); /* latches */
    set(fixture, GRAPHICS, GRAPHICS_MODE, 1);
    poke(fixture, WINDOW + 11, 0, 1); /* mode 1: copies them */
    assert_int_equal(load_le(memory + 44, 4), 0xa53ca53c);
    set(fixture, GRAPHICS, GRAPHICS_MODE, 2);
    set(fixture, GRAPHICS, GRAPHICS_BIT_MASK, 0x0f);
    poke(fixture, WINDOW + 11, 0x09, 1); /* mode 2: a colour, in four dots */
    assert_int_equal(load_le(memory + 44, 4), 0xaf30a03f);
    set(fixture, GRAPHICS, GRAPHICS_MODE, 3);
    set(fixture, GRAPHICS, GRAPHICS_SET_RESET, 0x02);
    set(fixture, GRAPHICS, GRAPHICS_BIT_MASK, 0xff);
    poke(fixture, WINDOW + 12, 0x81, 1); /* mode 3: the byte is the mask, the latches lie below */
    assert_int_equal(load_le(memory + 48, 4), 0x243ca53c);
}

/* Rotation, functions with the latches, set/reset by plane. */
static void test_planar_functions(void **state)
{
    static const struct {
        uint8_t rotate;
        uint32_t result;
    } cases[] = {{0x00, 0x0f0f0f0f},
                 {0x04, 0xf0f0f0f0},
                 {0x08, 0x0c0c0c0c},
                 {0x10, 0x3f3f3f3f},
                 {0x18, 0x33333333}};
    struct fixture *fixture = *state;
    set_planar_mode(fixture);
    poke(fixture, WINDOW, 0x3c, 1);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        peek(fixture, WINDOW, 1);
        set(fixture, GRAPHICS, GRAPHICS_ROTATE, cases[i].rotate);
        poke(fixture, WINDOW + 1, 0x0f, 1);
        assert_int_equal(load_le(fixture->screen->memory + 4, 4), cases[i].result);
    }
    set(fixture, GRAPHICS, GRAPHICS_ROTATE, 0);
    set(fixture, GRAPHICS, GRAPHICS_ENABLE_SET, 0x03);
    set(fixture, GRAPHICS, GRAPHICS_SET_RESET, 0x01);
    poke(fixture, WINDOW + 2, 0x55, 1);
    assert_int_equal(load_le(fixture->screen->memory + 8, 4), 0x555500ff);
}

static void test_planar_reads(void **state)
{
    struct fixture *fixture = *state;
    set_planar_mode(fixture);
    store_le(fixture->screen->memory, 0x0ff05533, 4);
    for (unsigned plane = 0; plane < 4; plane++) {
        set(fixture, GRAPHICS, GRAPHICS_READ_MAP, plane);
        assert_int_equal(peek(fixture, WINDOW, 1), 0x0ff05533 >> 8 * plane & 0xff);
    }
    set(fixture, GRAPHICS, GRAPHICS_MODE, 0x08); /* colour compare */
    set(fixture, GRAPHICS, GRAPHICS_COMPARE, 0x03);
    set(fixture, GRAPHICS, GRAPHICS_DONT_CARE, 0x0f);
    assert_int_equal(peek(fixture, WINDOW, 1), 0x33 & 0x55 & ~0xf0 & ~0x0f & 0xff);
    set(fixture, GRAPHICS, GRAPHICS_DONT_CARE, 0x03);
    assert_int_equal(peek(fixture, WINDOW, 1), 0x33 & 0x55);
}

static void set_palette(struct fixture *fixture, unsigned index, unsigned colour)
{
    board_out(fixture->board, 0x3c8, (uint8_t)index);
    for (int shift = 16; shift >= 0; shift -= 8)
        board_out(fixture->board, 0x3c9, (uint8_t)(colour >> shift));
}

/* Mode 13h: 320x200, a byte a dot; the window is plain memory then. */
static void test_chain_4(void **state)
{
    struct fixture *fixture = *state;
    set_planar_mode(fixture);
    assert_null(memory_window_hva(fixture->board->memory, WINDOW));
    set(fixture, SEQUENCER, SEQUENCER_MODE, 0x0e);
    set(fixture, GRAPHICS, GRAPHICS_MODE, 0x40);
    set(fixture, CRTC, CRTC_MAX_SCAN, 0x41);
    set(fixture, CRTC, CRTC_OFFSET, 40);
    struct picture picture = look(fixture);
    assert_int_equal(picture.kind, PICTURE_BYTES);
    assert_int_equal(picture.width, 320);
    assert_int_equal(picture.height, 200);
    set_palette(fixture, 77, 0x3f2010);
    poke(fixture, WINDOW + 320 * 100 + 5, 77, 1);
    assert_int_equal(dot(fixture, 5, 100), 0xff8241);
    uint8_t *hva = memory_window_hva(fixture->board->memory, WINDOW + 321);
    assert_ptr_equal(hva, fixture->screen->memory + 321);
    set(fixture, SEQUENCER, SEQUENCER_MAP_MASK,
        0x07); /* one plane is left alone: no longer plain */
    assert_null(memory_window_hva(fixture->board->memory, WINDOW));
    poke(fixture, WINDOW + 3, 1, 1);
    assert_int_equal(fixture->screen->memory[3], 0);
}

static void test_vbe(void **state)
{
    static const struct {
        unsigned depth;
        uint32_t value, colour;
    } cases[] = {{15, 0x7c1f, 0xff00ff},
                 {16, 0x07e0, 0x00ff00},
                 {24, 0x123456, 0x123456},
                 {32, 0xff654321, 0x654321}};
    struct fixture *fixture = *state;
    start(fixture);
    assert_int_equal(vbe_get(fixture, VBE_ID), 0xb0c5);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        vbe_mode(fixture, 1024, 768, cases[i].depth);
        unsigned bytes = (cases[i].depth + 7) / 8;
        poke(fixture, LINEAR + (700 * 1024 + 1000) * bytes, cases[i].value, 4);
        struct picture picture = look(fixture);
        assert_int_equal(picture.width, 1024);
        assert_int_equal(picture.height, 768);
        assert_int_equal(dot(fixture, 1000, 700), cases[i].colour);
    }
    assert_ptr_equal(memory_window_hva(fixture->board->memory, LINEAR + 4096),
                     fixture->screen->memory + 4096);
    config_write(fixture, 0x10, LINEAR + 0x1000000);
    assert_null(memory_window_hva(fixture->board->memory, LINEAR));
    assert_non_null(memory_window_hva(fixture->board->memory, LINEAR + 0x1000000));
}

static void test_vbe_banks(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    set(fixture, GRAPHICS, GRAPHICS_MISC, 0x05);
    vbe_mode(fixture, 640, 480, 8);
    vbe(fixture, VBE_BANK, 3);
    poke(fixture, WINDOW + 1, 99, 1);
    assert_int_equal(fixture->screen->memory[3 * 65536 + 1], 99);
    assert_ptr_equal(memory_window_hva(fixture->board->memory, WINDOW),
                     fixture->screen->memory + 3 * 65536);
    vbe(fixture, VBE_BANK, 256); /* behind the end: ignored */
    assert_int_equal(vbe_get(fixture, VBE_BANK), 3);
    vbe(fixture, VBE_BANK, 255);
    uint8_t *last = memory_window_hva(fixture->board->memory, WINDOW + 65535);
    assert_ptr_equal(last, fixture->screen->memory + SCREEN_MEMORY_SIZE - 1);
}

/* Strides and offsets that lead out of the memory show something, and read nothing else. */
static void test_vbe_extremes(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    vbe(fixture, VBE_ENABLE, VBE_ASK_LIMITS);
    assert_int_equal(vbe_get(fixture, VBE_WIDTH), VBE_WIDTH_MAX);
    vbe_mode(fixture, VBE_WIDTH_MAX, VBE_HEIGHT_MAX, 32);
    vbe(fixture, VBE_VIRTUAL_WIDTH, 0xffff);
    assert_int_equal(vbe_get(fixture, VBE_VIRTUAL_WIDTH), VBE_WIDTH_MAX);
    vbe(fixture, VBE_X, 0xffff);
    vbe(fixture, VBE_Y, 0xffff);
    dot(fixture, VBE_WIDTH_MAX - 1, VBE_HEIGHT_MAX - 1);
    vbe(fixture, VBE_ENABLE, 0);
    vbe(fixture, VBE_WIDTH, 0xffff);
    vbe(fixture, VBE_HEIGHT, 0);
    vbe(fixture, VBE_DEPTH, 7);
    assert_int_equal(vbe_get(fixture, VBE_WIDTH), VBE_WIDTH_MAX);
    assert_int_equal(vbe_get(fixture, VBE_HEIGHT), VBE_HEIGHT_MAX);
    assert_int_equal(vbe_get(fixture, VBE_DEPTH), 32);
}

/* The page of registers does what the ports do. */
static void test_register_page(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    poke(fixture, REGISTER + 0x500 + 2 * VBE_WIDTH, 800, 2);
    assert_int_equal(vbe_get(fixture, VBE_WIDTH), 800);
    assert_int_equal(peek(fixture, REGISTER + 0x500, 2), 0xb0c5);
    poke(fixture, REGISTER + 0x400 + 0x14, CRTC_OFFSET | 50 << 8, 2);
    assert_int_equal(look(fixture).line, 400);
    assert_int_equal(peek(fixture, REGISTER, 4), 0xffffffff);
}

static void test_crtc_protection(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    set(fixture, CRTC, CRTC_RETRACE_END, 0x8e);
    set(fixture, CRTC, CRTC_COLUMNS, 10);
    assert_int_equal(look(fixture).columns, 80);
    set(fixture, CRTC, CRTC_RETRACE_END, 0x0e);
    set(fixture, CRTC, CRTC_COLUMNS, 39);
    assert_int_equal(look(fixture).columns, 40);
}

/* Waiting for the retrace ends, and the beam is seen outside it. */
static void test_retrace(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    bool seen[2] = {false};
    for (unsigned i = 0; i < 200; i++) {
        fake_time_advance(100000);
        seen[board_in(fixture->board, 0x3da) >> 3 & 1] = true;
    }
    assert_true(seen[0] && seen[1]);
}

/* PCI 3.0 §6.2.5.2: sized by writing ones, there while enabled. */
static void test_rom(void **state)
{
    struct fixture *fixture = *state;
    config_write(fixture, 0x30, 0xfffff800);
    assert_int_equal(config_read(fixture, 0x30), 0xffffe000);
    config_write(fixture, 0x30, ROM);
    config_write(fixture, 0x04, 2);
    assert_int_equal(peek(fixture, ROM + FONT_START + 32, 1), 0xff);
    config_write(fixture, 0x30, ROM | 1);
    assert_int_equal(peek(fixture, ROM + FONT_START + 32, 4), 0x02020202);
    config_write(fixture, 0x04, 0);
    assert_int_equal(peek(fixture, ROM + FONT_START + 32, 1), 0xff);
}

static void test_screenshot(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    png_image image = {.version = PNG_IMAGE_VERSION};
    uint8_t *file = malloc(MIB(8)), *bytes;
    int fd = memfd_create("screenshot", MFD_CLOEXEC);
    start(fixture);
    vbe_mode(fixture, 640, 480, 32);
    poke(fixture, LINEAR + (479 * 640 + 1) * 4, 0x102030, 4);
    assert_int_equal(png_write_screen(fixture->screen, fd, &error), 0);
    ssize_t size = pread(fd, file, MIB(8), 0);
    assert_true(png_image_begin_read_from_memory(&image, file, (size_t)size));
    assert_int_equal(image.width, 640);
    assert_int_equal(image.height, 480);
    image.format = PNG_FORMAT_RGB;
    bytes = malloc(PNG_IMAGE_SIZE(image));
    assert_true(png_image_finish_read(&image, NULL, bytes, 0, NULL));
    assert_memory_equal(bytes + (479 * 640 + 1) * 3, "\x10\x20\x30", 3);
    free(bytes);
    free(file);
    close(fd);
    fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(png_write_screen(fixture->screen, fd, &error), -ENOSPC);
    close(fd);
}

static void test_state_survives(void **state)
{
    struct fixture *fixture = *state, *other;
    setup((void **)&other);
    start(fixture);
    start(other);
    vbe_mode(fixture, 800, 600, 32);
    poke(fixture, LINEAR + 4, WHITE, 4);
    assert_int_equal(board_load(other->board, "vga", board_save(fixture->board, "vga")), 0);
    assert_int_equal(look(other).width, 800);
    assert_int_equal(dot(other, 1, 0), WHITE);
    assert_int_equal(dot(other, 2, 0), 0);
    teardown((void **)&other);
}

static void test_reset(void **state)
{
    struct fixture *fixture = *state;
    start(fixture);
    vbe_mode(fixture, 800, 600, 32);
    bus_reset_devices(&fixture->board->bus);
    assert_int_equal(look(fixture).kind, PICTURE_OFF);
    assert_null(memory_window_hva(fixture->board->memory, LINEAR));
    assert_int_equal(peek(fixture, LINEAR, 4), 0xffffffff);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(text),           TEST(text_dots),     TEST(start_address),
        TEST(planar_writes),  TEST(planar_reads),  TEST(planar_functions),
        TEST(chain_4),        TEST(vbe),           TEST(vbe_banks),
        TEST(vbe_extremes),   TEST(register_page), TEST(crtc_protection),
        TEST(retrace),        TEST(rom),           TEST(screenshot),
        TEST(state_survives), TEST(reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
