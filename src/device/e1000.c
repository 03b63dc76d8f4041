/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel 82540EM, a gigabit card that every operating system knows. Descriptors are worked on by the
 * event loop's thread; a vcpu only writes registers. Interrupts are not delayed (RDTR, ITR and
 * their like are kept and ignored), the link is always up.
 */
#include "device/e1000.h"

#include "device/e1000_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BAR_REGISTERS  0
#define BAR_PORTS      1
#define REGISTERS_SIZE KIB(128)
#define PORTS_SIZE     64
#define PORT_ADDRESS   0 /* §13.2.2.1: which register */
#define PORT_DATA      4

/* Registers that keep what the driver writes: the bits it may change, and the value after reset.
 * Offsets that are in no row read as 0. */
static const struct {
    uint16_t offset, count;
    uint32_t writable, reset;
} plain[] = {
    {E1000_CTRL, 1, 0x7bffffff, 0x00000a41},
    {E1000_STATUS, 1, 0, STATUS_FULL_DUPLEX | STATUS_LINK_UP | STATUS_1000},
    {E1000_CTRL_EXT, 1, ~0u, 0},
    {E1000_FCAL, 3, ~0u, 0}, /* FCAL, FCAH, FCT */
    {E1000_VET, 1, 0xffff, 0x8100},
    {E1000_ITR, 1, 0xffff, 0},
    {E1000_RCTL, 1, 0x07fffffe, 0},
    {E1000_FCTTV, 1, 0xffff, 0},
    {E1000_TXCW, 1, ~0u, 0},
    {E1000_TCTL, 1, 0x07fffffe, 0},
    {E1000_TIPG, 1, ~0u, 0x00602008},
    {E1000_AIFS, 1, 0xffff, 0},
    {E1000_LEDCTL, 1, ~0u, 0x07068302},
    {E1000_PBA, 1, 0xffff, 0x00100030},
    {E1000_FCRTL, 1, ~0u, 0},
    {E1000_FCRTL + 8, 1, ~0u, 0},
    {E1000_RDBAL, 1, 0xfffffff0, 0},
    {E1000_RDBAL + 4 * RING_BASE_HIGH, 1, ~0u, 0},
    {E1000_RDBAL + 4 * RING_LENGTH, 1, 0xfff80, 0},
    {E1000_RDBAL + 4 * RING_HEAD, 1, 0xffff, 0},
    {E1000_RDT, 1, 0xffff, 0},
    {E1000_RDTR, 1, 0xffff, 0},
    {E1000_RXDCTL, 1, ~0u, 0x01010000},
    {E1000_RADV, 1, 0xffff, 0},
    {E1000_RSRPD, 1, 0xfff, 0},
    {E1000_TDBAL, 1, 0xfffffff0, 0},
    {E1000_TDBAL + 4 * RING_BASE_HIGH, 1, ~0u, 0},
    {E1000_TDBAL + 4 * RING_LENGTH, 1, 0xfff80, 0},
    {E1000_TDBAL + 4 * RING_HEAD, 1, 0xffff, 0},
    {E1000_TDT, 1, 0xffff, 0},
    {E1000_TIDV, 1, 0xffff, 0},
    {E1000_TXDCTL, 1, ~0u, 0},
    {E1000_TADV, 1, 0xffff, 0},
    {E1000_TSPMT, 1, ~0u, 0x01000400},
    {E1000_RXCSUM, 1, 0x7ff, 0},
    {E1000_MTA, 128, ~0u, 0},
    {E1000_RAL, 32, ~0u, 0},
    {E1000_VFTA, 128, ~0u, 0},
    {E1000_WUC, 1, ~0u, 0},
    {E1000_WUFC, 1, ~0u, 0},
    {E1000_MANC, 1, ~0u, 0},
};

/* --- what the other files need --- */

struct e1000_ring e1000_ring_load(struct e1000 *e1000, unsigned offset)
{
    const uint32_t *words = e1000_register(e1000, offset);
    struct e1000_ring ring = {
        .base = words[RING_BASE_LOW] | (uint64_t)words[RING_BASE_HIGH] << 32,
        .count = words[RING_LENGTH] / E1000_DESCRIPTOR,
        .next = words[RING_HEAD],
        .end = words[RING_TAIL],
    };
    if (ring.next >= ring.count || ring.end >= ring.count)
        ring.next = ring.end = 0; /* not set up */
    return ring;
}

uint32_t e1000_ring_after(const struct e1000_ring *ring, uint32_t index)
{
    return index + 1 == ring->count ? 0 : index + 1;
}

static void update_line(struct e1000 *e1000)
{
    pci_set_intx(&e1000->pci,
                 (*e1000_register(e1000, E1000_ICR) & *e1000_register(e1000, E1000_IMS)) != 0);
}

void e1000_interrupt(struct e1000 *e1000, uint32_t causes)
{
    *e1000_register(e1000, E1000_ICR) |= causes;
    update_line(e1000);
}

void e1000_count(struct e1000 *e1000, const unsigned offsets[4], size_t length)
{
    for (unsigned i = 0; i < 2; i++) {
        uint32_t *packets = e1000_register(e1000, offsets[i]);
        uint32_t *bytes = e1000_register(e1000, offsets[2 + i]);
        *packets += *packets != UINT32_MAX;
        uint64_t sum = (bytes[0] | (uint64_t)bytes[1] << 32) + length;
        bytes[0] = (uint32_t)sum;
        bytes[1] = (uint32_t)(sum >> 32);
    }
}

/* --- the event loop's side --- */

static void work(void *opaque)
{
    struct e1000 *e1000 = opaque;
    atomic_store(&e1000->posted, false);
    pthread_mutex_lock(&e1000->lock);
    bool more = e1000_transmit(e1000);
    pthread_mutex_unlock(&e1000->lock);
    e1000->backend->ops->ready(e1000->backend);
    if (more && !atomic_exchange(&e1000->posted, true))
        loop_post(pci_device_bus(&e1000->pci)->loop, work, e1000);
}

static void post_work(struct e1000 *e1000)
{
    if (!atomic_exchange(&e1000->posted, true))
        loop_post(pci_device_bus(&e1000->pci)->loop, work, e1000);
}

static void writable(void *opaque)
{
    post_work(opaque);
}

/* --- registers --- */

static void reset_registers(struct e1000 *e1000)
{
    memset(e1000->registers, 0, sizeof(e1000->registers));
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++)
        for (unsigned n = 0; n < plain[i].count; n++)
            e1000_register(e1000, plain[i].offset)[n] = plain[i].reset;
    uint32_t *address = e1000_register(e1000, E1000_RAL);
    address[0] = (uint32_t)load_le(e1000->eeprom.words, 4);
    address[1] = (uint32_t)(load_le(e1000->eeprom.words + 2, 2) | ADDRESS_VALID);
    e1000->context = (struct e1000_context){0};
    e1000_drop_frame(e1000);
    e1000_phy_reset(e1000);
    update_line(e1000);
}

static uint32_t read_register(struct e1000 *e1000, unsigned offset)
{
    uint32_t *place = e1000_register(e1000, offset), value = *place;
    switch (offset) {
    case E1000_EECD:
        return e1000_eecd_read(e1000);
    case E1000_ICR: /* reading acknowledges */
        *place = 0;
        update_line(e1000);
        return value;
    default:
        if (offset >= E1000_STATISTICS && offset < E1000_STATISTICS_END)
            *place = 0;
        return value;
    }
}

static void write_plain(struct e1000 *e1000, unsigned offset, uint32_t value)
{
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        if (offset < plain[i].offset || offset >= plain[i].offset + plain[i].count * 4u)
            continue;
        uint32_t *place = e1000_register(e1000, offset);
        *place = (*place & ~plain[i].writable) | (value & plain[i].writable);
    }
}

static void write_register(struct e1000 *e1000, unsigned offset, uint32_t value)
{
    switch (offset) {
    case E1000_CTRL:
        if (value & CTRL_RESET)
            reset_registers(e1000);
        else
            write_plain(e1000, offset, value);
        break;
    case E1000_EECD:
        e1000_eecd_write(e1000, value);
        break;
    case E1000_EERD:
        e1000_eerd_write(e1000, value);
        break;
    case E1000_MDIC:
        e1000_mdic_write(e1000, value);
        break;
    case E1000_ICR: /* ones are cleared */
        *e1000_register(e1000, E1000_ICR) &= ~value;
        update_line(e1000);
        break;
    case E1000_ICS:
        e1000_interrupt(e1000, value);
        break;
    case E1000_IMS:
        *e1000_register(e1000, E1000_IMS) |= value;
        update_line(e1000);
        break;
    case E1000_IMC:
        *e1000_register(e1000, E1000_IMS) &= ~value;
        update_line(e1000);
        break;
    default:
        write_plain(e1000, offset, value);
    }
    if (offset == E1000_TDT || offset == E1000_RDT || offset == E1000_TCTL || offset == E1000_RCTL)
        post_work(e1000);
}

/* Registers are accessed as whole words: §13.2. */
static uint64_t registers_read(void *opaque, uint64_t offset, unsigned size)
{
    struct e1000 *e1000 = opaque;
    if (size != 4 || offset % 4 || offset >= E1000_END)
        return 0;
    pthread_mutex_lock(&e1000->lock);
    uint32_t value = read_register(e1000, (unsigned)offset);
    pthread_mutex_unlock(&e1000->lock);
    return value;
}

static void registers_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct e1000 *e1000 = opaque;
    if (size != 4 || offset % 4 || offset >= E1000_END)
        return;
    pthread_mutex_lock(&e1000->lock);
    write_register(e1000, (unsigned)offset, (uint32_t)value);
    pthread_mutex_unlock(&e1000->lock);
}

static const struct bus_ops registers_ops = {registers_read, registers_write};

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    struct e1000 *e1000 = opaque;
    if (offset == PORT_ADDRESS)
        return atomic_load(&e1000->port_address) & bytes_mask(size);
    return offset == PORT_DATA ? registers_read(e1000, atomic_load(&e1000->port_address), size) : 0;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    struct e1000 *e1000 = opaque;
    if (offset == PORT_ADDRESS && size == 4)
        atomic_store(&e1000->port_address, (uint32_t)value);
    else if (offset == PORT_DATA)
        registers_write(e1000, atomic_load(&e1000->port_address), value, size);
}

static const struct bus_ops ports_ops = {ports_read, ports_write};

/* --- life --- */

static void e1000_reset(struct device *device)
{
    struct e1000 *e1000 = (struct e1000 *)device;
    pthread_mutex_lock(&e1000->lock);
    reset_registers(e1000);
    pthread_mutex_unlock(&e1000->lock);
    pci_reset_config(&e1000->pci);
}

static void e1000_destroy(struct device *device)
{
    struct e1000 *e1000 = (struct e1000 *)device;
    e1000->backend->sink = (struct frame_sink){0};
    pthread_mutex_destroy(&e1000->lock);
    free(e1000);
}

static void e1000_before_save(struct device *device)
{
    pci_before_save(&((struct e1000 *)device)->pci);
}

static int e1000_after_load(struct device *device, struct error *error)
{
    struct e1000 *e1000 = (struct e1000 *)device;
    int result = pci_after_load(&e1000->pci, error);
    if (result < 0)
        return result;
    pthread_mutex_lock(&e1000->lock);
    if (e1000->new_card) /* for the driver's next start; until then it keeps what it knows */
        e1000_eeprom_init(e1000);
    update_line(e1000);
    pthread_mutex_unlock(&e1000->lock);
    post_work(e1000);
    return 0;
}

static const struct device_ops e1000_ops = {
    .reset = e1000_reset,
    .destroy = e1000_destroy,
    .before_save = e1000_before_save,
    .after_load = e1000_after_load,
};

static const struct state_field eeprom_fields[] = {
    STATE_ARRAY(struct e1000_eeprom, words),     STATE_FIELD(struct e1000_eeprom, command),
    STATE_FIELD(struct e1000_eeprom, bit_count), STATE_FIELD(struct e1000_eeprom, data),
    STATE_FIELD(struct e1000_eeprom, output),
};
static const struct state_table eeprom_state = STATE_TABLE("e1000-eeprom", 1, eeprom_fields);
static const struct state_field fields[] = {
    STATE_NESTED(struct e1000, pci, &pci_device_state),
    STATE_ARRAY(struct e1000, registers),
    STATE_ARRAY(struct e1000, phy),
    STATE_NESTED(struct e1000, eeprom, &eeprom_state),
    STATE_NESTED(struct e1000, context, &e1000_context_state),
};
static const struct state_table e1000_state = STATE_TABLE("e1000", 1, fields);

int e1000_create(struct pci_bus *bus, const struct net_options *options,
                 struct frame_backend *backend, unsigned index, struct error *error)
{
    const struct pci_identity identity = {
        .vendor = 0x8086,
        .device = 0x100e,
        .subsystem_vendor = 0x8086,
        .subsystem = 0x001e,
        .revision = 2,
        .class_code = 0x020000,
        .interrupt_pin = 1,
    };
    struct e1000 *e1000 = calloc(1, sizeof(*e1000));
    if (!e1000)
        return error_set(error, ENOMEM, "e1000: out of memory");
    snprintf(e1000->name, sizeof(e1000->name), "net%u", index);
    e1000->pci.device =
        (struct device){.name = e1000->name, .ops = &e1000_ops, .state = &e1000_state};
    e1000->backend = backend;
    e1000->new_card = options->new_card;
    memcpy(e1000->mac, options->mac, MAC_SIZE);
    pthread_mutex_init(&e1000->lock, NULL);
    int result = pci_add_device(bus, &e1000->pci, &identity, -1, 0, error);
    if (result < 0)
        return result;
    pci_add_bar(&e1000->pci, BAR_REGISTERS, BUS_MMIO, REGISTERS_SIZE, false, &registers_ops, e1000,
                e1000->name);
    pci_add_bar(&e1000->pci, BAR_PORTS, BUS_PORT, PORTS_SIZE, false, &ports_ops, e1000,
                e1000->name);
    e1000_eeprom_init(e1000);
    reset_registers(e1000);
    backend->sink = (struct frame_sink){e1000_receive, writable, e1000};
    return 0;
}
