/* SPDX-License-Identifier: Apache-2.0 */
/* Host instructions that move vector registers between the host's and vcpu->xsave, for the engines'
 * small pieces of host code. */
#ifndef NACRE_CPU_VECTOR_IMAGE_H
#define NACRE_CPU_VECTOR_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* A register lies in the image in parts. In this order they load a whole register. */
enum vector_part {
    PART_XMM,      /* of XMM0 to XMM15, the rest of the host's register stays: SSE */
    PART_LOW,      /* the same, and the rest of the host's register becomes zero: AVX */
    PART_YMM_HIGH, /* of YMM0 to YMM15, behind PART_LOW */
    PART_ZMM_HIGH, /* of ZMM0 to ZMM15, behind PART_YMM_HIGH */
    PART_ZMM,      /* ZMM16 to ZMM31, all of it */
    PART_OPMASK,   /* K0 to K7 */
};

/* How the code reaches the image. */
enum image_base { IMAGE_AT_RDI, IMAGE_AT_GS };

#define VECTOR_MOVE_MAX 16 /* bytes of an instruction */

/* Writes the instruction that loads (or stores) a part of register `number` to `code`; image: the
 * image's displacement from RDI, or in GS. Returns its length. */
unsigned vector_move_encode(uint8_t *code, enum vector_part part, unsigned number, bool store,
                            enum image_base base, uint32_t image);

#endif
