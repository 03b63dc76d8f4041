/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checker's decoder for the instructions that nearly all code consists of: general registers,
 * optional 66 and REX prefixes, opcode maps 0 and 1. Intel SDM vol. 2 appendix A. Anything else is
 * left to Zydis; a test compares the two over every encoding here.
 */
#include "base/bits.h"
#include "cpu/registers.h"
#include "cpu/translate/check_decode.h"

/* Of an opcode: */
enum {
    KNOWN = 1 << 0,
    MODRM = 1 << 1,
    BYTE = 1 << 2, /* operands of 8 bits */
    RM_READ = 1 << 3,
    RM_WRITE = 1 << 4,
    REG_READ = 1 << 5,
    REG_WRITE = 1 << 6,
    IMMEDIATE8 = 1 << 7,
    IMMEDIATE = 1 << 8,  /* of the operands' size, at most 32 bits */
    LONG = 1 << 9,       /* 64 bits with REX.W */
    IN_OPCODE = 1 << 10, /* the register operand is in the opcode: as an r/m that is one */
    RM_BYTE = 1 << 11,   /* r/m has 8, 16 or 32 bits whatever the size of the other */
    RM_WORD = 1 << 12,
    RM_DWORD = 1 << 13,
    MAY_FAULT = 1 << 14,
    ADDRESS = 1 << 15, /* LEA */
};

#define RM_UPDATE  (RM_READ | RM_WRITE)
#define REG_UPDATE (REG_READ | REG_WRITE)

#define ALU(opcode, rm, reg)                                                                      \
    [opcode] = KNOWN | MODRM | BYTE | (rm) | REG_READ,                                            \
    [(opcode) + 1] = KNOWN | MODRM | (rm) | REG_READ,                                             \
    [(opcode) + 2] = KNOWN | MODRM | BYTE | RM_READ | (reg),                                      \
    [(opcode) + 3] = KNOWN | MODRM | RM_READ | (reg), [(opcode) + 4] = KNOWN | BYTE | IMMEDIATE8, \
    [(opcode) + 5] = KNOWN | IMMEDIATE
#define EIGHT(opcode, flags) [opcode...(opcode) + 7] = KNOWN | (flags)

static const uint16_t map0[256] = {
    ALU(0x00, RM_UPDATE, REG_UPDATE),
    ALU(0x08, RM_UPDATE, REG_UPDATE),
    ALU(0x10, RM_UPDATE, REG_UPDATE),
    ALU(0x18, RM_UPDATE, REG_UPDATE),
    ALU(0x20, RM_UPDATE, REG_UPDATE),
    ALU(0x28, RM_UPDATE, REG_UPDATE),
    ALU(0x30, RM_UPDATE, REG_UPDATE),
    ALU(0x38, RM_READ, REG_READ),
    [0x63] = KNOWN | MODRM | RM_READ | RM_DWORD | REG_WRITE,
    [0x69] = KNOWN | MODRM | RM_READ | REG_WRITE | IMMEDIATE,
    [0x6b] = KNOWN | MODRM | RM_READ | REG_WRITE | IMMEDIATE8,
    [0x84] = KNOWN | MODRM | BYTE | RM_READ | REG_READ,
    [0x85] = KNOWN | MODRM | RM_READ | REG_READ,
    [0x86] = KNOWN | MODRM | BYTE | RM_UPDATE | REG_UPDATE,
    [0x87] = KNOWN | MODRM | RM_UPDATE | REG_UPDATE,
    [0x88] = KNOWN | MODRM | BYTE | RM_WRITE | REG_READ,
    [0x89] = KNOWN | MODRM | RM_WRITE | REG_READ,
    [0x8a] = KNOWN | MODRM | BYTE | RM_READ | REG_WRITE,
    [0x8b] = KNOWN | MODRM | RM_READ | REG_WRITE,
    [0x8d] = KNOWN | MODRM | ADDRESS | REG_WRITE,
    [0x98] = KNOWN, /* CBW ... */
    [0x99] = KNOWN, /* CWD ... */
    [0x9e] = KNOWN, /* SAHF */
    [0x9f] = KNOWN, /* LAHF */
    [0xa8] = KNOWN | BYTE | IMMEDIATE8,
    [0xa9] = KNOWN | IMMEDIATE,
    EIGHT(0xb0, BYTE | IN_OPCODE | RM_WRITE | IMMEDIATE8),
    EIGHT(0xb8, IN_OPCODE | RM_WRITE | IMMEDIATE | LONG),
    [0xf5] = KNOWN, /* CMC */
    [0xf8] = KNOWN, /* CLC */
    [0xf9] = KNOWN, /* STC */
};

static const uint16_t map1[256] = {
    [0x40 ... 0x4f] = KNOWN | MODRM | RM_READ | REG_UPDATE, /* CMOVcc: may keep the register */
    [0x90 ... 0x9f] = KNOWN | MODRM | BYTE | RM_WRITE,
    [0xa4] = KNOWN | MODRM | RM_UPDATE | REG_READ | IMMEDIATE8,
    [0xa5] = KNOWN | MODRM | RM_UPDATE | REG_READ,
    [0xac] = KNOWN | MODRM | RM_UPDATE | REG_READ | IMMEDIATE8,
    [0xad] = KNOWN | MODRM | RM_UPDATE | REG_READ,
    [0xaf] = KNOWN | MODRM | RM_READ | REG_UPDATE,
    [0xb6] = KNOWN | MODRM | RM_READ | RM_BYTE | REG_WRITE,
    [0xb7] = KNOWN | MODRM | RM_READ | RM_WORD | REG_WRITE,
    [0xbc] = KNOWN | MODRM | RM_READ | REG_UPDATE, /* BSF, BSR: may keep the register */
    [0xbd] = KNOWN | MODRM | RM_READ | REG_UPDATE,
    [0xbe] = KNOWN | MODRM | RM_READ | RM_BYTE | REG_WRITE,
    [0xbf] = KNOWN | MODRM | RM_READ | RM_WORD | REG_WRITE,
    EIGHT(0xc8, IN_OPCODE | RM_UPDATE), /* BSWAP */
};

/* Opcodes that go on in the ModRM byte's register field. */
static const struct {
    uint8_t map, opcode;
    uint16_t flags[8];
} groups[] = {
#define ARITHMETIC(flags)                                                                        \
    {                                                                                            \
        [0 ... 6] = KNOWN | MODRM | RM_UPDATE | (flags), [7] = KNOWN | MODRM | RM_READ | (flags) \
    }
#define SHIFTS(flags)                                                                              \
    {                                                                                              \
        [0 ... 5] = KNOWN | MODRM | RM_UPDATE | (flags), [7] = KNOWN | MODRM | RM_UPDATE | (flags) \
    }
#define UNARY(flags, immediate)                                   \
    {                                                             \
        [0] = KNOWN | MODRM | RM_READ | (flags) | (immediate),    \
        [2 ... 3] = KNOWN | MODRM | RM_UPDATE | (flags),          \
        [4 ... 5] = KNOWN | MODRM | RM_READ | (flags),            \
        [6 ... 7] = KNOWN | MODRM | RM_READ | MAY_FAULT | (flags) \
    }
    {0, 0x80, ARITHMETIC(BYTE | IMMEDIATE8)},
    {0, 0x81, ARITHMETIC(IMMEDIATE)},
    {0, 0x83, ARITHMETIC(IMMEDIATE8)},
    {0, 0xc0, SHIFTS(BYTE | IMMEDIATE8)},
    {0, 0xc1, SHIFTS(IMMEDIATE8)},
    {0, 0xd0, SHIFTS(BYTE)},
    {0, 0xd1, SHIFTS(0)},
    {0, 0xd2, SHIFTS(BYTE)},
    {0, 0xd3, SHIFTS(0)},
    {0, 0xc6, {KNOWN | MODRM | BYTE | RM_WRITE | IMMEDIATE8}},
    {0, 0xc7, {KNOWN | MODRM | RM_WRITE | IMMEDIATE}},
    {0, 0xf6, UNARY(BYTE, IMMEDIATE8)},
    {0, 0xf7, UNARY(0, IMMEDIATE)},
    {0, 0xfe, {[0 ... 1] = KNOWN | MODRM | BYTE | RM_UPDATE}},
    {0, 0xff, {[0 ... 1] = KNOWN | MODRM | RM_UPDATE}},
    {1,
     0xba,
     {[4] = KNOWN | MODRM | RM_READ | IMMEDIATE8,
      [5 ... 7] = KNOWN | MODRM | RM_UPDATE | IMMEDIATE8}},
};

/* An instruction's prefixes. */
struct prefixes {
    bool narrow; /* 66 */
    uint8_t rex;
};

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

static uint16_t opcode_flags(unsigned map, uint8_t opcode, uint8_t modrm)
{
    uint16_t flags = map ? map1[opcode] : map0[opcode];
    if (flags)
        return flags;
    for (unsigned i = 0; i < ARRAY_SIZE(groups); i++)
        if (groups[i].opcode == opcode && groups[i].map == map)
            return groups[i].flags[modrm >> 3 & 7];
    return 0;
}

/* Number of an operand's register; AH to BH count as the register they are a part of. */
static unsigned register_number(unsigned number, unsigned size, uint8_t rex)
{
    return size == 1 && !rex && number >= 4 ? number - 4 : number;
}

/* A write of less than 32 bits keeps the rest. */
static void note_register(struct host_facts *facts, unsigned number, unsigned size, bool read,
                          bool write)
{
    uint16_t bit = (uint16_t)(1u << number & FACTS_TRACKED);
    if (read || (write && size < 4))
        facts->reads |= bit;
    if (write)
        facts->writes |= bit;
}

/* Bytes of SIB and displacement of an address, whose registers LEA reads. */
static unsigned note_address(struct host_facts *facts, const uint8_t *modrm, uint8_t rex)
{
    unsigned mod = modrm[0] >> 6, base = modrm[0] & 7, more = mod == 1 ? 1 : mod == 2 ? 4 : 0;
    bool has_base = true;
    if (base == 4) {
        unsigned index = (modrm[1] >> 3 & 7) | (rex & REX_X ? 8u : 0);
        base = modrm[1] & 7;
        has_base = mod || base != 5;
        more += has_base ? 1 : 5;
        if (index != GPR_RSP)
            note_register(facts, index, 8, true, false);
    } else if (!mod && base == 5) {
        return 4; /* relative to RIP: told apart by the caller */
    }
    if (has_base)
        note_register(facts, base | (rex & REX_B ? 8u : 0), 8, true, false);
    return more;
}

static bool is_relative(uint8_t modrm)
{
    return (modrm & 0xc7) == 5;
}

/* Bytes of displacement after ModRM, for an operand without SIB. */
static unsigned displacement_size(uint8_t modrm)
{
    return modrm >> 6 == 1 ? 1 : modrm >> 6 == 2 ? 4 : 0;
}

/* False: a memory operand that is not based on RDI or R14. */
static bool note_rm(struct host_facts *facts, uint16_t flags, const uint8_t *bytes, uint8_t rex,
                    unsigned size)
{
    uint8_t modrm = bytes[0];
    unsigned number = (modrm & 7u) | (rex & REX_B ? 8u : 0);
    size = flags & RM_BYTE ? 1 : flags & RM_WORD ? 2 : flags & RM_DWORD ? 4 : size;
    if (modrm >> 6 == 3) {
        number = register_number(number, size, rex);
        note_register(facts, number, size, flags & RM_READ, flags & RM_WRITE);
        return true;
    }
    if (number != GPR_RDI && number != GPR_R14)
        return false;
    unsigned more = displacement_size(modrm);
    facts->displacement = more == 1   ? (int8_t)bytes[1]
                          : more == 4 ? (int32_t)load_le(bytes + 1, 4)
                                      : 0;
    facts->base = (uint8_t)number;
    facts->size = (uint16_t)size;
    facts->stores = flags & RM_WRITE;
    return true;
}

static unsigned operand_size(uint16_t flags, const struct prefixes *prefixes)
{
    if (flags & BYTE)
        return 1;
    return prefixes->rex & REX_W ? 8 : prefixes->narrow ? 2 : 4;
}

static unsigned immediate_size(uint16_t flags, unsigned size)
{
    if (flags & IMMEDIATE8)
        return 1;
    if (!(flags & IMMEDIATE))
        return 0;
    return size == 8 && !(flags & LONG) ? 4 : size;
}

enum decode_result host_decode_common(const uint8_t *bytes, size_t available,
                                      struct host_facts *facts)
{
    struct prefixes prefixes = {0};
    unsigned at = 0, map = 0;
    *facts = (struct host_facts){.base = FACTS_NO_REGISTER, .bit_register = FACTS_NO_REGISTER};
    prefixes.narrow = bytes[at] == 0x66;
    at += prefixes.narrow;
    if ((bytes[at] & 0xf0) == 0x40)
        prefixes.rex = bytes[at++];
    if (bytes[at] == 0x0f) {
        map = 1;
        at++;
    }
    uint8_t opcode = bytes[at++], modrm = bytes[at];
    uint16_t flags = opcode_flags(map, opcode, modrm);
    if (!flags)
        return DECODE_UNKNOWN;
    unsigned size = operand_size(flags, &prefixes);
    if ((flags & IN_OPCODE && map && size == 2) || (flags & RM_DWORD && size == 2))
        return DECODE_UNKNOWN; /* BSWAP and MOVSXD of 16 bits: odd ones, for Zydis */
    if (flags & MODRM) {
        unsigned reg = register_number((modrm >> 3 & 7u) | (prefixes.rex & REX_R ? 8u : 0), size,
                                       prefixes.rex);
        if (flags & ADDRESS) {
            if (modrm >> 6 == 3 || is_relative(modrm))
                return DECODE_UNKNOWN;
            at += note_address(facts, bytes + at, prefixes.rex);
        } else if (!note_rm(facts, flags, bytes + at, prefixes.rex, size)) {
            return DECODE_UNKNOWN;
        } else {
            at += displacement_size(modrm);
        }
        at++;
        note_register(facts, reg, size, flags & REG_READ, flags & REG_WRITE);
    } else if (flags & IN_OPCODE) {
        unsigned number = (opcode & 7u) | (prefixes.rex & REX_B ? 8u : 0);
        note_register(facts, register_number(number, size, prefixes.rex), size, flags & RM_READ,
                      flags & RM_WRITE);
    }
    unsigned immediate = immediate_size(flags, size);
    if (immediate == 8 && at + immediate <= available)
        facts->constant = load_le(bytes + at, 8);
    at += immediate;
    facts->may_fault = flags & MAY_FAULT;
    facts->length = (uint8_t)at;
    return at <= available ? DECODE_ALLOWED : DECODE_UNKNOWN;
}
