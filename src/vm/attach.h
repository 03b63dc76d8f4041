/* SPDX-License-Identifier: Apache-2.0 */
/* Disks that come and go while the machine runs. All on the loop's thread. */
#ifndef NACRE_VM_ATTACH_H
#define NACRE_VM_ATTACH_H

#include "disk/bay.h"
#include "vm/vm.h"

#define VM_ATTACH_ID_MAX 32
#define VM_ATTACH_MAX    4 /* disks at a time */

/* Puts a disk that is open already onto the bus and tells the guest. id: what it is called when it
 * is to go. done is called later: the PCI slot, or -errno with why; unless this returns -errno with
 * *error, and then the medium's descriptor is the caller's. */
int vm_attach_disk(struct vm *vm, const char *id, const struct block_medium *medium,
                   block_bay_done *done, void *opaque, struct error *error);
/* Asks the guest to give it up. -ENOENT with *error. */
int vm_detach(struct vm *vm, const char *id, struct error *error);
/* Who is told that a disk has gone. */
void vm_on_detached(struct vm *vm, void (*detached)(void *opaque, const char *id), void *opaque);

#endif
