/* SPDX-License-Identifier: Apache-2.0 */
/* What firmware boots from, and in which order. */
#ifndef NACRE_VM_BOOT_ORDER_H
#define NACRE_VM_BOOT_ORDER_H

#include "base/error.h"
#include "bus/pci.h"

enum boot_device { BOOT_DISK, BOOT_CDROM, BOOT_FLOPPY, BOOT_NET, BOOT_DEVICE_COUNT };

struct boot_order {
    unsigned count; /* 0: firmware tries everything, disks first */
    enum boot_device devices[BOOT_DEVICE_COUNT];
};

/* Understands the argument of --boot, which is cut up. -errno with *error. */
int boot_order_parse(char *text, struct boot_order *order, struct error *error);

/* The words an order is made of; NULL past the last. */
const char *boot_device_word(unsigned index);

#define BOOT_ORDER_TEXT_MAX 4096

/* As firmware reads it: a path a line, for the devices that the bus has. Returns its length, with
 * the zero at its end. */
size_t boot_order_write(const struct boot_order *order, const struct pci_bus *bus,
                        char text[BOOT_ORDER_TEXT_MAX]);

#endif
