/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter's inner form of an instruction. The decoder turns a run of guest instructions
 * into an array of `struct op`; each op's handler does its work and tail-calls the next:
 *
 *     static void add_r64_r64(struct vcpu *vcpu, const struct op *op)
 *     {
 *         ...
 *         NEXT(vcpu, op);
 *     }
 *
 * Handlers end in one of four ways:
 *   NEXT(vcpu, op)        carry on with the next op of the block;
 *   LEAVE(vcpu, op)       end the block after this instruction (rip := the following instruction);
 *   FAULT(vcpu, op)       an exception was recorded: rip := this instruction, deliver;
 *   plain return          the handler has set vcpu->rip itself (branches, far transfers).
 * rip is otherwise not kept up to date inside a block: it is registers[REGISTER_BLOCK] +
 * op->offset.
 */
#ifndef NACRE_CPU_INTERPRET_OP_H
#define NACRE_CPU_INTERPRET_OP_H

#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/vcpu.h"

struct op;
typedef void op_handler(struct vcpu *vcpu, const struct op *op);

enum op_flag {
    OP_LOCK = 1 << 0,
    OP_REPEAT = 1 << 1, /* REP / REPE */
    OP_REPEAT_NE = 1 << 2,
    OP_CHECKED =
        1 << 3, /* memory operand needs segment limit and type checks (not flat, not 64-bit) */
    OP_ADDRESS32 = 1 << 4, /* the address size: effective addresses wrap at 4 GiB */
    OP_ADDRESS16 = 1 << 5, /* ... at 64 KiB */
};

/* Register operands are byte offsets into vcpu->registers, so AH and friends need no
 * special case. */
struct op {
    op_handler *run;
    uint64_t immediate;   /* immediate, branch displacement, or handler-specific */
    int64_t displacement; /* of the memory operand; RIP-relative: relative to the block's start */
    union {
        const void *stub;     /* native.c: host code for this instruction */
        struct block *target; /* branches: chained block in the same page, or NULL */
        uint64_t extra;
    };
    uint16_t offset;     /* of this instruction from the block's start, in bytes */
    uint8_t length;      /* of this instruction, bytes */
    uint8_t flags;       /* enum op_flag */
    uint8_t destination; /* byte offset of the destination register in vcpu->registers */
    uint8_t source;      /* byte offset of the source register */
    uint8_t base,
        index;       /* register numbers; REGISTER_ZERO for none, REGISTER_BLOCK for RIP-relative */
    uint8_t scale;   /* 0 to 3: shift */
    uint8_t segment; /* index into segment_bases; SEG_COUNT: base 0 */
    uint8_t operand_size; /* bytes */
    uint16_t remaining;   /* ops that follow in the block */
    uint8_t condition;    /* Jcc, SETcc, CMOVcc: low four bits of the opcode */
};

/* Tail calls need the optimiser; without it (sanitizers, -O0) the C stack grows by at most one
 * block. */
#define NEXT(vcpu, op) return (op)[1].run((vcpu), (op) + 1)
#define LEAVE(vcpu, op)                              \
    do {                                             \
        (vcpu)->rip = op_next_rip(vcpu, op);         \
        vcpu_count(vcpu, -(int64_t)(op)->remaining); \
        return;                                      \
    } while (0)
#define FAULT(vcpu, op)                                  \
    do {                                                 \
        if (unlikely((op)->segment == SEG_SS))           \
            exception_in_stack(vcpu);                    \
        (vcpu)->rip = op_rip(vcpu, op);                  \
        vcpu_count(vcpu, -(int64_t)(op)->remaining - 1); \
        return;                                          \
    } while (0)

/* The instruction's own address, wrapped to the mode's width by op_next_rip's caller where it
 * matters. */
static inline uint64_t op_rip(const struct vcpu *vcpu, const struct op *op)
{
    return vcpu->registers[REGISTER_BLOCK] + op->offset;
}

static inline uint64_t op_next_rip(const struct vcpu *vcpu, const struct op *op)
{
    uint64_t rip = op_rip(vcpu, op) + op->length;
    return vcpu->code_mode & CODE_MODE_LONG ? rip : (uint32_t)rip;
}

static inline void *op_register(struct vcpu *vcpu, uint8_t offset)
{
    return (uint8_t *)vcpu->registers + offset;
}

/* All bits of the address size, which is also that of rCX, rSI and rDI where they count or point.
 */
static inline uint64_t op_address_mask(const struct op *op)
{
    return op->flags & OP_ADDRESS16 ? 0xffff : op->flags & OP_ADDRESS32 ? 0xffffffff : ~UINT64_C(0);
}

/* Adds to rCX, rSI or rDI. A 32-bit sum clears the upper half like any 32-bit result. */
static inline void op_advance(struct vcpu *vcpu, const struct op *op, unsigned number,
                              int64_t amount)
{
    uint64_t mask = op_address_mask(op), old = vcpu->registers[number];
    uint64_t value = (old + (uint64_t)amount) & mask;
    vcpu->registers[number] = mask == 0xffff ? (old & ~mask) | value : value;
}

/* Offset part of the memory operand, wrapped to the address size. */
static inline uint64_t op_offset(const struct vcpu *vcpu, const struct op *op)
{
    uint64_t offset = vcpu->registers[op->base] + (vcpu->registers[op->index] << op->scale) +
                      (uint64_t)op->displacement;
    if (unlikely(op->flags & (OP_ADDRESS32 | OP_ADDRESS16)))
        offset &= op_address_mask(op);
    return offset;
}

/*
 * Linear address of the memory operand. False when a segment check fails (exception recorded). In
 * 64-bit mode canonicality is checked by the slow path of the access: a non-canonical page never
 * enters the TLB.
 */
bool op_linear_checked(struct vcpu *vcpu, const struct op *op, unsigned size, bool write,
                       uint64_t *linear);

static inline bool op_linear(struct vcpu *vcpu, const struct op *op, unsigned size, bool write,
                             uint64_t *linear)
{
    if (unlikely(op->flags & OP_CHECKED)) {
        uint64_t checked = 0; /* see cpu/access.h on addresses of locals */
        bool ok = op_linear_checked(vcpu, op, size, write, &checked);
        *linear = checked;
        return ok;
    }
    *linear = op_offset(vcpu, op) + vcpu->segment_bases[op->segment];
    return true;
}

#endif
