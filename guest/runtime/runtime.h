/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the small guests share: start-up, serial output, traps, verdicts, the end. A guest defines
 * guest_main() and calls check() for each thing it knows; the host reads "PASS name" and "FAIL
 * name: why" on the serial port.
 */
#ifndef RUNTIME_H
#define RUNTIME_H

#include "runtime/layout.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef unsigned long word; /* a register's width */

enum {
    TRAP_DE = 0,
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_BP = 3,
    TRAP_OF = 4,
    TRAP_BR = 5,
    TRAP_UD = 6,
    TRAP_NM = 7,
    TRAP_DF = 8,
    TRAP_TS = 10,
    TRAP_NP = 11,
    TRAP_SS = 12,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_MF = 16,
    TRAP_AC = 17,
    TRAP_XM = 19,
    TRAP_NONE = 0x100,
};

/* In the order in which runtime/traps.S pushes. */
struct trap_frame {
#ifdef __x86_64__
    word r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, bx, dx, cx, ax;
#else
    word es, ds, di, si, bp, unused_sp, bx, dx, cx, ax;
#endif
    word vector, error, ip, cs, flags, sp, ss; /* 32-bit: sp and ss only from another ring */
};

struct trap {
    unsigned vector; /* TRAP_NONE: nothing happened */
    word error, ip, cs, flags, sp, ax;
    word address; /* CR2 */
};

void guest_main(void);

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void check(bool passed, const char *name);
/* FAIL lines say both values. */
void check_equal(uint64_t got, uint64_t wanted, const char *name);
void check_trap(struct trap trap, unsigned vector, word error, const char *name);

/* Calls the function and returns the first trap it runs into; everything it did not finish is lost.
 */
struct trap trap_catch(void (*function)(void *), void *argument);
/* Calls code in ring 3; it leaves by a trap: VECTOR_USER_EXIT when it is content. */
struct trap user_catch(void *code, word stack, void *argument);
/* A handler that returns to what was interrupted; NULL takes it off. */
void trap_hook(unsigned vector, void (*hook)(struct trap_frame *frame));
/* Gate fields, for tests that need another type or stack. */
void trap_gate(unsigned vector, word entry, unsigned selector, unsigned type, unsigned stack);
void traps_load(void); /* on the calling processor */
extern const uint8_t trap_entries[VECTOR_COUNT][16];

extern uint64_t gdt[32];
/* Ring-0 stack and interrupt stacks of the TSS. */
#ifdef __x86_64__
struct task_state {
    uint32_t reserved0;
    uint64_t sp[3], reserved1, interrupt_stacks[7], reserved2;
    uint16_t reserved3, io_map;
} __attribute__((packed));
#else
struct task_state {
    uint32_t link, sp0, ss0, sp1, ss1, sp2, ss2, cr3, ip, flags;
    uint32_t ax, cx, dx, bx, sp, bp, si, di;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
    uint8_t io_bits[8193];
} __attribute__((packed));
#endif
extern struct task_state task_state;

/* Never return. */
void machine_power_off(void) __attribute__((noreturn));

#define DEFINE_CONTROL(name)                                            \
    static inline word read_##name(void)                                \
    {                                                                   \
        word value;                                                     \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(value));          \
        return value;                                                   \
    }                                                                   \
    static inline void write_##name(word value)                         \
    {                                                                   \
        __asm__ volatile("mov %0, %%" #name : : "r"(value) : "memory"); \
    }
DEFINE_CONTROL(cr0)
DEFINE_CONTROL(cr2)
DEFINE_CONTROL(cr3)
DEFINE_CONTROL(cr4)
DEFINE_CONTROL(dr0)
DEFINE_CONTROL(dr1)
DEFINE_CONTROL(dr6)
DEFINE_CONTROL(dr7)

static inline void port_write8(uint16_t port, uint8_t value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t port_read8(uint16_t port)
{
    uint8_t value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

static inline void port_write16(uint16_t port, uint16_t value)
{
    __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint64_t msr_get(uint32_t index)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
    return (uint64_t)high << 32 | low;
}

static inline void msr_set(uint32_t index, uint64_t value)
{
    __asm__ volatile("wrmsr"
                     :
                     : "c"(index), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
                     : "memory");
}

struct cpuid {
    uint32_t a, b, c, d;
};

static inline struct cpuid cpuid_get(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid result;
    __asm__ volatile("cpuid"
                     : "=a"(result.a), "=b"(result.b), "=c"(result.c), "=d"(result.d)
                     : "a"(leaf), "c"(subleaf));
    return result;
}

#endif
