/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several processors: INIT and start-up IPIs, atomic instructions, memory order, IPIs, TLB
 * shoot-down, cross-modifying code. Intel SDM vol. 3 §8. Started with four processors.
 */
#include "runtime/runtime.h"

enum { PROCESSORS = 4, ROUNDS = 50000, PAGE = 0x8000 };

static volatile uint32_t *apic_register(unsigned offset)
{
    return (uint32_t *)(uintptr_t)(0xfee00000u + offset);
}

extern const uint8_t trampoline[], trampoline_end[];
extern uint64_t trampoline_stack;
extern uint64_t page_root[512];
static uint8_t stacks[PROCESSORS][8192] __attribute__((aligned(16)));
static volatile unsigned online, phase, done, unlucky;
static volatile uint64_t locked_counter, exchanged, shared_x, shared_y;
static struct {
    uint64_t low, high;
} __attribute__((aligned(16))) pair;
static uint8_t across[130] __attribute__((aligned(64)));
static __attribute__((aligned(4096))) uint64_t pointers[512], directory[512], table[512];
static uint64_t pages[2][512] __attribute__((aligned(4096)));
static uint8_t code[4096] __attribute__((aligned(4096)));
static volatile unsigned interrupts;

static void pause_until(volatile unsigned *value, unsigned wanted)
{
    for (unsigned long spin = 0; *value < wanted && spin < 4000000000; spin++)
        __asm__ volatile("pause");
}

static void count_up(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        __asm__ volatile("lock incq %0" : "+m"(locked_counter));
        uint64_t one = 1;
        __asm__ volatile("lock xaddq %0, %1"
                         : "+r"(one), "+m"(*(uint64_t *)(across + 60))); /* splits a line */
        uint64_t old, new;
        do {
            old = exchanged;
            new = old + 3;
        } while (!__sync_bool_compare_and_swap(&exchanged, old, new));
        uint64_t low = pair.low, high = pair.high;
        uint8_t swapped;
        do
            __asm__ volatile("lock cmpxchg16b %1; setz %0"
                             : "=q"(swapped), "+m"(pair), "+a"(low), "+d"(high)
                             : "b"(low + 1), "c"(high - 1)
                             : "cc");
        while (!swapped);
    }
}

/* Message passing: x86 never shows the flag without the data. */
static void check_order(unsigned index)
{
    if (index == 1)
        for (uint64_t i = 1; i <= ROUNDS * 4; i++) {
            shared_x = i;
            shared_y = i;
        }
    if (index == 2)
        for (unsigned i = 0; i < ROUNDS * 4; i++) {
            uint64_t y = shared_y, x = shared_x;
            if (x < y)
                unlucky++;
        }
}

static void count_interrupt(struct trap_frame *frame)
{
    (void)frame;
    __sync_fetch_and_add(&interrupts, 1);
    *apic_register(0xb0) = 0;
}

static void flush_interrupt(struct trap_frame *frame)
{
    (void)frame;
    __asm__ volatile("invlpg (%0)" : : "r"(UINT64_C(1) << 39) : "memory");
    *apic_register(0xb0) = 0;
    __sync_fetch_and_add(&interrupts, 1);
}

void processor_main(void);
void processor_main(void)
{
    traps_load();
    *apic_register(0xf0) = 0x1ff;
    unsigned index = __sync_add_and_fetch(&online, 1);
    pause_until(&phase, 1);
    count_up();
    __sync_fetch_and_add(&done, 1);
    pause_until(&phase, 2);
    check_order(index);
    __sync_fetch_and_add(&done, 1);
    pause_until(&phase, 3);
    volatile uint64_t *mapped = (uint64_t *)(UINT64_C(1) << 39);
    (void)*mapped;
    __sync_fetch_and_add(&done, 1);
    __asm__ volatile("sti");
    pause_until(&phase, 4);
    if (*mapped != 2)
        __sync_fetch_and_add(&unlucky, 1);
    if (((unsigned (*)(void))code)() != 1)
        __sync_fetch_and_add(&unlucky, 1);
    __sync_fetch_and_add(&done, 1);
    pause_until(&phase, 5);
    __asm__ volatile("cpuid" : : "a"(0) : "ebx", "ecx", "edx", "memory");
    if (((unsigned (*)(void))code)() != 2)
        __sync_fetch_and_add(&unlucky, 1);
    __sync_fetch_and_add(&done, 1);
    for (;;)
        __asm__ volatile("hlt");
}

static void send(unsigned target, uint32_t command)
{
    *apic_register(0x310) = target << 24;
    *apic_register(0x300) = command;
    while (*apic_register(0x300) & 0x1000)
        __asm__ volatile("pause");
}

static void start_processors(void)
{
    gdt[SELECTOR_FREE / 8] = UINT64_C(0x00cf9b000000ffff);
    for (unsigned i = 0; i < (unsigned)(trampoline_end - trampoline); i++)
        ((volatile uint8_t *)PAGE)[i] = trampoline[i];
    for (unsigned index = 1; index < PROCESSORS; index++) {
        trampoline_stack = (uint64_t)stacks[index] + sizeof(stacks[index]);
        send(index, 0x4500);
        for (unsigned spin = 0; spin < 1000000; spin++)
            __asm__ volatile("pause");
        send(index, 0x4600 | PAGE >> 12);
        pause_until(&online, index);
        send(index, 0x4600 | PAGE >> 12); /* a second one must be ignored */
    }
}

static void next_phase(void)
{
    done = 0;
    phase++;
}

static void set_code(unsigned value)
{
    static const uint8_t bytes[] = {0xb8, 0, 0, 0, 0, 0xc3};
    for (unsigned i = 0; i < sizeof(bytes); i++)
        ((volatile uint8_t *)code)[i] = bytes[i];
    ((volatile uint8_t *)code)[1] = (uint8_t)value;
}

static void check_shootdown(void)
{
    trap_hook(0x52, flush_interrupt);
    table[0] = (uint64_t)pages[1] | 3;
    __asm__ volatile("invlpg (%0)" : : "r"(UINT64_C(1) << 39) : "memory");
    interrupts = 0;
    *apic_register(0x300) = 0xc4052; /* all but self */
    pause_until(&interrupts, PROCESSORS - 1);
    check_equal(interrupts, PROCESSORS - 1, "an IPI to all others arrives everywhere");
    set_code(1);
    next_phase();
    pause_until(&done, PROCESSORS - 1);
    check_equal(unlucky, 0, "... and their TLBs forget the page");
    set_code(2);
    next_phase();
    pause_until(&done, PROCESSORS - 1);
    check_equal(unlucky, 0, "code changed by another processor");
}

void guest_main(void)
{
    *apic_register(0xf0) = 0x1ff;
    page_root[1] = (uint64_t)pointers | 3;
    pointers[0] = (uint64_t)directory | 3;
    directory[0] = (uint64_t)table | 3;
    table[0] = (uint64_t)pages[0] | 3;
    pages[0][0] = 1;
    pages[1][0] = 2;
    start_processors();
    check_equal(online, PROCESSORS - 1, "INIT and start-up IPIs start every processor once");
    next_phase();
    count_up();
    pause_until(&done, PROCESSORS - 1);
    const uint64_t total = (uint64_t)ROUNDS * PROCESSORS;
    check_equal(locked_counter, total, "LOCK INC");
    check_equal(*(volatile uint64_t *)(across + 60), total, "LOCK XADD across a cache line");
    check_equal(exchanged, 3 * total, "LOCK CMPXCHG");
    check(pair.low == total && pair.high == (uint64_t) - (int64_t)total, "LOCK CMPXCHG16B");
    next_phase();
    pause_until(&done, PROCESSORS - 1);
    check_equal(unlucky, 0, "stores are seen in order");
    next_phase();
    pause_until(&done, PROCESSORS - 1);
    trap_hook(0x51, count_interrupt);
    send(1, 0x4051);
    pause_until(&interrupts, 1);
    check_equal(interrupts, 1, "an IPI to one processor");
    check_shootdown();
}
