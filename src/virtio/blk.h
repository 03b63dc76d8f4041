/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_VIRTIO_BLK_H
#define NACRE_VIRTIO_BLK_H

#include "disk/block.h"
#include "virtio/virtio.h"

/* A disk on the bus. The block back end stays the caller's and must outlive the device. */
int virtio_blk_create(struct pci_bus *bus, struct block *block, unsigned index,
                      struct error *error);

#endif
