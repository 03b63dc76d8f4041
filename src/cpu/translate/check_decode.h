/* SPDX-License-Identifier: Apache-2.0 */
/* The checker's own view of a host instruction that stands for a guest instruction. */
#ifndef NACRE_CPU_TRANSLATE_CHECK_DECODE_H
#define NACRE_CPU_TRANSLATE_CHECK_DECODE_H

#include <Zydis/Zydis.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sets of registers that hold the guest's values only after they were loaded. */
enum {
    LIVE_XMM = 1,
    LIVE_X87 = 2,
    LIVE_YMM = 4, /* all of YMM0 to YMM15 */
    LIVE_ZMM = 8, /* all of ZMM0 to ZMM31, and K0 to K7 */
    LIVE_ALL = 15,
};

#define FACTS_NO_REGISTER 0xff

/* General registers are bits: 1 << number. Only RDI, R14 and R15 are told of. */
#define FACTS_TRACKED (1u << 7 | 1u << 14 | 1u << 15)

struct host_facts {
    uint8_t length;
    uint8_t base;         /* of the memory operand [base], or FACTS_NO_REGISTER */
    uint16_t size;        /* of the memory operand, bytes */
    int32_t displacement; /* of the memory operand */
    bool stores;          /* may write it */
    bool may_fault;       /* for the values it meets, not for its address */
    uint8_t bit_register; /* number of the bit in memory that is meant, or FACTS_NO_REGISTER */
    uint8_t live;         /* LIVE_* it needs */
    uint16_t reads;       /* also what it keeps a part of */
    uint16_t writes;      /* all of the register, always */
    uint64_t constant;    /* a 64-bit immediate, or 0 */
};

enum decode_result { DECODE_ALLOWED, DECODE_UNKNOWN, DECODE_BAD_MEMORY };

/*
 * The instruction in `bytes`, of which `available` are the translation's; 16 can be read. UNKNOWN:
 * not on the list of what a guest instruction may become. BAD_MEMORY: with an operand that is not
 * [RDI] or [R14].
 */
enum decode_result host_decode(const ZydisDecoder *decoder, const uint8_t *bytes, size_t available,
                               struct host_facts *facts);

/* The same in two halves: common instructions by table (UNKNOWN: not one of those), and any. */
enum decode_result host_decode_common(const uint8_t *bytes, size_t available,
                                      struct host_facts *facts);
enum decode_result host_decode_any(const ZydisDecoder *decoder, const uint8_t *bytes,
                                   size_t available, struct host_facts *facts);

#endif
