/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/interpret/fused.h"

#include "cpu/interpret/alu.h"
#include "cpu/interpret/branch.h"

enum {
    COMPARE_NONE,
    CMP32_REGISTER,
    CMP64_REGISTER,
    CMP32_IMMEDIATE,
    CMP64_IMMEDIATE,
    TEST32,
    TEST64
};

/* Does a jump with this condition go, after a was compared with b? Overflow and parity are left to
 * the plain handlers. */
#define DEFINE_COMPARED(bits)                                         \
    static inline __attribute__((always_inline)) bool compared##bits( \
        unsigned condition, uint##bits##_t a, uint##bits##_t b)       \
    {                                                                 \
        bool value = false;                                           \
        switch (condition >> 1) {                                     \
        case 1:                                                       \
            value = a < b;                                            \
            break;                                                    \
        case 2:                                                       \
            value = a == b;                                           \
            break;                                                    \
        case 3:                                                       \
            value = a <= b;                                           \
            break;                                                    \
        case 4:                                                       \
            value = (int##bits##_t)(a - b) < 0;                       \
            break;                                                    \
        case 6:                                                       \
            value = (int##bits##_t)a < (int##bits##_t)b;              \
            break;                                                    \
        case 7:                                                       \
            value = (int##bits##_t)a <= (int##bits##_t)b;             \
            break;                                                    \
        default:                                                      \
            break;                                                    \
        }                                                             \
        return value ^ (condition & 1);                               \
    }
DEFINE_COMPARED(32)
DEFINE_COMPARED(64)

/* What is common to the handlers stays out of them: a quarter of the code, at the same speed. */
static __attribute__((noinline)) void jump_taken(struct vcpu *vcpu, const struct op *jump)
{
    uint64_t target = branch_target(vcpu, jump);
    if (unlikely(!branch_check(vcpu, target)))
        FAULT(vcpu, jump);
    branch_chain(vcpu, jump, target);
}

static inline __attribute__((always_inline)) void jump_if(struct vcpu *vcpu, const struct op *jump,
                                                          bool taken)
{
    if (taken)
        return jump_taken(vcpu, jump);
    NEXT(vcpu, jump);
}

#define SOURCE_REGISTER(bits)  register_get##bits(vcpu, op->source)
#define SOURCE_IMMEDIATE(bits) (uint##bits##_t) op->immediate

#define DEFINE_CMP(bits, form, condition)                                                      \
    static void cmp##bits##_##form##_##condition(struct vcpu *vcpu, const struct op *op)       \
    {                                                                                          \
        uint##bits##_t a = register_get##bits(vcpu, op->destination), b = SOURCE_##form(bits); \
        sub##bits(vcpu, a, b);                                                                 \
        jump_if(vcpu, op + 1, compared##bits(condition, a, b));                                \
    }
/* TEST sets the flags that a comparison of the AND with 0 would. */
#define DEFINE_TEST(bits, condition)                                             \
    static void test##bits##_##condition(struct vcpu *vcpu, const struct op *op) \
    {                                                                            \
        uint##bits##_t a = register_get##bits(vcpu, op->destination);            \
        a = and##bits(vcpu, a, register_get##bits(vcpu, op->source));            \
        jump_if(vcpu, op + 1, compared##bits(condition, a, 0));                  \
    }
#define DEFINE_FUSED(condition)          \
    DEFINE_CMP(32, REGISTER, condition)  \
    DEFINE_CMP(64, REGISTER, condition)  \
    DEFINE_CMP(32, IMMEDIATE, condition) \
    DEFINE_CMP(64, IMMEDIATE, condition) \
    DEFINE_TEST(32, condition)           \
    DEFINE_TEST(64, condition)
DEFINE_FUSED(2)
DEFINE_FUSED(3)
DEFINE_FUSED(4)
DEFINE_FUSED(5)
DEFINE_FUSED(6)
DEFINE_FUSED(7)
DEFINE_FUSED(8)
DEFINE_FUSED(9)
DEFINE_FUSED(12)
DEFINE_FUSED(13)
DEFINE_FUSED(14)
DEFINE_FUSED(15)

#define ROW(name)                                                                           \
    {                                                                                       \
        [2] = name##_2, [3] = name##_3, [4] = name##_4, [5] = name##_5, [6] = name##_6,     \
        [7] = name##_7, [8] = name##_8, [9] = name##_9, [12] = name##_12, [13] = name##_13, \
        [14] = name##_14, [15] = name##_15,                                                 \
    }
static op_handler *const handlers[][16] = {
    [CMP32_REGISTER] = ROW(cmp32_REGISTER),
    [CMP64_REGISTER] = ROW(cmp64_REGISTER),
    [CMP32_IMMEDIATE] = ROW(cmp32_IMMEDIATE),
    [CMP64_IMMEDIATE] = ROW(cmp64_IMMEDIATE),
    [TEST32] = ROW(test32),
    [TEST64] = ROW(test64),
};

unsigned fused_compare(bool test, enum operand_form form, unsigned size)
{
    if (size < 4)
        return COMPARE_NONE;
    bool wide = size == 8;
    if (form == FORM_REGISTER_REGISTER)
        return test ? (wide ? TEST64 : TEST32) : (wide ? CMP64_REGISTER : CMP32_REGISTER);
    if (form == FORM_REGISTER_IMMEDIATE && !test)
        return wide ? CMP64_IMMEDIATE : CMP32_IMMEDIATE;
    return COMPARE_NONE;
}

void fused_select(struct selection *selection, unsigned condition)
{
    op_handler *handler = handlers[selection->compare_before][condition];
    if (handler)
        selection->op[-1].run = handler;
}
