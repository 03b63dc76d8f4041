/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 §2.3 (VEX), §2.7 (EVEX). */
#include "cpu/vector_image.h"

#include "base/bits.h"
#include "cpu/registers.h"

#include <string.h>

#define PREFIX_GS   0x65
#define PREFIX_VEX3 0xc4
#define PREFIX_EVEX 0x62
#define NO_VVVV     0x78 /* none, inverted, in the second payload byte of both */

enum { LEGACY, VEX, EVEX };
enum { MAP_0F = 1, MAP_0F3A = 3 };

/* The instruction for each part. wide: VEX.W */
static const struct move {
    uint8_t encoding, map, load, store;
    bool wide, upper; /* upper: an immediate 1, for the upper half */
    uint8_t pp;       /* 0: none, 1: 66 */
    uint8_t length;   /* 0: 128, 1: 256, 2: 512 bits */
    uint16_t offset, stride;
    uint8_t first; /* register */
} moves[] = {
    [PART_XMM] = {LEGACY, MAP_0F, 0x10, 0x11, false, false, 0, 0, XSAVE_XMM, 16, 0},
    [PART_LOW] = {VEX, MAP_0F, 0x10, 0x11, false, false, 0, 0, XSAVE_XMM, 16, 0},
    [PART_YMM_HIGH] = {VEX, MAP_0F3A, 0x18, 0x19, false, true, 1, 1, XSAVE_YMM_HIGH, 16, 0},
    [PART_ZMM_HIGH] = {EVEX, MAP_0F3A, 0x1a, 0x1b, true, true, 1, 2, XSAVE_ZMM_HIGH, 32, 0},
    [PART_ZMM] = {EVEX, MAP_0F, 0x10, 0x11, false, false, 0, 2, XSAVE_HI16_ZMM, 64, 16},
    [PART_OPMASK] = {VEX, MAP_0F, 0x90, 0x91, true, false, 0, 0, XSAVE_OPMASK, 8, 0},
};

/* The prefix bytes. vvvv: the register the rest of the result comes from, or 0 for none. */
static unsigned encode_prefix(uint8_t *code, const struct move *move, unsigned number,
                              unsigned vvvv)
{
    uint8_t wide = move->wide ? 0x80 : 0;
    uint8_t not_vvvv = (uint8_t)(~vvvv << 3 & NO_VVVV);
    uint8_t not_r = number & 8 ? 0 : 0x80;
    switch (move->encoding) {
    case LEGACY:
        code[0] = number & 8 ? 0x44 : 0x40;
        code[1] = 0x0f;
        return 2;
    case VEX:
        code[0] = PREFIX_VEX3;
        code[1] = (uint8_t)(not_r | 0x60 | move->map);
        code[2] = (uint8_t)(wide | not_vvvv | move->length << 2 | move->pp);
        return 3;
    default:
        code[0] = PREFIX_EVEX;
        code[1] = (uint8_t)(not_r | 0x60 | (number & 16 ? 0 : 0x10) | move->map);
        code[2] = (uint8_t)(wide | not_vvvv | 0x04 | move->pp);
        code[3] = (uint8_t)(move->length << 5 | 0x08);
        return 4;
    }
}

unsigned vector_move_encode(uint8_t *code, enum vector_part part, unsigned number, bool store,
                            enum image_base base, uint32_t image)
{
    const struct move *move = &moves[part];
    unsigned at = 0;
    if (base == IMAGE_AT_GS)
        code[at++] = PREFIX_GS;
    /* Inserting an upper half takes the lower one from the register itself. */
    at += encode_prefix(code + at, move, number, move->upper && !store ? number : 0);
    code[at++] = store ? move->store : move->load;
    uint8_t reg = (uint8_t)((number & 7) << 3);
    if (base == IMAGE_AT_GS) {
        code[at++] = reg | 4; /* a SIB byte without base and index: a plain displacement */
        code[at++] = 0x25;
    } else {
        code[at++] = 0x80 | reg | GPR_RDI;
    }
    uint32_t displacement = image + move->offset + (number - move->first) * move->stride;
    memcpy(code + at, &displacement, sizeof(displacement));
    at += sizeof(displacement);
    if (move->upper)
        code[at++] = 1;
    return at;
}
