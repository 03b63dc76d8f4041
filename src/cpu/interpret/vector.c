/* SPDX-License-Identifier: Apache-2.0 */
/* x87, MMX, SSE, AVX, AVX-512, BMI and their like, run on the host's units through native.c. */
#include "cpu/interpret/vector.h"

#include "cpu/control.h"
#include "cpu/interpret/vector_op.h"
#include "cpu/isa.h"

bool vector_kind_allowed(struct vcpu *vcpu, enum vector_kind kind)
{
    uint64_t cr0 = vcpu->cr0;
    if (kind == KIND_GENERAL || (kind == KIND_AVX && !(cr0 & CR0_TS)))
        return true;
    if (kind == KIND_SSE && (cr0 & CR0_EM || !(vcpu->cr4 & CR4_OSFXSR)))
        return raise_exception(vcpu, VECTOR_UD);
    if (kind == KIND_MMX && cr0 & CR0_EM)
        return raise_exception(vcpu, VECTOR_UD);
    if (cr0 & CR0_TS || (kind == KIND_X87 && cr0 & CR0_EM))
        return raise_exception(vcpu, VECTOR_NM);
    return true;
}

/* What a vector instruction may change beside memory. */
struct vector_copy {
    uint64_t registers[REGISTER_FILE_SIZE];
    uint8_t vectors[XSAVE_PKRU - FX_XMM];
    struct lazy_flags lazy;
};

static size_t copy_size(const struct op *op)
{
    return op->condition == KIND_AVX ? XSAVE_PKRU - FX_XMM : 256;
}

static void copy_save(struct vcpu *vcpu, const struct op *op, struct vector_copy *copy)
{
    memcpy(copy->registers, vcpu->registers, sizeof(copy->registers));
    memcpy(copy->vectors, vcpu->xsave + FX_XMM, copy_size(op));
    copy->lazy = vcpu->lazy;
    if (op->immediate & VECTOR_MMX)
        __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])vector_of(vcpu)->image));
}

static void copy_restore(struct vcpu *vcpu, const struct op *op, const struct vector_copy *copy)
{
    memcpy(vcpu->registers, copy->registers, sizeof(copy->registers));
    memcpy(vcpu->xsave + FX_XMM, copy->vectors, copy_size(op));
    vcpu->lazy = copy->lazy;
    if (op->immediate & VECTOR_MMX)
        host_fxrstor(vector_of(vcpu)->image);
}

/* The flags that the instruction would set if all exceptions were masked under this control. */
static uint32_t run_float(struct vcpu *vcpu, const struct op *op, void *memory, uint32_t control)
{
    host_mxcsr_write(control | MXCSR_MASKS);
    vector_run_stub(vcpu, op, memory);
    return host_mxcsr_read() & MXCSR_FLAGS;
}

/* With exceptions unmasked: run on a copy, look at the flags, commit only when none of them faults.
 * APM vol. 1 §4.10 */
static bool run_float_unmasked(struct vcpu *vcpu, const struct op *op, void *memory)
{
    struct vector *vector = vector_of(vcpu);
    struct vector_copy copy;
    uint32_t before = vector_mxcsr(vcpu), control = before & ~MXCSR_FLAGS, raised = 0;
    uint32_t unmasked = ~(before >> 7) & MXCSR_FLAGS;
    copy_save(vcpu, op, &copy);
    if (unmasked & MXCSR_UNDERFLOW) {
        /* A tiny result then faults even when it is exact, and only flushing to zero tells of
         * those. Flushing itself needs the exception masked. Intel SDM vol. 1 §4.9.1.5 */
        raised = run_float(vcpu, op, memory, control | MXCSR_FLUSH_TO_ZERO) & MXCSR_UNDERFLOW;
        copy_restore(vcpu, op, &copy);
        control &= ~MXCSR_FLUSH_TO_ZERO;
    }
    raised |= run_float(vcpu, op, memory, control);
    if (raised & unmasked & MXCSR_OPERANDS) /* no operation took place: no result was inexact */
        raised &= MXCSR_OPERANDS;
    vector->mxcsr = before | raised;
    host_mxcsr_write(vector->mxcsr | MXCSR_MASKS);
    if (!(raised & unmasked))
        return true;
    copy_restore(vcpu, op, &copy);
    if (op->immediate & VECTOR_MMX)
        vector_enter_mmx(); /* the fault comes behind that */
    host_mxcsr_write(vector->mxcsr | MXCSR_MASKS);
    return raise_exception(vcpu, vcpu->cr4 & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
}

bool vector_execute(struct vcpu *vcpu, const struct op *op, void *memory)
{
    const struct vector *vector = vector_of(vcpu);
    if (op->immediate & VECTOR_FLOAT && unlikely(~vector->mxcsr & MXCSR_MASKS))
        return run_float_unmasked(vcpu, op, memory);
    if (op->condition == KIND_X87 && unlikely(~vector->fcw & FCW_MASKS) &&
        op->immediate & VECTOR_WAITING)
        x87_run_unmasked(vcpu, op, memory);
    else
        vector_run_stub(vcpu, op, memory);
    return true;
}

static void vector_plain(struct vcpu *vcpu, const struct op *op)
{
    if (unlikely(!vector_check(vcpu, op) || !vector_execute(vcpu, op, NULL)))
        FAULT(vcpu, op);
    NEXT(vcpu, op);
}

/* Slow half: page crossings, MMIO, pages with code, TLB misses. Bounces through a buffer. */
static enum mmu_status vector_bounce(struct vcpu *vcpu, const struct op *op, uint64_t gva)
{
    uint8_t bounce[128] __attribute__((aligned(64)));
    unsigned size = op->operand_size;
    /* An x87 store with an unmasked exception leaves memory as it is: have it in the buffer. */
    bool load = op->immediate & VECTOR_LOAD || op->condition == KIND_X87;
    if (op->immediate & VECTOR_STORE && !mmu_probe_write(vcpu, gva, size, vcpu->mmu_mode))
        return MMU_FAULT;
    for (unsigned done = 0; load && done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_read(vcpu, gva + done, bounce + done, piece, vcpu->mmu_mode) == MMU_FAULT)
            return MMU_FAULT;
    }
    if (!vector_execute(vcpu, op, bounce))
        return MMU_FAULT;
    enum mmu_status status = MMU_OK;
    for (unsigned done = 0; op->immediate & VECTOR_STORE && done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_write(vcpu, gva + done, bounce + done, piece, vcpu->mmu_mode) == MMU_CODE)
            status = MMU_CODE;
    }
    return status;
}

static inline enum mmu_status vector_memory_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    bool store = op->immediate & VECTOR_STORE;
    if (unlikely(!vector_check(vcpu, op) || !op_linear(vcpu, op, op->operand_size, store, &gva)))
        return MMU_FAULT;
    if (op->immediate & VECTOR_ALIGNED && unlikely(gva & (op->operand_size - 1u))) {
        raise_error(vcpu, VECTOR_GP, 0);
        return MMU_FAULT;
    }
    void *hva =
        access_fast(vcpu, gva, op->operand_size, store ? MMU_WRITE : MMU_READ, vcpu->mmu_mode);
    bool copied =
        (op->immediate & VECTOR_COPIED && gva & 15) || unlikely(vector_store_may_trap(vcpu, op));
    if (likely(hva != NULL) && likely(!copied)) {
        if (unlikely(!vector_execute(vcpu, op, hva)))
            return MMU_FAULT;
        return MMU_OK;
    }
    return vector_bounce(vcpu, op, gva);
}
DEFINE_HANDLER(vector_memory)

static bool names_class(const struct selection *selection, ZydisRegisterClass class)
{
    for (unsigned i = 0; i < selection->instruction.operand_count; i++)
        if (selection->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(selection->operands[i].reg.value) == class)
            return true;
    return false;
}

/* From and to MMX registers, and yet by the rules of SSE. */
static bool is_mmx_conversion(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || mnemonic == ZYDIS_MNEMONIC_CVTPI2PD ||
           mnemonic == ZYDIS_MNEMONIC_CVTPS2PI || mnemonic == ZYDIS_MNEMONIC_CVTPD2PI ||
           mnemonic == ZYDIS_MNEMONIC_CVTTPS2PI || mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI;
}

/* The registers decide what an instruction asks of CR0 and CR4: FISTTP came with SSE3, and SSE
 * extended MMX. */
static enum vector_kind kind_of_registers(const struct selection *selection, enum vector_kind kind)
{
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_FISTTP)
        return KIND_X87;
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_CRC32)
        return KIND_GENERAL;
    bool xmm_too = names_class(selection, ZYDIS_REGCLASS_XMM);
    bool mmx = names_class(selection, ZYDIS_REGCLASS_MMX);
    return mmx && !xmm_too && !is_mmx_conversion(selection->instruction.mnemonic) ? KIND_MMX : kind;
}

/* VEX and EVEX exist in protected mode alone, and with vector registers when XCR0 has these. */
static bool encoding_enabled(const struct selection *selection, enum vector_kind *kind)
{
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    uint32_t needed = CODE_MODE_PROTECTED;
    if (instruction->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return true;
    if (*kind != KIND_GENERAL) {
        *kind = KIND_AVX;
        needed |= instruction->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
                          instruction->meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX
                      ? CODE_MODE_AVX512
                      : CODE_MODE_AVX;
    }
    return (selection->code_mode & needed) == needed;
}

/* What an instruction asks of the mode and of CR0 and CR4. False: it is not of this group, the
 * model has it not, or the guest has not enabled its registers. */
static bool extension_available(const struct selection *selection, enum vector_kind *kind)
{
    static const struct {
        ZydisISAExt extension;
        enum vector_kind kind; /* in legacy encoding */
        bool always;           /* in every model */
    } extensions[] = {
        {ZYDIS_ISA_EXT_X87, KIND_X87, true},
        {ZYDIS_ISA_EXT_MMX, KIND_MMX, true},
        {ZYDIS_ISA_EXT_SSE, KIND_SSE, true},
        {ZYDIS_ISA_EXT_SSE2, KIND_SSE, true},
        {ZYDIS_ISA_EXT_SSE3, KIND_SSE, false},
        {ZYDIS_ISA_EXT_SSSE3, KIND_SSE, false},
        {ZYDIS_ISA_EXT_SSE4, KIND_SSE, false},
        {ZYDIS_ISA_EXT_AES, KIND_SSE, false},
        {ZYDIS_ISA_EXT_PCLMULQDQ, KIND_SSE, false},
        {ZYDIS_ISA_EXT_SHA, KIND_SSE, false},
        {ZYDIS_ISA_EXT_GFNI, KIND_SSE, false},
        {ZYDIS_ISA_EXT_BMI1, KIND_GENERAL, false},
        {ZYDIS_ISA_EXT_BMI2, KIND_GENERAL, false},
        {ZYDIS_ISA_EXT_LZCNT, KIND_GENERAL, false},
        {ZYDIS_ISA_EXT_ADOX_ADCX, KIND_GENERAL, false},
        {ZYDIS_ISA_EXT_AVX, KIND_AVX, false},
        {ZYDIS_ISA_EXT_AVXAES, KIND_AVX, false},
        {ZYDIS_ISA_EXT_AVX2, KIND_AVX, false},
        {ZYDIS_ISA_EXT_AVX2GATHER, KIND_AVX, false},
        {ZYDIS_ISA_EXT_F16C, KIND_AVX, false},
        {ZYDIS_ISA_EXT_FMA, KIND_AVX, false},
        {ZYDIS_ISA_EXT_VAES, KIND_AVX, false},
        {ZYDIS_ISA_EXT_VPCLMULQDQ, KIND_AVX, false},
        {ZYDIS_ISA_EXT_AVX512VEX, KIND_AVX, false},
        {ZYDIS_ISA_EXT_AVX512EVEX, KIND_AVX, false},
    };
    const ZydisDecodedInstruction *instruction = &selection->instruction;
    for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++) {
        if (extensions[i].extension != instruction->meta.isa_ext)
            continue;
        *kind = kind_of_registers(selection, extensions[i].kind);
        return (extensions[i].always ||
                isa_set_available(selection->vcpu->model, instruction->meta.isa_set)) &&
               encoding_enabled(selection, kind);
    }
    return false;
}

/* AMD's processors take their operands anywhere, Intel's want them aligned. */
static bool is_sha(const struct selection *selection)
{
    return selection->instruction.meta.isa_ext == ZYDIS_ISA_EXT_SHA;
}

static bool needs_alignment(const struct selection *selection, const ZydisDecodedOperand *memory)
{
    switch (selection->instruction.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_AVX1:
    case ZYDIS_EXCEPTION_CLASS_E1:
    case ZYDIS_EXCEPTION_CLASS_E1NF:
        return true;
    default:
        break;
    }
    if (selection->instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return false;
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
        return false;
    default:
        return memory->size == 128 && !is_sha(selection);
    }
}

static uint64_t hidden_properties(const struct selection *selection)
{
    uint64_t properties = 0;
    for (unsigned i = 0; i < selection->instruction.operand_count; i++) {
        const ZydisDecodedOperand *operand = &selection->operands[i];
        if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        if (operand->reg.value >= ZYDIS_REGISTER_FLAGS &&
            operand->reg.value <= ZYDIS_REGISTER_RFLAGS)
            properties |= VECTOR_FLAGS;
    }
    return properties;
}

/* These look at MXCSR, flush to zero even while underflow is unmasked, and raise nothing. */
static bool never_raises(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VRCP14PD:
    case ZYDIS_MNEMONIC_VRCP14PS:
    case ZYDIS_MNEMONIC_VRCP14SD:
    case ZYDIS_MNEMONIC_VRCP14SS:
    case ZYDIS_MNEMONIC_VRSQRT14PD:
    case ZYDIS_MNEMONIC_VRSQRT14PS:
    case ZYDIS_MNEMONIC_VRSQRT14SD:
    case ZYDIS_MNEMONIC_VRSQRT14SS:
        return true;
    default:
        return false;
    }
}

static op_handler *select_native(struct selection *selection, enum vector_kind kind)
{
    struct op *op = selection->op;
    op->condition = kind;
    op->immediate = hidden_properties(selection);
    bool mmx = names_class(selection, ZYDIS_REGCLASS_MMX);
    /* Zydis does not say which of these use MXCSR. */
    if ((kind == KIND_SSE || kind == KIND_AVX) && !never_raises(selection->instruction.mnemonic))
        op->immediate |= VECTOR_FLOAT;
    if (kind == KIND_X87 && x87_is_waiting(selection->instruction.mnemonic))
        op->immediate |= VECTOR_WAITING;
    if (kind == KIND_MMX || mmx)
        op->immediate |= VECTOR_WAITING | VECTOR_MMX;
    op->stub =
        (const void *)(uintptr_t)native_stub_for(vector_of(selection->vcpu)->native, selection);
    if (!op->stub)
        return NULL;
    if (selection->memory_operand < 0)
        return vector_plain;
    const ZydisDecodedOperand *memory = &selection->operands[selection->memory_operand];
    op->operand_size = (uint8_t)(memory->size / 8);
    if (memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
        op->immediate |= VECTOR_LOAD;
    if (memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
        op->immediate |= VECTOR_STORE;
    if (needs_alignment(selection, memory))
        op->immediate |= VECTOR_ALIGNED;
    if (is_sha(selection))
        op->immediate |= VECTOR_COPIED;
    op_handler *masked = select_masked(selection);
    return masked ? masked : vector_memory;
}

op_handler *select_vector(struct selection *selection)
{
    enum vector_kind kind;
    op_handler *handler = select_vector_state(selection);
    if (handler)
        return handler;
    if (!extension_available(selection, &kind))
        return NULL;
    handler = select_vector_move(selection);
    if (!handler)
        handler = select_gather(selection);
    if (!handler)
        handler = select_x87_control(selection);
    return handler ? handler : select_native(selection, kind);
}

bool vector_code_full(const struct vcpu *vcpu)
{
    return native_is_full(vector_of(vcpu)->native);
}

void vector_code_reset(struct vcpu *vcpu)
{
    native_reset(vector_of(vcpu)->native);
}
