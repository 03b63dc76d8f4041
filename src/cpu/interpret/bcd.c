/* SPDX-License-Identifier: Apache-2.0 */
/* AAA, AAS, AAM, AAD, DAA, DAS: decimal arithmetic of 16- and 32-bit code. APM vol. 3. */
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"

#define AL_OFFSET 0
#define AH_OFFSET 1

static void set_result_flags(struct vcpu *vcpu, uint8_t result, bool carry, bool adjust)
{
    flags_set(vcpu, (int8_t)result, adjust ? LAZY_ADJUST : 0);
    flags_set_carry_overflow(vcpu, carry, false);
}

static void ascii_adjust(struct vcpu *vcpu, int direction)
{
    uint8_t al = register_get8(vcpu, AL_OFFSET);
    bool adjust = (al & 0xf) > 9 || flag_adjust(vcpu);
    uint16_t ax = register_get16(vcpu, AL_OFFSET);
    if (adjust)
        ax = (uint16_t)(ax + direction * 0x106);
    register_set16(vcpu, AL_OFFSET, ax & 0xff0f);
    set_result_flags(vcpu, (uint8_t)(ax & 0xf), adjust, adjust);
}

static void aaa(struct vcpu *vcpu, const struct op *op)
{
    ascii_adjust(vcpu, 1);
    NEXT(vcpu, op);
}

static void aas(struct vcpu *vcpu, const struct op *op)
{
    ascii_adjust(vcpu, -1);
    NEXT(vcpu, op);
}

static void aam(struct vcpu *vcpu, const struct op *op)
{
    uint8_t base = (uint8_t)op->immediate, al = register_get8(vcpu, AL_OFFSET);
    if (!base) {
        raise_exception(vcpu, VECTOR_DE);
        FAULT(vcpu, op);
    }
    register_set8(vcpu, AH_OFFSET, al / base);
    register_set8(vcpu, AL_OFFSET, al % base);
    set_result_flags(vcpu, al % base, false, false);
    NEXT(vcpu, op);
}

static void aad(struct vcpu *vcpu, const struct op *op)
{
    uint8_t al = (uint8_t)(register_get8(vcpu, AL_OFFSET) +
                           register_get8(vcpu, AH_OFFSET) * (uint8_t)op->immediate);
    register_set16(vcpu, AL_OFFSET, al);
    set_result_flags(vcpu, al, false, false);
    NEXT(vcpu, op);
}

static void decimal_adjust(struct vcpu *vcpu, int direction)
{
    uint8_t old = register_get8(vcpu, AL_OFFSET), al = old;
    bool old_carry = flag_carry(vcpu), carry = false;
    bool adjust = (old & 0xf) > 9 || flag_adjust(vcpu);
    if (adjust) {
        int changed = al + direction * 6;
        carry = old_carry || changed < 0 || changed > 0xff;
        al = (uint8_t)changed;
    }
    if (old > 0x99 || old_carry) {
        al = (uint8_t)(al + direction * 0x60);
        carry = true;
    } else if (direction > 0) {
        carry = false;
    }
    register_set8(vcpu, AL_OFFSET, al);
    set_result_flags(vcpu, al, carry, adjust);
}

static void daa(struct vcpu *vcpu, const struct op *op)
{
    decimal_adjust(vcpu, 1);
    NEXT(vcpu, op);
}

static void das(struct vcpu *vcpu, const struct op *op)
{
    decimal_adjust(vcpu, -1);
    NEXT(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
} instructions[] = {
    {ZYDIS_MNEMONIC_AAA, aaa}, {ZYDIS_MNEMONIC_AAS, aas}, {ZYDIS_MNEMONIC_AAM, aam},
    {ZYDIS_MNEMONIC_AAD, aad}, {ZYDIS_MNEMONIC_DAA, daa}, {ZYDIS_MNEMONIC_DAS, das},
};

op_handler *select_bcd(struct selection *selection)
{
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        if (selection->instruction.operand_count_visible)
            selection->op->immediate = selection->operands[0].imm.value.u;
        return instructions[i].handler;
    }
    return NULL;
}
