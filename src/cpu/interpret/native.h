/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small pieces of host code, one for each distinct x87, MMX, SSE, AVX or BMI instruction: the
 * guest's own instruction with its memory operand turned into [r8] and its general registers into
 * others, between loads and stores of the vector registers it names.
 */
#ifndef NACRE_CPU_INTERPRET_NATIVE_H
#define NACRE_CPU_INTERPRET_NATIVE_H

#include "base/error.h"
#include "cpu/interpret/groups.h"

/* Returns RFLAGS after the instruction where it changes them. flags: arithmetic flags before it. */
typedef uint64_t native_stub(uint8_t *xsave, uint64_t *registers, void *memory, uint64_t flags);

struct native;

/* A code buffer, mapped twice: writable here, executable there, never both. NULL with *error. */
struct native *native_create(struct error *error);
void native_destroy(struct native *native);

/* The stub for the selection's instruction; NULL when it cannot be made (then it is #UD) or no room
 * is left. */
native_stub *native_stub_for(struct native *native, const struct selection *selection);

/* True when the buffer is nearly full: forget every block, then native_reset(). */
bool native_is_full(const struct native *native);
void native_reset(struct native *native);

#endif
