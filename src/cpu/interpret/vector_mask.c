/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory operands of which a mask says what is touched: elements that it leaves out raise no fault.
 * VMASKMOVPS and its kin, and EVEX instructions with an opmask. As long as the whole operand is at
 * hand, they run as all others do. Intel SDM vol. 2 §2.4 (exception class 6), §2.8.
 */
#include "cpu/interpret/vector_op.h"

/* What the mask is. */
enum mask_kind {
    MASK_VECTOR, /* sign bits of a vector register's elements */
    MASK_OPMASK, /* bits of an opmask register, in turn where memory has fewer elements */
    MASK_PACKED, /* as many elements from the first on as the opmask has bits: compress, expand */
};

/* In op->immediate, above the VECTOR_* bits. op->source: number of the mask's register. */
#define MASK_KIND_SHIFT    8
#define MASK_ELEMENT_SHIFT 16      /* bytes of a memory element */
#define MASK_BITS_SHIFT    24      /* of the opmask that count */
#define MASK_ALL_FAULT     BIT(32) /* a store that faults as if it touched all of its operand */

static unsigned field(const struct op *op, unsigned shift)
{
    return op->immediate >> shift & 0xff;
}

static uint64_t low_bits(unsigned count)
{
    return count >= 64 ? ~UINT64_C(0) : BIT(count) - 1;
}

/* A bit for each element of memory that is touched. */
static uint64_t touched_elements(struct vcpu *vcpu, const struct op *op, unsigned element)
{
    unsigned count = op->operand_size / element, bits = field(op, MASK_BITS_SHIFT);
    uint64_t touched = 0;
    if (field(op, MASK_KIND_SHIFT) == MASK_VECTOR) {
        for (unsigned i = 0; i < count; i++)
            if (*vector_byte(vcpu, op->source, (i + 1) * element - 1) & 0x80)
                touched |= BIT(i);
        return touched;
    }
    uint64_t mask = vector_opmask(vcpu, op->source) & low_bits(bits);
    if (field(op, MASK_KIND_SHIFT) == MASK_PACKED)
        return low_bits((unsigned)__builtin_popcountll(mask));
    for (unsigned i = 0; i < bits; i++)
        if (mask >> i & 1)
            touched |= BIT(i % count);
    return touched;
}

/* Element by element, through a buffer. */
static enum mmu_status masked_bounce(struct vcpu *vcpu, const struct op *op, uint64_t gva)
{
    uint8_t bounce[64] __attribute__((aligned(64))) = {0};
    unsigned element = field(op, MASK_ELEMENT_SHIFT), count = op->operand_size / element;
    bool store = op->immediate & VECTOR_STORE;
    uint64_t touched = touched_elements(vcpu, op, element);
    if (op->immediate & MASK_ALL_FAULT &&
        !mmu_probe_write(vcpu, gva, op->operand_size, vcpu->mmu_mode))
        return MMU_FAULT;
    for (unsigned i = 0; i < count; i++) {
        uint64_t at = gva + (uint64_t)i * element;
        if (!(touched >> i & 1))
            continue;
        if (store ? !mmu_probe_write(vcpu, at, element, vcpu->mmu_mode)
                  : mmu_read(vcpu, at, bounce + (size_t)i * element, element, vcpu->mmu_mode) ==
                        MMU_FAULT)
            return MMU_FAULT;
    }
    if (!vector_execute(vcpu, op, bounce))
        return MMU_FAULT;
    enum mmu_status status = MMU_OK;
    for (unsigned i = 0; store && i < count; i++)
        if (touched >> i & 1 &&
            mmu_write(vcpu, gva + (uint64_t)i * element, bounce + (size_t)i * element, element,
                      vcpu->mmu_mode) == MMU_CODE)
            status = MMU_CODE;
    return status;
}

static inline enum mmu_status masked_memory_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    bool store = op->immediate & VECTOR_STORE;
    if (unlikely(!vector_check(vcpu, op) || !op_linear(vcpu, op, op->operand_size, store, &gva)))
        return MMU_FAULT;
    if (op->immediate & VECTOR_ALIGNED && unlikely(gva & (op->operand_size - 1u))) {
        if (!touched_elements(vcpu, op, field(op, MASK_ELEMENT_SHIFT)))
            return masked_bounce(vcpu, op, gva);
        raise_error(vcpu, VECTOR_GP, 0);
        return MMU_FAULT;
    }
    void *hva =
        access_fast(vcpu, gva, op->operand_size, store ? MMU_WRITE : MMU_READ, vcpu->mmu_mode);
    if (unlikely(!hva || vector_store_may_trap(vcpu, op)))
        return masked_bounce(vcpu, op, gva);
    return vector_execute(vcpu, op, hva) ? MMU_OK : MMU_FAULT;
}
DEFINE_HANDLER(masked_memory)

static bool is_mask_move(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
           mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD || mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

/* Does the instruction touch all of its operand, whatever the mask says? Those of these exception
 * classes do, and some that Zydis has in others. */
static bool touches_all(const ZydisDecodedInstruction *instruction)
{
    switch (instruction->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1NF:
    case ZYDIS_EXCEPTION_CLASS_E3NF:
    case ZYDIS_EXCEPTION_CLASS_E4NF:
    case ZYDIS_EXCEPTION_CLASS_E5NF:
    case ZYDIS_EXCEPTION_CLASS_E6NF:
    case ZYDIS_EXCEPTION_CLASS_E9NF:
    case ZYDIS_EXCEPTION_CLASS_E10NF:
        return true;
    default:
        return instruction->mnemonic == ZYDIS_MNEMONIC_VDBPSADBW ||
               instruction->mnemonic == ZYDIS_MNEMONIC_VGF2P8AFFINEQB ||
               instruction->mnemonic == ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB;
    }
}

static bool is_scalar(ZydisISASet set)
{
    return set == ZYDIS_ISA_SET_AVX512F_SCALAR || set == ZYDIS_ISA_SET_AVX512DQ_SCALAR;
}

/* The vector operand whose elements the opmask speaks of: the result, or what is compared or
 * stored.
 */
static const ZydisDecodedOperand *masked_vector(const struct selection *selection)
{
    for (unsigned i = 0; i < selection->instruction.operand_count_visible; i++) {
        const ZydisDecodedOperand *operand = &selection->operands[i];
        if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(operand->reg.value) != ZYDIS_REGCLASS_MASK)
            return operand;
    }
    return NULL;
}

static op_handler *fill(struct selection *selection, enum mask_kind kind, ZydisRegister mask,
                        unsigned bits, unsigned element)
{
    selection->op->source = (uint8_t)ZydisRegisterGetId(mask);
    selection->op->immediate |= (uint64_t)kind << MASK_KIND_SHIFT |
                                (uint64_t)element << MASK_ELEMENT_SHIFT |
                                (uint64_t)bits << MASK_BITS_SHIFT;
    return masked_memory;
}

static op_handler *fill_opmask(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    const ZydisDecodedOperand *memory = &selection->operands[selection->memory_operand];
    const ZydisDecodedOperand *vector = masked_vector(selection);
    unsigned size = memory->size / 8, element = memory->element_size / 8;
    unsigned bits = vector ? vector->element_count : 64;
    bool packed = instruction->meta.category == ZYDIS_CATEGORY_COMPRESS ||
                  instruction->meta.category == ZYDIS_CATEGORY_EXPAND;
    if (instruction->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID) {
        element = instruction->avx.broadcast.is_static ? element : size;
    } else {
        if (vector && memory->element_size != vector->element_size && size / bits > element)
            element = size / bits; /* elements that make one together */
        bits = bits < size / element ? bits : size / element;
    }
    if (is_scalar(instruction->meta.isa_set))
        bits = 1;
    if (instruction->mnemonic == ZYDIS_MNEMONIC_VPSHUFBITQMB) { /* a result of each byte */
        element = 1;
        bits = size;
    }
    return fill(selection, packed ? MASK_PACKED : MASK_OPMASK, instruction->avx.mask.reg, bits,
                element);
}

op_handler *select_masked(struct selection *selection)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    const ZydisDecodedOperand *memory = &selection->operands[selection->memory_operand];
    ZydisRegister mask = instruction->avx.mask.reg;
    if (is_mask_move(instruction->mnemonic))
        return fill(selection, MASK_VECTOR, selection->operands[1].reg.value, 0,
                    memory->element_size / 8);
    if (instruction->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX || mask == ZYDIS_REGISTER_K0 ||
        mask == ZYDIS_REGISTER_NONE)
        return NULL;
    bool store = memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (!touches_all(instruction))
        return fill_opmask(selection);
    selection->op->immediate |= store ? MASK_ALL_FAULT : 0; /* VEXTRACTF32X4 and its kin */
    return store ? fill_opmask(selection) : NULL;
}
