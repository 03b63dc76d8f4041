/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which memory accesses of a run can share one check. Most are near each other: fields of one
 * structure, locals, arguments and return addresses on one stack. Those whose addresses differ by
 * constants form a window: the first of them looks up all of its bytes, the others use the host
 * address that came out. Found before anything is emitted.
 */
#ifndef NACRE_CPU_TRANSLATE_WINDOW_H
#define NACRE_CPU_TRANSLATE_WINDOW_H

#include "cpu/translate/scan.h"
#include "cpu/translate_state.h"

/* The accesses an instruction may have: of its memory operand, and of the stack slot it pushes or
 * pops. */
enum window_access { WINDOW_OPERAND, WINDOW_STACK, WINDOW_ACCESSES };

/* One access. Addresses are relative to some value that all of a window are relative to. */
struct window_reach {
    int window;    /* -1: looked up for itself */
    bool first;    /* looks up the window */
    bool reload;   /* S0 does not hold the window's host address any more */
    int64_t place; /* address of the operand */
};

struct window {
    int64_t low;   /* address of its first byte */
    unsigned size; /* bytes */
    bool writes;
    bool kept; /* its host address is kept in vcpu->translate.windows for somebody later */
};

struct window_plan {
    unsigned count;
    struct window windows[TRANSLATE_WINDOWS];
    struct window_reach reaches[SCAN_INSTRUCTIONS_MAX][WINDOW_ACCESSES];
};

/* Fills in the plan for the run. */
void window_plan(struct window_plan *plan, const struct scan *scan);
/* The plan in which each access is looked up for itself. */
void window_plan_none(struct window_plan *plan);

#endif
