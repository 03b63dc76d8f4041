/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What emitted code keeps in struct vcpu beside the architectural state. Emitted code reaches the
 * vcpu through the GS base; every offset it uses is an offsetof() of struct vcpu.
 *
 * While emitted code runs, guest registers are in the host registers of the same name, except R14
 * and R15: their guest values stay in vcpu->registers, and the host's are the translator's two
 * scratch registers. Guest flags are the host's flags, or "parked" in parked_flags.
 */
#ifndef NACRE_CPU_TRANSLATE_STATE_H
#define NACRE_CPU_TRANSLATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct translator;
struct vcpu;

#define JUMP_SLOTS        65536u
#define BOUNCE_SIZE       64u
#define TRANSLATE_WINDOWS 8
#define CONTEXT_MODES     32u
#define CONTEXT_AC        1u /* set in the number while CODE_MODE_AC is */
#define CONTEXT_STEP      2u
#define CONTEXT_MAX       4094u /* numbers are 2 to this + 1: they fit an offset in a page */

/* Where the code for a guest address is: looked up by emitted code on every indirect branch. Two
 * addresses of one page never share a slot, so a tag has room for the context in its low 12 bits.
 */
struct jump_slot {
    uint64_t tag;    /* gva ^ context */
    uint64_t parked; /* host address: the entry with the flags parked */
};

struct translate_state {
    struct vcpu *self; /* emitted code reads it through GS */
    struct translator *shared;
    uint64_t rip_page;     /* gva of the page whose code runs; RIP is this plus a constant */
    uint64_t target;       /* host address to go on at */
    uint64_t host_rsp;     /* the host's stack while the guest's stack pointer is in RSP */
    uint64_t jump_context; /* number of the present mode and address space */
    uint64_t address;      /* S0 after an event: the hva that was asked for */
    uint64_t spill, spill2;
    uint64_t source;                     /* REP MOVS: hva that is read from; for RSI alone */
    uint64_t windows[TRANSLATE_WINDOWS]; /* host addresses that a translation uses again */
    uint16_t parked_flags; /* low byte: OF; high byte: SF ZF AF PF CF as LAHF gives them */
    uint8_t xmm_live;      /* the XMM registers and MXCSR are in the host's */
    uint8_t ymm_live;      /* the YMM registers too */
    uint8_t zmm_live;      /* all 32 ZMM registers and the opmasks too */
    uint8_t x87_live;      /* the x87 registers are in the host's */
    bool vector_trap;      /* an unmasked vector exception: such instructions are interpreted */
    bool interpret_next;   /* the instruction at rip is for the interpreter */
    bool cache_full;       /* the cache must be emptied before anything more is translated */
    bool thread_ready;     /* the thread has its signal stack */
    void *signal_stack;
    uint64_t flushes;        /* of the cache, when the jump slots were last known right */
    struct site *fault_site; /* what a host signal's handler reports */
    /* Jump slots are right for these; see jump.c. */
    uint64_t fetch_epoch[2];
    uint64_t lower_generation;
    uint32_t jump_vectors; /* CODE_MODE_* of vector registers */
    bool jumps_lower;      /* supervisor code of this address space alone has slots */
    uint16_t context_count;
    uint64_t jump_clears;                   /* times all slots were dropped */
    uint16_t contexts[CONTEXT_MODES][1024]; /* by mode and TLB generation; 0: none yet */
    uint8_t bounce[2 * BOUNCE_SIZE] __attribute__((aligned(BOUNCE_SIZE)));
    struct jump_slot jumps[JUMP_SLOTS];
};

#endif
