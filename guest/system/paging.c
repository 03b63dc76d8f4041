/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four-level paging: page sizes, permissions, error codes, A and D bits, SMEP, SMAP, protection
 * keys, global pages, PCIDs. APM vol. 2 §5. Everything is mapped anew at 512 GiB, beside the
 * runtime's identity map.
 */
#include "runtime/runtime.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, LARGE = 0x80, G = 0x100 };
#define NX   (UINT64_C(1) << 63)
#define BASE (UINT64_C(1) << 39)
/* Page-fault error code bits. */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

extern uint64_t page_root[512];
static __attribute__((aligned(4096))) uint64_t pointers[512], directory[512], table[512];
static uint64_t root2[512] __attribute__((aligned(4096)));
static uint8_t page[2][4096] __attribute__((aligned(4096)));

/* A page that can be executed: `int $VECTOR_USER_EXIT; ret`. */
static const uint8_t program[] = {0xcd, VECTOR_USER_EXIT, 0xc3};

static void invalidate(uint64_t address)
{
    __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory");
}

/* Maps BASE to `page[0]` through all levels with the given leaf flags (P | ...) and upper flags. */
static void map(uint64_t upper, uint64_t leaf)
{
    page_root[1] = (uint64_t)pointers | upper;
    pointers[0] = (uint64_t)directory | upper;
    directory[0] = (uint64_t)table | upper;
    table[0] = (uint64_t)page[0] | leaf;
    invalidate(BASE);
}

static void do_read(void *address)
{
    (void)*(volatile uint8_t *)address;
}

static void do_write(void *address)
{
    *(volatile uint8_t *)address = 0xc3; /* stays a ret when executed */
}

static void do_execute(void *address)
{
    ((void (*)(void))address)();
}

static struct trap user_execute(void)
{
    return user_catch((void *)BASE, BASE + 0x800, 0);
}

static void check_permissions(void)
{
    void *at = (void *)BASE;
    map(P | W | U, P | W);
    check_trap(trap_catch(do_read, at), TRAP_NONE, 0, "read a present page");
    check_trap(trap_catch(do_write, at), TRAP_NONE, 0, "write a writable page");
    check_equal(page[0][0], 0xc3, "the write reached the physical page");
    check_trap(trap_catch(do_execute, at), TRAP_NONE, 0, "execute a page without NX");
    check_trap(user_execute(), TRAP_PF, PF_P | PF_U | PF_I,
               "user fetch from a supervisor page (NXE on)");

    map(P | W | U, 0);
    struct trap trap = trap_catch(do_read, at);
    check_trap(trap, TRAP_PF, 0, "read of an absent page");
    check_equal(trap.address, BASE, "CR2 holds the address");
    check_trap(trap_catch(do_write, (uint8_t *)at + 5), TRAP_PF, PF_W, "write to an absent page");
    check_trap(trap_catch(do_execute, at), TRAP_PF, PF_I, "fetch from an absent page");
    map(P | W | U, P);
    check_trap(trap_catch(do_write, at), TRAP_PF, PF_P | PF_W, "write to a read-only page with WP");
    write_cr0(read_cr0() & ~UINT64_C(0x10000));
    check_trap(trap_catch(do_write, at), TRAP_NONE, 0, "write to a read-only page without WP");
    write_cr0(read_cr0() | 0x10000);
    map(P | U, P | W);
    check_trap(trap_catch(do_write, at), TRAP_PF, PF_P | PF_W,
               "read-only upper level forbids the write");
    map(P | W | U, P | W | NX);
    check_trap(trap_catch(do_execute, at), TRAP_PF, PF_P | PF_I, "fetch from an NX page");
    map(P | W | U | NX, P | W);
    check_trap(trap_catch(do_execute, at), TRAP_PF, PF_P | PF_I, "NX in an upper level");
    map(P | W | U, P | W | UINT64_C(1) << 51);
    check_trap(trap_catch(do_read, at), TRAP_PF, PF_P | PF_RSVD, "reserved address bit");
}

static void check_user(void)
{
    for (unsigned i = 0; i < sizeof(program); i++)
        page[0][i] = program[i];
    map(P | W | U, P | W | U);
    struct trap trap = user_execute();
    check_trap(trap, VECTOR_USER_EXIT, 0, "user code runs");
    check_equal(trap.cs, SELECTOR_USER_CODE, "... in ring 3");
    check_equal(trap.sp, BASE + 0x800, "... on its own stack");
    map(P | W, P | W | U);
    check_trap(user_execute(), TRAP_PF, PF_P | PF_U | PF_I,
               "supervisor upper level keeps the user out");
    /* mov %rax, (%rdi); a write where only reads are allowed. */
    static const uint8_t store[] = {0x48, 0x89, 0x07};
    for (unsigned i = 0; i < sizeof(store); i++)
        page[0][i] = store[i];
    map(P | W | U, P | U);
    trap = user_catch((void *)BASE, BASE, (void *)(BASE + 0x123));
    check_trap(trap, TRAP_PF, PF_P | PF_W | PF_U, "user write to a read-only page");
    check_equal(trap.address, BASE + 0x123, "... at its address");
    write_cr0(read_cr0() & ~UINT64_C(0x10000));
    trap = user_catch((void *)BASE, BASE, (void *)(BASE + 0x123));
    check_trap(trap, TRAP_PF, PF_P | PF_W | PF_U, "CR0.WP off does not help the user");
    write_cr0(read_cr0() | 0x10000);
}

static void check_accessed_dirty(void)
{
    void *at = (void *)BASE;
    map(P | W | U, P | W);
    check(!(table[0] & (A | D)) && !(directory[0] & A), "A and D start clear");
    do_read(at);
    check((table[0] & (A | D)) == A, "a read sets A only");
    check((directory[0] & A) && (pointers[0] & A) && (page_root[1] & A), "upper levels get A");
    check(!(directory[0] & D), "... and no D");
    do_write(at);
    check(table[0] & D, "a later write sets D through a cached translation");
    table[0] &= ~(uint64_t)D;
    invalidate(BASE);
    do_read(at);
    check(!(table[0] & D), "D stays clear on a read after INVLPG");
    map(P | W | U, P);
    trap_catch(do_write, at);
    check(!(table[0] & D), "a write that faults sets no D");
}

static void check_sizes(void)
{
    /* The runtime's memory lies at 1 MiB: a 2 MiB page that starts at 0 shows it. */
    uint64_t offset = (uint64_t)page[1];
    uint64_t target = offset & ~UINT64_C(0x1fffff);
    map(P | W | U, P);
    page[1][7] = 77;
    directory[0] = target | P | W | LARGE;
    invalidate(BASE);
    check_equal(*(volatile uint8_t *)(BASE + (offset - target) + 7), 77, "2 MiB page");
    check((directory[0] & (A | D)) == A, "A in a 2 MiB entry");
    *(volatile uint8_t *)(BASE + (offset - target) + 8) = 78;
    check(page[1][8] == 78 && (directory[0] & D), "D in a 2 MiB entry");
    directory[0] = target | P | W | LARGE | 1 << 13;
    invalidate(BASE);
    check_trap(trap_catch(do_read, (void *)BASE), TRAP_PF, PF_P | PF_RSVD,
               "misaligned 2 MiB page is reserved");
    if (cpuid_get(0x80000001, 0).d & 1 << 26) {
        pointers[0] = P | W | LARGE;
        invalidate(BASE);
        check_equal(*(volatile uint8_t *)(BASE + offset + 7), 77, "1 GiB page");
    }
    page_root[1] |= LARGE;
    invalidate(BASE);
    check_trap(trap_catch(do_read, (void *)BASE), TRAP_PF, PF_P | PF_RSVD,
               "PS in a PML4 entry is reserved");
}

static void do_store(void *opaque)
{
    *(volatile uint64_t *)opaque = ~UINT64_C(0);
}

static void check_crossing(void)
{
    map(P | W | U, P | W);
    table[1] = 0;
    invalidate(BASE + 4096);
    page[0][4095] = 0x55;
    struct trap trap = trap_catch(do_read, (void *)(BASE + 4095));
    check_trap(trap, TRAP_NONE, 0, "last byte of a page");
    volatile uint64_t *across = (uint64_t *)(BASE + 4092);
    bool wrote = false;
    __asm__ volatile("" : "+m"(wrote));
    struct trap first;
    first = trap_catch(do_store, (void *)across);
    check_trap(first, TRAP_PF, PF_W, "store across into an absent page");
    check_equal(first.address, BASE + 4096, "CR2 is the first byte of the absent page");
    check_equal(page[0][4095], 0x55, "nothing was stored in the first page");
    table[1] = (uint64_t)page[1] | P | W;
    invalidate(BASE + 4096);
    do_store((void *)across);
    check(page[0][4095] == 0xff && page[1][3] == 0xff, "store across two pages");
}

static void check_supervisor_modes(void)
{
    struct cpuid features = cpuid_get(7, 0);
    void *at = (void *)BASE;
    page[0][0] = 0xc3;
    map(P | W | U, P | W | U);
    if (features.b & 1 << 7) {
        check_trap(trap_catch(do_execute, at), TRAP_NONE, 0,
                   "supervisor runs a user page without SMEP");
        write_cr4(read_cr4() | 1 << 20);
        check_trap(trap_catch(do_execute, at), TRAP_PF, PF_P | PF_I, "SMEP forbids it");
        write_cr4(read_cr4() & ~(UINT64_C(1) << 20));
    }
    if (features.b & 1 << 20) {
        write_cr4(read_cr4() | 1 << 21);
        check_trap(trap_catch(do_read, at), TRAP_PF, PF_P, "SMAP forbids a read");
        check_trap(trap_catch(do_write, at), TRAP_PF, PF_P | PF_W, "SMAP forbids a write");
        __asm__ volatile("stac");
        check_trap(trap_catch(do_read, at), TRAP_NONE, 0, "EFLAGS.AC lifts SMAP");
        __asm__ volatile("clac");
        check_trap(trap_catch(do_read, at), TRAP_PF, PF_P, "CLAC brings SMAP back");
        write_cr4(read_cr4() & ~(UINT64_C(1) << 21));
    }
    if (features.c & 1 << 3) {
        write_cr4(read_cr4() | 1 << 22);
        map(P | W | U, P | W | U | UINT64_C(3) << 59);
        __asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
        check_trap(trap_catch(do_write, at), TRAP_NONE, 0, "protection key allows");
        __asm__ volatile("wrpkru" : : "a"(2 << 6), "c"(0), "d"(0));
        check_trap(trap_catch(do_read, at), TRAP_NONE, 0, "WD still allows reads");
        check_trap(trap_catch(do_write, at), TRAP_PF, PF_P | PF_W | PF_PK, "WD forbids writes");
        __asm__ volatile("wrpkru" : : "a"(1 << 6), "c"(0), "d"(0));
        check_trap(trap_catch(do_read, at), TRAP_PF, PF_P | PF_PK, "AD forbids reads");
        check_trap(trap_catch(do_execute, at), TRAP_NONE, 0, "keys do not stop fetches");
        __asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
        write_cr4(read_cr4() & ~(UINT64_C(1) << 22));
    }
}

static void check_flushes(void)
{
    volatile uint8_t *at = (uint8_t *)BASE;
    page[0][9] = 1;
    page[1][9] = 2;
    map(P | W | U, P | W);
    check_equal(at[9], 1, "first mapping");
    table[0] = (uint64_t)page[1] | P | W;
    invalidate(BASE);
    check_equal(at[9], 2, "INVLPG shows the new mapping");
    table[0] = (uint64_t)page[0] | P | W;
    write_cr3(read_cr3());
    check_equal(at[9], 1, "CR3 write shows the new mapping");
    write_cr4(read_cr4() | 1 << 7);
    table[0] = (uint64_t)page[1] | P | W | G;
    invalidate(BASE);
    check_equal(at[9], 2, "global page");
    table[0] = (uint64_t)page[0] | P | W | G;
    write_cr4(read_cr4() ^ 1 << 7);
    check_equal(at[9], 1, "toggling CR4.PGE flushes global pages");
    for (unsigned i = 0; i < 512; i++)
        root2[i] = page_root[i];
    root2[1] = 0;
    write_cr3((uint64_t)root2);
    check_trap(trap_catch(do_read, (void *)BASE), TRAP_PF, 0,
               "another address space lacks the page");
    write_cr3((uint64_t)page_root);
    check_equal(at[9], 1, "... and the first one has it");
    if (cpuid_get(1, 0).c & 1 << 17) {
        write_cr4(read_cr4() | 1 << 17);
        write_cr3((uint64_t)page_root | 1);
        check_equal(at[9], 1, "PCID 1 maps the page");
        write_cr3((uint64_t)root2 | 2);
        check_trap(trap_catch(do_read, (void *)BASE), TRAP_PF, 0, "PCID 2 does not");
        write_cr3((uint64_t)page_root | 1 | UINT64_C(1) << 63);
        check_equal(at[9], 1, "back to PCID 1 without a flush");
        write_cr3((uint64_t)page_root);
        write_cr4(read_cr4() & ~(UINT64_C(1) << 17));
    }
}

static void push_there(void *opaque)
{
    __asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; push $1; mov %%rbx, %%rsp"
                     :
                     : "r"(opaque)
                     : "rbx", "memory");
}

static void check_canonical(void)
{
    check_trap(trap_catch(do_read, (void *)(UINT64_C(1) << 47)), TRAP_GP, 0,
               "non-canonical data address");
    check_trap(trap_catch(do_execute, (void *)(UINT64_C(1) << 47)), TRAP_GP, 0,
               "non-canonical jump");
    /* Each on a stack that is there, whichever comes. */
    static const unsigned vectors[] = {TRAP_SS, TRAP_GP, TRAP_DF};
    task_state.interrupt_stacks[0] = (uint64_t)page[1] + 4096;
    for (unsigned i = 0; i < 3; i++)
        trap_gate(vectors[i], (word)trap_entries[vectors[i]], SELECTOR_CODE, 0x8e, 1);
    check_trap(trap_catch(push_there, (void *)(UINT64_C(1) << 50)), TRAP_SS, 0,
               "non-canonical stack address");
    for (unsigned i = 0; i < 3; i++)
        trap_gate(vectors[i], (word)trap_entries[vectors[i]], SELECTOR_CODE, 0x8e, 0);
}

void guest_main(void)
{
    check_permissions();
    check_user();
    check_accessed_dirty();
    check_sizes();
    check_crossing();
    check_supervisor_modes();
    check_flushes();
    check_canonical();
}
