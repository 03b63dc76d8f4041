/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a graphics card and those who look at its picture share: the card's registers and its video
 * memory. Views read both while the guest changes them, perhaps in a process of their own, so they
 * copy registers once and believe nothing: picture.h makes something sound of any contents.
 */
#ifndef NACRE_DISPLAY_SCREEN_H
#define NACRE_DISPLAY_SCREEN_H

#include "base/bits.h"
#include "base/error.h"

#include <stdatomic.h>

#define SCREEN_MEMORY_SIZE MIB(16)

/* Registers of the VGA's parts (IBM VGA Technical Reference) that the picture depends on. */
enum screen_sequencer {
    SEQUENCER_CLOCKING = 1,
    SEQUENCER_MAP_MASK = 2,
    SEQUENCER_FONT = 3,
    SEQUENCER_MODE = 4,
    SEQUENCER_COUNT = 8
};
#define CLOCKING_8_DOTS   BIT(0)
#define CLOCKING_HALF     BIT(3)
#define CLOCKING_OFF      BIT(5)
#define SEQUENCER_NO_ODD  BIT(2) /* in MODE: planes are not chosen by odd and even addresses */
#define SEQUENCER_CHAIN_4 BIT(3) /* in MODE */

enum screen_crtc {
    CRTC_COLUMNS = 0x01,
    CRTC_OVERFLOW = 0x07,
    CRTC_PRESET_ROW = 0x08,
    CRTC_MAX_SCAN = 0x09,
    CRTC_CURSOR_START = 0x0a,
    CRTC_CURSOR_END = 0x0b,
    CRTC_START_HIGH = 0x0c,
    CRTC_START_LOW = 0x0d,
    CRTC_CURSOR_HIGH = 0x0e,
    CRTC_CURSOR_LOW = 0x0f,
    CRTC_RETRACE_END = 0x11,
    CRTC_ROWS = 0x12,
    CRTC_OFFSET = 0x13,
    CRTC_MODE = 0x17,
    CRTC_LINE_COMPARE = 0x18,
    CRTC_COUNT = 0x20
};

#define CRTC_NO_BANKS BIT(0) /* in MODE */

enum screen_graphics {
    GRAPHICS_SET_RESET = 0,
    GRAPHICS_ENABLE_SET = 1,
    GRAPHICS_COMPARE = 2,
    GRAPHICS_ROTATE = 3,
    GRAPHICS_READ_MAP = 4,
    GRAPHICS_MODE = 5,
    GRAPHICS_MISC = 6,
    GRAPHICS_DONT_CARE = 7,
    GRAPHICS_BIT_MASK = 8,
    GRAPHICS_COUNT = 16
};
#define GRAPHICS_MODE_256 BIT(6) /* in MODE */
#define GRAPHICS_MODE_CGA BIT(5) /* in MODE: two bits a pixel */
#define GRAPHICS_ODD_EVEN BIT(4) /* in MODE */
#define GRAPHICS_NO_TEXT  BIT(0) /* in MISC */

enum screen_attribute {
    ATTRIBUTE_MODE = 0x10,
    ATTRIBUTE_PLANES = 0x12,
    ATTRIBUTE_PANNING = 0x13,
    ATTRIBUTE_COLOUR = 0x14,
    ATTRIBUTE_COUNT = 0x20
};
#define ATTRIBUTE_BLINK      BIT(3) /* in MODE */
#define ATTRIBUTE_LINE_GRAPH BIT(2) /* in MODE */
#define ATTRIBUTE_8_BIT      BIT(6) /* in MODE */
#define ATTRIBUTE_P54        BIT(7) /* in MODE */
#define ATTRIBUTE_VIDEO      BIT(5) /* in the index: the palette drives the screen */

/* Registers of the Bochs VBE extension (its own name: DISPI). */
enum screen_vbe {
    VBE_ID,
    VBE_WIDTH,
    VBE_HEIGHT,
    VBE_DEPTH,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRTUAL_WIDTH,
    VBE_VIRTUAL_HEIGHT,
    VBE_X,
    VBE_Y,
    VBE_MEMORY,
    VBE_COUNT
};
#define VBE_ENABLED    BIT(0)
#define VBE_ASK_LIMITS BIT(1)
#define VBE_8_BIT_DAC  BIT(5)
#define VBE_LINEAR     BIT(6)
#define VBE_KEEP       BIT(7) /* the picture is not cleared */
#define VBE_WIDTH_MAX  2560
#define VBE_HEIGHT_MAX 1600

struct screen_registers {
    uint8_t sequencer[SEQUENCER_COUNT];
    uint8_t crtc[CRTC_COUNT];
    uint8_t graphics[GRAPHICS_COUNT];
    uint8_t attribute[ATTRIBUTE_COUNT];
    uint8_t attribute_index; /* with ATTRIBUTE_VIDEO */
    uint8_t palette_mask;
    uint8_t palette[256 * 3]; /* 6 bits a component, or 8 with VBE_8_BIT_DAC */
    uint16_t vbe[VBE_COUNT];
};

/* Lies in a memory file, so that another process can look at it. */
struct screen {
    _Atomic uint32_t sequence; /* odd while registers are being replaced */
    _Alignas(8) struct screen_registers registers;
    uint8_t padding[4096 - 8 - sizeof(struct screen_registers)];
    uint8_t memory[SCREEN_MEMORY_SIZE];
};

/* All zero. NULL with *error. */
struct screen *screen_create(struct error *error);
void screen_destroy(struct screen *screen);

/* The card's side: shows new registers. One thread at a time. */
void screen_publish(struct screen *screen, const struct screen_registers *registers);

/* Copies the registers; false when the card was at work on them all the time. Any thread. */
bool screen_registers(const struct screen *screen, struct screen_registers *registers);

/* For a process that only looks: from now on it cannot write. -errno. */
int screen_protect(struct screen *screen);

#endif
