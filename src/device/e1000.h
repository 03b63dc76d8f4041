/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_E1000_H
#define NACRE_DEVICE_E1000_H

#include "bus/pci.h"
#include "net/net.h"

/* Intel's 82540EM on the bus, for guests without virtio. The back end stays the caller's and must
 * outlive the device. */
int e1000_create(struct pci_bus *bus, const struct net_options *options,
                 struct frame_backend *backend, unsigned index, struct error *error);

#endif
