/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU: the whole architectural state of one x86-64 logical processor, whatever engine
 * runs it. Outside of engine->run() every field below is exact: any engine can carry on from it.
 * AMD64 APM vol. 2; Intel SDM vol. 3.
 */
#ifndef NACRE_CPU_VCPU_H
#define NACRE_CPU_VCPU_H

#include "base/bits.h"
#include "base/state.h"
#include "base/trace.h"
#include "bus/bus.h"
#include "cpu/registers.h"
#include "cpu/tlb.h"
#include "cpu/translate_state.h"
#include "memory/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct cpu_model;
struct engine_ops;
struct engine_options;
struct local_apic;
struct paravirtual; /* KVM's paravirtual interface: kvmclock, steal time ... */
struct vcpu;

/* A segment register with its hidden part. */
struct segment {
    uint64_t base;
    uint32_t limit; /* bytes, granularity already applied; highest valid offset */
    uint16_t selector;
    uint16_t attributes; /* SEGMENT_* bits; 0 (not present) for a null selector */
};

struct descriptor_table {
    uint64_t base;
    uint16_t limit;
};

/* An exception on its way: raised by a helper, delivered by exception_deliver(). */
struct exception {
    bool pending;
    uint8_t vector;
    bool has_error_code;
    uint32_t error_code;
    uint64_t address; /* CR2 for #PF, DR6 bits to set for #DB */
};

/* Why an engine gave the vcpu back. */
enum vcpu_exit {
    VCPU_EXIT_NONE,     /* kicked: look at the requests and run again */
    VCPU_EXIT_HALT,     /* HLT or MWAIT: sleep until vcpu_has_work() */
    VCPU_EXIT_SHUTDOWN, /* triple fault */
    VCPU_EXIT_SWITCH, /* the budget of instructions is used up (lock step, --engine-switch-every) */
    VCPU_EXIT_DEBUG,  /* a breakpoint of the debugger on the host */
    VCPU_EXIT_ERROR,  /* the engine cannot go on; error says why */
};

/* Things other threads ask of a vcpu; looked at between blocks. Any bit set makes the engine leave
 * its fast path. */
enum vcpu_request {
    VCPU_REQUEST_INTERRUPT = 1 << 0, /* the local APIC may have something deliverable */
    VCPU_REQUEST_NMI = 1 << 1,
    VCPU_REQUEST_INIT = 1 << 2,      /* INIT IPI */
    VCPU_REQUEST_STARTUP = 1 << 3,   /* SIPI; vector in startup_vector */
    VCPU_REQUEST_TLB_FLUSH = 1 << 4, /* another vcpu or the host asks for a full flush */
    VCPU_REQUEST_CODE = 1 << 5,      /* code_mailbox has pages whose cached code must go */
    VCPU_REQUEST_STOP = 1 << 6,      /* leave run() with VCPU_EXIT_NONE (pause, quit) */
    VCPU_REQUEST_EXTINT =
        1 << 7, /* the 8259 pair's output is high (boot processor, LINT0 ExtINT) */
};

enum vcpu_run_state { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_FOR_SIPI };

#define VCPU_COUNT_MAX 16

/* Where an engine keeps its state in vcpu->engine_data. */
enum engine_index { ENGINE_INTERPRET, ENGINE_TRANSLATE, ENGINE_KVM, ENGINE_COUNT };

/* All vcpus of one VM: how one finds the others. */
struct vcpu_group {
    unsigned count;
    struct translator *translator; /* the vcpus' common code cache, while any has that engine */
    struct vcpu *vcpus[VCPU_COUNT_MAX];
    uint64_t tsc_origin_ns;     /* clock_monotonic_ns() when the guest TSC was 0 */
    pthread_mutex_t split_lock; /* serialises locked accesses that cross a page */
    /* NULL at the first vcpu's creation: engine_options_default. Lives as long as the group. */
    const struct engine_options *engine_options;
};

/*
 * The register file carries extra slots behind the 16 general registers so that an effective
 * address is always base + index * scale + displacement without a test.
 */
enum { REGISTER_ZERO = 16, REGISTER_BLOCK = 17, REGISTER_FILE_SIZE = 18 };

/* Lazy flags of the interpreter (cpu/interpret/flags.h); the bits of rflags they stand for are
 * stale while it runs. */
struct lazy_flags {
    int64_t result;
    uint64_t auxiliary;
};

struct vcpu {
    /* --- hot: what nearly every instruction touches --- */
    uint64_t registers[REGISTER_FILE_SIZE]; /* GPR_RAX ...; [REGISTER_ZERO] is always 0 */
    uint64_t rip;
    uint64_t rflags; /* bit 1 always set */
    struct lazy_flags lazy;
    _Atomic uint32_t requests; /* enum vcpu_request */
    atomic_bool extint_level;  /* the 8259 pair's output, where LINT0 takes it */
    atomic_bool kicked;        /* PV kick: the next HLT returns at once */
    bool interrupt_shadow; /* STI or MOV SS: nothing is taken before the next instruction ends */
    bool interrupt_window; /* an interrupt may be waiting for IF: who sets IF must look */
    bool trap_shadow;      /* MOV SS, INT n, SYSCALL: no single-step trap after this one */
    uint8_t cpl;
    uint8_t mmu_mode; /* enum mmu_mode of ordinary data accesses: index into tlbs */
    uint64_t segment_bases[SEG_COUNT + 1]; /* copy of segments[].base with 64-bit rules applied;
                                              [SEG_COUNT] is 0 */
    uint32_t code_mode; /* CODE_MODE_*: what a cached block's meaning depends on */
    struct tlb tlbs[MMU_MODE_COUNT];
    uint64_t fetch_epoch[2]; /* by address half: raised when INVLPG may have changed a fetch
                                translation */
    struct tlb_contexts tlb_contexts;

    /* --- architectural state --- */
    struct segment segments[SEG_COUNT];
    struct segment ldtr, tr;
    struct descriptor_table gdtr, idtr;
    uint64_t cr0, cr2, cr3, cr4, cr8; /* cr8 mirrors the local APIC's TPR bits 7..4 */
    uint64_t efer, xcr0, xss;
    uint64_t dr[8]; /* 4 and 5 unused */
    uint32_t pkru;
    uint64_t pdpte[4]; /* PAE: loaded with CR3 */
    uint64_t star, lstar, cstar, fmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, apic_base, tsc_aux, misc_enable, spec_ctrl;
    uint64_t mtrr_default, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    int64_t tsc_offset; /* what the guest added by writing its TSC; MSR_TSC_ADJUST */
    bool nmi_waiting;   /* one came while blocked */
    bool nmi_blocked;   /* between NMI delivery and IRET */
    enum vcpu_run_state run_state;
    _Atomic uint8_t startup_vector; /* a second SIPI may come while the first is served */
    /* XSAVE standard format (Intel SDM vol. 1 §13.4): the x87, SSE and AVX registers live here. */
    uint8_t xsave[4096] __attribute__((aligned(64)));

    /* --- in flight --- */
    struct exception exception;  /* raised, not yet delivered */
    uint64_t watch_hits;         /* DR6 bits of breakpoints the running instruction met */
    void *vector_data;           /* the interpreter's stubs for vector instructions */
    uint64_t instruction_count;  /* retired, as far as the engine counts; see vcpu_count() */
    uint64_t instruction_budget; /* VCPU_EXIT_SWITCH when count reaches it; ~0: no limit */
    struct error error;          /* VCPU_EXIT_ERROR */

    /* --- wiring, fixed after creation --- */
    unsigned index; /* 0: boot processor; also its APIC id */
    struct vcpu_group *group;
    struct bus *bus;
    struct memory *memory;
    const struct cpu_model *model;
    struct local_apic *apic;
    struct paravirtual *paravirtual;
    const struct engine_ops *engine; /* the one that runs; changes on the vcpu's own thread */
    void *engine_data[ENGINE_COUNT]; /* each engine's own; NULL: not attached */
    const struct trace *trace;       /* NULL: nothing is traced */

    struct translate_state translate; /* the translator's, reached by emitted code */
    /* The TLBs' tables: inside this struct, so that emitted code reaches them by one register. */
    struct tlb_entry tlb_entries[MMU_CACHED_MODES][TLB_SIZE_MAX];
    struct tlb_entry tlb_empty[TLB_SIZE_MIN]; /* of mode USER_ALIGNED */

    /* --- sleeping and waking --- */
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    uint64_t slept_ns; /* in vcpu_wait() */
    pthread_mutex_t mailbox_lock;
    uint64_t code_mailbox[64]; /* gpa pages; more than fit: mailbox_overflow, drop all code */
    unsigned code_mailbox_count;
    bool mailbox_overflow;
};

/* A vcpu in reset state, not yet in any engine. NULL with *error. */
struct vcpu *vcpu_create(struct vcpu_group *group, struct bus *bus, const struct cpu_model *model,
                         struct error *error);
void vcpu_destroy(struct vcpu *vcpu);

/* Power-on reset (init false) or INIT (init true: caches, FPU, MSRs kept). APM vol. 2 §14.1, Intel
 * SDM vol. 3 table 9-1. */
void vcpu_reset(struct vcpu *vcpu, bool init);

/* Sets request bits and wakes or kicks the vcpu. Any thread. */
void vcpu_request(struct vcpu *vcpu, uint32_t requests);

/* True when a halted vcpu must run again: a deliverable interrupt, NMI, INIT, STOP ... */
bool vcpu_has_work(struct vcpu *vcpu);

/* After IF went from 0 to 1, or TPR fell: asks for a look at what waits. */
void vcpu_recheck_interrupts(struct vcpu *vcpu);

/* Tells the vcpu that code cached from the page must go, and fast writes to it as well. Any thread.
 */
void vcpu_post_code_page(struct vcpu *vcpu, uint64_t gpa_page);

/* Sleeps until vcpu_has_work(). On the vcpu's own thread. */
void vcpu_wait(struct vcpu *vcpu);

/* Recomputes cpl-dependent shortcuts: mmu_mode, code_mode, segment_bases. After any change of CR0,
 * CR4, EFER, CPL, RFLAGS.AC/TF or a segment. */
void vcpu_update_mode(struct vcpu *vcpu);

/* Guest RIP, flags ... for humans: one block of text (--trace, reports of a dead guest). */
void vcpu_describe(const struct vcpu *vcpu, char *text, size_t size);

/* Counts instructions, or takes back some of a block that was left early (negative). Others read
 * the count at any time: it is stored in one piece. */
static inline void vcpu_count(struct vcpu *vcpu, int64_t instructions)
{
    uint64_t count = vcpu->instruction_count + (uint64_t)instructions;
    __atomic_store_n(&vcpu->instruction_count, count, __ATOMIC_RELAXED);
}

static inline bool vcpu_long_mode(const struct vcpu *vcpu)
{
    return vcpu->efer & EFER_LMA;
}

static inline bool vcpu_64bit(const struct vcpu *vcpu)
{
    return (vcpu->efer & EFER_LMA) && (vcpu->segments[SEG_CS].attributes & SEGMENT_LONG);
}

static inline bool vcpu_protected(const struct vcpu *vcpu)
{
    return vcpu->cr0 & CR0_PE;
}

static inline bool vcpu_v86(const struct vcpu *vcpu)
{
    return vcpu->rflags & RFLAGS_VM;
}

static inline unsigned vcpu_iopl(const struct vcpu *vcpu)
{
    return (vcpu->rflags & RFLAGS_IOPL) >> RFLAGS_IOPL_SHIFT;
}

extern const struct state_table vcpu_state;
/* All vcpus are stopped. The local APIC's and the paravirtual interface's states go with it: load
 * them before this is called. -EINVAL with *error; the vcpu must be reset then. */
void vcpu_before_save(struct vcpu *vcpu);
int vcpu_after_load(struct vcpu *vcpu, struct error *error);

#endif
