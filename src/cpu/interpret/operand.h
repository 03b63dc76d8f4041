/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing operands in handlers: registers by byte offset, memory through the MMU,
 * read-modify-write. */
#ifndef NACRE_CPU_INTERPRET_OPERAND_H
#define NACRE_CPU_INTERPRET_OPERAND_H

#include "cpu/access.h"
#include "cpu/interpret/flags.h"
#include "cpu/interpret/groups.h"
#include "cpu/interpret/op.h"

#define DEFINE_OPERAND(bits, stored)                                                               \
    static inline uint##bits##_t register_get##bits(const struct vcpu *vcpu, uint8_t offset)       \
    {                                                                                              \
        return *(const access_u##bits *)((const uint8_t *)vcpu->registers + offset);               \
    }                                                                                              \
    /* A 32-bit result clears the upper half. */                                                   \
    static inline void register_set##bits(struct vcpu *vcpu, uint8_t offset, uint##bits##_t value) \
    {                                                                                              \
        *(access_u##stored *)((uint8_t *)vcpu->registers + offset) = value;                        \
    }                                                                                              \
    /* The memory operand's value; false: fault recorded. */                                       \
    static inline bool operand_load##bits(struct vcpu *vcpu, const struct op *op,                  \
                                          uint##bits##_t *value)                                   \
    {                                                                                              \
        uint64_t gva;                                                                              \
        return op_linear(vcpu, op, (bits) / 8, false, &gva) &&                                     \
               access_load##bits(vcpu, gva, value) == MMU_OK;                                      \
    }                                                                                              \
    static inline enum mmu_status operand_store##bits(struct vcpu *vcpu, const struct op *op,      \
                                                      uint##bits##_t value)                        \
    {                                                                                              \
        uint64_t gva;                                                                              \
        if (unlikely(!op_linear(vcpu, op, (bits) / 8, true, &gva)))                                \
            return MMU_FAULT;                                                                      \
        return access_store##bits(vcpu, gva, value);                                               \
    }

DEFINE_OPERAND(8, 8)
DEFINE_OPERAND(16, 16)
DEFINE_OPERAND(32, 64)
DEFINE_OPERAND(64, 64)

/* After a store: go on, leave the block (own code was overwritten), or fault. */
#define NEXT_AFTER_STORE(vcpu, op, status)  \
    do {                                    \
        enum mmu_status stored_ = (status); \
        if (unlikely(stored_ != MMU_OK)) {  \
            if (stored_ == MMU_FAULT)       \
                FAULT(vcpu, op);            \
            LEAVE(vcpu, op);                \
        }                                   \
        NEXT(vcpu, op);                     \
    } while (0)

/*
 * Defines handler `name` around name_work(), which does the work and returns MMU_OK (go on),
 * MMU_CODE (leave the block) or MMU_FAULT. For work that lets the address of a local out: behind
 * the inner function's end that local is dead, and so the call of the next handler can be a jump.
 */
#define DEFINE_HANDLER(name)                                 \
    static void name(struct vcpu *vcpu, const struct op *op) \
    {                                                        \
        NEXT_AFTER_STORE(vcpu, op, name##_work(vcpu, op));   \
    }

/* A memory operand that is read, changed and written back. */
struct modify {
    void *pointer; /* the bytes, in guest RAM or in bounce */
    uint64_t gva;
    uint64_t bounce[2];
    bool code; /* the page holds cached code */
};

/* Slow half of modify_begin: TLB miss, MMIO, page crossing, page with code. */
bool modify_begin_slow(struct vcpu *vcpu, struct modify *modify, unsigned size);
enum mmu_status modify_end_slow(struct vcpu *vcpu, struct modify *modify, unsigned size);

/* Prepares the memory operand of `size` bytes (up to 16). False: fault recorded. */
static inline bool modify_begin(struct vcpu *vcpu, const struct op *op, struct modify *modify,
                                unsigned size)
{
    modify->code = false;
    if (unlikely(!op_linear(vcpu, op, size, true, &modify->gva)))
        return false;
    modify->pointer = access_fast(vcpu, modify->gva, size, MMU_WRITE, vcpu->mmu_mode);
    return likely(modify->pointer != NULL) || modify_begin_slow(vcpu, modify, size);
}

/* To be called after the bytes at modify->pointer were changed. */
static inline enum mmu_status modify_end(struct vcpu *vcpu, struct modify *modify, unsigned size)
{
    if (likely(modify->pointer != modify->bounce && !modify->code))
        return MMU_OK;
    return modify_end_slow(vcpu, modify, size);
}

/* --- for select functions --- */

enum operand_form {
    FORM_REGISTER_REGISTER, /* destination and source registers */
    FORM_REGISTER_IMMEDIATE,
    FORM_REGISTER_MEMORY, /* register destination, memory source */
    FORM_MEMORY_REGISTER,
    FORM_MEMORY_IMMEDIATE,
    FORM_REGISTER, /* one operand */
    FORM_MEMORY,
    FORM_OTHER,
};
#define FORM_COUNT FORM_OTHER

/*
 * Looks at the first two explicit operands, sets op->destination, op->source (register offsets) and
 * op->immediate, and says which form it is.
 */
enum operand_form selection_form(struct selection *selection);

/* 0, 1, 2, 3 for operands of 1, 2, 4, 8 bytes. */
static inline unsigned size_index(unsigned bytes)
{
    return (unsigned)__builtin_ctz(bytes);
}

#endif
