/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hangs on the 82540EM: a 93C46 serial EEPROM with the address (Microwire, manual §5.6,
 * §13.4.3 and §13.4.4) and a Marvell 88E1011 PHY (§13.4.7; IEEE 802.3 clause 22) whose link is
 * always up.
 */
#include "device/e1000_private.h"

#define EEPROM_CLOCK    BIT(0)
#define EEPROM_SELECT   BIT(1)
#define EEPROM_IN       BIT(2)
#define EEPROM_OUT      BIT(3)
#define EEPROM_REQUEST  BIT(6)
#define EEPROM_GRANT    BIT(7)
#define EEPROM_PRESENT  BIT(8)
#define EEPROM_DRIVEN   (EEPROM_CLOCK | EEPROM_SELECT | EEPROM_IN | EEPROM_REQUEST | 0x30)
#define COMMAND_BITS    9 /* start bit, two of operation, six of address */
#define COMMAND_READ    6
#define EEPROM_CHECKSUM 0xbaba
#define WORD_CONTROL    0x0a
#define WORD_SUBSYSTEM  0x0b
#define WORD_VENDOR     0x0c
#define WORD_DEVICE     0x0d
#define WORD_CHECKSUM   0x3f

#define EERD_START BIT(0)
#define EERD_DONE  BIT(4)

#define MDIC_WRITE BIT(26)
#define MDIC_READ  BIT(27)
#define MDIC_READY BIT(28)
#define MDIC_ERROR BIT(30)
#define PHY_NUMBER 1

enum {
    PHY_CONTROL = 0,
    PHY_STATUS = 1,
    PHY_ID = 2, /* two words */
    PHY_ADVERTISED = 4,
    PHY_PARTNER = 5,
    PHY_EXPANSION = 6,
    PHY_1000_CONTROL = 9,
    PHY_1000_STATUS = 10,
    PHY_EXTENDED = 15,
    PHY_SPECIFIC_CONTROL = 16,
    PHY_SPECIFIC_STATUS = 17,
};

#define PHY_CONTROL_DONE_AT_ONCE 0x8200u /* reset, restart of negotiation */

static const struct {
    uint8_t number;
    bool writable;
    uint16_t value;
} phy_registers[] = {
    {PHY_CONTROL, true, 0x1140},
    {PHY_STATUS, false, 0x796d},
    {PHY_ID, false, 0x0141},
    {PHY_ID + 1, false, 0x0c20},
    {PHY_ADVERTISED, true, 0x0de1},
    {PHY_PARTNER, false, 0x45e1},
    {PHY_EXPANSION, false, 0x0001},
    {PHY_1000_CONTROL, true, 0x0e00},
    {PHY_1000_STATUS, false, 0x3c00},
    {PHY_EXTENDED, false, 0x3000},
    {PHY_SPECIFIC_CONTROL, true, 0x0060},
    {PHY_SPECIFIC_STATUS, false, 0xac08},
    {18, true, 0},
    {20, true, 0x0d60},
    {29, true, 0},
    {30, true, 0},
};

void e1000_eeprom_init(struct e1000 *e1000)
{
    uint16_t *words = e1000->eeprom.words, sum = 0;
    memcpy(words, e1000->mac, MAC_SIZE);
    words[WORD_CONTROL] = 0x640a;
    words[WORD_SUBSYSTEM] = (uint16_t)load_le(e1000->pci.config + 0x2e, 2);
    words[WORD_VENDOR] = (uint16_t)load_le(e1000->pci.config + 0x2c, 2);
    words[WORD_DEVICE] = (uint16_t)load_le(e1000->pci.config + 0x02, 2);
    for (unsigned i = 0; i < WORD_CHECKSUM; i++)
        sum = (uint16_t)(sum + words[i]);
    words[WORD_CHECKSUM] = (uint16_t)(EEPROM_CHECKSUM - sum);
}

/* A rising clock moves one bit, in or out. */
static void eeprom_clock(struct e1000_eeprom *eeprom, bool in)
{
    if (eeprom->bit_count < COMMAND_BITS) {
        eeprom->command = (uint16_t)(eeprom->command << 1 | in);
        /* Leading zeroes are not counted: a command begins with a one. */
        eeprom->bit_count = (uint8_t)(eeprom->command ? eeprom->bit_count + 1 : 0);
        if (eeprom->bit_count == COMMAND_BITS && eeprom->command >> 6 == COMMAND_READ)
            eeprom->data = eeprom->words[eeprom->command % EEPROM_WORDS];
        eeprom->output = false;
        return;
    }
    eeprom->output = eeprom->data >> 15;
    eeprom->data = (uint16_t)(eeprom->data << 1);
}

void e1000_eecd_write(struct e1000 *e1000, uint32_t value)
{
    uint32_t *eecd = e1000_register(e1000, E1000_EECD);
    struct e1000_eeprom *eeprom = &e1000->eeprom;
    uint32_t rising = value & ~*eecd;
    if (!(value & EEPROM_SELECT)) {
        eeprom->command = eeprom->bit_count = 0;
        eeprom->data = 0;
        eeprom->output = true; /* not busy */
    } else if (rising & EEPROM_CLOCK) {
        eeprom_clock(eeprom, value & EEPROM_IN);
    }
    *eecd = value & EEPROM_DRIVEN;
}

uint32_t e1000_eecd_read(const struct e1000 *e1000)
{
    uint32_t value = e1000->registers[E1000_EECD / 4] | EEPROM_PRESENT;
    if (value & EEPROM_REQUEST)
        value |= EEPROM_GRANT;
    return value | (e1000->eeprom.output ? EEPROM_OUT : 0);
}

void e1000_eerd_write(struct e1000 *e1000, uint32_t value)
{
    unsigned word = (unsigned)bits_get(value, 15, 8);
    if (!(value & EERD_START))
        return;
    uint32_t data = word < EEPROM_WORDS ? e1000->eeprom.words[word] : 0;
    *e1000_register(e1000, E1000_EERD) = data << 16 | word << 8 | (uint32_t)EERD_DONE;
}

void e1000_phy_reset(struct e1000 *e1000)
{
    memset(e1000->phy, 0, sizeof(e1000->phy));
    for (unsigned i = 0; i < ARRAY_SIZE(phy_registers); i++)
        e1000->phy[phy_registers[i].number] = phy_registers[i].value;
}

static void phy_write(struct e1000 *e1000, unsigned number, uint16_t value)
{
    if (number == PHY_CONTROL)
        value &= (uint16_t)~PHY_CONTROL_DONE_AT_ONCE;
    for (unsigned i = 0; i < ARRAY_SIZE(phy_registers); i++)
        if (phy_registers[i].number == number && phy_registers[i].writable)
            e1000->phy[number] = value;
}

void e1000_mdic_write(struct e1000 *e1000, uint32_t value)
{
    unsigned number = (unsigned)bits_get(value, 20, 16);
    uint32_t result = (value & ~(uint32_t)MDIC_ERROR) | (uint32_t)MDIC_READY;
    if (bits_get(value, 25, 21) != PHY_NUMBER)
        result |= (uint32_t)MDIC_ERROR;
    else if (value & MDIC_READ)
        result = (result & 0xffff0000u) | e1000->phy[number];
    else if (value & MDIC_WRITE)
        phy_write(e1000, number, (uint16_t)value);
    *e1000_register(e1000, E1000_MDIC) = result;
}
