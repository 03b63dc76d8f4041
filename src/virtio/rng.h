/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_VIRTIO_RNG_H
#define NACRE_VIRTIO_RNG_H

#include "virtio/virtio.h"

/* An entropy device fed by the host's getrandom(). */
int virtio_rng_create(struct pci_bus *bus, struct error *error);

#endif
