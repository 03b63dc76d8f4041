/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_FLOPPY_FLOPPY_H
#define NACRE_DEVICE_FLOPPY_FLOPPY_H

#include "bus/bus.h"
#include "device/isa_dma.h"
#include "disk/block.h"

#define FLOPPY_SIZE 1474560 /* bytes: 80 cylinders, 2 heads, 18 sectors of 512 bytes */

/* What a PC's setup writes to CMOS: the types of both drives. */
#define FLOPPY_CMOS      0x10
#define FLOPPY_CMOS_TYPE 0x40 /* 1.44M, none */

/* The controller with one drive and a medium of FLOPPY_SIZE in it, which outlives the controller.
 * 0 or -errno with *error. */
int floppy_create(struct bus *bus, struct isa_dma *dma, struct block *block, struct error *error);

#endif
