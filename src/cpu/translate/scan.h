/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first pass over guest code: decodes a straight run of instructions, says of each how it will
 * be translated, and which flags are still wanted after it.
 */
#ifndef NACRE_CPU_TRANSLATE_SCAN_H
#define NACRE_CPU_TRANSLATE_SCAN_H

#include "cpu/translate/recode.h"
#include "cpu/vcpu.h"

#include <Zydis/Zydis.h>

#define SCAN_INSTRUCTIONS_MAX 48
#define SCAN_CODE_MAX         KIB(24) /* no translation is longer */
#define INSTRUCTION_MAX       15

enum method {
    METHOD_PLAIN,   /* the instruction itself, registers and memory operand replaced */
    METHOD_NOTHING, /* no effect: NOP with or without operand, prefetches */
    METHOD_LEA,
    METHOD_BIT, /* BT, BTS, BTR, BTC with a bit number in a register and a memory operand */
    METHOD_PUSH,
    METHOD_POP,
    METHOD_LEAVE,
    METHOD_CALL,
    METHOD_RETURN,
    METHOD_JUMP,
    METHOD_BRANCH, /* Jcc */
    METHOD_LOOP,   /* LOOP, JRCXZ */
    METHOD_CLI,
    METHOD_STI,
    METHOD_PUSHF,
    METHOD_SWAPGS,
    METHOD_STAC_CLAC,    /* ends the run: what follows is for another MMU mode */
    METHOD_READ_SEGMENT, /* MOV from a segment register to a general one */
    METHOD_STRING,       /* REP MOVS, REP STOS */
    METHOD_ELEMENT,      /* a string instruction without REP */
    METHOD_DIRECTION,    /* CLD, STD */
    METHOD_LOAD_CONTROL, /* FLDCW */
    METHOD_OPERATION,    /* by a handler of the interpreter */
    METHOD_INTERPRET,    /* by the interpreter alone; ends the run */
};

/*
 * An instruction as 64-bit mode would have it. What 32-bit code writes in a way that 64-bit mode
 * does not know (recode.h) has its new encoding in `recoded`.
 */
struct instruction {
    ZydisDecodedInstruction decoded;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    const uint8_t *bytes; /* that `decoded` speaks of */
    uint8_t recoded[RECODED_MAX];
    uint8_t length;          /* of what stands in the guest's page */
    bool differs;            /* 64-bit mode means something else by its bytes */
    uint16_t offset;         /* in the page; may reach past its end for the last one's end */
    uint8_t method;          /* enum method */
    int8_t memory;           /* index of the visible memory operand, or -1 */
    bool xmm, ymm, zmm, x87; /* needs those registers; ymm implies xmm, zmm both */
    bool needs_avx512;       /* #UD where the guest has not enabled it */
    bool masked;             /* the memory operand: parts that a mask leaves out never fault */
    bool vector_state;       /* saves or loads them, by a handler */
    uint32_t flags_read, flags_written; /* RFLAGS bits; written: always, whatever the operands */
    uint32_t flags_live;                /* after it */
};

/* Bits of an address and of a stack slot in code of this mode. */
static inline unsigned native_width(const struct instruction *instruction)
{
    return instruction->decoded.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? 64 : 32;
}

static inline bool has_native_address(const struct instruction *instruction)
{
    return instruction->decoded.address_width == native_width(instruction);
}

/* Offset in the page of what follows it. */
static inline int32_t instruction_end(const struct instruction *instruction)
{
    return instruction->offset + instruction->length;
}

static inline int64_t operand_displacement(const ZydisDecodedOperand *operand)
{
    return operand->mem.disp.has_displacement ? operand->mem.disp.value : 0;
}

/* The flags that code in front of the instruction must leave alone. */
static inline uint32_t flags_wanted(const struct instruction *instruction)
{
    return instruction->flags_read | (instruction->flags_live & ~instruction->flags_written);
}

struct scan {
    ZydisDecoder decoder64, decoder32;
    struct instruction instructions[SCAN_INSTRUCTIONS_MAX];
    unsigned count;
    uint32_t flags_live; /* at the start */
    bool xmm, ymm, zmm, x87;
    bool crosses; /* the run ends before an instruction that runs past the bytes there are */
    uint8_t bytes[4096 + INSTRUCTION_MAX]; /* the page, and what follows when it is known */
};

/* For code of vcpus of the model. */
struct scan *scan_create(const struct cpu_model *model);
void scan_destroy(struct scan *scan);

/*
 * Decodes at most `limit` instructions from scan->bytes + offset; `available` bytes are valid from
 * there. mode: CODE_MODE_*. False when the first instruction runs past what is there.
 */
bool scan_run(struct scan *scan, const struct cpu_model *model, uint32_t mode, unsigned offset,
              unsigned available, unsigned limit);

#endif
