/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where CPUs and devices meet. A device registers the port and MMIO ranges it answers; an engine
 * hands each access here. The bus also carries interrupt messages, end-of-interrupt broadcasts, and
 * requests to power off or reset, so that neither side includes the other's headers.
 */
#ifndef NACRE_BUS_BUS_H
#define NACRE_BUS_BUS_H

#include "base/error.h"
#include "base/log.h"
#include "base/loop.h"
#include "bus/device.h"
#include "bus/irq.h"
#include "memory/memory.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define BUS_GSI_COUNT 24 /* global system interrupts: the pins of one IOAPIC */

enum bus_space { BUS_PORT, BUS_MMIO, BUS_SPACE_COUNT };

struct bus_ops {
    /* offset: from the region's start; size: 1, 2, 4 or 8 bytes, never past the region's end. */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
};

struct bus_region {
    const char *name;
    enum bus_space space;
    uint64_t base;
    uint64_t size; /* bytes, at least 1 */
    unsigned
        access_max; /* widest access the device takes (1, 2, 4, 8); the bus splits wider ones */
    const struct bus_ops *ops;
    void *opaque;
};

enum bus_power { BUS_POWER_OFF, BUS_POWER_RESET, BUS_POWER_PANIC, BUS_POWER_TEST };

struct bus_table; /* sorted regions of one space */

struct bus {
    struct memory *memory;
    struct loop *loop;
    struct log *log;

    struct bus_table *tables[BUS_SPACE_COUNT];
    pthread_rwlock_t lock; /* guards tables; never held while a device is called */

    struct device *devices; /* in order of creation: reset and save walk it */

    /* Interrupt wiring, set up by the machine before the first vcpu runs. */
    struct {
        void (*set)(void *opaque, unsigned number, int level);
        void *opaque;
    } gsi_sinks[2];       /* 8259 pair and IOAPIC: each sees every GSI */
    struct irq_line intr; /* output of the 8259 pair, to LINT0 of the boot processor */
    int (*intr_acknowledge)(
        void *opaque); /* the 8259 pair's vector (INTA cycle), or -1 when none */
    void *intr_acknowledge_opaque;
    void (*message_sink)(void *opaque, uint64_t address,
                         uint32_t data); /* MSI to the local APICs */
    void *message_opaque;
    void (*eoi_sink)(void *opaque, uint8_t vector); /* level EOI broadcast to the IOAPIC */
    void *eoi_opaque;
    void (*power_sink)(void *opaque, enum bus_power request);
    void *power_opaque;
    void (*mapping_sink)(void *opaque); /* to the TLBs */
    void *mapping_opaque;

    /* Trace of accesses (--trace mmio,port); NULL when off. value is what was read or written. */
    void (*trace)(void *opaque, const struct bus_region *region, enum bus_space space,
                  uint64_t address, uint64_t value, unsigned size, bool write);
    void *trace_opaque;
};

int bus_init(struct bus *bus, struct memory *memory, struct loop *loop, struct log *log,
             struct error *error);
/* Destroys all devices, last created first, then the bus's own parts. */
void bus_destroy(struct bus *bus);

/*
 * Adds and removes a range. The struct stays the caller's and must outlive the bus or the removal.
 * -EBUSY when the range overlaps another of the same space (except that later MMIO
 * regions of PCI BARs may be placed anywhere by the guest: an overlap then hides the later one).
 */
int bus_add_region(struct bus *bus, struct bus_region *region, struct error *error);
void bus_remove_region(struct bus *bus, struct bus_region *region);
/* Moves a region that is or is not mapped now to `base`; the guest may choose any address (PCI
 * BARs). */
void bus_move_region(struct bus *bus, struct bus_region *region, uint64_t base);

/* An access by a CPU. Nothing there reads as all ones, and swallows writes. size: 1, 2, 4 (ports)
 * or 8 (MMIO). */
uint64_t bus_read(struct bus *bus, enum bus_space space, uint64_t address, unsigned size);
void bus_write(struct bus *bus, enum bus_space space, uint64_t address, uint64_t value,
               unsigned size);

void bus_add_device(struct bus *bus, struct device *device);
void bus_remove_device(struct bus *bus, struct device *device);
void bus_reset_devices(struct bus *bus);

/* The line of global system interrupt number (0 to 23; 0 to 15 are the ISA interrupts). */
struct irq_line bus_gsi(struct bus *bus, unsigned number);

/* A message-signalled interrupt: PCI MSI address and data format (Intel SDM vol. 3 §11.11). */
void bus_message(struct bus *bus, uint64_t address, uint32_t data);
void bus_eoi(struct bus *bus, uint8_t vector);
void bus_power(struct bus *bus, enum bus_power request);
/* Opens or closes the processors' address line 20: the keyboard controller and port 0x92. */
void bus_set_a20(struct bus *bus, bool open);
/* RAM has become ROM or the reverse: the CPUs forget what they have cached of any page. Any thread;
 * they do so before the next branch. */
void bus_mapping_changed(struct bus *bus);

#endif
