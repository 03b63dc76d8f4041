/* SPDX-License-Identifier: Apache-2.0 */
/* The second pass: host code for the scanned instructions. Shared by the files that emit its parts.
 */
#ifndef NACRE_CPU_TRANSLATE_BUILD_H
#define NACRE_CPU_TRANSLATE_BUILD_H

#include "cpu/translate/cache.h"
#include "cpu/translate/emit.h"
#include "cpu/translate/window.h"

#define BUILD_SITES_MAX 256

/* Code that is emitted behind the main line: a TLB miss, the way out of a branch. */
struct detour {
    uint32_t jump; /* place of the jump that leads to it */
    uint16_t site;
    bool parked; /* the flags are parked, or nobody wants them */
};

struct builder {
    struct translator *translator;
    struct vcpu *vcpu; /* for its mode */
    const struct scan *scan;
    const struct instruction *instruction; /* the one being translated */
    struct emitter emitter;
    uint32_t mode;
    unsigned mmu_mode;
    bool wide;      /* addresses and stack slots have 64 bits, or else 32 */
    uint32_t start; /* cache offset the code is for */
    bool parked;    /* the flags are in parked_flags, not in the host's register */
    unsigned site_count, detour_count;
    struct site sites[BUILD_SITES_MAX];
    uint32_t site_pointers[BUILD_SITES_MAX]; /* places of the 64-bit pointers to the sites */
    uint32_t events[BUILD_SITES_MAX];        /* where the detour to the site is */
    struct detour detours[BUILD_SITES_MAX];
    struct instruction_mark marks[SCAN_INSTRUCTIONS_MAX];
    struct window_plan plan;
    int32_t stack_change; /* of RSP, by pushes and pops whose sum is still to be added */
};

/* Reserves a site for the current instruction; the last one again when there are too many (the
 * translation is then given up). */
struct site *build_site(struct builder *builder, enum site_kind kind);
/* Calls C for a site and does not return here unless the site says where to. */
void build_event(struct builder *builder, const struct site *site, bool parked);
void build_detour(struct builder *builder, uint32_t jump, const struct site *site, bool parked);

/* Parks the flags if somebody still wants them: before code that changes them. */
void build_free_flags(struct builder *builder, uint32_t wanted);
/* Brings them back if they are parked. */
void build_claim_flags(struct builder *builder);

/* --- address.c: the guest's memory operand --- */

/* S0 := linear address of the visible memory operand. Flags are left alone. */
void build_address(struct builder *builder, const ZydisDecodedOperand *operand);
/* reg := the guest register's value as an address. */
void build_load_pointer(struct builder *builder, unsigned reg, unsigned guest);
/* to := from + displacement, wrapped as addresses are. */
void build_add_pointer(struct builder *builder, unsigned to, unsigned from, int32_t displacement);
/* reg := gva of the page offset `offset` (may lie outside of the page). */
void build_code_address(struct builder *builder, unsigned reg, int64_t offset);

/* --- access.c: the one place that knows how guest memory is reached --- */

/* S0: gva in, hva of `size` accessible bytes out. The flags are lost, S1 too. */
void build_access(struct builder *builder, enum mmu_access access, unsigned size);
/* S0 := host address, so that the instruction's memory operand is at [S0 + the result]: looked up,
 * or that of a window (window.h). When a window cannot be had, the instructions from here on are
 * done by a translation in which each looks up its own. */
int32_t build_operand_access(struct builder *builder);
/* The same for the stack slot at base + offset. */
int32_t build_stack_access(struct builder *builder, enum mmu_access access, unsigned base,
                           int32_t offset);
/* The same without the way out: returns the place of the jump that is taken on a miss, and after
 * which S0 is not the gva before build_access_undo(). */
uint32_t build_access_check(struct builder *builder, enum mmu_access access, unsigned size);
void build_access_undo(struct builder *builder, enum mmu_access access);

/* --- stack.c --- */
/* Bytes of a slot of the guest's stack. */
static inline int32_t build_slot_size(const struct builder *builder)
{
    return builder->wide ? 8 : 4;
}
void build_push(struct builder *builder);
void build_pop(struct builder *builder);
void build_leave(struct builder *builder);
void build_return(struct builder *builder);
/* Pushes gs:[translate.spill], or the address of the next instruction. */
void build_push_spill(struct builder *builder);
void build_push_return(struct builder *builder);

/* --- flow.c --- */
/* S0 := the memory operand, of an address's size. */
void build_load_operand(struct builder *builder);
/* To the gva in S0, through the jump slots. undo: what RSP was changed by, should the target turn
 * out to be none. */
void build_indirect(struct builder *builder, int32_t undo);
void build_call(struct builder *builder);
void build_jump(struct builder *builder);
void build_branch(struct builder *builder);
void build_loop(struct builder *builder);
/* To the instruction at `offset` of the page (or outside of it). */
void build_goto(struct builder *builder, int64_t offset);
/* The same through the jump slots: whatever is there is looked up by its address. */
void build_far_goto(struct builder *builder, int64_t offset);

/* --- privileged.c: what kernels do often. Each is for code at CPL 0. --- */
void build_cli(struct builder *builder);
void build_sti(struct builder *builder);
void build_pushf(struct builder *builder);
void build_swapgs(struct builder *builder);
void build_stac_clac(struct builder *builder);
void build_read_segment(struct builder *builder); /* at any CPL */
/* reg := selector in the segment register. */
void build_load_selector(struct builder *builder, unsigned reg, ZydisRegister segment);

/* --- string.c --- */
void build_string(struct builder *builder);
void build_direction(struct builder *builder);
/* To the site by a detour where strings run downwards. The flags are lost. */
void build_test_direction(struct builder *builder, const struct site *site);

/* --- element.c --- */
void build_element(struct builder *builder);

/* --- x87.c --- */
void build_load_control(struct builder *builder);

/* --- build.c --- */

/* By one of the interpreter's handlers; goes on behind it when nothing else came up. */
void build_operation(struct builder *builder);
/* A detour that gives the instruction to the interpreter's handler and goes on at the present
 * place. */
struct site *build_operation_site(struct builder *builder);

/* Translates the run in translator->scan (first instruction at gpa; second_page: see struct
 * translation). NULL: no memory. Lock held. */
struct translation *build_translation(struct translator *translator, struct vcpu *vcpu,
                                      uint64_t gpa, uint64_t second_page, uint32_t mode);

#endif
