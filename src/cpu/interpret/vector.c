/* SPDX-License-Identifier: Apache-2.0 */
/* x87, MMX, SSE to SSE4.2, AES and PCLMULQDQ, run on the host's units through native.c. */
#include "cpu/interpret/vector.h"

#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/vector_state.h"

enum vector_kind { KIND_X87, KIND_MMX, KIND_SSE, KIND_GENERAL /* CRC32: no vector state */ };

/* op->extra of these handlers is the stub's address; op->immediate holds these bits. */
#define VECTOR_LOAD    BIT(0) /* reads its memory operand */
#define VECTOR_STORE   BIT(1) /* writes its memory operand */
#define VECTOR_ALIGNED BIT(2) /* #GP when the memory operand is not aligned to its size */
#define VECTOR_FLAGS   BIT(3) /* reads or writes RFLAGS */
#define VECTOR_FLOAT   BIT(4) /* may set MXCSR flags */
#define VECTOR_WAITING BIT(5) /* x87: pending exceptions come first */
#define VECTOR_MEMORY  (VECTOR_LOAD | VECTOR_STORE)

static bool kind_allowed(struct vcpu *vcpu, enum vector_kind kind)
{
    uint64_t cr0 = vcpu->cr0;
    if (kind == KIND_GENERAL)
        return true;
    if (kind == KIND_SSE && (cr0 & CR0_EM || !(vcpu->cr4 & CR4_OSFXSR)))
        return raise_exception(vcpu, VECTOR_UD);
    if (kind == KIND_MMX && cr0 & CR0_EM)
        return raise_exception(vcpu, VECTOR_UD);
    if (cr0 & CR0_TS || (kind == KIND_X87 && cr0 & CR0_EM))
        return raise_exception(vcpu, VECTOR_NM);
    return true;
}

/* Unmasked x87 exceptions that an earlier instruction left. */
static bool x87_pending(const struct vcpu *vcpu)
{
    uint16_t unmasked = ~vector_of(vcpu)->fcw & FCW_MASKS;
    return unlikely(unmasked != 0) && host_fsw_read() & unmasked;
}

static inline bool vector_check(struct vcpu *vcpu, const struct op *op)
{
    enum vector_kind kind = op->condition;
    if (unlikely(vcpu->cr0 & (CR0_TS | CR0_EM)) ||
        unlikely(kind == KIND_SSE && !(vcpu->cr4 & CR4_OSFXSR)))
        return kind_allowed(vcpu, kind);
    if (op->immediate & VECTOR_WAITING && unlikely(x87_pending(vcpu)))
        return raise_exception(vcpu, VECTOR_MF);
    return true;
}

static inline void run_stub(struct vcpu *vcpu, const struct op *op, void *memory)
{
    native_stub *stub = (native_stub *)(uintptr_t)op->stub;
    if (op->immediate & VECTOR_FLAGS) {
        uint64_t flags = stub(vcpu->xsave, vcpu->registers, memory,
                              flags_arithmetic(vcpu) | RFLAGS_FIXED | RFLAGS_IF);
        flags_load(vcpu, flags);
    } else {
        stub(vcpu->xsave, vcpu->registers, memory, 0);
    }
}

/* With exceptions unmasked: run on a copy, look at the flags, commit only when none of them faults.
 */
static bool run_float_unmasked(struct vcpu *vcpu, const struct op *op, void *memory)
{
    struct vector *vector = vector_of(vcpu);
    uint64_t registers[REGISTER_FILE_SIZE];
    uint8_t xmm[256];
    struct lazy_flags lazy = vcpu->lazy;
    uint32_t before = vector_mxcsr(vcpu);
    memcpy(registers, vcpu->registers, sizeof(registers));
    memcpy(xmm, vcpu->xsave + FX_XMM, sizeof(xmm));
    uint32_t control = (before & ~MXCSR_FLAGS) | MXCSR_MASKS, raised = 0;
    if (!(before & MXCSR_UNDERFLOW_MASK)) {
        /* Unmasked, a tiny result faults even when it is exact; masked, only flushing to zero
         * tells of those. SDM vol. 1 §4.9.1.5 */
        host_mxcsr_write(control | MXCSR_FLUSH_TO_ZERO);
        run_stub(vcpu, op, memory);
        raised = host_mxcsr_read() & MXCSR_UNDERFLOW;
        memcpy(vcpu->registers, registers, sizeof(registers));
        memcpy(vcpu->xsave + FX_XMM, xmm, sizeof(xmm));
        vcpu->lazy = lazy;
    }
    host_mxcsr_write(control);
    run_stub(vcpu, op, memory);
    raised |= host_mxcsr_read() & MXCSR_FLAGS;
    vector->mxcsr = before | raised;
    host_mxcsr_write(vector->mxcsr | MXCSR_MASKS);
    if (!(raised & ~(before >> 7) & MXCSR_FLAGS))
        return true;
    memcpy(vcpu->registers, registers, sizeof(registers));
    memcpy(vcpu->xsave + FX_XMM, xmm, sizeof(xmm));
    vcpu->lazy = lazy;
    return raise_exception(vcpu, vcpu->cr4 & CR4_OSXMMEXCPT ? VECTOR_XM : VECTOR_UD);
}

/* x87 with exceptions unmasked: invalid, denormal and zero-divide must leave the operands alone. */
static void run_x87_unmasked(struct vcpu *vcpu, const struct op *op, void *memory)
{
    const uint16_t before_result = 0x7; /* IE, DE, ZE */
    struct vector *vector = vector_of(vcpu);
    uint8_t *image = vector->image;
    __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])image));
    uint16_t old = (uint16_t)load_le(image + FX_FSW, 2);
    run_stub(vcpu, op, memory);
    uint16_t status = host_fsw_read(), raised = status & ~old & FSW_FLAGS;
    if (raised & ~vector->fcw & before_result) {
        /* Flags and condition codes are the instruction's, the stack is as it was. */
        store_le(image + FX_FSW, (old & FSW_TOP) | (status & ~FSW_TOP), 2);
        host_fxrstor(image);
    }
}

static inline bool vector_execute(struct vcpu *vcpu, const struct op *op, void *memory)
{
    const struct vector *vector = vector_of(vcpu);
    if (op->immediate & VECTOR_FLOAT && unlikely(~vector->mxcsr & MXCSR_MASKS))
        return run_float_unmasked(vcpu, op, memory);
    if (op->condition == KIND_X87 && unlikely(~vector->fcw & FCW_MASKS))
        run_x87_unmasked(vcpu, op, memory);
    else
        run_stub(vcpu, op, memory);
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
    for (unsigned done = 0; op->immediate & VECTOR_LOAD && done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_read(vcpu, gva + done, bounce + done, piece, vcpu->mmu_mode) == MMU_FAULT)
            return MMU_FAULT;
    }
    if (op->immediate & VECTOR_STORE && !mmu_probe_write(vcpu, gva, size, vcpu->mmu_mode))
        return MMU_FAULT;
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
    if (likely(hva != NULL)) {
        if (unlikely(!vector_execute(vcpu, op, hva)))
            return MMU_FAULT;
        return MMU_OK;
    }
    return vector_bounce(vcpu, op, gva);
}
DEFINE_HANDLER(vector_memory)

/* --- moves of 16 bytes, the bulk of every memcpy: plain C. op->source, op->destination: XMM
 * numbers --- */

static inline uint8_t *xmm(struct vcpu *vcpu, unsigned number)
{
    return vcpu->xsave + FX_XMM + number * 16;
}

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
        memcpy(xmm(vcpu, op->destination), hva, 16);
    else if (mmu_read(vcpu, gva, xmm(vcpu, op->destination), 16, vcpu->mmu_mode) == MMU_FAULT)
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
        memcpy(hva, xmm(vcpu, op->source), 16);
        NEXT(vcpu, op);
    }
    NEXT_AFTER_STORE(vcpu, op, mmu_write(vcpu, gva, xmm(vcpu, op->source), 16, vcpu->mmu_mode));
}

static void move128_register(struct vcpu *vcpu, const struct op *op)
{
    if (unlikely(!vector_check(vcpu, op)))
        FAULT(vcpu, op);
    memmove(xmm(vcpu, op->destination), xmm(vcpu, op->source), 16);
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

/* --- x87 control --- */

static void fldcw(struct vcpu *vcpu, const struct op *op)
{
    uint16_t value;
    if (!vector_check(vcpu, op) || !operand_load16(vcpu, op, &value))
        FAULT(vcpu, op);
    vector_of(vcpu)->fcw = fcw_legal(value);
    host_fcw_write(value | FCW_MASKS);
    NEXT(vcpu, op);
}

static void fnstcw(struct vcpu *vcpu, const struct op *op)
{
    if (!vector_check(vcpu, op))
        FAULT(vcpu, op);
    NEXT_AFTER_STORE(vcpu, op, operand_store16(vcpu, op, vector_of(vcpu)->fcw));
}

static inline enum mmu_status fnstsw_work(struct vcpu *vcpu, const struct op *op)
{
    if (!vector_check(vcpu, op))
        return MMU_FAULT;
    uint16_t status = host_fsw_read();
    if (x87_pending(vcpu))
        status |= FSW_SUMMARY;
    if (op->operand_size) /* to memory */
        return operand_store16(vcpu, op, status);
    memcpy(&vcpu->registers[GPR_RAX], &status, sizeof(status));
    return MMU_OK;
}
DEFINE_HANDLER(fnstsw)

static void fninit(struct vcpu *vcpu, const struct op *op)
{
    if (!vector_check(vcpu, op))
        FAULT(vcpu, op);
    vector_of(vcpu)->fcw = 0x37f;
    __asm__ volatile("fninit");
    NEXT(vcpu, op);
}

static void fwait(struct vcpu *vcpu, const struct op *op)
{
    if ((vcpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) {
        raise_exception(vcpu, VECTOR_NM);
        FAULT(vcpu, op);
    }
    if (x87_pending(vcpu)) {
        raise_exception(vcpu, VECTOR_MF);
        FAULT(vcpu, op);
    }
    NEXT(vcpu, op);
}

/* FNSTENV, FNSAVE write, FLDENV, FRSTOR read the control word in the host's masked form: patch it.
 */
static void environment_store(struct vcpu *vcpu, const struct op *op)
{
    uint8_t image[108];
    uint64_t gva;
    unsigned size = op->operand_size;
    if (!vector_check(vcpu, op) || !op_linear(vcpu, op, size, true, &gva) ||
        !mmu_probe_write(vcpu, gva, size, vcpu->mmu_mode))
        FAULT(vcpu, op);
    struct vector *vector = vector_of(vcpu);
    uint16_t status = host_fsw_read();
    run_stub(vcpu, op, image);
    store_le(image, vector->fcw, 2);
    /* The instruction and data pointers are the interpreter's own addresses: not for the guest. */
    bool narrow = size == 14 || size == 94;
    memset(image + (narrow ? 6 : 12), 0, narrow ? 8 : 16);
    if (status & ~vector->fcw & FSW_FLAGS) /* ES and B: the host's exceptions are masked */
        store_le(image + (narrow ? 2 : 4), status | FSW_SUMMARY, 2);
    if (size > 28)
        vector->fcw = 0x37f; /* FNSAVE ends with FNINIT */
    else
        vector->fcw |= FCW_MASKS; /* FNSTENV masks all */
    enum mmu_status status_store = MMU_OK;
    for (unsigned done = 0; done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_write(vcpu, gva + done, image + done, piece, vcpu->mmu_mode) == MMU_CODE)
            status_store = MMU_CODE;
    }
    NEXT_AFTER_STORE(vcpu, op, status_store);
}

static void environment_load(struct vcpu *vcpu, const struct op *op)
{
    uint8_t image[108];
    uint64_t gva;
    unsigned size = op->operand_size;
    if (!vector_check(vcpu, op) || !op_linear(vcpu, op, size, false, &gva))
        FAULT(vcpu, op);
    for (unsigned done = 0; done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_read(vcpu, gva + done, image + done, piece, vcpu->mmu_mode) == MMU_FAULT)
            FAULT(vcpu, op);
    }
    uint16_t control = (uint16_t)load_le(image, 2);
    vector_of(vcpu)->fcw = fcw_legal(control);
    store_le(image, control | FCW_MASKS, 2);
    run_stub(vcpu, op, image);
    NEXT(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
    bool waiting, stub;
} x87_special[] = {
    {ZYDIS_MNEMONIC_FLDCW, fldcw, true, false},
    {ZYDIS_MNEMONIC_FNSTCW, fnstcw, false, false},
    {ZYDIS_MNEMONIC_FNSTSW, fnstsw, false, false},
    {ZYDIS_MNEMONIC_FNINIT, fninit, false, false},
    {ZYDIS_MNEMONIC_FWAIT, fwait, true, false},
    {ZYDIS_MNEMONIC_FNSTENV, environment_store, false, true},
    {ZYDIS_MNEMONIC_FNSAVE, environment_store, false, true},
    {ZYDIS_MNEMONIC_FLDENV, environment_load, true, true},
    {ZYDIS_MNEMONIC_FRSTOR, environment_load, true, true},
};

/* Those that do not look for pending exceptions. */
static bool is_waiting(ZydisMnemonic mnemonic)
{
    return mnemonic != ZYDIS_MNEMONIC_FNCLEX && mnemonic != ZYDIS_MNEMONIC_FNSTSW &&
           mnemonic != ZYDIS_MNEMONIC_FNSTCW && mnemonic != ZYDIS_MNEMONIC_FNINIT &&
           mnemonic != ZYDIS_MNEMONIC_FNSAVE && mnemonic != ZYDIS_MNEMONIC_FNSTENV;
}

static op_handler *select_x87_special(struct selection *selection)
{
    struct op *op = selection->op;
    for (unsigned i = 0; i < ARRAY_SIZE(x87_special); i++) {
        if (x87_special[i].mnemonic != selection->instruction.mnemonic)
            continue;
        op->condition = KIND_X87;
        op->immediate = x87_special[i].waiting ? VECTOR_WAITING : 0;
        if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_FNSTSW)
            op->operand_size = selection->memory_operand < 0 ? 0 : 2;
        if (!x87_special[i].stub)
            return x87_special[i].handler;
        op->operand_size = (uint8_t)(selection->operands[0].size / 8);
        op->stub =
            (const void *)(uintptr_t)native_stub_for(vector_of(selection->vcpu)->native, selection);
        return op->stub ? x87_special[i].handler : NULL;
    }
    return NULL;
}

/* MASKMOVQ and MASKMOVDQU: bytes of a register, where the mask's top bits say so, to DS:[rDI]. */
static inline enum mmu_status masked_store_work(struct vcpu *vcpu, const struct op *op)
{
    unsigned size = op->operand_size;
    uint8_t data[16], mask[16];
    if (!vector_check(vcpu, op))
        return MMU_FAULT;
    if (size == 8) {
        vector_save(vcpu); /* MMX registers are the mantissas of ST */
        unsigned top = (unsigned)load_le(vcpu->xsave + FX_FSW, 2) >> 11 & 7;
        memcpy(data, vcpu->xsave + FX_ST + ((op->destination - top) & 7) * 16, 8);
        memcpy(mask, vcpu->xsave + FX_ST + ((op->source - top) & 7) * 16, 8);
    } else {
        memcpy(data, xmm(vcpu, op->destination), 16);
        memcpy(mask, xmm(vcpu, op->source), 16);
    }
    uint64_t gva = vcpu->registers[GPR_RDI] + vcpu->segment_bases[op->segment];
    if (op->flags & OP_ADDRESS32)
        gva = (uint32_t)vcpu->registers[GPR_RDI] + vcpu->segment_bases[op->segment];
    enum mmu_status status = MMU_OK;
    for (unsigned i = 0; i < size; i++) {
        if (!(mask[i] & 0x80))
            continue;
        enum mmu_status one = mmu_write(vcpu, gva + i, &data[i], 1, vcpu->mmu_mode);
        if (one == MMU_FAULT)
            return one;
        if (one == MMU_CODE)
            status = one;
    }
    return status;
}
DEFINE_HANDLER(masked_store)

static op_handler *select_masked_store(struct selection *selection)
{
    struct op *op = selection->op;
    bool wide = selection->instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU;
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
    op->condition = wide ? KIND_SSE : KIND_MMX;
    op->operand_size = wide ? 16 : 8;
    op->immediate = wide ? 0 : VECTOR_WAITING;
    if (selection->instruction.address_width == 32)
        op->flags |= OP_ADDRESS32;
    return masked_store;
}

static bool names_class(const struct selection *selection, ZydisRegisterClass class)
{
    for (unsigned i = 0; i < selection->instruction.operand_count; i++)
        if (selection->operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(selection->operands[i].reg.value) == class)
            return true;
    return false;
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
    return names_class(selection, ZYDIS_REGCLASS_MMX) && !xmm_too ? KIND_MMX : kind;
}

/* What the model must have for an instruction set. */
static bool extension_available(const struct selection *selection, enum vector_kind *kind)
{
    static const struct {
        ZydisISAExt extension;
        enum vector_kind kind;
        int ecx_bit; /* of leaf 1; -1: always there */
    } extensions[] = {
        {ZYDIS_ISA_EXT_X87, KIND_X87, -1},      {ZYDIS_ISA_EXT_MMX, KIND_MMX, -1},
        {ZYDIS_ISA_EXT_SSE, KIND_SSE, -1},      {ZYDIS_ISA_EXT_SSE2, KIND_SSE, -1},
        {ZYDIS_ISA_EXT_SSE3, KIND_SSE, 0},      {ZYDIS_ISA_EXT_SSSE3, KIND_SSE, 9},
        {ZYDIS_ISA_EXT_SSE4, KIND_SSE, 19},     {ZYDIS_ISA_EXT_AES, KIND_SSE, 25},
        {ZYDIS_ISA_EXT_PCLMULQDQ, KIND_SSE, 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(extensions); i++) {
        if (extensions[i].extension != selection->instruction.meta.isa_ext)
            continue;
        *kind = kind_of_registers(selection, extensions[i].kind);
        return extensions[i].ecx_bit < 0 ||
               selection->vcpu->model->leaf1_ecx & BIT(extensions[i].ecx_bit);
    }
    return false;
}

static bool needs_alignment(const struct selection *selection, const ZydisDecodedOperand *memory)
{
    switch (selection->instruction.mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
        return false;
    default:
        return memory->size == 128;
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

/* The only instructions on MMX registers that use MXCSR. */
static bool is_mmx_conversion(ZydisMnemonic mnemonic)
{
    return mnemonic == ZYDIS_MNEMONIC_CVTPI2PS || mnemonic == ZYDIS_MNEMONIC_CVTPI2PD ||
           mnemonic == ZYDIS_MNEMONIC_CVTPS2PI || mnemonic == ZYDIS_MNEMONIC_CVTPD2PI ||
           mnemonic == ZYDIS_MNEMONIC_CVTTPS2PI || mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI;
}

static op_handler *select_native(struct selection *selection, enum vector_kind kind)
{
    struct op *op = selection->op;
    op->condition = kind;
    op->immediate = hidden_properties(selection);
    bool mmx = names_class(selection, ZYDIS_REGCLASS_MMX);
    /* Zydis does not say which of these use MXCSR. Those on MMX registers, which are not copied
     * back, must not be run twice. */
    if (kind == KIND_SSE && (!mmx || is_mmx_conversion(selection->instruction.mnemonic)))
        op->immediate |= VECTOR_FLOAT;
    if (kind == KIND_X87 && is_waiting(selection->instruction.mnemonic))
        op->immediate |= VECTOR_WAITING;
    if (kind == KIND_MMX || mmx)
        op->immediate |= VECTOR_WAITING;
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
    if (kind == KIND_SSE && needs_alignment(selection, memory))
        op->immediate |= VECTOR_ALIGNED;
    return vector_memory;
}

op_handler *select_vector(struct selection *selection)
{
    enum vector_kind kind;
    op_handler *handler = select_vector_state(selection);
    if (handler)
        return handler;
    if (!extension_available(selection, &kind) ||
        selection->instruction.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
        return NULL;
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ||
        selection->instruction.mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU)
        return select_masked_store(selection);
    handler = select_move128(selection);
    if (!handler)
        handler = select_x87_special(selection);
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
