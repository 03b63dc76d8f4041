/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-console: hvc0 of a Linux guest. */
#ifndef NACRE_VIRTIO_CONSOLE_H
#define NACRE_VIRTIO_CONSOLE_H

#include "console/console.h"
#include "virtio/virtio.h"

/* Binds itself to the console, which must outlive the device. -errno with *error. */
int virtio_console_create(struct pci_bus *bus, struct console *console, struct error *error);

#endif
