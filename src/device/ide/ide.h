/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NACRE_DEVICE_IDE_IDE_H
#define NACRE_DEVICE_IDE_IDE_H

#include "bus/pci.h"
#include "disk/block.h"

#define IDE_DRIVES        4 /* first and second of the primary channel, then of the secondary */
#define IDE_CDROM_DEFAULT 2 /* where a CD-ROM drive is looked for */
#define IDE_CDROM_SECTOR  2048

struct ide_config {
    struct {
        struct block *block; /* NULL: no drive. Outlives the controller */
        bool is_cdrom;
    } drives[IDE_DRIVES];
};

/* PIIX3's IDE function at 00:01.1, with its drives. 0 or -errno with *error. */
int ide_create(struct pci_bus *bus, const struct ide_config *config, struct error *error);

#endif
