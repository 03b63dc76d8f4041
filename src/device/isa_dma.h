/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_ISA_DMA_H
#define NACRE_DEVICE_ISA_DMA_H

#include "bus/bus.h"

struct isa_dma;

/* The PC's two 8237A. The bus owns them. NULL with *error. */
struct isa_dma *isa_dma_create(struct bus *bus, struct error *error);

/*
 * For a device on an 8-bit channel (0 to 3): moves up to `length` bytes between it and memory, as
 * far as the guest has programmed the channel; returns how many. *finished: the channel's count
 * ended with them (terminal count).
 */
uint32_t isa_dma_move(struct isa_dma *dma, unsigned channel, uint8_t *bytes, uint32_t length,
                      bool to_memory, bool *finished);

#endif
