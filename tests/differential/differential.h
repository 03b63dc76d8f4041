/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Differential tests: one instruction, the same registers and memory, run by the host's CPU and by
 * an engine. The same linear addresses are used on both sides.
 */
#ifndef NACRE_TESTS_DIFFERENTIAL_H
#define NACRE_TESTS_DIFFERENTIAL_H

#include "cpu/engine.h"

#include <Zydis/Zydis.h>

#define SCRATCH_ADDRESS UINT64_C(0x10000000)
#define SCRATCH_SIZE    1024
#define OPERAND_OFFSET  512 /* where the base register points: the middle */
#define CODE_ADDRESS    UINT64_C(0x20000000)
#define CODE_SIZE       MIB(1)

/* What an instruction reads and writes. registers[GPR_RSP] is not used. */
struct machine_state {
    uint64_t registers[16];
    uint64_t rflags;
    uint8_t xmm[16][16];
    uint8_t scratch[SCRATCH_SIZE];
    bool faulted;
};

struct test_case {
    ZydisMnemonic mnemonic;
    uint8_t code[ZYDIS_MAX_INSTRUCTION_LENGTH];
    ZyanUSize length;
    uint64_t undefined_flags; /* at most these: ask undefined_flags() */
    unsigned shift_bits;      /* width of a shift's operand; 0: no shift */
    unsigned shift_count;
    bool shift_by_cl;
    bool string; /* rSI, rDI, rCX and DF have meanings */
};

struct random {
    uint64_t state;
};
uint64_t random_next(struct random *random);

/* Makes one encodable instruction of the group (NULL: any). False: that form does not exist; try
 * again. */
bool generate(struct random *random, const char *group, struct test_case *test);
bool group_exists(const char *group);
/* The flags that the manuals leave open with these inputs. */
uint64_t undefined_flags(const struct test_case *test, const struct machine_state *before);
/* Registers and memory with many edge cases. */
void generate_inputs(struct random *random, const struct test_case *test,
                     struct machine_state *state);

int host_create(struct error *error);
void host_run(const struct test_case *test, const struct machine_state *before,
              struct machine_state *after);

struct machine;
struct machine *machine_create(const struct engine_ops *engine, struct error *error);
void machine_destroy(struct machine *machine);
/* Puts the instruction where the next runs find it. */
void machine_load(struct machine *machine, const struct test_case *test);
void machine_run(struct machine *machine, const struct machine_state *before,
                 struct machine_state *after);

#endif
