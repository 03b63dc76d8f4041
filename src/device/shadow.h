/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_SHADOW_H
#define NACRE_DEVICE_SHADOW_H

#include "bus/bus.h"

#define SHADOW_BLOCKS 16 /* of 16 KiB, from 768 KiB to 1 MiB */

/* What an access to a block reaches: RAM where the bit is set, else the ROM. */
#define SHADOW_READ  BIT(0)
#define SHADOW_WRITE BIT(1)

struct shadow;

/* The bus owns it. NULL with *error. */
struct shadow *shadow_create(struct bus *bus, struct error *error);
/* attributes: SHADOW_* of each block. */
void shadow_set(struct shadow *shadow, const uint8_t attributes[SHADOW_BLOCKS]);

#endif
