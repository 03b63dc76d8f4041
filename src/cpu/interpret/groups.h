/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the decoder finds a handler: each instruction group (a file) offers one select function. It
 * looks at the decoded instruction and returns the handler, or NULL when the instruction is not of
 * its group.
 */
#ifndef NACRE_CPU_INTERPRET_GROUPS_H
#define NACRE_CPU_INTERPRET_GROUPS_H

#include "cpu/interpret/op.h"

#include <Zydis/Zydis.h>

/* What a select function sees and may change. */
struct selection {
    struct vcpu *vcpu; /* for the mode only; its registers mean nothing here */
    uint32_t code_mode;
    const uint8_t *bytes; /* the instruction, instruction.length bytes */
    ZydisDecodedInstruction instruction;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    struct op
        *op; /* prefilled: offset, length, flags, memory operand fields, operand_size, immediate */
    int memory_operand; /* index into operands of the explicit memory operand, or -1 */
    unsigned compare, compare_before; /* this instruction and the one before it: see fused.h */
    bool ends_block; /* set by the group: no instruction after this one in the block */
};

typedef op_handler *select_function(struct selection *selection);

select_function
    select_alu; /* alu.c: add, or, adc, sbb, and, sub, xor, cmp, test, inc, dec, neg, not */
select_function select_move;     /* move.c: data movement, setcc, cmovcc, sign extension */
select_function select_stack;    /* stack.c: push, pop, pusha, enter, leave */
select_function select_branch;   /* branch.c: near jumps, calls, returns, loops */
select_function select_shift;    /* shift.c */
select_function select_multiply; /* multiply.c: mul, imul, div, idiv */
select_function select_bit;      /* bit.c */
select_function select_string;   /* string.c */
select_function select_bcd;      /* bcd.c */
select_function select_atomic; /* atomic.c: everything with LOCK, xchg with memory, xadd, cmpxchg */
select_function select_misc;   /* misc.c: nop, fences, flag bits, xlat, bound, ud2 ... */

/* cpu/interpret/system.c ...: descriptor tables, CR, DR, MSR, far transfers, port I/O, SYSCALL,
 * HLT, CPUID ... */
select_function select_system;
/* cpu/interpret/vector.c ...: x87, MMX, SSE, AES, XSAVE family */
select_function select_vector;

/* Byte offset in vcpu->registers of a general register of any width (AH is 1, EBX is 24); -1 for
 * others. */
int selection_register(ZydisRegister name);

/*
 * For instructions whose memory operands are implicit (strings, XLAT): sets op->segment and
 * OP_CHECKED as the one at rSI or rBX wants them, whose segment can be overridden; where there is
 * none, as ES:[rDI] does.
 */
void selection_implicit_memory(struct selection *selection);

#endif
