/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Code that changes: by its own stores, through another mapping, by string instructions, in the
 * very block that runs, and by remapping its page. A processor sees its own stores to code at once
 * when they come through the address it runs from. Intel SDM vol. 3 §8.1.3.
 */
#include "runtime/runtime.h"

extern uint64_t page_root[512];
static __attribute__((aligned(4096))) uint64_t pointers[512], directory[512], table[512];
static uint8_t code[2][4096] __attribute__((aligned(4096)));

typedef unsigned function(void);

/* mov $value, %eax; ret */
static void write_function(uint8_t *at, unsigned value)
{
    at[0] = 0xb8;
    for (int i = 0; i < 4; i++)
        ((volatile uint8_t *)at)[1 + i] = (uint8_t)(value >> 8 * i);
    at[5] = 0xc3;
    __asm__ volatile("" ::: "memory");
}

static void check_rewrites(void)
{
    bool right = true;
    for (unsigned i = 0; i < 10000; i++) {
        write_function(code[0], i);
        right &= ((function *)code[0])() == i;
    }
    check(right, "a function rewritten before each of 10,000 calls");
    write_function(code[0] + 4093, 7); /* straddles into code[1] */
    check_equal(((function *)(code[0] + 4093))(), 7, "an instruction across two pages");
    ((volatile uint8_t *)code[1])[0] = 0x01; /* third byte of the immediate */
    check_equal(((function *)(code[0] + 4093))(), 7 | 1 << 16, "its second half rewritten");
}

static void check_same_block(void)
{
    unsigned result;
    /* The store changes the immediate of the next instruction but one. */
    __asm__ volatile("movb $9, 1f+1(%%rip)\n\tnop\n1:\tmov $5, %%eax" : "=a"(result)::"memory");
    check_equal(result, 9, "a store to the instruction after the next");
    unsigned rounds = 0;
    __asm__ volatile("mov $100, %%ecx; xor %0, %0\n"
                     "2:\tincb 1f+2(%%rip)\n" /* add $n, %0 with n growing */
                     "1:\tadd $0, %0\n\tloop 2b"
                     : "=&d"(rounds)
                     :
                     : "ecx", "memory", "cc");
    unsigned wanted = 0;
    for (int i = 1; i <= 100; i++)
        wanted += (unsigned)(int8_t)i;
    check_equal(rounds, wanted, "a loop that changes its own body");
}

static void check_string_store(void)
{
    static uint8_t source[16];
    write_function(source, 1234);
    write_function(code[0], 1);
    ((function *)code[0])();
    void *to = code[0], *from = source;
    word length = sizeof(source);
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length)::"memory");
    check_equal(((function *)code[0])(), 1234, "REP MOVSB over code");
    uint32_t *immediate = (uint32_t *)(code[0] + 1);
    __asm__ volatile("lock addl $1, %0" : "+m"(*immediate));
    check_equal(((function *)code[0])(), 1235, "a locked instruction on code");
    uint64_t bytes[2];
    write_function((uint8_t *)bytes, 4321);
    __asm__ volatile("movups %1, %%xmm0; movups %%xmm0, %0"
                     : "=m"(*(uint64_t(*)[2])code[0])
                     : "m"(bytes));
    check_equal(((function *)code[0])(), 4321, "an SSE store over code");
    __asm__ volatile("push %1; popq %0"
                     : "=m"(*(uint64_t *)code[0])
                     : "r"(*(uint64_t *)source)
                     : "memory");
    check_equal(((function *)code[0])(), 1234, "POP to memory over code");
}

static void check_aliases(void)
{
    const uint64_t base = UINT64_C(1) << 39;
    page_root[1] = (uint64_t)pointers | 3;
    pointers[0] = (uint64_t)directory | 3;
    directory[0] = (uint64_t)table | 3;
    table[0] = (uint64_t)code[0] | 3;
    function *alias = (function *)base;
    write_function(code[0], 10);
    check_equal(alias(), 10, "through an alias");
    write_function(code[0], 11);
    __asm__ volatile("cpuid" : : "a"(0) : "ebx", "ecx", "edx", "memory");
    check_equal(alias(), 11,
                "rewritten through the other address, after a serialising instruction");
    write_function(code[1], 12);
    table[0] = (uint64_t)code[1] | 3;
    __asm__ volatile("invlpg (%0)" : : "r"(base) : "memory");
    check_equal(alias(), 12, "remapped to another page with INVLPG");
    table[0] = (uint64_t)code[0] | 3;
    write_cr3(read_cr3());
    check_equal(alias(), 11, "remapped back with a CR3 write");
}

void guest_main(void)
{
    check_rewrites();
    check_same_block();
    check_string_store();
    check_aliases();
}
