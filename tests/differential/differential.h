/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential tests: the same code, registers and memory at the same linear addresses, run by the
 * host's CPU and by each engine up to the first exception, and compared. Behind the code lies INT3:
 * a case that goes well ends there.
 *
 *   catalogue.c   which instructions there are, by group
 *   general.c     those of them that are written down
 *   address.c     memory operands
 *   operands.c    one instruction with random operands
 *   builder.c     appending instructions to a case
 *   generate.c    the code of a case: one instruction, or a sequence of them (sequence.c)
 *   inputs.c      the registers and memory it meets
 *   host.c        runs it on the host, in user mode, between rt_sigreturn(2) and a signal
 *   machine.c     runs it in an engine, in user mode, up to the gate of the exception
 *   compare.c     what must be equal, and the report of what is not
 */
#ifndef NACRE_TESTS_DIFFERENTIAL_H
#define NACRE_TESTS_DIFFERENTIAL_H

#include "cpu/engine.h"

#include <Zydis/Zydis.h>

/* The data pages, the same on both sides; see data_pages[]. */
#define DATA_ADDRESS    UINT64_C(0x10000000)
#define DATA_PAGES      16u /* 64 KiB: all that a 16-bit segment reaches */
#define SCRATCH_SIZE    2048
#define SCRATCH_MIDDLE  (DATA_ADDRESS + PAGE_SIZE) /* the border of two pages */
#define SCRATCH_ADDRESS (SCRATCH_MIDDLE - SCRATCH_SIZE / 2)
#define TAIL_SIZE       128
#define TAIL_END        (DATA_ADDRESS + 2 * PAGE_SIZE) /* behind it: no access */
#define TAIL_ADDRESS    (TAIL_END - TAIL_SIZE)
#define READ_ONLY       (DATA_ADDRESS + 3 * PAGE_SIZE)

enum page_kind { PAGE_NONE, PAGE_READ_WRITE, PAGE_READ_ONLY };
static const enum page_kind data_pages[DATA_PAGES] = {
    PAGE_READ_WRITE, PAGE_READ_WRITE, PAGE_NONE, PAGE_READ_ONLY, PAGE_NONE,
};

/* A slot of code a case; the code begins in the middle third of it, so that short branches of both
 * directions stay inside. Behind the last slot: no access. */
#define CODE_ADDRESS UINT64_C(0x20000000)
#define CODE_SIZE    KIB(64) /* one 16-bit segment */
#define SLOT_SIZE    1024u
#define SLOT_COUNT   (CODE_SIZE / SLOT_SIZE)
#define CODE_START   256u
#define CODE_MAX     512u

/* Small, so that a segment override does not lead out of the scratch area. */
#define FS_BASE UINT64_C(64)
#define GS_BASE (-UINT64_C(64))

/* Selectors: Linux's for 64-bit and 32-bit code, and an LDT. */
enum {
    SELECTOR_CODE32 = 0x23,
    SELECTOR_DATA = 0x2b,
    SELECTOR_CODE64 = 0x33,
    SELECTOR_CODE16 = 0x07, /* base CODE_ADDRESS, limit 64 KiB - 1 */
    SELECTOR_DATA16 = 0x0f, /* base DATA_ADDRESS, likewise */
    SELECTOR_FS = 0x17,     /* flat, with FS_BASE and GS_BASE */
    SELECTOR_GS = 0x1f,
};

enum code_mode { MODE_64, MODE_32, MODE_16, MODE_COUNT };

/* x87, MMX, SSE, AVX and AVX-512 registers, as XSAVE's components are laid out. */
struct vectors {
    uint8_t fxsave[512];
    uint8_t ymm_high[256];
    uint8_t opmask[64];
    uint8_t zmm_high[512];
    uint8_t zmm_16_31[1024];
};

enum {
    SHUTDOWN_VECTOR = 256, /* the engine gave up, or the vcpu shut down */
    ENDLESS_VECTOR,        /* the host used more than a second */
};

struct machine_state {
    uint64_t registers[16];
    uint64_t rip, rflags;
    uint16_t selectors[SEG_COUNT];
    struct vectors vectors;
    uint8_t scratch[SCRATCH_SIZE];
    uint8_t tail[TAIL_SIZE];
    /* How it ended. */
    unsigned vector;
    uint32_t error_code;
    uint64_t fault_address; /* CR2, of #PF */
    uint64_t open_flags;    /* that the engine leaves open where a fault ended the case */
};

/* Instruction set extensions that not every engine has; FEATURE_NONE is in each. */
enum feature {
    FEATURE_NONE,
    FEATURE_AVX,
    FEATURE_AVX2,
    FEATURE_F16C,
    FEATURE_FMA,
    FEATURE_BMI1,
    FEATURE_BMI2,
    FEATURE_LZCNT,
    FEATURE_ADX,
    FEATURE_SHA,
    FEATURE_GFNI,
    FEATURE_VAES,
    FEATURE_VPCLMULQDQ,
    FEATURE_AVX512, /* from here on with its registers */
    FEATURE_AVX512_LATER,
    FEATURE_COUNT,
};

/* Where the pointers of a case point. */
enum place { PLACE_SCRATCH, PLACE_TAIL, PLACE_READ_ONLY, PLACE_NOWHERE };

/* Preparation that an instruction's inputs need. */
enum setup {
    SETUP_NONE,
    SETUP_STRING,   /* rSI, rDI: pointers; rCX: a count */
    SETUP_COUNT,    /* rCX: a small count */
    SETUP_STACK,    /* rSP: pointer */
    SETUP_FRAME,    /* rSP, rBP: pointers */
    SETUP_DI,       /* rDI: pointer */
    SETUP_BX,       /* rBX: pointer */
    SETUP_BRANCH,   /* relative: its displacement is chosen by the sequence, or random */
    SETUP_TARGET,   /* an indirect branch: its operand holds an address of code */
    SETUP_RETURN,   /* the stack holds an address of code */
    SETUP_DIVIDE,   /* rDX: 0, divisor: not 0, where no #DE is wanted */
    SETUP_XSTATE,   /* rDX:rAX: components of XCR0; a sound image in memory */
    SETUP_CONTROL,  /* a sound MXCSR in memory */
    SETUP_FLAGS,    /* the stack holds flags */
    SETUP_SELECTOR, /* a selector in registers and memory */
    /* Far transfers and loads: these stay last. */
    SETUP_FAR, /* a far pointer in memory: to code, or of data */
    SETUP_FAR_DATA,
    SETUP_FAR_RETURN, /* what RETF or IRET takes, on the stack */
    SETUP_INTERRUPT_RETURN,
};

struct boundary {
    uint16_t offset; /* of an instruction in the code */
    uint64_t undefined;
};

#define BOUNDARIES_MAX 160

struct test_case {
    enum code_mode mode;
    uint8_t code[CODE_MAX];
    unsigned length;
    uint64_t address; /* linear, of the code */
    enum feature feature;
    /* What the inputs must be. */
    uint32_t pointers, indexes, targets, chosen; /* registers, by bit; chosen: hold selectors */
    unsigned far_size;                           /* operand size of a far transfer, bytes */
    uint32_t wide; /* of them: with 32-bit addresses only, the upper half is free */
    enum place place;
    enum setup setup;
    bool sequence, aligned;
    bool patched;          /* changes its own code: load it for each run */
    bool chained;          /* has an instruction that rounds twice: DPPS and DPPD */
    bool alignment_checks; /* may run with RFLAGS.AC: its accesses are simple */
    bool many_accesses;    /* in an order that is the processor's own */
    /* Flags left open in front of each instruction, and behind the last. */
    struct boundary boundaries[BOUNDARIES_MAX];
    unsigned boundary_count;
    unsigned shift_bits, shift_count; /* a single shift: width of its operand, or 0 */
    bool shift_by_cl;
};

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);
unsigned pick(struct random *random, unsigned count);
static inline bool one_in(struct random *random, unsigned count)
{
    return !pick(random, count);
}

/* Finds out which instructions Zydis can encode. Once, before generate(). */
void catalogue_create(void);
/* The code of a case of the group (NULL: any), to lie at `address`. features: a set of BIT(enum
 * feature) to choose from. */
void generate(struct random *random, const char *group, uint64_t features, uint64_t address,
              struct test_case *test);
bool group_exists(const char *group);
void groups_print(void);
/* Registers and memory with many edge cases. */
void generate_inputs(struct random *random, const struct test_case *test,
                     struct machine_state *state);

int host_create(struct error *error);
uint64_t host_features(void);
/* The case that runs from now on, for the report of a crash. */
void host_announce(uint64_t number);
/* Puts the code where the next runs find it. */
void host_load(const struct test_case *test);
void host_run(const struct test_case *test, const struct machine_state *before,
              struct machine_state *after);

struct machine;
struct machine *machine_create(const struct engine_ops *engine, const char *cpu,
                               struct error *error);
void machine_destroy(struct machine *machine);
/* What its CPUID reports. */
uint64_t machine_features(const struct machine *machine);
void machine_load(struct machine *machine, const struct test_case *test);
void machine_run(struct machine *machine, const struct test_case *test,
                 const struct machine_state *before, struct machine_state *after);

bool states_equal(const struct test_case *test, const struct machine_state *before,
                  const struct machine_state *native, const struct machine_state *engine);
void report_difference(const struct test_case *test, const struct machine_state *before,
                       const struct machine_state *native, const struct machine_state *engine);
void report_code(const struct test_case *test);

/* CPUID bit of each feature; query is the host's or a vcpu's. */
typedef struct cpuid_words (*cpuid_function)(const void *opaque, uint32_t leaf, uint32_t subleaf);
struct cpuid_words {
    uint32_t words[4]; /* EAX, EBX, ECX, EDX */
};
uint64_t features_of(cpuid_function query, const void *opaque);

#endif
