/* SPDX-License-Identifier: Apache-2.0 */
/* Reading descriptor tables and the TSS: shared by segment loads, far transfers, gates and task
 * switches. APM vol. 2 §4.5 to §4.8. */
#ifndef NACRE_CPU_DESCRIPTOR_H
#define NACRE_CPU_DESCRIPTOR_H

#include "cpu/mmu.h"
#include "cpu/vcpu.h"

struct descriptor {
    uint32_t low, high;
    uint32_t upper_base; /* system descriptors in long mode: bits 63..32 */
    uint64_t address;    /* linear, of the descriptor itself */
};

static inline uint16_t selector_error(uint16_t selector)
{
    return selector & 0xfffc;
}

static inline unsigned selector_rpl(uint16_t selector)
{
    return selector & 3;
}

static inline bool selector_is_null(uint16_t selector)
{
    return !(selector & 0xfffc);
}

static inline unsigned descriptor_type(const struct descriptor *descriptor)
{
    return descriptor->high >> 8 & 0xf;
}

static inline unsigned descriptor_dpl(const struct descriptor *descriptor)
{
    return descriptor->high >> 13 & 3;
}

static inline bool descriptor_present(const struct descriptor *descriptor)
{
    return descriptor->high & BIT(15);
}

static inline bool descriptor_is_system(const struct descriptor *descriptor)
{
    return !(descriptor->high & BIT(12));
}

static inline bool descriptor_is_code(const struct descriptor *descriptor)
{
    return !descriptor_is_system(descriptor) && descriptor->high & BIT(11);
}

static inline bool descriptor_is_conforming(const struct descriptor *descriptor)
{
    return descriptor->high & BIT(10);
}

/* Readable code or any data. */
static inline bool descriptor_is_readable(const struct descriptor *descriptor)
{
    return !descriptor_is_system(descriptor) &&
           (!descriptor_is_code(descriptor) || descriptor->high & BIT(9));
}

static inline bool descriptor_is_writable(const struct descriptor *descriptor)
{
    return !descriptor_is_system(descriptor) && !descriptor_is_code(descriptor) &&
           descriptor->high & BIT(9);
}

/* Gates: where they lead. */
static inline uint16_t gate_selector(const struct descriptor *descriptor)
{
    return descriptor->low >> 16;
}

static inline uint64_t gate_offset(const struct descriptor *descriptor)
{
    return (uint64_t)descriptor->upper_base << 32 | (descriptor->high & 0xffff0000) |
           (descriptor->low & 0xffff);
}

/*
 * Reads the descriptor that selector names. A selector beyond its table raises `vector` with the
 * selector as error code. System descriptors of long mode come with their upper half.
 */
bool descriptor_read(struct vcpu *vcpu, uint16_t selector, unsigned vector,
                     struct descriptor *descriptor);

/* As descriptor_read, but *found false instead of an exception for a selector beyond its table. */
bool descriptor_probe(struct vcpu *vcpu, uint16_t selector, struct descriptor *descriptor,
                      bool *found);

/* The hidden part of a segment register that this descriptor makes. */
struct segment descriptor_segment(const struct descriptor *descriptor, uint16_t selector);

/* Sets type bits in memory: the accessed bit, the TSS's busy bit. */
bool descriptor_set_type(struct vcpu *vcpu, struct descriptor *descriptor, unsigned bits);

/*
 * Checks and loads CS for a transfer that ends at privilege level `cpl`: the descriptor must
 * already have passed the privilege rules of its kind of transfer. Checks presence and the offset.
 * Sets CS, CPL and rip.
 */
bool code_segment_enter(struct vcpu *vcpu, struct descriptor *descriptor, uint16_t selector,
                        unsigned cpl, uint64_t offset);

/* Sets the register and what follows from it; no checks. */
void segment_set(struct vcpu *vcpu, unsigned segment, const struct segment *value);

/* Sets CPL and refreshes the mode. */
void privilege_set(struct vcpu *vcpu, unsigned cpl);

/* The stack pointer that the TSS holds for a privilege level (and its SS outside long mode). #TS
 * when the TSS is too short. */
bool tss_stack(struct vcpu *vcpu, unsigned level, uint64_t *pointer, uint16_t *selector);
/* Interrupt stack table entry 1 to 7 of a 64-bit TSS. */
bool tss_interrupt_stack(struct vcpu *vcpu, unsigned number, uint64_t *pointer);

/* Where the I/O permission bitmap starts. #GP when the TSS has none. */
bool tss_io_map(struct vcpu *vcpu, uint16_t *offset);

/* Checks an SS for privilege level cpl; errors are #TS or #GP (`vector`), #SS when not present. */
bool stack_segment_check(struct vcpu *vcpu, uint16_t selector, unsigned cpl, unsigned vector,
                         struct descriptor *descriptor);

/* RET and IRET: may control return to this code segment? Reads its descriptor. */
bool return_target_check(struct vcpu *vcpu, uint16_t selector, struct descriptor *code);
/* Completes a far return to a less privileged level with the stack it brings. */
bool return_outer(struct vcpu *vcpu, struct descriptor *code, uint16_t cs, uint64_t rip,
                  uint16_t ss, uint64_t pointer);
/* Nulls data segments that the present CPL may not use. */
void segments_drop_inner(struct vcpu *vcpu);

/* A stack being written or read before the registers that describe it are committed. */
struct stack {
    struct segment segment; /* SS; ignored in 64-bit mode */
    bool flat64;
    uint64_t pointer;
    enum mmu_mode mode;
    uint16_t error_code; /* of #SS: 0, or the selector of a stack that is not in SS yet */
};

struct stack stack_current(const struct vcpu *vcpu);
/* Pushes count words of `size` bytes, words[0] first, in one step: nothing is written when any part
 * faults. */
bool stack_push(struct vcpu *vcpu, struct stack *stack, const uint64_t *words, unsigned count,
                unsigned size);
/* Reads count words from the top without moving the pointer. */
bool stack_peek(struct vcpu *vcpu, const struct stack *stack, uint64_t *words, unsigned count,
                unsigned size);
/* Moves the pointer by `bytes`, keeping the upper bits that a small stack does not touch. */
void stack_move(struct stack *stack, int64_t bytes);

#endif
