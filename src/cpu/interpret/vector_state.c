/* SPDX-License-Identifier: Apache-2.0 */
/* FXSAVE, FXRSTOR, MXCSR; moving the x87 state between the host's unit and the vcpu. APM vol. 2
 * §11.4. */
#include "cpu/interpret/vector_state.h"

#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/vector.h"

#include <errno.h>
#include <stdlib.h>

#define MXCSR_MASK 0xffffu
#define X87_BYTES  160 /* control, status and ST registers: everything in front of XMM0 */

int vector_create(struct vcpu *vcpu, struct error *error)
{
    struct vector *vector = aligned_alloc(64, align_up(sizeof(*vector), 64));
    if (!vector)
        return error_set(error, ENOMEM, "interpreter: out of memory");
    memset(vector, 0, sizeof(*vector));
    vector->native = native_create(error);
    if (!vector->native) {
        free(vector);
        return -ENOMEM;
    }
    vcpu->vector_data = vector;
    return 0;
}

void vector_destroy(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    if (!vector)
        return;
    native_destroy(vector->native);
    free(vector);
    vcpu->vector_data = NULL;
}

/* With ES and B, which the masked host never sets. */
static uint16_t status_summed(uint16_t status, uint16_t control)
{
    return status & ~control & FSW_FLAGS ? status | FSW_SUMMARY : status;
}

void vector_save(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    uint8_t *image = vector->image;
    uint32_t mxcsr = vector_mxcsr(vcpu);
    __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])image));
    uint16_t status = (uint16_t)load_le(image + FX_FSW, 2);
    store_le(image + FX_FSW, status_summed(status, vector->fcw), 2);
    store_le(image + FX_FCW, vector->fcw, 2);
    store_le(image + FX_MXCSR, mxcsr, 4);
    store_le(image + FX_MXCSR_MASK, MXCSR_MASK, 4);
    /* Where the last instruction was is the interpreter's own address: not for the guest. */
    memset(image + FX_FOP, 0, 2);
    memset(image + FX_FIP, 0, 16);
    memcpy(vcpu->xsave, image, X87_BYTES);
}

void vector_restore(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    uint8_t *image = vector->image;
    memcpy(image, vcpu->xsave, FX_SIZE);
    vector->fcw = fcw_legal((uint16_t)load_le(image + FX_FCW, 2));
    vector->mxcsr = (uint32_t)load_le(image + FX_MXCSR, 4);
    store_le(image + FX_FCW, vector->fcw | FCW_MASKS, 2);
    store_le(image + FX_FSW, load_le(image + FX_FSW, 2) & 0x7f7f, 2);
    store_le(image + FX_MXCSR, (vector->mxcsr | MXCSR_MASKS) & 0xffff, 4);
    host_fxrstor(image);
}

void vector_enter(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    vector->host_mxcsr = host_mxcsr_read();
    vector_restore(vcpu);
    vector->live = true;
}

void vector_leave(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    vector_save(vcpu);
    vector->live = false;
    __asm__ volatile("fninit");
    host_mxcsr_write(vector->host_mxcsr);
}

void state_image_complete(struct vcpu *vcpu)
{
    if (vector_of(vcpu)->live)
        vector_save(vcpu);
}

void state_image_take(struct vcpu *vcpu)
{
    uint8_t *image = vcpu->xsave;
    if (vector_of(vcpu)->live) {
        vector_restore(vcpu);
        return;
    }
    uint16_t control = fcw_legal((uint16_t)load_le(image + FX_FCW, 2));
    uint16_t status = (uint16_t)load_le(image + FX_FSW, 2) & ~FSW_SUMMARY;
    store_le(image + FX_FCW, control, 2);
    store_le(image + FX_FSW, status_summed(status, control), 2);
    store_le(image + FX_MXCSR_MASK, MXCSR_MASK, 4);
}

/* --- checks --- */

static bool fx_allowed(struct vcpu *vcpu)
{
    if (vcpu->cr0 & CR0_EM)
        return raise_exception(vcpu, VECTOR_UD);
    return !(vcpu->cr0 & CR0_TS) || raise_exception(vcpu, VECTOR_NM);
}

static bool sse_allowed(struct vcpu *vcpu)
{
    if (vcpu->cr0 & CR0_EM || !(vcpu->cr4 & CR4_OSFXSR))
        return raise_exception(vcpu, VECTOR_UD);
    return !(vcpu->cr0 & CR0_TS) || raise_exception(vcpu, VECTOR_NM);
}

/* op->condition of LDMXCSR and STMXCSR */
enum mxcsr_kind { MXCSR_SSE, MXCSR_AVX };

static bool mxcsr_allowed(struct vcpu *vcpu, const struct op *op)
{
    if (op->condition == MXCSR_SSE)
        return sse_allowed(vcpu);
    if (!(vcpu->code_mode & CODE_MODE_AVX && vcpu->code_mode & CODE_MODE_PROTECTED))
        return raise_exception(vcpu, VECTOR_UD);
    return !(vcpu->cr0 & CR0_TS) || raise_exception(vcpu, VECTOR_NM);
}

bool state_image_address(struct vcpu *vcpu, const struct op *op, unsigned size, unsigned alignment,
                         bool write, uint64_t *gva)
{
    if (!op_linear(vcpu, op, size, write, gva))
        return false;
    return !(*gva & (alignment - 1)) || raise_error(vcpu, VECTOR_GP, 0);
}

/* Bytes from gva on that lie in its page, of `left`. */
static unsigned part_in_page(uint64_t gva, unsigned left)
{
    unsigned room = (unsigned)(PAGE_SIZE - (gva & (PAGE_SIZE - 1)));
    return left < room ? left : room;
}

static unsigned part_for_mmu(unsigned left)
{
    return left < 64 ? left : 64;
}

bool state_image_read(struct vcpu *vcpu, uint64_t gva, uint8_t *bytes, unsigned size)
{
    for (unsigned done = 0, part; done < size; done += part) {
        part = part_in_page(gva + done, size - done);
        const void *hva = access_fast(vcpu, gva + done, part, MMU_READ, vcpu->mmu_mode);
        if (hva) {
            memcpy(bytes + done, hva, part);
            continue;
        }
        part = part_for_mmu(part);
        if (mmu_read(vcpu, gva + done, bytes + done, part, vcpu->mmu_mode) == MMU_FAULT)
            return false;
    }
    return true;
}

enum mmu_status state_image_write(struct vcpu *vcpu, uint64_t gva, const uint8_t *bytes,
                                  unsigned size)
{
    enum mmu_status status = MMU_OK;
    for (unsigned done = 0, part; done < size; done += part) {
        part = part_in_page(gva + done, size - done);
        void *hva = access_fast(vcpu, gva + done, part, MMU_WRITE, vcpu->mmu_mode);
        if (hva) {
            memcpy(hva, bytes + done, part);
            continue;
        }
        part = part_for_mmu(part);
        enum mmu_status one = mmu_write(vcpu, gva + done, bytes + done, part, vcpu->mmu_mode);
        if (one == MMU_FAULT)
            return one;
        if (one == MMU_CODE)
            status = one;
    }
    return status;
}

bool state_image_probe(struct vcpu *vcpu, uint64_t gva, unsigned size)
{
    for (unsigned done = 0, part; done < size; done += part) {
        part = part_in_page(gva + done, size - done);
        if (access_fast(vcpu, gva + done, part, MMU_WRITE, vcpu->mmu_mode))
            continue;
        part = part_for_mmu(part);
        if (!mmu_probe_write(vcpu, gva + done, part, vcpu->mmu_mode))
            return false;
    }
    return true;
}

/* --- FXSAVE, FXRSTOR, MXCSR --- */

static inline enum mmu_status fxsave_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    if (!fx_allowed(vcpu) || !state_image_address(vcpu, op, FX_SIZE, 16, true, &gva) ||
        !mmu_probe_write(vcpu, gva, FX_SIZE, vcpu->mmu_mode))
        return MMU_FAULT;
    state_image_complete(vcpu);
    return state_image_write(vcpu, gva, vcpu->xsave, FX_XMM + xmm_bytes(vcpu));
}
DEFINE_HANDLER(fxsave)

static inline enum mmu_status fxrstor_work(struct vcpu *vcpu, const struct op *op)
{
    uint8_t image[FX_SIZE];
    uint64_t gva;
    if (!fx_allowed(vcpu) || !state_image_address(vcpu, op, FX_SIZE, 16, false, &gva) ||
        !state_image_read(vcpu, gva, image, FX_SIZE))
        return MMU_FAULT;
    if (load_le(image + FX_MXCSR, 4) >> 16) {
        raise_error(vcpu, VECTOR_GP, 0);
        return MMU_FAULT;
    }
    memcpy(vcpu->xsave, image, FX_XMM + xmm_bytes(vcpu));
    state_image_take(vcpu);
    return MMU_OK;
}
DEFINE_HANDLER(fxrstor)

static void ldmxcsr(struct vcpu *vcpu, const struct op *op)
{
    uint32_t value;
    if (!mxcsr_allowed(vcpu, op) || !operand_load32(vcpu, op, &value))
        FAULT(vcpu, op);
    if (value >> 16) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    vector_set_mxcsr(vcpu, value);
    NEXT(vcpu, op);
}

static void stmxcsr(struct vcpu *vcpu, const struct op *op)
{
    if (!mxcsr_allowed(vcpu, op))
        FAULT(vcpu, op);
    NEXT_AFTER_STORE(vcpu, op, operand_store32(vcpu, op, vector_mxcsr(vcpu)));
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
    uint8_t condition;
} instructions[] = {
    {ZYDIS_MNEMONIC_FXSAVE, fxsave, 0},
    {ZYDIS_MNEMONIC_FXSAVE64, fxsave, 0},
    {ZYDIS_MNEMONIC_FXRSTOR, fxrstor, 0},
    {ZYDIS_MNEMONIC_FXRSTOR64, fxrstor, 0},
    {ZYDIS_MNEMONIC_LDMXCSR, ldmxcsr, MXCSR_SSE},
    {ZYDIS_MNEMONIC_STMXCSR, stmxcsr, MXCSR_SSE},
    {ZYDIS_MNEMONIC_VLDMXCSR, ldmxcsr, MXCSR_AVX},
    {ZYDIS_MNEMONIC_VSTMXCSR, stmxcsr, MXCSR_AVX},
};

op_handler *select_vector_state(struct selection *selection)
{
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        selection->op->condition = instructions[i].condition;
        return instructions[i].handler;
    }
    return select_xsave(selection);
}
