/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_BRIDGES_H
#define NACRE_DEVICE_BRIDGES_H

#include "bus/pci.h"

/* Host bridge at 00:00.0 with its shadow RAM, ISA bridge at 00:01.0, power management at 00:01.3.
 */
int bridges_create(struct pci_bus *bus, struct error *error);

#endif
