/* SPDX-License-Identifier: Apache-2.0 */
/* The XSAVE family, XGETBV and XSETBV. APM vol. 2 §11.5; Intel SDM vol. 1 §13. */
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/feature_bits.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/vector_state.h"

static bool xsave_allowed(struct vcpu *vcpu)
{
    if (!(vcpu->cr4 & CR4_OSXSAVE))
        return raise_exception(vcpu, VECTOR_UD);
    return !(vcpu->cr0 & CR0_TS) || raise_exception(vcpu, VECTOR_NM);
}

#define XCOMP_COMPACT BIT(63)

/* Of a component, the bytes that the mode has: 32-bit code has eight vector registers, and never
 * the upper sixteen. */
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

/* size: a multiple of 8. */
static bool is_zero(const uint8_t *bytes, unsigned size)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < size; i += 8)
        bits |= load_le(bytes + i, 8);
    return !bits;
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
        if (vcpu->xcr0 & BIT(i) && xstate_component(i, &offset, &size) &&
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
        enum mmu_status status = state_image_write(vcpu, gva, image, FX_MXCSR);
        return status == MMU_FAULT ? status
                                   : state_image_write(vcpu, gva + FX_ST, image + FX_ST, 128);
    }
    if (i == 1)
        return state_image_write(vcpu, gva + FX_XMM, image + FX_XMM, xmm_bytes(vcpu));
    xstate_component(i, &offset, &size);
    return state_image_write(vcpu, gva + place, image + offset, visible_bytes(vcpu, i, size));
}

/* op->condition */
enum xsave_kind { XSAVE_PLAIN, XSAVE_OPTIMISED, XSAVE_COMPACT };

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
        if (i >= 2 && xstate_component(i, &offset, &size)) {
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
    if (mxcsr && state_image_write(vcpu, gva + FX_MXCSR, vcpu->xsave + FX_MXCSR, 8) == MMU_FAULT)
        return MMU_FAULT;
    if (!state_image_read(vcpu, gva + XSAVE_HEADER, (uint8_t *)header, sizeof(header)))
        return MMU_FAULT;
    header[0] = compact ? requested & in_use : (header[0] & ~requested) | (requested & in_use);
    header[1] = XCOMP_COMPACT | requested;
    return state_image_write(vcpu, gva + XSAVE_HEADER, (const uint8_t *)header, compact ? 16 : 8);
}

static inline enum mmu_status xsave_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t gva, requested = requested_components(vcpu);
    bool compact = op->condition == XSAVE_COMPACT;
    if (!xsave_allowed(vcpu))
        return MMU_FAULT;
    uint32_t size = xstate_size(requested, compact);
    if (!state_image_address(vcpu, op, size, 64, true, &gva) || !state_image_probe(vcpu, gva, size))
        return MMU_FAULT;
    state_image_complete(vcpu);
    pkru_to_image(vcpu);
    return save_components(vcpu, gva, requested, op->condition);
}
DEFINE_HANDLER(xsave)

static void initialise_component(struct vcpu *vcpu, unsigned i)
{
    uint32_t offset, size;
    if (i == 0) {
        memset(vcpu->xsave, 0, FX_MXCSR);
        memset(vcpu->xsave + FX_ST, 0, 128);
        store_le(vcpu->xsave + FX_FCW, 0x37f, 2);
    } else if (i == 1) {
        memset(vcpu->xsave + FX_XMM, 0, xmm_bytes(vcpu));
    } else if (xstate_component(i, &offset, &size)) {
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
    } else if (xstate_component(i, &offset, &size)) {
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
    if (!xsave_allowed(vcpu) || !state_image_address(vcpu, op, 576, 64, false, &gva) ||
        !state_image_read(vcpu, gva, image, 576))
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
    if (size > 576 && !state_image_read(vcpu, gva + 576, image + 576, size - 576))
        FAULT(vcpu, op);
    state_image_complete(vcpu);
    pkru_to_image(vcpu);
    uint32_t place = 576;
    for (unsigned i = 0; i < 64; i++) {
        uint32_t component_offset = 0, component_size = 0;
        if (i >= 2 && layout & BIT(i))
            xstate_component(i, &component_offset, &component_size);
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
    state_image_take(vcpu);
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
    bool one = index == 1 && vcpu->model->leafd1_eax & EAXD1_XGETBV1;
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
        state_image_complete(vcpu);
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
    uint32_t feature; /* EAXD1_* that the model must have, beside XSAVE itself */
} instructions[] = {
    {ZYDIS_MNEMONIC_XSAVE, xsave, XSAVE_PLAIN, false, 0},
    {ZYDIS_MNEMONIC_XSAVE64, xsave, XSAVE_PLAIN, false, 0},
    {ZYDIS_MNEMONIC_XSAVEOPT, xsave, XSAVE_OPTIMISED, false, EAXD1_XSAVEOPT},
    {ZYDIS_MNEMONIC_XSAVEOPT64, xsave, XSAVE_OPTIMISED, false, EAXD1_XSAVEOPT},
    {ZYDIS_MNEMONIC_XSAVEC, xsave, XSAVE_COMPACT, false, EAXD1_XSAVEC},
    {ZYDIS_MNEMONIC_XSAVEC64, xsave, XSAVE_COMPACT, false, EAXD1_XSAVEC},
    {ZYDIS_MNEMONIC_XRSTOR, xrstor, 0, true, 0},
    {ZYDIS_MNEMONIC_XRSTOR64, xrstor, 0, true, 0},
    {ZYDIS_MNEMONIC_XGETBV, xgetbv, 0, false, 0},
    {ZYDIS_MNEMONIC_XSETBV, xsetbv, 0, true, 0},
};

op_handler *select_xsave(struct selection *selection)
{
    const struct cpu_model *model = selection->vcpu->model;
    for (unsigned i = 0; i < ARRAY_SIZE(instructions); i++) {
        if (instructions[i].mnemonic != selection->instruction.mnemonic)
            continue;
        uint32_t feature = instructions[i].feature;
        if (!(model->leaf1_ecx & ECX1_XSAVE) || (model->leafd1_eax & feature) != feature)
            return NULL;
        selection->op->condition = instructions[i].condition;
        selection->ends_block = instructions[i].ends_block;
        return instructions[i].handler;
    }
    return NULL;
}
