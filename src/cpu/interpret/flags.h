/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lazy flags. An arithmetic instruction stores its sign-extended result and its carry vector; the
 * six flags are worked out only when something reads them. vcpu->lazy:
 *
 *   result            ZF is result == 0, SF its sign, PF the parity of its low byte
 *   auxiliary bit 63  CF
 *             bit 62  carry into the top bit: OF is bit 63 ^ bit 62
 *             bit 3   AF
 *             bit 4   inverts SF    } so that any combination of flags can be loaded
 *             8..15   xor for PF    }
 */
#ifndef NACRE_CPU_INTERPRET_FLAGS_H
#define NACRE_CPU_INTERPRET_FLAGS_H

#include "cpu/vcpu.h"

#define LAZY_CARRY        BIT(63)
#define LAZY_CARRY_IN     BIT(62)
#define LAZY_ADJUST       BIT(3)
#define LAZY_SIGN         BIT(4)
#define LAZY_PARITY_SHIFT 8

static inline bool flag_carry(const struct vcpu *vcpu)
{
    return vcpu->lazy.auxiliary >> 63;
}

static inline bool flag_overflow(const struct vcpu *vcpu)
{
    return (vcpu->lazy.auxiliary ^ vcpu->lazy.auxiliary << 1) >> 63;
}

static inline bool flag_zero(const struct vcpu *vcpu)
{
    return vcpu->lazy.result == 0;
}

static inline bool flag_sign(const struct vcpu *vcpu)
{
    return (vcpu->lazy.result < 0) ^ (vcpu->lazy.auxiliary >> 4 & 1);
}

static inline bool flag_parity(const struct vcpu *vcpu)
{
    uint64_t byte = (uint64_t)vcpu->lazy.result ^ vcpu->lazy.auxiliary >> LAZY_PARITY_SHIFT;
    return !__builtin_parity(byte & 0xff);
}

static inline bool flag_adjust(const struct vcpu *vcpu)
{
    return vcpu->lazy.auxiliary >> 3 & 1;
}

/* Carry vector of a `bits`-wide operation -> lazy.auxiliary. */
static inline uint64_t flags_auxiliary(uint64_t carries, unsigned bits)
{
    return (carries << (64 - bits) & (LAZY_CARRY | LAZY_CARRY_IN)) | (carries & LAZY_ADJUST);
}

/* result: sign-extended from the operation's width. */
static inline void flags_set(struct vcpu *vcpu, int64_t result, uint64_t auxiliary)
{
    vcpu->lazy.result = result;
    vcpu->lazy.auxiliary = auxiliary;
}

/* AND, OR, XOR, TEST: CF, OF and AF clear. */
static inline void flags_set_logic(struct vcpu *vcpu, int64_t result)
{
    flags_set(vcpu, result, 0);
}

/* Replaces CF and OF, keeps the rest. */
static inline void flags_set_carry_overflow(struct vcpu *vcpu, bool carry, bool overflow)
{
    uint64_t kept = vcpu->lazy.auxiliary & ~(LAZY_CARRY | LAZY_CARRY_IN);
    vcpu->lazy.auxiliary = kept | (uint64_t)carry << 63 | (uint64_t)(carry ^ overflow) << 62;
}

static inline void flags_set_carry(struct vcpu *vcpu, bool carry)
{
    flags_set_carry_overflow(vcpu, carry, flag_overflow(vcpu));
}

/* The six arithmetic flags as RFLAGS bits. */
static inline uint64_t flags_arithmetic(const struct vcpu *vcpu)
{
    return (flag_carry(vcpu) ? RFLAGS_CF : 0) | (flag_parity(vcpu) ? RFLAGS_PF : 0) |
           (flag_adjust(vcpu) ? RFLAGS_AF : 0) | (flag_zero(vcpu) ? RFLAGS_ZF : 0) |
           (flag_sign(vcpu) ? RFLAGS_SF : 0) | (flag_overflow(vcpu) ? RFLAGS_OF : 0);
}

/* Brings vcpu->rflags up to date and returns it. */
static inline uint64_t flags_materialise(struct vcpu *vcpu)
{
    vcpu->rflags = (vcpu->rflags & ~RFLAGS_ARITHMETIC) | flags_arithmetic(vcpu);
    return vcpu->rflags;
}

/* Takes the arithmetic flags from rflags; the other bits of vcpu->rflags stay as they are. */
static inline void flags_load(struct vcpu *vcpu, uint64_t rflags)
{
    bool carry = rflags & RFLAGS_CF, overflow = rflags & RFLAGS_OF;
    int64_t result = rflags & RFLAGS_ZF ? 0 : 1;
    uint64_t parity = (uint64_t)result ^ (rflags & RFLAGS_PF ? 0 : 1);
    uint64_t auxiliary = (uint64_t)carry << 63 | (uint64_t)(carry ^ overflow) << 62 |
                         (rflags & RFLAGS_AF ? LAZY_ADJUST : 0) |
                         (rflags & RFLAGS_SF ? LAZY_SIGN : 0) | parity << LAZY_PARITY_SHIFT;
    flags_set(vcpu, result, auxiliary);
}

/* Replaces ZF, keeps the rest. */
static inline void flags_set_zero(struct vcpu *vcpu, bool zero)
{
    flags_load(vcpu, (flags_arithmetic(vcpu) & ~RFLAGS_ZF) | (zero ? RFLAGS_ZF : 0));
}

/* The condition of Jcc, SETcc, CMOVcc: low four bits of the opcode. */
static inline __attribute__((always_inline)) bool flags_condition(const struct vcpu *vcpu,
                                                                  unsigned condition)
{
    bool value;
    switch (condition >> 1) {
    case 0:
        value = flag_overflow(vcpu);
        break;
    case 1:
        value = flag_carry(vcpu);
        break;
    case 2:
        value = flag_zero(vcpu);
        break;
    case 3:
        value = (unsigned)flag_carry(vcpu) | flag_zero(vcpu);
        break;
    case 4:
        value = flag_sign(vcpu);
        break;
    case 5:
        value = flag_parity(vcpu);
        break;
    case 6:
        value = flag_sign(vcpu) ^ flag_overflow(vcpu);
        break;
    default:
        value = (flag_sign(vcpu) ^ flag_overflow(vcpu)) | (unsigned)flag_zero(vcpu);
        break;
    }
    return value ^ (condition & 1);
}

#endif
