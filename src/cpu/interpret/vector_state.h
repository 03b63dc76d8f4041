/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the x87 and SSE state is while the interpreter runs. XMM registers are always in
 * vcpu->xsave; the x87 (and MMX) registers and MXCSR live in the host's own unit between
 * vector_enter() and vector_leave(), with every exception masked there. See
 * docs/decisions/vector-instructions.md.
 */
#ifndef NACRE_CPU_INTERPRET_VECTOR_STATE_H
#define NACRE_CPU_INTERPRET_VECTOR_STATE_H

#include "cpu/interpret/native.h"
#include "cpu/vcpu.h"

#define MXCSR_FLAGS         0x3fu
#define MXCSR_MASKS         0x1f80u
#define MXCSR_INITIAL       MXCSR_MASKS /* all masked, no flag */
#define MXCSR_OPERANDS      0x07u       /* IE, DE, ZE: found before the operation takes place */
#define MXCSR_UNDERFLOW     0x10u
#define MXCSR_FLUSH_TO_ZERO 0x8000u
#define FCW_MASKS           0x3fu
#define FCW_WRITABLE        0x1f3fu /* the others are reserved: bit 6 reads as one, they as zero */
#define FCW_FIXED           0x40u
#define FSW_FLAGS           0x3fu
#define FSW_SUMMARY         0x8080u /* ES and B, which the host, all masked, never sets */

/* Offsets in the FXSAVE image. APM vol. 2 §11.4.4 */
enum {
    FX_FCW = XSAVE_FCW,
    FX_FSW = 2,
    FX_FTW = XSAVE_FTW,
    FX_FOP = 6,
    FX_FIP = 8,
    FX_FDP = 16,
    FX_MXCSR = XSAVE_MXCSR,
    FX_MXCSR_MASK = 28,
    FX_ST = 32,
    FX_XMM = XSAVE_XMM,
    FX_SIZE = 512,
    XSAVE_HEADER = 512,
};

struct vector {
    struct native *native;
    uint16_t fcw;   /* the guest's control word; the host's has all exceptions masked */
    uint32_t mxcsr; /* the guest's, flags possibly behind the host's */
    bool live;      /* between enter and leave */
    uint32_t host_mxcsr;
    uint8_t image[FX_SIZE] __attribute__((aligned(16)));
};

static inline struct vector *vector_of(const struct vcpu *vcpu)
{
    return vcpu->vector_data;
}

static inline uint32_t host_mxcsr_read(void)
{
    return __builtin_ia32_stmxcsr();
}

static inline void host_mxcsr_write(uint32_t value)
{
    __builtin_ia32_ldmxcsr(value);
}

static inline uint16_t host_fsw_read(void)
{
    uint16_t status;
    __asm__ volatile("fnstsw %0" : "=a"(status));
    return status;
}

static inline void host_fcw_write(uint16_t control)
{
    __asm__ volatile("fldcw %0" : : "m"(control));
}

/* Overwrites all of the host's XMM registers too, which the compiler must know. */
static inline void host_fxrstor(const uint8_t *image)
{
    __asm__ volatile("fxrstor64 %0"
                     :
                     : "m"(*(const uint8_t(*)[FX_SIZE])image)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                       "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* What the control word becomes when the guest loads `value`. */
static inline uint16_t fcw_legal(uint16_t value)
{
    return (value & FCW_WRITABLE) | FCW_FIXED;
}

/* The guest's MXCSR, flags up to date. */
static inline uint32_t vector_mxcsr(struct vcpu *vcpu)
{
    struct vector *vector = vector_of(vcpu);
    vector->mxcsr |= host_mxcsr_read() & MXCSR_FLAGS;
    return vector->mxcsr;
}

static inline void vector_set_mxcsr(struct vcpu *vcpu, uint32_t value)
{
    vector_of(vcpu)->mxcsr = value;
    host_mxcsr_write(value | MXCSR_MASKS);
}

/* Host unit -> vcpu->xsave, and back after vcpu->xsave was changed. */
void vector_save(struct vcpu *vcpu);
void vector_restore(struct vcpu *vcpu);

/* vcpu->xsave as the guest may see it, whether the registers are in the host's now or not. */
void state_image_complete(struct vcpu *vcpu);
/* What has come to be in vcpu->xsave goes to the registers, where they are the host's; else it
 * becomes what they would make of it. */
void state_image_take(struct vcpu *vcpu);
/* An image in the guest's memory: its address (#GP unless aligned), and moving any length of it.
 * False, MMU_FAULT: an exception is recorded. */
bool state_image_address(struct vcpu *vcpu, const struct op *op, unsigned size, unsigned alignment,
                         bool write, uint64_t *gva);
bool state_image_read(struct vcpu *vcpu, uint64_t gva, uint8_t *bytes, unsigned size);
enum mmu_status state_image_write(struct vcpu *vcpu, uint64_t gva, const uint8_t *bytes,
                                  unsigned size);
bool state_image_probe(struct vcpu *vcpu, uint64_t gva, unsigned size);

/* Bytes of the XMM registers that the mode has. */
static inline unsigned xmm_bytes(const struct vcpu *vcpu)
{
    return vcpu->code_mode & CODE_MODE_LONG ? 256 : 128;
}

/* FXSAVE, FXRSTOR, LDMXCSR, STMXCSR (vector_state.c), and the XSAVE family (xsave.c). */
select_function select_vector_state, select_xsave;

#endif
