/* SPDX-License-Identifier: Apache-2.0 */
/* What the handlers of vector instructions share: their ops' bits, the checks in front, the stub.
 */
#ifndef NACRE_CPU_INTERPRET_VECTOR_OP_H
#define NACRE_CPU_INTERPRET_VECTOR_OP_H

#include "cpu/exception.h"
#include "cpu/interpret/operand.h"
#include "cpu/interpret/vector_state.h"

/* op->condition: what an instruction asks of CR0 and CR4. */
enum vector_kind {
    KIND_X87,
    KIND_MMX,
    KIND_SSE,
    KIND_AVX,     /* VEX and EVEX; the decoder has looked at XCR0 */
    KIND_GENERAL, /* CRC32, BMI: no vector state */
};

/* op->stub is the host code of these ops; op->immediate holds these bits. */
#define VECTOR_LOAD    BIT(0) /* reads its memory operand */
#define VECTOR_STORE   BIT(1) /* writes its memory operand */
#define VECTOR_ALIGNED BIT(2) /* #GP when the memory operand is not aligned to its size */
#define VECTOR_FLAGS   BIT(3) /* reads or writes RFLAGS */
#define VECTOR_FLOAT   BIT(4) /* may set MXCSR flags */
#define VECTOR_WAITING BIT(5) /* x87: pending exceptions come first */
#define VECTOR_MMX     BIT(6) /* writes MMX registers */
#define VECTOR_COPIED  BIT(7) /* need not be aligned, but not every host takes it so */

/* Unmasked x87 exceptions that an earlier instruction left. */
static inline bool x87_pending(const struct vcpu *vcpu)
{
    uint16_t unmasked = ~vector_of(vcpu)->fcw & FCW_MASKS;
    return unlikely(unmasked != 0) && host_fsw_read() & unmasked;
}

/* CR0 and CR4 forbid what is usual: records which exception that makes of this kind, or none. */
bool vector_kind_allowed(struct vcpu *vcpu, enum vector_kind kind);

static inline bool vector_check(struct vcpu *vcpu, const struct op *op)
{
    enum vector_kind kind = op->condition;
    if (unlikely(vcpu->cr0 & (CR0_TS | CR0_EM)) ||
        unlikely(kind == KIND_SSE && !(vcpu->cr4 & CR4_OSFXSR)))
        return vector_kind_allowed(vcpu, kind);
    if (op->immediate & VECTOR_WAITING && unlikely(x87_pending(vcpu)))
        return raise_exception(vcpu, VECTOR_MF);
    return true;
}

static inline void vector_run_stub(struct vcpu *vcpu, const struct op *op, void *memory)
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

/* With unmasked exceptions looked after. False: one was raised, nothing has changed. */
bool vector_execute(struct vcpu *vcpu, const struct op *op, void *memory);

/* Might a store write memory and yet end in a floating-point exception? Then it needs a buffer:
 * VCVTPS2PH. */
static inline bool vector_store_may_trap(const struct vcpu *vcpu, const struct op *op)
{
    return op->immediate & VECTOR_STORE && op->condition == KIND_AVX &&
           ~vector_of(vcpu)->mxcsr & MXCSR_MASKS;
}

/* What any use of an MMX register does to the x87 stack: top 0, no register empty. */
static inline void vector_enter_mmx(void)
{
    uint64_t unused;
    __asm__ volatile("movq %%mm0, %0" : "=r"(unused));
}

static inline uint8_t *vector_xmm(struct vcpu *vcpu, unsigned number)
{
    return vcpu->xsave + FX_XMM + number * 16;
}

/* Where byte `at` of XMM, YMM or ZMM register `number` is; the rest of its element follows it. */
static inline uint8_t *vector_byte(struct vcpu *vcpu, unsigned number, unsigned at)
{
    if (number >= 16)
        return vcpu->xsave + XSAVE_HI16_ZMM + (number - 16) * 64 + at;
    if (at < 16)
        return vector_xmm(vcpu, number) + at;
    if (at < 32)
        return vcpu->xsave + XSAVE_YMM_HIGH + number * 16 + at - 16;
    return vcpu->xsave + XSAVE_ZMM_HIGH + number * 32 + at - 32;
}

static inline uint64_t vector_opmask(const struct vcpu *vcpu, unsigned number)
{
    return load_le(vcpu->xsave + XSAVE_OPMASK + (size_t)number * 8, 8);
}

static inline void vector_set_opmask(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    store_le(vcpu->xsave + XSAVE_OPMASK + (size_t)number * 8, value, 8);
}

/* x87.c: runs an x87 instruction while the guest has exceptions unmasked. */
void x87_run_unmasked(struct vcpu *vcpu, const struct op *op, void *memory);
/* Does the x87 instruction look for pending exceptions first? */
bool x87_is_waiting(ZydisMnemonic mnemonic);

select_function select_x87_control; /* x87.c: control, status and environment */
select_function select_vector_move; /* vector_move.c: 16 bytes at once, MASKMOV, VZEROUPPER */
select_function select_gather;      /* vector_gather.c */
/* vector_mask.c: after the rest of the op was filled in, for memory operands of which a mask says
 * what is touched. NULL: it is none. */
select_function select_masked;

#endif
