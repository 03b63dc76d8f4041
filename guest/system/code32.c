/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit code where an engine that keeps decoded or translated code can go wrong: the same linear
 * address in two address spaces, pages that are remapped, paging switched on and off under running
 * code, addresses that wrap at 4 GiB. Intel SDM vol. 3 §4.10.4, §5.3.1.
 */
#include "runtime/runtime.h"

enum { FLAT_HIGH = SELECTOR_FREE }; /* data, all of 4 GiB, based at its last page */

#define WINDOW 0x40000000u /* linear, outside of what is mapped one to one */
#define ROUNDS 2000u

static __attribute__((aligned(4096))) uint32_t directories[2][1024], tables[2][1024],
    top_table[1024], low_table[1024];
static __attribute__((aligned(4096))) uint8_t code[2][4096], data[4096];

typedef unsigned function(void);

/* mov $value, %eax; ret */
static void write_function(volatile uint8_t *at, unsigned value)
{
    at[0] = 0xb8;
    for (int i = 0; i < 4; i++)
        at[1 + i] = (uint8_t)(value >> 8 * i);
    at[5] = 0xc3;
    __asm__ volatile("" ::: "memory");
}

static unsigned call(uint32_t address)
{
    return ((function *)address)();
}

static void paging(bool on)
{
    write_cr0(on ? read_cr0() | 0x80010000ul : read_cr0() & ~0x80010000ul);
}

static void invalidate(uint32_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Two address spaces that map the first 16 MiB one to one, in 4 KiB pages where code[] is; at the
 * window one has code[0], the other code[1]. */
static void make_page_tables(void)
{
    uint32_t region = (uint32_t)code & 0xffc00000;
    for (unsigned i = 0; i < 1024; i++)
        low_table[i] = (region + (i << 12)) | 3;
    for (unsigned space = 0; space < 2; space++) {
        for (unsigned i = 0; i < 4; i++)
            directories[space][i] = i << 22 | 0x83;
        directories[space][region >> 22] = (uint32_t)low_table | 3;
        directories[space][WINDOW >> 22] = (uint32_t)tables[space] | 3;
        directories[space][1023] = (uint32_t)top_table | 3;
        tables[space][0] = (uint32_t)code[space] | 3;
    }
    top_table[1023] = (uint32_t)data | 3;
    write_cr4(read_cr4() | 0x10); /* PSE */
    write_cr3((word)directories[0]);
}

static void check_rewrites(void)
{
    bool right = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        write_function(code[0] + 100, i);
        right &= call((uint32_t)code[0] + 100) == i;
    }
    check(right, "a function rewritten before each call");
    write_function(code[0] + 4093, 7); /* straddles into code[1] */
    check_equal(call((uint32_t)code[0] + 4093), 7, "an instruction across two pages");
    ((volatile uint8_t *)code[1])[0] = 1; /* third byte of the immediate */
    check_equal(call((uint32_t)code[0] + 4093), 7 | 1 << 16, "its second half rewritten");
}

static void check_address_spaces(const char *spaces, const char *remapped)
{
    bool right = true;
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned space = i * 7 / 3 & 1;
        write_cr3((word)directories[space]);
        right &= call(WINDOW) == space;
    }
    check(right, spaces);
    write_cr3((word)directories[0]);
    for (unsigned i = 0; i < ROUNDS; i++) {
        tables[0][0] = (uint32_t)code[i & 1] | 3;
        invalidate(WINDOW);
        right &= call(WINDOW) == (i & 1);
    }
    check(right, remapped);
    tables[0][0] = (uint32_t)code[0] | 3;
    invalidate(WINDOW);
}

/* As kernels have it that are in all address spaces. */
static void make_pages_global(void)
{
    for (unsigned space = 0; space < 2; space++)
        for (unsigned i = 0; i < 4; i++)
            if (directories[space][i] & 0x80)
                directories[space][i] |= 0x100;
    for (unsigned i = 0; i < 1024; i++)
        low_table[i] |= 0x100;
    write_cr4(read_cr4() | 0x80); /* PGE */
}

/* Linear code[0] is code[1] while paging is on. */
static void check_paging_switched(void)
{
    uint32_t *entry = &low_table[(uint32_t)code[0] >> 12 & 1023];
    bool right = true;
    *entry = (uint32_t)code[1] | 3;
    for (unsigned i = 0; i < ROUNDS; i++) {
        paging(i & 1);
        right &= call((uint32_t)code[0]) == (i & 1);
    }
    check(right, "paging switched on and off under the same address");
    *entry = (uint32_t)code[0] | 3;
    write_cr3((word)directories[0]);
}

static uint32_t through_gs(uint32_t offset)
{
    uint32_t value;
    gdt[FLAT_HIGH / 8] = UINT64_C(0xffcf93fff000ffff);
    __asm__ volatile("mov %w2, %%gs; movl %%gs:(%1), %0; mov %w3, %%gs"
                     : "=r"(value)
                     : "r"(offset), "r"(FLAT_HIGH), "r"(0)
                     : "memory");
    return value;
}

static uint32_t push_at_zero(void)
{
    uint32_t top;
    __asm__ volatile("mov %%esp, %%esi; xor %%esp, %%esp; push $0x1234567; mov %%esp, %0\n\t"
                     "mov %%esi, %%esp"
                     : "=&r"(top)
                     :
                     : "esi", "memory");
    return top;
}

static void check_data_wraps(void)
{
    uint32_t pointer = (uint32_t)(data + 8), value, *const word0 = (uint32_t *)(data + 8);
    *word0 = 0x12345678;
    __asm__ volatile("movl (%1,%2), %0" : "=r"(value) : "r"(0xf0000000), "r"(pointer - 0xf0000000));
    check_equal(value, 0x12345678, "base and index wrap at 4 GiB");
    __asm__ volatile("movl 0x7fffff00(%1), %0" : "=r"(value) : "r"(pointer - 0x7fffff00));
    check_equal(value, 0x12345678, "... base and displacement");
    check_equal(through_gs(pointer + 0x1000), 0x12345678, "... a segment's base and the offset");
    *(uint16_t *)(data + 4094) = 0xaaaa;
    __asm__ volatile("movw $0x5555, 0" ::: "memory");
    check_equal(*(volatile uint32_t *)0xfffffffe, 0x5555aaaa, "... the bytes of one operand");
    check_equal(push_at_zero(), 0xfffffffc, "... the stack pointer");
    check_equal(*(uint32_t *)(data + 4092), 0x1234567, "... and the slot is below");
}

static void check_code_wraps(void)
{
    static const uint8_t jump[] = {0xe9, 0x1b, 0, 0, 0}; /* from 0xfffffff0 to 0x10 */
    for (unsigned i = 0; i < sizeof(jump); i++)
        data[0xff0 + i] = jump[i];
    data[0xfff] = 0x90; /* NOP */
    volatile uint8_t *zero = (uint8_t *)0;
    __asm__("" : "+r"(zero)); /* the compiler believes that nothing is there */
    write_function(zero, 5);
    write_function(zero + 0x10, 6);
    check_equal(call(0xffffffff), 5, "code runs on from the last byte at the first");
    check_equal(call(0xfffffff0), 6, "... and jumps there");
}

void guest_main(void)
{
    make_page_tables();
    paging(true);
    check_rewrites();
    write_function(code[0], 0);
    write_function(code[1], 1);
    check_address_spaces("two address spaces with other code at the same address",
                         "a page remapped and invalidated before each call");
    check_paging_switched();
    make_pages_global();
    check_address_spaces("... beside global pages", "... beside global pages");
    check_data_wraps();
    check_code_wraps();
    paging(false);
}
