/* SPDX-License-Identifier: Apache-2.0 */
/* NOP and hints, fences, single flag bits, LAHF, SAHF, SALC, XLAT, BOUND, MOVNTI, RDPID. */
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"

#define AL_OFFSET 0
#define AH_OFFSET 1

static void nop(struct vcpu *vcpu, const struct op *op)
{
    NEXT(vcpu, op);
}

/* A spinning vcpu: let the loop look at the requests, and another thread run. */
static void pause_hint(struct vcpu *vcpu, const struct op *op)
{
    __builtin_ia32_pause();
    NEXT(vcpu, op);
}

static void fence(struct vcpu *vcpu, const struct op *op)
{
    atomic_thread_fence(memory_order_seq_cst);
    NEXT(vcpu, op);
}

static void clc(struct vcpu *vcpu, const struct op *op)
{
    flags_set_carry(vcpu, false);
    NEXT(vcpu, op);
}

static void stc(struct vcpu *vcpu, const struct op *op)
{
    flags_set_carry(vcpu, true);
    NEXT(vcpu, op);
}

static void cmc(struct vcpu *vcpu, const struct op *op)
{
    flags_set_carry(vcpu, !flag_carry(vcpu));
    NEXT(vcpu, op);
}

static void cld(struct vcpu *vcpu, const struct op *op)
{
    vcpu->rflags &= ~RFLAGS_DF;
    NEXT(vcpu, op);
}

static void std(struct vcpu *vcpu, const struct op *op)
{
    vcpu->rflags |= RFLAGS_DF;
    NEXT(vcpu, op);
}

static void lahf(struct vcpu *vcpu, const struct op *op)
{
    register_set8(vcpu, AH_OFFSET, (uint8_t)((flags_arithmetic(vcpu) & 0xff) | RFLAGS_FIXED));
    NEXT(vcpu, op);
}

static void sahf(struct vcpu *vcpu, const struct op *op)
{
    uint64_t overflow = flag_overflow(vcpu) ? RFLAGS_OF : 0;
    flags_load(vcpu, register_get8(vcpu, AH_OFFSET) | overflow);
    NEXT(vcpu, op);
}

static void salc(struct vcpu *vcpu, const struct op *op)
{
    register_set8(vcpu, AL_OFFSET, flag_carry(vcpu) ? 0xff : 0);
    NEXT(vcpu, op);
}

static inline enum mmu_status xlat_work(struct vcpu *vcpu, const struct op *op)
{
    struct op table = *op;
    uint8_t value;
    table.displacement = register_get8(vcpu, AL_OFFSET);
    table.base = GPR_RBX;
    table.index = REGISTER_ZERO;
    if (!operand_load8(vcpu, &table, &value))
        return MMU_FAULT;
    register_set8(vcpu, AL_OFFSET, value);
    return MMU_OK;
}
DEFINE_HANDLER(xlat)

static inline enum mmu_status bound_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint8_t limits[8];
    uint64_t gva;
    if (!op_linear(vcpu, op, 2 * size, false, &gva) ||
        mmu_read(vcpu, gva, limits, 2 * size, vcpu->mmu_mode) == MMU_FAULT)
        return MMU_FAULT;
    unsigned shift = 64 - size * 8;
    int64_t low = (int64_t)(load_le(limits, size) << shift) >> shift;
    int64_t high = (int64_t)(load_le(limits + size, size) << shift) >> shift;
    int64_t index = (int64_t)(register_get64(vcpu, op->destination) << shift) >> shift;
    if (index < low || index > high) {
        raise_exception(vcpu, VECTOR_BR);
        return MMU_FAULT;
    }
    return MMU_OK;
}
DEFINE_HANDLER(bound)

static void movnti32(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(vcpu, op, operand_store32(vcpu, op, register_get32(vcpu, op->source)));
}

static void movnti64(struct vcpu *vcpu, const struct op *op)
{
    NEXT_AFTER_STORE(vcpu, op, operand_store64(vcpu, op, register_get64(vcpu, op->source)));
}

static void rdpid(struct vcpu *vcpu, const struct op *op)
{
    register_set64(vcpu, op->destination, vcpu->tsc_aux);
    NEXT(vcpu, op);
}

/* CLFLUSH and friends touch their line: they fault as a one-byte load does. */
static void touch_line(struct vcpu *vcpu, const struct op *op)
{
    uint8_t byte;
    if (!operand_load8(vcpu, op, &byte))
        FAULT(vcpu, op);
    NEXT(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
} instructions[] = {
    {ZYDIS_MNEMONIC_NOP, nop},
    {ZYDIS_MNEMONIC_PAUSE, pause_hint},
    {ZYDIS_MNEMONIC_ENDBR32, nop},
    {ZYDIS_MNEMONIC_ENDBR64, nop},
    {ZYDIS_MNEMONIC_PREFETCH, nop},
    {ZYDIS_MNEMONIC_PREFETCHW, nop},
    {ZYDIS_MNEMONIC_PREFETCHWT1, nop},
    {ZYDIS_MNEMONIC_PREFETCHT0, nop},
    {ZYDIS_MNEMONIC_PREFETCHT1, nop},
    {ZYDIS_MNEMONIC_PREFETCHT2, nop},
    {ZYDIS_MNEMONIC_PREFETCHNTA, nop},
    {ZYDIS_MNEMONIC_CLFLUSH, touch_line},
    {ZYDIS_MNEMONIC_CLFLUSHOPT, touch_line},
    {ZYDIS_MNEMONIC_LFENCE, fence},
    {ZYDIS_MNEMONIC_SFENCE, fence},
    {ZYDIS_MNEMONIC_MFENCE, fence},
    {ZYDIS_MNEMONIC_CLC, clc},
    {ZYDIS_MNEMONIC_STC, stc},
    {ZYDIS_MNEMONIC_CMC, cmc},
    {ZYDIS_MNEMONIC_CLD, cld},
    {ZYDIS_MNEMONIC_STD, std},
    {ZYDIS_MNEMONIC_LAHF, lahf},
    {ZYDIS_MNEMONIC_SAHF, sahf},
    {ZYDIS_MNEMONIC_SALC, salc},
    {ZYDIS_MNEMONIC_XLAT, xlat},
    {ZYDIS_MNEMONIC_BOUND, bound},
    {ZYDIS_MNEMONIC_RDPID, rdpid},
};

op_handler *select_misc(struct selection *selection)
{
    ZydisMnemonic mnemonic = selection->instruction.mnemonic;
    if (mnemonic == ZYDIS_MNEMONIC_MOVNTI) {
        selection_form(selection);
        return selection->operands[0].size == 64 ? movnti64 : movnti32;
    }
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != mnemonic)
            continue;
        if (mnemonic == ZYDIS_MNEMONIC_BOUND || mnemonic == ZYDIS_MNEMONIC_RDPID)
            selection_form(selection);
        if (mnemonic == ZYDIS_MNEMONIC_XLAT)
            selection_implicit_memory(selection);
        return instructions[i].handler;
    }
    return NULL;
}
