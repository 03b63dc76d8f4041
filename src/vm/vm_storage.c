/* SPDX-License-Identifier: Apache-2.0 */
#include "vm/vm_storage.h"

#include "bus/pci.h"
#include "device/floppy/floppy.h"
#include "device/ide/ide.h"
#include "virtio/blk.h"
#include "vm/vm_firmware.h"

#include <errno.h>

/* Opens an image for the machine; slot: where vm_devices keeps it. NULL with *error. */
static struct block *open_image(struct vm_devices *devices, unsigned slot,
                                const struct block_options *image, const struct vm_config *config,
                                struct bus *bus, struct error *error)
{
    struct block_options options = *image;
    options.guard = config->guard;
    options.log = bus->log;
    options.watcher = devices->disk_watcher;
    devices->blocks[slot] = block_open(&options, bus->loop, error);
    return devices->blocks[slot];
}

static int create_virtio_disks(struct vm_devices *devices, const struct vm_config *config,
                               struct bus *bus, struct error *error)
{
    int result = 0;
    for (unsigned i = 0; i < config->disk_count && result == 0; i++) {
        if (config->disks[i].bus != BLOCK_BUS_VIRTIO)
            continue;
        struct block *block = open_image(devices, i, &config->disks[i], config, bus, error);
        result = block ? virtio_blk_create(devices->pci, block, i, error) : -EINVAL;
    }
    return result;
}

static int open_cdrom(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct ide_config *ide, struct error *error)
{
    struct block *block = open_image(devices, VM_CDROM_SLOT, &config->cdrom, config, bus, error);
    if (!block)
        return -EINVAL;
    if (block->size % IDE_CDROM_SECTOR)
        return error_set(error, EINVAL,
                         "--cdrom %s: is %llu bytes long, which are no whole sectors of %d bytes; "
                         "is it a complete ISO 9660 image?",
                         config->cdrom.path, (unsigned long long)block->size, IDE_CDROM_SECTOR);
    ide->drives[IDE_CDROM_DEFAULT].block = block;
    ide->drives[IDE_CDROM_DEFAULT].is_cdrom = true;
    return 0;
}

static int open_ide_disk(struct vm_devices *devices, const struct vm_config *config, unsigned index,
                         struct bus *bus, struct ide_config *ide, struct error *error)
{
    unsigned place = 0;
    while (place < IDE_DRIVES && ide->drives[place].block)
        place++;
    if (place == IDE_DRIVES)
        return error_set(error, ENOSPC,
                         "--disk %s: IDE has room for %d drives, CD-ROM included; use bus=virtio",
                         config->disks[index].path, IDE_DRIVES);
    ide->drives[place].block =
        open_image(devices, index, &config->disks[index], config, bus, error);
    return ide->drives[place].block ? 0 : -EINVAL;
}

/* The controller only if something is connected to it. */
static int create_ide(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error)
{
    struct ide_config ide = {0};
    bool any = config->cdrom.path;
    int result = any ? open_cdrom(devices, config, bus, &ide, error) : 0;
    for (unsigned i = 0; i < config->disk_count && result == 0; i++) {
        if (config->disks[i].bus != BLOCK_BUS_IDE)
            continue;
        any = true;
        result = open_ide_disk(devices, config, i, bus, &ide, error);
    }
    return result == 0 && any ? ide_create(devices->pci, &ide, error) : result;
}

/* The controller, and the DMA controller that only it needs. */
static int create_floppy(struct vm_devices *devices, const struct vm_config *config,
                         struct bus *bus, struct error *error)
{
    if (!config->floppy.path)
        return 0;
    struct block *block = open_image(devices, VM_FLOPPY_SLOT, &config->floppy, config, bus, error);
    if (!block)
        return -EINVAL;
    if (block->size != FLOPPY_SIZE)
        return error_set(error, EINVAL,
                         "--floppy %s: is %llu bytes long; a 1.44M floppy has %d (truncate -s "
                         "1440K makes a file so long)",
                         config->floppy.path, (unsigned long long)block->size, FLOPPY_SIZE);
    struct isa_dma *dma = isa_dma_create(bus, error);
    if (!dma)
        return -error->code;
    vm_write_cmos(bus, FLOPPY_CMOS, FLOPPY_CMOS_TYPE, 1);
    return floppy_create(bus, dma, block, error);
}

int vm_storage_create(struct vm_devices *devices, const struct vm_config *config, struct bus *bus,
                      struct error *error)
{
    int result = create_virtio_disks(devices, config, bus, error);
    if (result == 0)
        result = create_ide(devices, config, bus, error);
    return result == 0 ? create_floppy(devices, config, bus, error) : result;
}
