/* SPDX-License-Identifier: Apache-2.0 */
/* Disks, CD-ROM and floppy of the machine: opens the images and attaches the devices. */
#ifndef NACRE_VM_VM_STORAGE_H
#define NACRE_VM_VM_STORAGE_H

#include "vm/vm_devices.h"

/* The PCI bus and its bridges are there. -errno with *error. */
int vm_storage_create(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error);

#endif
