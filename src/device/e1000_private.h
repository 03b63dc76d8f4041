/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intel 82540EM: registers, and what the files of the device share. "PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual" (317453, revision 4.0): chapter 13 has the
 * registers, 3 the descriptors, 5.6 the EEPROM.
 */
#ifndef NACRE_DEVICE_E1000_PRIVATE_H
#define NACRE_DEVICE_E1000_PRIVATE_H

#include "device/e1000.h"

/* Offsets in the register BAR, §13.4 */
enum {
    E1000_CTRL = 0x0000,
    E1000_STATUS = 0x0008,
    E1000_EECD = 0x0010,
    E1000_EERD = 0x0014,
    E1000_CTRL_EXT = 0x0018,
    E1000_MDIC = 0x0020,
    E1000_FCAL = 0x0028,
    E1000_VET = 0x0038,
    E1000_ICR = 0x00c0,
    E1000_ITR = 0x00c4,
    E1000_ICS = 0x00c8,
    E1000_IMS = 0x00d0,
    E1000_IMC = 0x00d8,
    E1000_RCTL = 0x0100,
    E1000_FCTTV = 0x0170,
    E1000_TXCW = 0x0178,
    E1000_TCTL = 0x0400,
    E1000_TIPG = 0x0410,
    E1000_AIFS = 0x0458,
    E1000_LEDCTL = 0x0e00,
    E1000_PBA = 0x1000,
    E1000_FCRTL = 0x2160,
    E1000_RDBAL = 0x2800, /* then RDBAH, RDLEN at +8, RDH at +16, RDT at +24 */
    E1000_RDT = 0x2818,
    E1000_RDTR = 0x2820,
    E1000_RXDCTL = 0x2828,
    E1000_RADV = 0x282c,
    E1000_RSRPD = 0x2c00,
    E1000_TDBAL = 0x3800, /* the same for transmission */
    E1000_TDT = 0x3818,
    E1000_TIDV = 0x3820,
    E1000_TXDCTL = 0x3828,
    E1000_TADV = 0x382c,
    E1000_TSPMT = 0x3830,
    E1000_STATISTICS = 0x4000, /* to E1000_STATISTICS_END: reading clears */
    E1000_GPRC = 0x4074,
    E1000_GPTC = 0x4080,
    E1000_GORCL = 0x4088,
    E1000_GOTCL = 0x4090,
    E1000_TORL = 0x40c0,
    E1000_TOTL = 0x40c8,
    E1000_TPR = 0x40d0,
    E1000_TPT = 0x40d4,
    E1000_STATISTICS_END = 0x4100,
    E1000_RXCSUM = 0x5000,
    E1000_MTA = 0x5200,  /* 128 words: multicast hash */
    E1000_RAL = 0x5400,  /* 16 pairs of low and high words: addresses */
    E1000_VFTA = 0x5600, /* 128 words: VLANs */
    E1000_WUC = 0x5800,
    E1000_WUFC = 0x5808,
    E1000_MANC = 0x5820,
    E1000_END = 0x6000,
};

/* What lies at a ring's base register, by number of words. */
enum { RING_BASE_LOW, RING_BASE_HIGH, RING_LENGTH, RING_HEAD = 4, RING_TAIL = 6 };

#define CTRL_RESET          BIT(26)
#define CTRL_VLAN           BIT(30) /* tags are taken out of frames that come */
#define STATUS_FULL_DUPLEX  BIT(0)
#define STATUS_LINK_UP      BIT(1)
#define STATUS_1000         BIT(7)
#define CAUSE_TRANSMITTED   BIT(0)
#define CAUSE_QUEUE_EMPTY   BIT(1)
#define CAUSE_LINK          BIT(2)
#define CAUSE_RECEIVED      BIT(7)
#define RCTL_ENABLE         BIT(1)
#define RCTL_UNICAST_ALL    BIT(3)
#define RCTL_MULTICAST_ALL  BIT(4)
#define RCTL_LONG           BIT(5)
#define RCTL_BROADCAST      BIT(15)
#define RCTL_VLAN_FILTER    BIT(18)
#define RCTL_SIZE_EXTENSION BIT(25)
#define RCTL_STRIP_CRC      BIT(26)
#define TCTL_ENABLE         BIT(1)
#define ADDRESS_VALID       BIT(31)
#define E1000_DESCRIPTOR    16u /* bytes */
#define E1000_TAG_SIZE      4
#define E1000_ADDRESSES     12 /* bytes before the type or tag of a frame */

/* The serial EEPROM behind EECD, and the PHY's registers behind MDIC. */
#define EEPROM_WORDS  64
#define PHY_REGISTERS 32

struct e1000_eeprom {
    uint16_t words[EEPROM_WORDS];
    uint16_t command; /* bits that have come in */
    uint8_t bit_count;
    uint16_t data; /* the word that goes out, its top bit next */
    bool output;
};

/* A transmission's context: §3.3.6 */
struct e1000_context {
    uint8_t ip_start, ip_offset, tcp_start, tcp_offset;
    uint16_t ip_end, tcp_end, segment_size;
    bool is_ipv4;
};

struct e1000 {
    struct pci_device pci;
    char name[16];
    struct frame_backend *backend;
    uint8_t mac[MAC_SIZE]; /* of this card; a restored machine's guest may know another */
    bool new_card;         /* as of struct net_options */
    pthread_mutex_t lock;
    uint32_t registers[E1000_END / 4];
    uint16_t phy[PHY_REGISTERS];
    struct e1000_eeprom eeprom;
    struct e1000_context context;
    _Atomic uint32_t port_address; /* of the register behind the I/O BAR */
    atomic_bool posted;            /* the loop has been told to look */
    /* The packet under way; not saved: it is lost, as on a wire. */
    struct frame frame;
    size_t frame_length;
    enum { FRAME_GROWING, FRAME_BROKEN, FRAME_READY } frame_state; /* broken: to be dropped */
    struct frame received; /* with its checksum, for the guest */
};

static inline uint32_t *e1000_register(struct e1000 *e1000, unsigned offset)
{
    return &e1000->registers[offset / 4];
}

static inline struct memory *e1000_memory(const struct e1000 *e1000)
{
    return pci_device_bus(&e1000->pci)->memory;
}

/* A ring of descriptors; `next` is the first that the device has not done. */
struct e1000_ring {
    uint64_t base;
    uint32_t count, next, end; /* next == end: the guest offers none */
};

/* From the registers at `offset`. Makes sense of whatever the guest has written there. */
struct e1000_ring e1000_ring_load(struct e1000 *e1000, unsigned offset);
/* The descriptor after `index`. */
uint32_t e1000_ring_after(const struct e1000_ring *ring, uint32_t index);

/* Notes causes of an interrupt, and drives the line. Lock held. */
void e1000_interrupt(struct e1000 *e1000, uint32_t causes);
/* Counts a frame in statistics registers: good packets, total packets, good bytes, total bytes. */
void e1000_count(struct e1000 *e1000, const unsigned offsets[4], size_t length);

/* e1000_phy.c. Lock held. */
void e1000_eeprom_init(struct e1000 *e1000);
void e1000_phy_reset(struct e1000 *e1000);
void e1000_eecd_write(struct e1000 *e1000, uint32_t value);
uint32_t e1000_eecd_read(const struct e1000 *e1000);
void e1000_eerd_write(struct e1000 *e1000, uint32_t value);
void e1000_mdic_write(struct e1000 *e1000, uint32_t value);

/* e1000_transmit.c: sends what the guest has put out. Loop thread, lock held. True: there is more.
 */
bool e1000_transmit(struct e1000 *e1000);
/* What the guest has put out of a packet so far is forgotten. */
void e1000_drop_frame(struct e1000 *e1000);
extern const struct state_table e1000_context_state;

/* e1000_receive.c: struct frame_sink. */
bool e1000_receive(void *opaque, const struct frame *frame, size_t length);

#endif
