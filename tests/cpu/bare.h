/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bare processor for unit tests of src/cpu: RAM, a local APIC, no engine and no devices. Memory
 * is laid out so that linear and physical addresses are the same in every mode.
 */
#ifndef NACRE_TESTS_CPU_BARE_H
#define NACRE_TESTS_CPU_BARE_H

#include "bus/bus.h"
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/segmentation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h> /* last: it needs the three above */

/* Physical addresses. */
enum {
    GDT = 0x1000,
    IDT = 0x2000,
    TSS = 0x3000,
    TSS_OTHER = 0x3800,
    HANDLER = 0x5000, /* plus 16 times the vector */
    CODE = 0x6000,
    STACK_INTERRUPT = 0x7000, /* IST 1 */
    STACK_INNER = 0x8000,     /* level 0, from the TSS */
    STACK = 0x9000,
    PAGE_TABLES = 0x10000,
};

enum {
    SELECTOR_CODE = 0x08,
    SELECTOR_DATA = 0x10,
    SELECTOR_USER_CODE = 0x1b,
    SELECTOR_USER_DATA = 0x23,
    SELECTOR_TSS = 0x28, /* and 0x30 in long mode */
    SELECTOR_OTHER = 0x38,
    SELECTOR_LONG_CODE = 0x40,
    SELECTOR_FREE = 0x48,
    GDT_LIMIT = 0x57,
};

/* Descriptor access bytes. */
enum {
    ACCESS_CODE = 0x9b,
    ACCESS_DATA = 0x93,
    ACCESS_USER_CODE = 0xfb,
    ACCESS_USER_DATA = 0xf3,
    ACCESS_TSS16 = 0x81,
    ACCESS_TSS = 0x89,
    ACCESS_INTERRUPT_GATE16 = 0x86,
    ACCESS_TASK_GATE = 0x85,
    ACCESS_CALL_GATE = 0x8c,
    ACCESS_INTERRUPT_GATE = 0x8e,
    ACCESS_TRAP_GATE = 0x8f,
};

struct bare {
    struct memory *memory;
    struct loop *loop;
    struct bus bus;
    struct vcpu_group group;
    struct vcpu *vcpu; /* the boot processor */
    struct cpu_model host_model;
};

/* cmocka fixtures: *state is a struct bare whose processors are in reset state. */
int bare_setup(void **state);
int bare_setup_two(void **state); /* two processors */
int bare_teardown(void **state);

/* Makes the boot processor one with all that --cpu host has here. Before an engine is attached. */
void bare_take_host_model(struct bare *bare);

/* Level 0, 32 bits, flat, with descriptor tables, a TSS and a gate for each vector. */
void bare_enter_protected(struct bare *bare);
/* The same in 64-bit mode, through the control registers as a kernel does it. */
void bare_enter_long(struct bare *bare);
/* Goes on at level 3 with flat segments (64-bit code when in long mode). */
void bare_enter_user(struct bare *bare);

/* A descriptor of base and limit; flags: G, D/B, L, AVL. */
uint64_t bare_descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags);
void bare_set_descriptor(struct bare *bare, uint16_t selector, uint64_t descriptor);
/* Gate of the present mode to `offset`; extra: IST number or count of parameters. */
void bare_set_gate(struct bare *bare, unsigned vector, uint16_t selector, uint32_t offset,
                   uint8_t access, uint8_t extra);

uint64_t bare_load(struct bare *bare, uint64_t gpa, unsigned size);
void bare_store(struct bare *bare, uint64_t gpa, uint64_t value, unsigned size);

/* The exception that the last call recorded, which is taken away. */
void assert_raised(struct vcpu *vcpu, unsigned vector, uint32_t error_code);
/* The words of `size` bytes at the top of the stack. */
void assert_stack(struct bare *bare, unsigned size, unsigned count, const uint64_t *words);

#endif
