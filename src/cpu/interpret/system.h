/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of system instructions share. */
#ifndef NACRE_CPU_INTERPRET_SYSTEM_H
#define NACRE_CPU_INTERPRET_SYSTEM_H

#include "cpu/interpret/operand.h"

/* op->extra of system instructions. */
#define OPERAND_MEMORY 1u /* the operand lies in memory */
#define OPERAND_SECOND 2u /* a register source is the second operand */

/* An instruction that its mnemonic alone tells from all others. */
struct system_instruction {
    ZydisMnemonic mnemonic;
    op_handler *handler;
    uint8_t condition; /* goes to op->condition: tells instructions with one handler apart */
    bool goes_on;      /* the block may continue behind it */
};

/* The handler of the selected instruction, or NULL; sets op->condition and ends_block. */
op_handler *system_find(struct selection *selection, const struct system_instruction *instructions,
                        unsigned count);

select_function select_system_flow;     /* system_flow.c */
select_function select_system_segment;  /* system_segment.c */
select_function select_system_control;  /* system_control.c */
select_function select_system_register; /* system_register.c */
select_function select_port;            /* port.c: IN, OUT, INS, OUTS */

/* Checks; false: exception recorded. */
bool system_privileged(struct vcpu *vcpu);     /* CPL 0, else #GP */
bool system_protected_only(struct vcpu *vcpu); /* not in real or virtual-8086 mode, else #UD */
bool system_umip_allows(struct vcpu *vcpu);    /* CR4.UMIP keeps SGDT and others from CPL > 0 */

/* The memory operand as bytes. False: exception recorded. */
bool system_load_bytes(struct vcpu *vcpu, const struct op *op, void *bytes, unsigned size);
bool system_store_bytes(struct vcpu *vcpu, const struct op *op, const void *bytes, unsigned size);
/* A 16-bit register or memory source (selectors, LMSW). */
bool system_load_word(struct vcpu *vcpu, const struct op *op, uint16_t *value);
/* Stores a value to a register of operand size, or 16 bits to memory (SLDT, STR, SMSW, MOV from
 * segment). */
bool system_store_word(struct vcpu *vcpu, const struct op *op, uint64_t value);

/* A register as wide as the mode: 64 bits in 64-bit code, else 32. */
uint64_t system_register_full(const struct vcpu *vcpu, uint8_t offset);

/* Ends the handler: commit by leaving the block, or fault. */
#define LEAVE_OR_FAULT(vcpu, op, condition) \
    do {                                    \
        if (!(condition))                   \
            FAULT(vcpu, op);                \
        LEAVE(vcpu, op);                    \
    } while (0)

#endif
