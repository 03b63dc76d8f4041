/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the graphics card share. */
#ifndef NACRE_DEVICE_VGA_PRIVATE_H
#define NACRE_DEVICE_VGA_PRIVATE_H

#include "device/vga.h"

#include <pthread.h>

#define VGA_BANK_SIZE  KIB(64)
#define VGA_PORT_FIRST 0x3b0
#define VGA_PORT_COUNT 0x30

struct vga {
    struct pci_device pci;
    pthread_mutex_t lock; /* guards all that follows */
    struct screen *screen;
    uint8_t *memory; /* of the screen: SCREEN_MEMORY_SIZE bytes */
    struct screen_registers registers;
    uint8_t misc, feature;
    uint8_t sequencer_index, crtc_index, graphics_index;
    bool attribute_data; /* the next write to port 0x3c0 is data */
    uint8_t palette_read, palette_write, palette_component;
    bool palette_reading;
    uint8_t palette_latch[3];
    uint16_t vbe_index;
    uint32_t latch; /* a byte of each plane */
    const uint8_t *rom;
    size_t rom_size;
    struct bus_region regions[3];
    struct memory_window *banked, *linear; /* what the guest reaches without us */
};

/* vga_ports.c: the registers at VGA_PORT_FIRST. The caller holds the lock, here and below. */
uint8_t vga_port_read(struct vga *vga, unsigned port);
void vga_port_write(struct vga *vga, unsigned port, uint8_t value);

/* vga_memory.c: a byte in the window of 128 KiB. */
uint8_t vga_memory_read(struct vga *vga, uint32_t offset);
void vga_memory_write(struct vga *vga, uint32_t offset, uint8_t value);
/* The byte of video memory at which the first 64 KiB of the window lie one to one, or -1. */
int64_t vga_memory_direct(const struct vga *vga);

/* vga_vbe.c */
bool vga_vbe_enabled(const struct vga *vga);
uint16_t vga_vbe_read(struct vga *vga, unsigned index);
void vga_vbe_write(struct vga *vga, unsigned index, uint16_t value);
void vga_vbe_reset(struct vga *vga);

/* vga_text.c: text mode 3 as firmware sets it, with the font of the VGA BIOS. */
void vga_set_text_mode(struct vga *vga);

#endif
