/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/vector.h"

#include "cpu/interpret/vector_state.h"
#include "cpu/translate/cache.h"

#define X87_BYTES (FX_ST + 128)

void translate_vector_update(struct vcpu *vcpu)
{
    uint64_t fcw = load_le(vcpu->xsave + FX_FCW, 2), fsw = load_le(vcpu->xsave + FX_FSW, 2);
    uint64_t mxcsr = load_le(vcpu->xsave + FX_MXCSR, 4);
    vcpu->translate.vector_trap =
        (fcw & FCW_MASKS) != FCW_MASKS || fsw & FSW_SUMMARY || (mxcsr & MXCSR_MASKS) != MXCSR_MASKS;
}

void translate_vector_want(struct vcpu *vcpu, const struct translation *translation)
{
    struct translate_state *state = &vcpu->translate;
    state->xmm_live = 1;
    state->ymm_live |= translation->ymm;
    state->zmm_live |= translation->zmm;
}

void translate_vector_drop(struct vcpu *vcpu)
{
    struct translate_state *state = &vcpu->translate;
    state->xmm_live = state->ymm_live = state->zmm_live = 0;
}

void translate_x87_load(struct vcpu *vcpu)
{
    uint8_t image[FX_SIZE] __attribute__((aligned(16)));
    memcpy(image, vcpu->xsave, FX_SIZE);
    store_le(image + FX_MXCSR, load_le(image + FX_MXCSR, 4) & 0xffff, 4);
    host_fxrstor(image);
    vcpu->translate.x87_live = 1;
}

void translate_x87_save(struct vcpu *vcpu)
{
    uint8_t image[FX_SIZE] __attribute__((aligned(16)));
    if (!vcpu->translate.x87_live)
        return;
    __asm__ volatile("fxsave64 %0" : "=m"(*(uint8_t(*)[FX_SIZE])image));
    __asm__ volatile("fninit");
    /* Where the last instruction was is an address of the host's: not for the guest. */
    memset(image + FX_FOP, 0, 2);
    memset(image + FX_FIP, 0, 16);
    memcpy(vcpu->xsave, image, FX_MXCSR);
    memcpy(vcpu->xsave + FX_ST, image + FX_ST, X87_BYTES - FX_ST);
    vcpu->translate.x87_live = 0;
}
