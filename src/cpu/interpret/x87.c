/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87: control and status words, environments, and arithmetic with exceptions unmasked. APM vol. 1
 * §6; Intel SDM vol. 1 §8.
 */
#include "cpu/interpret/vector_op.h"

/*
 * The host's unit takes the guest's own control word for the one instruction: it then leaves
 * operands, memory and the stack alone, or biases a result, just as the guest has to see it. The
 * exception stays pending in the host's status word, and must be out of it before the host's next
 * x87 instruction; FXSAVE and FXRSTOR are the ones that do not wait for it.
 */
void x87_run_unmasked(struct vcpu *vcpu, const struct op *op, void *memory)
{
    struct vector *vector = vector_of(vcpu);
    uint8_t *image = vector->image;
    host_fcw_write(vector->fcw);
    vector_run_stub(vcpu, op, memory);
    __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])image));
    store_le(image + FX_FCW, vector->fcw | FCW_MASKS, 2);
    store_le(image + FX_FSW, load_le(image + FX_FSW, 2) & ~(uint64_t)FSW_SUMMARY, 2);
    host_fxrstor(image);
}

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
    vector_run_stub(vcpu, op, image);
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
    uint8_t *status = image + (size == 14 || size == 94 ? 2 : 4);
    store_le(status, load_le(status, 2) & ~(uint64_t)FSW_SUMMARY, 2);
    vector_run_stub(vcpu, op, image);
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

bool x87_is_waiting(ZydisMnemonic mnemonic)
{
    static const ZydisMnemonic others[] = {
        ZYDIS_MNEMONIC_FNCLEX,       ZYDIS_MNEMONIC_FNSTSW,        ZYDIS_MNEMONIC_FNSTCW,
        ZYDIS_MNEMONIC_FNINIT,       ZYDIS_MNEMONIC_FNSAVE,        ZYDIS_MNEMONIC_FNSTENV,
        ZYDIS_MNEMONIC_FENI8087_NOP, ZYDIS_MNEMONIC_FDISI8087_NOP, ZYDIS_MNEMONIC_FSETPM287_NOP,
    };
    for (unsigned i = 0; i < ARRAY_SIZE(others); i++)
        if (others[i] == mnemonic)
            return false;
    return true;
}

op_handler *select_x87_control(struct selection *selection)
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
