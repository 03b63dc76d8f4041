/* SPDX-License-Identifier: Apache-2.0 */
/* Paths are Open Firmware's (IEEE 1275-1994 §3.2), as SeaBIOS and OVMF compare them. */
#include "vm/boot_order.h"

#include <errno.h>
#include <stdio.h>

#define ROOT "/pci@i0cf8/"

static const char *const words[] = {
    [BOOT_DISK] = "disk", [BOOT_CDROM] = "cdrom", [BOOT_FLOPPY] = "floppy", [BOOT_NET] = "net"};

const char *boot_device_word(unsigned index)
{
    return index < ARRAY_SIZE(words) ? words[index] : NULL;
}

static int find_word(const char *word)
{
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(words[i], word))
            return (int)i;
    return -1;
}

int boot_order_parse(char *text, struct boot_order *order, struct error *error)
{
    *order = (struct boot_order){.count = 0};
    for (char *word; (word = strsep(&text, ","));) {
        int device = find_word(word);
        if (device < 0)
            return error_set(error, EINVAL,
                             "--boot %s: no such device; known are disk, cdrom, floppy, net", word);
        for (unsigned i = 0; i < order->count; i++)
            if ((int)order->devices[i] == device)
                return error_set(error, EINVAL, "--boot: %s is there twice", word);
        order->devices[order->count++] = (enum boot_device)device;
    }
    return 0;
}

/* Devices at fixed places; whether they are there, firmware sees. */
static const char *const fixed[BOOT_DEVICE_COUNT] = {
    [BOOT_DISK] = ROOT "ide@1,1/drive@0/disk@0\n" ROOT "ide@1,1/drive@0/disk@1\n",
    [BOOT_CDROM] = ROOT "ide@1,1/drive@1/disk@0\n" ROOT "ide@1,1/drive@1/disk@1\n",
    [BOOT_FLOPPY] = ROOT "isa@1/fdc@03f0/floppy@0\n",
    [BOOT_NET] = "",
};

/* Cards: by their class, a path a slot. */
static const struct {
    uint8_t base_class;
    const char *before, *behind;
} cards[BOOT_DEVICE_COUNT] = {
    [BOOT_DISK] = {PCI_CLASS_STORAGE, ROOT "scsi@", "/disk@0,0\n"},
    [BOOT_NET] = {PCI_CLASS_NETWORK, ROOT "ethernet@", "/ethernet-phy@0\n"},
};

static void write_device(FILE *stream, enum boot_device device, const struct pci_bus *bus)
{
    int slot = 0;
    while (cards[device].before &&
           (slot = pci_find_class(bus, cards[device].base_class, slot)) >= 0) {
        fprintf(stream, "%s%x%s", cards[device].before, (unsigned)slot, cards[device].behind);
        slot++;
    }
    fputs(fixed[device], stream);
}

size_t boot_order_write(const struct boot_order *order, const struct pci_bus *bus,
                        char text[BOOT_ORDER_TEXT_MAX])
{
    FILE *stream = fmemopen(text, BOOT_ORDER_TEXT_MAX, "w");
    if (!stream)
        return 0;
    if (!order->count)
        for (unsigned i = 0; i < BOOT_DEVICE_COUNT; i++)
            write_device(stream, (enum boot_device)i, bus);
    for (unsigned i = 0; i < order->count; i++)
        write_device(stream, order->devices[i], bus);
    if (order->count)
        fputs("HALT\n", stream); /* nothing else is tried */
    long length = ftell(stream);
    fclose(stream);
    return (size_t)length;
}
