/* SPDX-License-Identifier: Apache-2.0 */
/* Moves between XMM registers and memory in plain C: the bulk of every memcpy; the masked stores;
 * clearing of upper halves. op->source, op->destination: register numbers. */
#include "cpu/interpret/vector_op.h"

static void move128_load(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    if (unlikely(!vector_check(vcpu, op) || !op_linear(vcpu, op, 16, false, &gva)))
        FAULT(vcpu, op);
    if (op->immediate & VECTOR_ALIGNED && unlikely(gva & 15)) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    const void *hva = access_fast(vcpu, gva, 16, MMU_READ, vcpu->mmu_mode);
    if (likely(hva != NULL))
        memcpy(vector_xmm(vcpu, op->destination), hva, 16);
    else if (mmu_read(vcpu, gva, vector_xmm(vcpu, op->destination), 16, vcpu->mmu_mode) ==
             MMU_FAULT)
        FAULT(vcpu, op);
    NEXT(vcpu, op);
}

static void move128_store(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    if (unlikely(!vector_check(vcpu, op) || !op_linear(vcpu, op, 16, true, &gva)))
        FAULT(vcpu, op);
    if (op->immediate & VECTOR_ALIGNED && unlikely(gva & 15)) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    void *hva = access_fast(vcpu, gva, 16, MMU_WRITE, vcpu->mmu_mode);
    if (likely(hva != NULL)) {
        memcpy(hva, vector_xmm(vcpu, op->source), 16);
        NEXT(vcpu, op);
    }
    NEXT_AFTER_STORE(vcpu, op,
                     mmu_write(vcpu, gva, vector_xmm(vcpu, op->source), 16, vcpu->mmu_mode));
}

static void move128_register(struct vcpu *vcpu, const struct op *op)
{
    if (unlikely(!vector_check(vcpu, op)))
        FAULT(vcpu, op);
    memmove(vector_xmm(vcpu, op->destination), vector_xmm(vcpu, op->source), 16);
    NEXT(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    bool aligned;
} moves128[] = {
    {ZYDIS_MNEMONIC_MOVAPS, true},  {ZYDIS_MNEMONIC_MOVAPD, true},   {ZYDIS_MNEMONIC_MOVDQA, true},
    {ZYDIS_MNEMONIC_MOVUPS, false}, {ZYDIS_MNEMONIC_MOVUPD, false},  {ZYDIS_MNEMONIC_MOVDQU, false},
    {ZYDIS_MNEMONIC_LDDQU, false},  {ZYDIS_MNEMONIC_MOVNTPS, true},  {ZYDIS_MNEMONIC_MOVNTPD, true},
    {ZYDIS_MNEMONIC_MOVNTDQ, true}, {ZYDIS_MNEMONIC_MOVNTDQA, true},
};

static int xmm_number(const ZydisDecodedOperand *operand)
{
    ZydisRegister name =
        operand->type == ZYDIS_OPERAND_TYPE_REGISTER ? operand->reg.value : ZYDIS_REGISTER_NONE;
    return name >= ZYDIS_REGISTER_XMM0 && name <= ZYDIS_REGISTER_XMM15
               ? (int)(name - ZYDIS_REGISTER_XMM0)
               : -1;
}

static op_handler *select_move128(struct selection *selection)
{
    struct op *op = selection->op;
    for (unsigned i = 0; i < ARRAY_SIZE(moves128); i++) {
        if (moves128[i].mnemonic != selection->instruction.mnemonic)
            continue;
        int to = xmm_number(&selection->operands[0]), from = xmm_number(&selection->operands[1]);
        op->condition = KIND_SSE;
        op->immediate = moves128[i].aligned ? VECTOR_ALIGNED : 0;
        op->destination = (uint8_t)(to < 0 ? 0 : to);
        op->source = (uint8_t)(from < 0 ? 0 : from);
        return to < 0 ? move128_store : from < 0 ? move128_load : move128_register;
    }
    return NULL;
}

/* --- MASKMOVQ and MASKMOVDQU: bytes of a register, where the mask's top bits say so, to DS:[rDI]
 * --- */

/* MMX registers are the significands of the x87 stack. */
static void read_mmx(struct vcpu *vcpu, const struct op *op, uint8_t *data, uint8_t *mask)
{
    uint8_t *image = vector_of(vcpu)->image;
    vector_enter_mmx();
    __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])image));
    memcpy(data, image + FX_ST + op->destination * 16, 8);
    memcpy(mask, image + FX_ST + op->source * 16, 8);
}

/* Nothing is written unless all of it can be. */
static inline enum mmu_status masked_store_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint8_t data[16], mask[16];
    uint64_t gva;
    if (!vector_check(vcpu, op) || !op_linear(vcpu, op, size, true, &gva))
        return MMU_FAULT;
    if (size == 8) {
        read_mmx(vcpu, op, data, mask);
    } else {
        memcpy(data, vector_xmm(vcpu, op->destination), 16);
        memcpy(mask, vector_xmm(vcpu, op->source), 16);
    }
    if (!mmu_probe_write(vcpu, gva, size, vcpu->mmu_mode))
        return MMU_FAULT;
    enum mmu_status status = MMU_OK;
    for (unsigned i = 0; i < size; i++)
        if (mask[i] & 0x80 && mmu_write(vcpu, gva + i, &data[i], 1, vcpu->mmu_mode) == MMU_CODE)
            status = MMU_CODE;
    return status;
}
DEFINE_HANDLER(masked_store)

static op_handler *select_masked_store(struct selection *selection)
{
    struct op *op = selection->op;
    bool avx = selection->instruction.mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
    bool wide = avx || selection->instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;
    ZydisRegister base = wide ? ZYDIS_REGISTER_XMM0 : ZYDIS_REGISTER_MM0;
    /* Zydis shows the implicit memory operand first, or hides it: the two registers follow. */
    unsigned found = 0;
    uint8_t numbers[2] = {0};
    for (unsigned i = 0; i < selection->instruction.operand_count && found < 2; i++)
        if (selection->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            selection->operands[i].reg.value >= base)
            numbers[found++] = (uint8_t)(selection->operands[i].reg.value - base);
    op->destination = numbers[0];
    op->source = numbers[1];
    op->condition = avx ? KIND_AVX : wide ? KIND_SSE : KIND_MMX;
    op->operand_size = wide ? 16 : 8;
    op->immediate = wide ? 0 : VECTOR_WAITING;
    op->base = GPR_RDI;
    selection_implicit_memory(selection);
    return masked_store;
}

/* VZEROUPPER, and VZEROALL with op->destination: of the registers that the mode has. */
static void clear_registers(struct vcpu *vcpu, const struct op *op)
{
    unsigned count = vcpu->code_mode & CODE_MODE_LONG ? 16 : 8;
    if (!vector_check(vcpu, op))
        FAULT(vcpu, op);
    if (op->destination)
        memset(vector_xmm(vcpu, 0), 0, (size_t)count * 16);
    memset(vcpu->xsave + XSAVE_YMM_HIGH, 0, (size_t)count * 16);
    memset(vcpu->xsave + XSAVE_ZMM_HIGH, 0, (size_t)count * 32);
    NEXT(vcpu, op);
}

op_handler *select_vector_move(struct selection *selection)
{
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        return select_masked_store(selection);
    case ZYDIS_MNEMONIC_VZEROUPPER:
    case ZYDIS_MNEMONIC_VZEROALL:
        selection->op->condition = KIND_AVX;
        selection->op->destination = selection->instruction.mnemonic == ZYDIS_MNEMONIC_VZEROALL;
        return clear_registers;
    default:
        return select_move128(selection);
    }
}
