/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_VIRTIO_NET_H
#define NACRE_VIRTIO_NET_H

#include "net/net.h"
#include "virtio/virtio.h"

/* A network card on the bus. The back end stays the caller's and must outlive the device. */
int virtio_net_create(struct pci_bus *bus, const struct net_options *options,
                      struct frame_backend *backend, unsigned index, struct error *error);

#endif
