/* SPDX-License-Identifier: Apache-2.0 */
/* FXSAVE and XSAVE families, MXCSR, XCR0; moving the x87 state between the host's unit and the
 * vcpu. APM vol. 2 §11.4, §11.5. */
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

/* vcpu->xsave as the guest may see it, whether the registers are in the host's now or not. */
static void image_complete(struct vcpu *vcpu)
{
    if (vector_of(vcpu)->live)
        vector_save(vcpu);
}

/* What has come to be in vcpu->xsave goes to the registers, where they are the host's; else it
 * becomes what they would make of it. */
static void image_take(struct vcpu *vcpu)
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

static bool xsave_allowed(struct vcpu *vcpu)
{
    if (!(vcpu->cr4 & CR4_OSXSAVE))
        return raise_exception(vcpu, VECTOR_UD);
    return !(vcpu->cr0 & CR0_TS) || raise_exception(vcpu, VECTOR_NM);
}

static bool image_address(struct vcpu *vcpu, const struct op *op, unsigned size, unsigned alignment,
                          bool write, uint64_t *gva)
{
    if (!op_linear(vcpu, op, size, write, gva))
        return false;
    return !(*gva & (alignment - 1)) || raise_error(vcpu, VECTOR_GP, 0);
}

/* Any length, in pieces the MMU takes. */
static bool read_image(struct vcpu *vcpu, uint64_t gva, uint8_t *bytes, unsigned size)
{
    for (unsigned done = 0; done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        if (mmu_read(vcpu, gva + done, bytes + done, piece, vcpu->mmu_mode) == MMU_FAULT)
            return false;
    }
    return true;
}

static enum mmu_status write_image(struct vcpu *vcpu, uint64_t gva, const uint8_t *bytes,
                                   unsigned size)
{
    enum mmu_status status = MMU_OK;
    for (unsigned done = 0; done < size; done += 64) {
        unsigned piece = size - done < 64 ? size - done : 64;
        enum mmu_status one = mmu_write(vcpu, gva + done, bytes + done, piece, vcpu->mmu_mode);
        if (one == MMU_FAULT)
            return one;
        if (one == MMU_CODE)
            status = one;
    }
    return status;
}

/* XMM registers a 32-bit program sees. */
static unsigned xmm_bytes(const struct vcpu *vcpu)
{
    return vcpu->code_mode & CODE_MODE_LONG ? 256 : 128;
}

/* --- FXSAVE, FXRSTOR, MXCSR --- */

static void fxsave(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva;
    if (!fx_allowed(vcpu) || !image_address(vcpu, op, FX_SIZE, 16, true, &gva) ||
        !mmu_probe_write(vcpu, gva, FX_SIZE, vcpu->mmu_mode))
        FAULT(vcpu, op);
    image_complete(vcpu);
    NEXT_AFTER_STORE(vcpu, op, write_image(vcpu, gva, vcpu->xsave, FX_XMM + xmm_bytes(vcpu)));
}

static inline enum mmu_status fxrstor_work(struct vcpu *vcpu, const struct op *op)
{
    uint8_t image[FX_SIZE];
    uint64_t gva;
    if (!fx_allowed(vcpu) || !image_address(vcpu, op, FX_SIZE, 16, false, &gva) ||
        !read_image(vcpu, gva, image, FX_SIZE))
        return MMU_FAULT;
    if (load_le(image + FX_MXCSR, 4) >> 16) {
        raise_error(vcpu, VECTOR_GP, 0);
        return MMU_FAULT;
    }
    memcpy(vcpu->xsave, image, FX_XMM + xmm_bytes(vcpu));
    image_take(vcpu);
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

/* --- XSAVE family --- */

#define XCOMP_COMPACT BIT(63)

/* Offset and size of extended component `i` in the standard format. */
static bool component_place(const struct vcpu *vcpu, unsigned i, uint32_t *offset, uint32_t *size)
{
    struct cpuid_result place = cpuid_query(vcpu, 0xd, i);
    *offset = place.ebx;
    *size = place.eax;
    return place.eax != 0;
}

/* Of those, the bytes that the mode has: 32-bit code has eight vector registers, and never the
 * upper sixteen. */
static uint32_t visible_bytes(const struct vcpu *vcpu, unsigned i, uint32_t size)
{
    if (vcpu->code_mode & CODE_MODE_LONG)
        return size;
    switch (BIT(i)) {
    case XSTATE_AVX:
    case XSTATE_ZMM_HI256:
        return size / 2;
    case XSTATE_HI16_ZMM:
        return 0;
    default:
        return size;
    }
}

static bool is_zero(const uint8_t *bytes, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

/* Components not in their initial state. vcpu->xsave is current. */
static uint64_t components_in_use(struct vcpu *vcpu)
{
    const uint8_t *image = vcpu->xsave;
    uint64_t in_use = 0;
    bool x87_initial = load_le(image + FX_FCW, 2) == 0x37f && !load_le(image + FX_FSW, 2) &&
                       !image[FX_FTW] && is_zero(image + FX_ST, 128);
    if (!x87_initial)
        in_use |= XSTATE_X87;
    if (!is_zero(image + FX_XMM, 256))
        in_use |= XSTATE_SSE;
    for (unsigned i = 2; i < 64; i++) {
        uint32_t offset, size;
        if (vcpu->xcr0 & BIT(i) && component_place(vcpu, i, &offset, &size) &&
            !is_zero(image + offset, size))
            in_use |= BIT(i);
    }
    return in_use;
}

static void pkru_to_image(struct vcpu *vcpu)
{
    store_le(vcpu->xsave + XSAVE_PKRU, vcpu->pkru, 8);
}

static uint64_t requested_components(const struct vcpu *vcpu)
{
    uint64_t mask = vcpu->registers[GPR_RDX] << 32 | (uint32_t)vcpu->registers[GPR_RAX];
    return mask & vcpu->xcr0;
}

/* Copies one component into the guest's image. */
static enum mmu_status save_component(struct vcpu *vcpu, uint64_t gva, unsigned i, uint32_t place)
{
    const uint8_t *image = vcpu->xsave;
    uint32_t offset, size;
    if (i == 0) {
        enum mmu_status status = write_image(vcpu, gva, image, FX_MXCSR);
        return status == MMU_FAULT ? status : write_image(vcpu, gva + FX_ST, image + FX_ST, 128);
    }
    if (i == 1)
        return write_image(vcpu, gva + FX_XMM, image + FX_XMM, xmm_bytes(vcpu));
    component_place(vcpu, i, &offset, &size);
    return write_image(vcpu, gva + place, image + offset, visible_bytes(vcpu, i, size));
}

/* op->condition */
enum xsave_kind { XSAVE_PLAIN, XSAVE_OPTIMISED, XSAVE_COMPACT };

static bool probe_image(struct vcpu *vcpu, uint64_t gva, uint32_t size)
{
    for (uint32_t done = 0; done < size; done += 64)
        if (!mmu_probe_write(vcpu, gva + done, size - done < 64 ? size - done : 64, vcpu->mmu_mode))
            return false;
    return true;
}

static enum mmu_status save_components(struct vcpu *vcpu, uint64_t gva, uint64_t requested,
                                       enum xsave_kind kind)
{
    bool compact = kind == XSAVE_COMPACT;
    uint64_t in_use = components_in_use(vcpu), header[2] = {0};
    if (compact && load_le(vcpu->xsave + FX_MXCSR, 4) != MXCSR_INITIAL)
        in_use |= XSTATE_SSE; /* in this format MXCSR belongs to the component */
    uint64_t written = kind == XSAVE_PLAIN ? requested : requested & in_use;
    uint32_t place = 576;
    for (unsigned i = 0; i < 64; i++) {
        uint32_t offset, size;
        if (!(requested & BIT(i)))
            continue;
        if (i >= 2 && component_place(vcpu, i, &offset, &size)) {
            if (!compact)
                place = offset;
        } else {
            size = 0;
        }
        if (written & BIT(i) && save_component(vcpu, gva, i, place) == MMU_FAULT)
            return MMU_FAULT;
        place += size;
    }
    bool mxcsr = compact ? written & XSTATE_SSE : requested & (XSTATE_SSE | XSTATE_AVX);
    if (mxcsr && write_image(vcpu, gva + FX_MXCSR, vcpu->xsave + FX_MXCSR, 8) == MMU_FAULT)
        return MMU_FAULT;
    if (!read_image(vcpu, gva + XSAVE_HEADER, (uint8_t *)header, sizeof(header)))
        return MMU_FAULT;
    header[0] = compact ? requested & in_use : (header[0] & ~requested) | (requested & in_use);
    header[1] = XCOMP_COMPACT | requested;
    return write_image(vcpu, gva + XSAVE_HEADER, (const uint8_t *)header, compact ? 16 : 8);
}

static void xsave(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva, requested = requested_components(vcpu);
    bool compact = op->condition == XSAVE_COMPACT;
    if (!xsave_allowed(vcpu))
        FAULT(vcpu, op);
    uint32_t size = xstate_size(requested, compact);
    if (!image_address(vcpu, op, size, 64, true, &gva) || !probe_image(vcpu, gva, size))
        FAULT(vcpu, op);
    image_complete(vcpu);
    pkru_to_image(vcpu);
    NEXT_AFTER_STORE(vcpu, op, save_components(vcpu, gva, requested, op->condition));
}

static void initialise_component(struct vcpu *vcpu, unsigned i)
{
    uint32_t offset, size;
    if (i == 0) {
        memset(vcpu->xsave, 0, FX_MXCSR);
        memset(vcpu->xsave + FX_ST, 0, 128);
        store_le(vcpu->xsave + FX_FCW, 0x37f, 2);
    } else if (i == 1) {
        memset(vcpu->xsave + FX_XMM, 0, xmm_bytes(vcpu));
    } else if (component_place(vcpu, i, &offset, &size)) {
        memset(vcpu->xsave + offset, 0, visible_bytes(vcpu, i, size));
    }
}

static void load_component(struct vcpu *vcpu, const uint8_t *image, unsigned i, uint32_t place)
{
    uint32_t offset, size;
    if (i == 0) {
        memcpy(vcpu->xsave, image, FX_MXCSR);
        memcpy(vcpu->xsave + FX_ST, image + FX_ST, 128);
    } else if (i == 1) {
        memcpy(vcpu->xsave + FX_XMM, image + FX_XMM, xmm_bytes(vcpu));
    } else if (component_place(vcpu, i, &offset, &size)) {
        memcpy(vcpu->xsave + offset, image + place, visible_bytes(vcpu, i, size));
    }
}

/* Header rules of XRSTOR. Intel SDM vol. 1 §13.8. */
static bool header_valid(const struct vcpu *vcpu, const uint64_t header[8], bool compact)
{
    uint64_t allowed = vcpu->xcr0;
    if (header[0] & ~allowed)
        return false;
    if (!compact)
        return !header[1] && !header[2];
    for (unsigned i = 2; i < 8; i++)
        if (header[i])
            return false;
    uint64_t layout = header[1] & ~XCOMP_COMPACT;
    return !(layout & ~allowed) && !(header[0] & ~layout);
}

static void xrstor(struct vcpu *vcpu, const struct op *op)
{
    uint8_t image[4096];
    uint64_t gva, header[8], requested = requested_components(vcpu);
    if (!xsave_allowed(vcpu) || !image_address(vcpu, op, 576, 64, false, &gva) ||
        !read_image(vcpu, gva, image, 576))
        FAULT(vcpu, op);
    memcpy(header, image + XSAVE_HEADER, sizeof(header));
    bool compact = header[1] & XCOMP_COMPACT;
    uint64_t layout = compact ? header[1] & ~XCOMP_COMPACT : vcpu->xcr0;
    bool mxcsr =
        compact ? requested & header[0] & XSTATE_SSE : requested & (XSTATE_SSE | XSTATE_AVX);
    if (!header_valid(vcpu, header, compact) || (mxcsr && load_le(image + FX_MXCSR, 4) >> 16)) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    uint32_t size = xstate_size(compact ? layout : requested & header[0], compact);
    if (size > 576 && !read_image(vcpu, gva + 576, image + 576, size - 576))
        FAULT(vcpu, op);
    image_complete(vcpu);
    pkru_to_image(vcpu);
    uint32_t place = 576;
    for (unsigned i = 0; i < 64; i++) {
        uint32_t component_offset = 0, component_size = 0;
        if (i >= 2 && layout & BIT(i))
            component_place(vcpu, i, &component_offset, &component_size);
        if (requested & BIT(i) && header[0] & BIT(i))
            load_component(vcpu, image, i, compact ? place : component_offset);
        else if (requested & BIT(i))
            initialise_component(vcpu, i);
        place += component_size;
    }
    if (compact && requested & ~header[0] & XSTATE_SSE)
        store_le(vcpu->xsave + FX_MXCSR, MXCSR_INITIAL, 4);
    else if (mxcsr)
        memcpy(vcpu->xsave + FX_MXCSR, image + FX_MXCSR, 4);
    image_take(vcpu);
    uint32_t pkru = (uint32_t)load_le(vcpu->xsave + XSAVE_PKRU, 4);
    if (requested & XSTATE_PKRU && pkru != vcpu->pkru) {
        vcpu->pkru = pkru;
        mmu_flush_all(vcpu);
    }
    LEAVE(vcpu, op);
}

static void xgetbv(struct vcpu *vcpu, const struct op *op)
{
    uint32_t index = (uint32_t)vcpu->registers[GPR_RCX];
    bool one = index == 1 && vcpu->model->leafd1_eax & BIT(2);
    if (!(vcpu->cr4 & CR4_OSXSAVE)) {
        raise_exception(vcpu, VECTOR_UD);
        FAULT(vcpu, op);
    }
    if (index && !one) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    uint64_t value = vcpu->xcr0;
    if (one) {
        image_complete(vcpu);
        pkru_to_image(vcpu);
        value &= components_in_use(vcpu);
    }
    vcpu->registers[GPR_RAX] = (uint32_t)value;
    vcpu->registers[GPR_RDX] = value >> 32;
    NEXT(vcpu, op);
}

static void xsetbv(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = vcpu->registers[GPR_RDX] << 32 | (uint32_t)vcpu->registers[GPR_RAX];
    if (!(vcpu->cr4 & CR4_OSXSAVE)) {
        raise_exception(vcpu, VECTOR_UD);
        FAULT(vcpu, op);
    }
    if (vcpu->cpl || (uint32_t)vcpu->registers[GPR_RCX]) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    if (!control_write_xcr0(vcpu, value))
        FAULT(vcpu, op);
    LEAVE(vcpu, op);
}

static const struct {
    ZydisMnemonic mnemonic;
    op_handler *handler;
    uint8_t condition;
    bool ends_block;
    int feature; /* leaf 0xd EAX bit the model must have; -1: none, -2: XSAVE itself */
} instructions[] = {
    {ZYDIS_MNEMONIC_FXSAVE, fxsave, 0, false, -1},
    {ZYDIS_MNEMONIC_FXSAVE64, fxsave, 0, false, -1},
    {ZYDIS_MNEMONIC_FXRSTOR, fxrstor, 0, false, -1},
    {ZYDIS_MNEMONIC_FXRSTOR64, fxrstor, 0, false, -1},
    {ZYDIS_MNEMONIC_LDMXCSR, ldmxcsr, MXCSR_SSE, false, -1},
    {ZYDIS_MNEMONIC_STMXCSR, stmxcsr, MXCSR_SSE, false, -1},
    {ZYDIS_MNEMONIC_VLDMXCSR, ldmxcsr, MXCSR_AVX, false, -1},
    {ZYDIS_MNEMONIC_VSTMXCSR, stmxcsr, MXCSR_AVX, false, -1},
    {ZYDIS_MNEMONIC_XSAVE, xsave, XSAVE_PLAIN, false, -2},
    {ZYDIS_MNEMONIC_XSAVE64, xsave, XSAVE_PLAIN, false, -2},
    {ZYDIS_MNEMONIC_XSAVEOPT, xsave, XSAVE_OPTIMISED, false, 0},
    {ZYDIS_MNEMONIC_XSAVEOPT64, xsave, XSAVE_OPTIMISED, false, 0},
    {ZYDIS_MNEMONIC_XSAVEC, xsave, XSAVE_COMPACT, false, 1},
    {ZYDIS_MNEMONIC_XSAVEC64, xsave, XSAVE_COMPACT, false, 1},
    {ZYDIS_MNEMONIC_XRSTOR, xrstor, 0, true, -2},
    {ZYDIS_MNEMONIC_XRSTOR64, xrstor, 0, true, -2},
    {ZYDIS_MNEMONIC_XGETBV, xgetbv, 0, false, -2},
    {ZYDIS_MNEMONIC_XSETBV, xsetbv, 0, true, -2},
};

op_handler *select_vector_state(struct selection *selection)
{
    const struct cpu_model *model = selection->vcpu->model;
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        int feature = instructions[i].feature;
        if ((feature == -2 && !(model->leaf1_ecx & BIT(26))) ||
            (feature >= 0 && !(model->leafd1_eax & BIT(feature))))
            return NULL;
        selection->op->condition = instructions[i].condition;
        selection->ends_block = instructions[i].ends_block;
        return instructions[i].handler;
    }
    return NULL;
}
