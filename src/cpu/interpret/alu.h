/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic itself: each function returns the result and sets the flags. */
#ifndef NACRE_CPU_INTERPRET_ALU_H
#define NACRE_CPU_INTERPRET_ALU_H

#include "cpu/interpret/flags.h"

#define DEFINE_ARITHMETIC(bits)                                                                    \
    static inline uint##bits##_t add##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = (uint##bits##_t)(a + b);                                           \
        uint64_t carries = (a & b) | ((a | b) & ~(uint64_t)result);                                \
        flags_set(vcpu, (int##bits##_t)result, flags_auxiliary(carries, bits));                    \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t adc##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = (uint##bits##_t)(a + b + flag_carry(vcpu));                        \
        uint64_t carries = (a & b) | ((a | b) & ~(uint64_t)result);                                \
        flags_set(vcpu, (int##bits##_t)result, flags_auxiliary(carries, bits));                    \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t sub##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = (uint##bits##_t)(a - b);                                           \
        uint64_t carries = (~(uint64_t)a & b) | ((~(uint64_t)a | b) & result);                     \
        flags_set(vcpu, (int##bits##_t)result, flags_auxiliary(carries, bits));                    \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t sbb##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = (uint##bits##_t)(a - b - flag_carry(vcpu));                        \
        uint64_t carries = (~(uint64_t)a & b) | ((~(uint64_t)a | b) & result);                     \
        flags_set(vcpu, (int##bits##_t)result, flags_auxiliary(carries, bits));                    \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t and##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = a & b;                                                             \
        flags_set_logic(vcpu, (int##bits##_t)result);                                              \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t or ##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b)  \
    {                                                                                              \
        uint##bits##_t result = a | b;                                                             \
        flags_set_logic(vcpu, (int##bits##_t)result);                                              \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t xor ##bits(struct vcpu *vcpu, uint##bits##_t a, uint##bits##_t b) \
    {                                                                                              \
        uint##bits##_t result = a ^ b;                                                             \
        flags_set_logic(vcpu, (int##bits##_t)result);                                              \
        return result;                                                                             \
    }                                                                                              \
    /* INC and DEC leave CF alone. */                                                              \
    static inline uint##bits##_t inc##bits(struct vcpu *vcpu, uint##bits##_t a)                    \
    {                                                                                              \
        bool carry = flag_carry(vcpu);                                                             \
        uint##bits##_t result = add##bits(vcpu, a, 1);                                             \
        flags_set_carry(vcpu, carry);                                                              \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t dec##bits(struct vcpu *vcpu, uint##bits##_t a)                    \
    {                                                                                              \
        bool carry = flag_carry(vcpu);                                                             \
        uint##bits##_t result = sub##bits(vcpu, a, 1);                                             \
        flags_set_carry(vcpu, carry);                                                              \
        return result;                                                                             \
    }                                                                                              \
    static inline uint##bits##_t neg##bits(struct vcpu *vcpu, uint##bits##_t a)                    \
    {                                                                                              \
        return sub##bits(vcpu, 0, a);                                                              \
    }                                                                                              \
    static inline uint##bits##_t not ##bits(struct vcpu * vcpu, uint##bits##_t a)                  \
    {                                                                                              \
        return (uint##bits##_t) ~a;                                                                \
    }

DEFINE_ARITHMETIC(8)
DEFINE_ARITHMETIC(16)
DEFINE_ARITHMETIC(32)
DEFINE_ARITHMETIC(64)

#endif
