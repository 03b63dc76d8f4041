/* SPDX-License-Identifier: Apache-2.0 */
/* The graphics card: a VGA with the Bochs VBE extension, as PCI device 1234:1111. */
#ifndef NACRE_DEVICE_VGA_H
#define NACRE_DEVICE_VGA_H

#include "bus/pci.h"
#include "display/screen.h"

/* rom: the VGA BIOS for the card's expansion ROM, which must outlive it; rom_size 0: none. screen
 * outlives the card as well. -errno with *error. */
int vga_create(struct pci_bus *pci, struct screen *screen, const uint8_t *rom, size_t rom_size,
               struct error *error);

#endif
