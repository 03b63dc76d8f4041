/* SPDX-License-Identifier: Apache-2.0 */
/* The devices of the one machine model. */
#ifndef NACRE_VM_VM_DEVICES_H
#define NACRE_VM_VM_DEVICES_H

#include "boot/file_view.h"
#include "disk/block.h"
#include "net/net.h"
#include "vm/vm.h"

/* Places in vm_devices.blocks behind those of the disks. */
#define VM_CDROM_SLOT  VM_DISKS_MAX
#define VM_FLOPPY_SLOT (VM_CDROM_SLOT + 1)
#define VM_BLOCKS_MAX  (VM_FLOPPY_SLOT + 1)

struct vm_devices {
    struct pci_bus *pci;
    struct block_watcher disk_watcher; /* set before they are made */
    struct pci_slots *slots;
    struct file_view vga_bios;
    struct block *blocks[VM_BLOCKS_MAX];
    struct net_options net_options[VM_NETS_MAX];
    struct frame_backend *nets[VM_NETS_MAX];
};

/* The networks' back ends are processes: before memory, engines and threads, which those are not to
 * share. -errno with *error. */
int vm_devices_open_nets(struct vm_devices *devices, const struct vm_config *config,
                         struct loop *loop, struct log *log, struct error *error);
int vm_devices_create(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error);
/* Waits for what is in flight: before the devices go. */
void vm_devices_drain(struct vm_devices *devices);
/* Closes the back ends, after the bus and its devices are gone. */
void vm_devices_close(struct vm_devices *devices);

#endif
