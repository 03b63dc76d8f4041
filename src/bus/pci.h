/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PCI: configuration mechanism #1 (ports 0xcf8/0xcfc), type 0 headers, BARs, capabilities,
 * INTx routing and MSI-X. PCI Local Bus 3.0 §6; MSI-X §6.8.2.
 */
#ifndef NACRE_BUS_PCI_H
#define NACRE_BUS_PCI_H

#include "bus/bus.h"

#define PCI_BAR_COUNT   6
#define PCI_CONFIG_SIZE 256
#define PCI_SLOT_COUNT  32

/* Where the guest's PCI windows lie; the ACPI tables tell the guest the same. */
#define PCI_MMIO_BASE UINT64_C(0xc0000000)
#define PCI_MMIO_END  UINT64_C(0xfec00000)
#define PCI_PORT_BASE 0xc000
#define PCI_WIRE_GSI  16 /* of the first of four INTx wires */

struct pci_device;

struct pci_bar {
    struct bus_region region; /* .size 0: BAR absent; .space and .ops say what it is */
    bool is_64bit;
    bool mapped;
};

#define PCI_MSIX_MAX 128

struct pci_msix {
    unsigned count;                   /* vectors; 0: no MSI-X */
    unsigned capability;              /* config offset */
    pthread_mutex_t lock;             /* guards what follows */
    uint16_t control;                 /* copy of the capability's message control */
    uint32_t table[PCI_MSIX_MAX * 4]; /* of each vector: address low, high, data, control */
    uint64_t pending[PCI_MSIX_MAX / 64];
};

struct pci_device {
    struct device device;
    struct pci_bus *bus;
    uint8_t slot, function;
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t saved_config[PCI_CONFIG_SIZE]; /* the copy that is saved and loaded */
    uint8_t writable[PCI_CONFIG_SIZE];     /* bits the guest may change */
    struct pci_bar bars[PCI_BAR_COUNT];
    struct pci_bar rom; /* the expansion ROM */
    const uint8_t *rom_bytes;
    size_t rom_size;
    struct pci_msix msix;
    uint8_t capability_lengths[PCI_CONFIG_SIZE / 4];
    bool intx_wanted, intx_driven; /* what the device asks for, and what the command lets through */
    /* Optional: what firmware does to the device besides its BARs, at each start. */
    void (*configure)(struct pci_device *device);
    /* Optional: after BARs may have been mapped, moved or unmapped. */
    void (*bars_moved)(struct pci_device *device);
    /* Optional: after the guest wrote config bytes. */
    void (*config_written)(struct pci_device *device, unsigned offset, unsigned size);
    /* Optional: replaces the plain read of config bytes (virtio's PCI configuration access
     * capability). */
    bool (*config_read)(struct pci_device *device, unsigned offset, unsigned size, uint32_t *value);
};

struct pci_identity {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem;
    uint8_t revision;
    uint32_t class_code;   /* class << 16 | subclass << 8 | interface */
    uint8_t interrupt_pin; /* 0: none, 1: INTA# */
};

struct pci_bus;

/* Creates the host bridge's configuration ports. The bus owns it. */
struct pci_bus *pci_bus_create(struct bus *bus, struct error *error);

/* slot: 0 to 31, or -1 for the next free. Fills config space from the identity and plugs the device
 * in. */
int pci_add_device(struct pci_bus *bus, struct pci_device *device,
                   const struct pci_identity *identity, int slot, int function,
                   struct error *error);
/* The next free slot; -1: none. The device in a slot; NULL: none. */
int pci_free_slot(const struct pci_bus *bus);
struct pci_device *pci_device_at(const struct pci_bus *bus, unsigned slot);
void pci_remove_device(struct pci_device *device);

/* Declares BAR `index` of `size` bytes (a power of two); its accesses come to ops with opaque. */
void pci_add_bar(struct pci_device *device, unsigned index, enum bus_space space, uint64_t size,
                 bool is_64bit, const struct bus_ops *ops, void *opaque, const char *name);

/* Declares an expansion ROM (PCI 3.0 §6.2.5.2) with these bytes, which must outlive the device;
 * size 0: none. */
void pci_add_rom(struct pci_device *device, const uint8_t *bytes, size_t size);

/* Appends a capability of `length` bytes (header included); returns its config offset. */
unsigned pci_add_capability(struct pci_device *device, uint8_t id, const uint8_t *bytes,
                            unsigned length);

/* MSI-X: table and pending bits live in BAR `bar` (added here, its own BAR). */
int pci_add_msix(struct pci_device *device, unsigned bar, unsigned count, struct error *error);
/* Before the device is freed; also when there is no MSI-X. */
void pci_msix_destroy(struct pci_device *device);
bool pci_msix_enabled(struct pci_device *device);
/* Sends vector (or marks it pending while masked). Any thread. */
void pci_msix_send(struct pci_device *device, unsigned vector);

/* Drives INTA# of the device; lines are shared and ORed on one of four wires. Wire n is GSI
 * PCI_WIRE_GSI + n, and the ISA interrupt to which the ISA bridge routes it, for guests that use
 * the 8259s. Any thread. */
void pci_set_intx(struct pci_device *device, int level);
/* For the ISA bridge: routes a wire (0 to 3) to an ISA interrupt; 0: to none. */
void pci_route_intx(struct pci_bus *bus, unsigned wire, unsigned isa_irq);
/* The ISA interrupt to which firmware routes a wire. */
unsigned pci_firmware_irq(unsigned wire);

/* The guest has allowed bus mastering (command register bit 2). */
bool pci_bus_master(const struct pci_device *device);

/* Reset of the common header: command 0, BARs unmapped, MSI-X off. For the device's reset. */
void pci_reset_config(struct pci_device *device);

/* Places all BARs and turns decoding on, as firmware would: for direct kernel boot. */
void pci_assign_resources(struct pci_bus *bus);

struct bus *pci_device_bus(const struct pci_device *device);

#define PCI_CLASS_STORAGE 0x01
#define PCI_CLASS_NETWORK 0x02

/* The first slot from `slot` on whose function 0 has this base class; -1: none. */
int pci_find_class(const struct pci_bus *bus, uint8_t base_class, int slot);

/* State table of struct pci_device: nest it in the table of the struct that embeds it, and call
 * these from the struct's operations of the same names. */
extern const struct state_table pci_device_state;
void pci_before_save(struct pci_device *device);
/* Maps the BARs where the guest had them. -EINVAL with *error: it is another device. */
int pci_after_load(struct pci_device *device, struct error *error);

#endif
