/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers and scatters: each element has an address of its own, made from an element of a vector
 * register. They go from the lowest element up; what is done is taken out of the mask, so that the
 * instruction goes on after a fault where it was. Intel SDM vol. 2: VPGATHERDD ..., VPSCATTERDD ...
 */
#include "cpu/interpret/vector_op.h"

/* In op->immediate. op->destination: data register; op->source: index register; op->operand_size:
 * bytes of an element. */
#define GATHER_INDEX_WIDE  BIT(16) /* indices of 64 bits */
#define GATHER_OPMASK      BIT(17) /* the mask is an opmask register: EVEX */
#define GATHER_MASK_SHIFT  24      /* number of the mask's register */
#define GATHER_COUNT_SHIFT 32      /* elements */

static unsigned field(const struct op *op, unsigned shift)
{
    return op->immediate >> shift & 0xff;
}

static bool element_wanted(struct vcpu *vcpu, const struct op *op, unsigned i)
{
    unsigned mask = field(op, GATHER_MASK_SHIFT), size = op->operand_size;
    if (op->immediate & GATHER_OPMASK)
        return vector_opmask(vcpu, mask) >> i & 1;
    return *vector_byte(vcpu, mask, (i + 1) * size - 1) & 0x80;
}

static void element_done(struct vcpu *vcpu, const struct op *op, unsigned i)
{
    unsigned mask = field(op, GATHER_MASK_SHIFT), size = op->operand_size;
    if (op->immediate & GATHER_OPMASK)
        vector_set_opmask(vcpu, mask, vector_opmask(vcpu, mask) & ~BIT(i));
    else
        memset(vector_byte(vcpu, mask, i * size), 0, size);
}

/* False: fault recorded. */
static bool element_address(struct vcpu *vcpu, const struct op *op, unsigned i, bool write,
                            uint64_t *gva)
{
    struct op element = *op;
    bool wide = op->immediate & GATHER_INDEX_WIDE;
    unsigned size = wide ? 8 : 4;
    uint64_t index = load_le(vector_byte(vcpu, op->source, i * size), size);
    if (!wide)
        index = (uint64_t)sign_extend(index, 32);
    element.displacement += (int64_t)(index << op->scale);
    return op_linear(vcpu, &element, op->operand_size, write, gva);
}

/* Clears a vector register from byte `from` on. */
static void clear_rest(struct vcpu *vcpu, unsigned number, unsigned from)
{
    for (unsigned at = from; at < 64; at += 4)
        memset(vector_byte(vcpu, number, at), 0, 4);
}

static inline enum mmu_status gather_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned count = field(op, GATHER_COUNT_SHIFT), size = op->operand_size;
    unsigned mask = field(op, GATHER_MASK_SHIFT);
    if (!vector_check(vcpu, op))
        return MMU_FAULT;
    for (unsigned i = 0; i < count; i++) {
        uint64_t gva = 0;
        if (!element_wanted(vcpu, op, i))
            continue;
        if (!element_address(vcpu, op, i, false, &gva) ||
            mmu_read(vcpu, gva, vector_byte(vcpu, op->destination, i * size), size,
                     vcpu->mmu_mode) == MMU_FAULT)
            return MMU_FAULT;
        element_done(vcpu, op, i);
    }
    clear_rest(vcpu, op->destination, count * size);
    if (op->immediate & GATHER_OPMASK)
        vector_set_opmask(vcpu, mask, 0);
    else
        clear_rest(vcpu, mask, 0);
    return MMU_OK;
}
DEFINE_HANDLER(gather)

static inline enum mmu_status scatter_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned count = field(op, GATHER_COUNT_SHIFT), size = op->operand_size;
    enum mmu_status status = MMU_OK;
    if (!vector_check(vcpu, op))
        return MMU_FAULT;
    for (unsigned i = 0; i < count; i++) {
        uint64_t gva = 0;
        if (!element_wanted(vcpu, op, i))
            continue;
        if (!element_address(vcpu, op, i, true, &gva))
            return MMU_FAULT;
        enum mmu_status one = mmu_write(vcpu, gva, vector_byte(vcpu, op->destination, i * size),
                                        size, vcpu->mmu_mode);
        if (one == MMU_FAULT)
            return one;
        if (one == MMU_CODE)
            status = one;
        element_done(vcpu, op, i);
    }
    vector_set_opmask(vcpu, field(op, GATHER_MASK_SHIFT), 0);
    return status;
}
DEFINE_HANDLER(scatter)

/* The instructions; which is the mask's operand and which the data's follows from the encoding. */
static const struct {
    ZydisMnemonic mnemonic;
    uint8_t element, index; /* bytes */
    op_handler *handler;
} instructions[] = {
    {ZYDIS_MNEMONIC_VGATHERDPS, 4, 4, gather},   {ZYDIS_MNEMONIC_VPGATHERDD, 4, 4, gather},
    {ZYDIS_MNEMONIC_VGATHERDPD, 8, 4, gather},   {ZYDIS_MNEMONIC_VPGATHERDQ, 8, 4, gather},
    {ZYDIS_MNEMONIC_VGATHERQPS, 4, 8, gather},   {ZYDIS_MNEMONIC_VPGATHERQD, 4, 8, gather},
    {ZYDIS_MNEMONIC_VGATHERQPD, 8, 8, gather},   {ZYDIS_MNEMONIC_VPGATHERQQ, 8, 8, gather},
    {ZYDIS_MNEMONIC_VSCATTERDPS, 4, 4, scatter}, {ZYDIS_MNEMONIC_VPSCATTERDD, 4, 4, scatter},
    {ZYDIS_MNEMONIC_VSCATTERDPD, 8, 4, scatter}, {ZYDIS_MNEMONIC_VPSCATTERDQ, 8, 4, scatter},
    {ZYDIS_MNEMONIC_VSCATTERQPS, 4, 8, scatter}, {ZYDIS_MNEMONIC_VPSCATTERQD, 4, 8, scatter},
    {ZYDIS_MNEMONIC_VSCATTERQPD, 8, 8, scatter}, {ZYDIS_MNEMONIC_VPSCATTERQQ, 8, 8, scatter},
};

/* Register operands in their order: VEX has data, mask; EVEX data and mask in either order. */
static void fill_registers(struct selection *selection)
{
    struct op *op = selection->op;
    bool data_found = false;
    for (unsigned i = 0; i < selection->instruction.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &selection->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        uint64_t number = (uint64_t)ZydisRegisterGetId(operand->reg.value);
        bool opmask = ZydisRegisterGetClass(operand->reg.value) == ZYDIS_REGCLASS_MASK;
        if (opmask)
            op->immediate |= GATHER_OPMASK;
        if (opmask || data_found) {
            op->immediate |= number << GATHER_MASK_SHIFT;
        } else {
            op->destination = (uint8_t)number;
            data_found = true;
        }
    }
}

op_handler *select_gather(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    struct op *op = selection->op;
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != instruction->mnemonic)
            continue;
        unsigned element = instructions[i].element, index = instructions[i].index;
        unsigned widest = element > index ? element : index;
        uint64_t count = instruction->avx.vector_length / 8 / widest;
        op->condition = KIND_AVX;
        op->operand_size = (uint8_t)element;
        op->source =
            (uint8_t)ZydisRegisterGetId(selection->operands[selection->memory_operand].mem.index);
        op->immediate = count << GATHER_COUNT_SHIFT | (index == 8 ? GATHER_INDEX_WIDE : 0);
        fill_registers(selection);
        return instructions[i].handler;
    }
    return NULL;
}
