/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 32-bit protected mode: segment limits and types, 16-bit code, call gates between rings, task
 * switches, two- and three-level paging, BCD arithmetic. Intel SDM vol. 3 §3 to §7, vol. 1 §7.3.4.
 */
#include "runtime/runtime.h"

enum {
    FREE = SELECTOR_FREE,
    SMALL = FREE,    /* data, byte limit 0xfff */
    DOWN = FREE + 8, /* expand-down above 0xfff */
    READ_ONLY = FREE + 16,
    EXECUTE_ONLY = FREE + 24,
    CODE16 = FREE + 32,
    GATE = FREE + 40,   /* 32-bit call gate for ring 3, two parameters */
    TASK_A = FREE + 48, /* the TSS that a switch leaves */
    TASK_B = FREE + 56,
    TASK_GATE = FREE + 64,
    CONFORMING = FREE + 72,
    LDT = FREE + 80,
};

static uint64_t descriptor(uint32_t base, uint32_t limit, unsigned type, unsigned flags)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40 |
           (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 |
           (uint64_t)(base >> 24) << 56;
}

static uint64_t call_gate(uint32_t offset, unsigned selector, unsigned type, unsigned parameters)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)parameters << 32 |
           (uint64_t)type << 40 | (uint64_t)(offset >> 16) << 48;
}

static uint8_t area[8192] __attribute__((aligned(4096)));
static uint8_t user_stack[4096] __attribute__((aligned(16)));

/* offset << 16 | selector, of a load (or store) of `size` bytes through GS. */
struct reference {
    uint32_t selector, offset, size;
    bool write;
};

static void refer(void *opaque)
{
    const struct reference *reference = opaque;
    __asm__ volatile("mov %w0, %%gs" : : "r"(reference->selector));
    if (reference->write)
        __asm__ volatile("movb $1, %%gs:(%0)" : : "r"(reference->offset) : "memory");
    else if (reference->size == 1)
        __asm__ volatile("movb %%gs:(%0), %%al" : : "r"(reference->offset) : "eax");
    else
        __asm__ volatile("movl %%gs:(%0), %%eax" : : "r"(reference->offset) : "eax");
}

static struct trap try(uint32_t selector, uint32_t offset, uint32_t size, bool write)
{
    struct reference reference = {selector, offset, size, write};
    struct trap trap = trap_catch(refer, &reference);
    __asm__ volatile("mov %w0, %%gs" : : "r"(SELECTOR_DATA));
    return trap;
}

static void check_limits(void)
{
    gdt[SMALL / 8] = descriptor((uint32_t)area, 0xfff, 0x93, 4);
    gdt[DOWN / 8] = descriptor((uint32_t)area, 0xfff, 0x97, 4);
    gdt[READ_ONLY / 8] = descriptor((uint32_t)area, 0xfff, 0x91, 4);
    gdt[EXECUTE_ONLY / 8] = descriptor((uint32_t)area, 0xfff, 0x99, 4);
    check_trap(try(SMALL, 0xfff, 1, false), TRAP_NONE, 0, "last byte inside the limit");
    check_trap(try(SMALL, 0x1000, 1, false), TRAP_GP, 0, "first byte past the limit");
    check_trap(try(SMALL, 0xffd, 4, false), TRAP_GP, 0, "a load that ends past the limit");
    check_trap(try(SMALL, 0xffffffff, 4, false), TRAP_GP, 0, "a load that wraps");
    check_trap(try(DOWN, 0xfff, 1, false), TRAP_GP, 0, "expand-down: below");
    check_trap(try(DOWN, 0x1000, 1, false), TRAP_NONE, 0, "expand-down: above");
    check_trap(try(READ_ONLY, 0, 1, false), TRAP_NONE, 0, "read of a read-only segment");
    check_trap(try(READ_ONLY, 0, 1, true), TRAP_GP, 0, "write to a read-only segment");
    check_trap(try(EXECUTE_ONLY, 0, 1, false), TRAP_GP, EXECUTE_ONLY,
               "execute-only segment as data");
    check_trap(try(0, 0, 1, false), TRAP_GP, 0, "null segment");
    area[5] = 0x42;
    uint8_t value;
    __asm__ volatile("mov %w1, %%gs; movb %%gs:5, %0; mov %w2, %%gs"
                     : "=&q"(value)
                     : "r"(SMALL), "r"(SELECTOR_DATA));
    check_equal(value, 0x42, "the segment's base is added");
    uint32_t limit = 0, rights = 0;
    bool ok;
    __asm__("lsl %2, %0; setz %1" : "=r"(limit), "=q"(ok) : "r"((uint32_t)SMALL) : "cc");
    check(ok && limit == 0xfff, "LSL");
    __asm__("lar %2, %0; setz %1" : "=r"(rights), "=q"(ok) : "r"((uint32_t)SMALL) : "cc");
    check(ok && (rights & 0xff00) == 0x9300, "LAR");
    __asm__("verw %w1; setz %0" : "=q"(ok) : "r"(READ_ONLY) : "cc");
    check(!ok, "VERW of a read-only segment");
    __asm__("verr %w1; setz %0" : "=q"(ok) : "r"(READ_ONLY) : "cc");
    check(ok, "VERR of a read-only segment");
}

static void bound_inside(void *bounds)
{
    __asm__ volatile("bound %0, %1" : : "r"(5), "m"(*(uint64_t *)bounds));
}

static void overflow(void *opaque)
{
    (void)opaque;
    __asm__ volatile("mov $0x7fffffff, %%eax; inc %%eax; into" ::: "eax", "cc");
}

static void aam_zero(void *opaque)
{
    (void)opaque;
    __asm__ volatile(".byte 0xd4, 0" ::: "eax");
}

static void check_old_instructions(void)
{
    uint32_t eax;
    __asm__("add %b1, %b0; daa" : "=a"(eax) : "q"(0x28), "0"(0x19) : "cc");
    check_equal(eax & 0xff, 0x47, "DAA");
    __asm__("sub %b1, %b0; das" : "=a"(eax) : "q"(0x28), "0"(0x47) : "cc");
    check_equal(eax & 0xff, 0x19, "DAS");
    __asm__("add %b1, %b0; aaa" : "=a"(eax) : "q"(9), "0"(0x0008) : "cc");
    check_equal(eax & 0xffff, 0x0107, "AAA");
    __asm__("sub %b1, %b0; aas" : "=a"(eax) : "q"(9), "0"(0x0205) : "cc");
    check_equal(eax & 0xffff, 0x0106, "AAS");
    __asm__("aam" : "=a"(eax) : "0"(123) : "cc");
    check_equal(eax & 0xffff, 0x0c03, "AAM");
    __asm__("aad" : "=a"(eax) : "0"(0x0c03) : "cc");
    check_equal(eax & 0xffff, 123, "AAD");
    check_trap(trap_catch(aam_zero, 0), TRAP_DE, 0, "AAM 0");
    __asm__("stc; .byte 0xd6" : "=a"(eax) : "0"(0));
    check_equal(eax & 0xff, 0xff, "SALC");
    int32_t good[2] = {0, 10}, bad[2] = {6, 10};
    check_trap(trap_catch(bound_inside, good), TRAP_NONE, 0, "BOUND inside");
    check_trap(trap_catch(bound_inside, bad), TRAP_BR, 0, "BOUND outside");
    check_trap(trap_catch(overflow, 0), TRAP_OF, 0, "INTO");
    uint32_t selector = 0x10, ok;
    __asm__("arpl %w2, %w0; setz %b1" : "+r"(selector), "=q"(ok) : "r"(3) : "cc");
    check(selector == 0x13 && (ok & 1), "ARPL");
    uint32_t saved[8], sum;
    __asm__ volatile("mov $1, %%ecx; pusha; popl (%1); popl 4(%1); popl 8(%1); popl 12(%1); popl "
                     "16(%1); popl 20(%1);"
                     "popl 24(%1); popl 28(%1); mov 24(%1), %0"
                     : "=&a"(sum)
                     : "d"(saved)
                     : "ecx", "memory");
    check_equal(sum, 1, "PUSHA");
}

/* 16-bit code, reached and left by far transfers. */
extern const uint8_t code16[], code16_end[];
__asm__(".section .rodata\n.code16\ncode16: movw $0x1234, %ax\n"
        "addw $0xf000, %ax\n" /* wraps at 16 bits */
        "pushw %ax\npopw %bx\n"
        "ljmpl $8, $code16_back\ncode16_end:\n.code32\n.text\ncode16_back: jmp *%esi\n");

static void check_16bit(void)
{
    uint32_t ax = 0xaaaa0000, bx = 0;
    gdt[CODE16 / 8] = descriptor((uint32_t)code16, (uint32_t)(code16_end - code16), 0x9b, 0);
    __asm__ volatile("mov $1f, %%esi; ljmp %2, $0; 1:"
                     : "+a"(ax), "+b"(bx)
                     : "i"(CODE16)
                     : "esi", "cc", "memory");
    check_equal(ax, 0xaaaa0234, "16-bit code keeps the upper half of EAX");
    check_equal(bx, 0x0234, "16-bit PUSH and POP");
}

/* Ring 3 calls through the gate with two parameters; the callee adds them and returns. */
extern uint8_t user_call[], gate_target[], conforming_target[], user_far[];
__asm__(".text\n"
        "user_call: push $30\npush $12\nlcall $0x6b, $0\nint $0x30\n" /* GATE | 3 */
        "user_far: lcall $0x8b, $conforming_target\nint $0x30\n"      /* CONFORMING | 3 */
        "gate_target: mov 8(%esp), %eax\nadd 12(%esp), %eax\nmov %cs, %ebx\nlret $8\n"
        "conforming_target: mov %cs, %eax\nlret\n");

static void check_call_gate(void)
{
    gdt[GATE / 8] = call_gate((uint32_t)gate_target, SELECTOR_CODE, 0xec, 2);
    struct trap trap = user_catch(user_call, (word)user_stack + sizeof(user_stack), 0);
    check_trap(trap, VECTOR_USER_EXIT, 0, "call gate and return");
    check_equal(trap.ax, 42, "... with the parameters copied");
    check_equal(trap.sp, (word)user_stack + sizeof(user_stack), "... and released on both stacks");
    gdt[GATE / 8] = call_gate((uint32_t)gate_target, SELECTOR_CODE, 0x8c, 2);
    trap = user_catch(user_call, (word)user_stack + sizeof(user_stack), 0);
    check_trap(trap, TRAP_GP, GATE, "a gate for ring 0 only");
    gdt[GATE / 8] = call_gate((uint32_t)gate_target, SELECTOR_CODE, 0x6c, 2);
    trap = user_catch(user_call, (word)user_stack + sizeof(user_stack), 0);
    check_trap(trap, TRAP_NP, GATE, "a gate that is not present");
    gdt[CONFORMING / 8] = descriptor(0, 0xfffff, 0x9f, 0xc);
    trap = user_catch(user_far, (word)user_stack + sizeof(user_stack), 0);
    check_trap(trap, VECTOR_USER_EXIT, 0, "conforming code segment");
    check_equal(trap.ax, CONFORMING | 3, "... keeps the caller's ring");
}

extern uint8_t user_cli[], user_out[], user_halt[], user_iopl[];
__asm__(".text\nuser_cli: cli\nuser_out: out %al, $0x80\nint $0x30\nuser_halt: hlt\n"
        "user_iopl: pushf\norl $0x3200, (%esp)\npopf\npushf\npop %eax\nint $0x30\n");

static void check_privilege(void)
{
    word top = (word)user_stack + sizeof(user_stack);
    check_trap(user_catch(user_cli, top, 0), TRAP_GP, 0, "CLI in ring 3");
    check_trap(user_catch(user_halt, top, 0), TRAP_GP, 0, "HLT in ring 3");
    for (unsigned i = 0; i < sizeof(task_state.io_bits); i++)
        task_state.io_bits[i] = 0xff;
    task_state.io_map = offsetof(struct task_state, io_bits);
    check_trap(user_catch(user_out, top, 0), TRAP_GP, 0, "OUT with the port's bit set");
    task_state.io_bits[0x80 / 8] &= ~1;
    check_trap(user_catch(user_out, top, 0), VECTOR_USER_EXIT, 0, "OUT with the port's bit clear");
    struct trap trap = user_catch(user_iopl, top, 0);
    check_equal(trap.ax & 0x3200, 0, "POPF in ring 3 changes neither IOPL nor IF");
}

static struct task_state task_b;
static uint8_t task_stack[4096] __attribute__((aligned(16)));
static volatile uint32_t task_runs, task_back_link, task_flags;

/* The other task: notes what it finds, IRETs back, and goes on from there the next time. */
void task_body(void);
__asm__(".text\ntask_body: pushf\npopl task_flags\nincl task_runs\nmov task_b, %ecx\nmov %ecx, "
        "task_back_link\niret\njmp task_body\n");

static void call_busy(void *opaque)
{
    (void)opaque;
    __asm__ volatile("lcall %0, $0" : : "i"(TASK_B) : "ecx", "memory", "cc");
}

static void check_tasks(void)
{
    task_b = (struct task_state){
        .ip = (uint32_t)task_body,
        .flags = 2,
        .sp = (uint32_t)task_stack + sizeof(task_stack),
        .cs = SELECTOR_CODE,
        .ds = SELECTOR_DATA,
        .es = SELECTOR_DATA,
        .ss = SELECTOR_DATA,
        .fs = SELECTOR_DATA,
        .gs = SELECTOR_DATA,
        .cr3 = read_cr3(),
        .io_map = 104,
    };
    gdt[TASK_B / 8] = descriptor((uint32_t)&task_b, 103, 0x89, 0);
    gdt[TASK_GATE / 8] = call_gate(0, TASK_B, 0x85, 0);
    __asm__ volatile("lcall %0, $0" : : "i"(TASK_B) : "ecx", "memory", "cc");
    check_equal(task_runs, 1, "CALL to a TSS runs the task; IRET comes back");
    check_equal(task_back_link, SELECTOR_TSS, "... with the link to the caller");
    check(task_flags & 0x4000, "... with NT set");
    check_equal(gdt[TASK_B / 8] >> 40 & 0xff, 0x89, "... and not busy afterwards");
    check(read_cr0() & 8, "CR0.TS is set by the switch");
    __asm__ volatile("clts");
    __asm__ volatile("lcall %0, $0" : : "i"(TASK_GATE) : "ecx", "memory", "cc");
    check_equal(task_runs, 2, "CALL through a task gate goes on where the task left");
    trap_gate(0x66, 0, TASK_B, 0x85, 0);
    __asm__ volatile("int $0x66" ::: "ecx", "memory", "cc");
    check_equal(task_runs, 3, "interrupt through a task gate");
    __asm__ volatile("clts");
    gdt[TASK_B / 8] = descriptor((uint32_t)&task_b, 103, 0x8b, 0);
    check_trap(trap_catch(call_busy, 0), TRAP_GP, TASK_B, "CALL to a busy TSS");
    gdt[TASK_B / 8] = descriptor((uint32_t)&task_b, 50, 0x89, 0);
    check_trap(trap_catch(call_busy, 0), TRAP_TS, TASK_B, "a TSS with too small a limit");
}

static __attribute__((aligned(4096))) uint32_t directory[1024], table[1024];
static uint64_t pae_pointers[4] __attribute__((aligned(32)));
static __attribute__((aligned(4096))) uint64_t pae_directory[4][512], pae_table[512];

static void do_read(void *address)
{
    (void)*(volatile uint8_t *)address;
}

static void do_write(void *address)
{
    *(volatile uint8_t *)address = 1;
}

static void check_two_levels(void)
{
    uint8_t *const window = (uint8_t *)0x40000000;
    write_cr4(read_cr4() | 0x10); /* PSE */
    for (unsigned i = 0; i < 4; i++)
        directory[i] = i << 22 | 0x83;
    directory[0x100] = (uint32_t)table | 7;
    table[0] = (uint32_t)area | 3;
    table[1] = (uint32_t)area | 1;
    write_cr3((word)directory);
    write_cr0(read_cr0() | 0x80010000);
    area[3] = 33;
    check_equal(window[3], 33, "two levels: 4 KiB page");
    check(table[0] & 0x20 && !(table[0] & 0x40), "... A set, D clear");
    do_write(window);
    check(table[0] & 0x40, "... D set by a write");
    check_trap(trap_catch(do_write, window + 4096), TRAP_PF, 3, "... read-only page");
    check_trap(trap_catch(do_read, window + 8192), TRAP_PF, 0, "... absent page");
    directory[0x101] = ((uint32_t)area & 0xffc00000) | 0x83;
    check_equal(*(uint8_t *)(0x40400000 + ((uint32_t)area & 0x3fffff) + 3), 33, "4 MiB page");
    write_cr0(read_cr0() & ~0x80010000ul);
    write_cr4(read_cr4() & ~0x10ul);
}

static void jump(void *opaque)
{
    ((void (*)(void))opaque)();
}

static void bad_pointer(void *opaque)
{
    (void)opaque;
    pae_pointers[1] = 1 | 2; /* reserved bit */
    write_cr3((word)pae_pointers);
}

static void check_three_levels(void)
{
    uint8_t *const window = (uint8_t *)0x40000000;
    if (!(cpuid_get(1, 0).d & 1 << 6))
        return;
    for (unsigned i = 0; i < 4; i++)
        pae_pointers[i] = (uint32_t)pae_directory[i] | 1;
    for (unsigned i = 0; i < 8; i++)
        pae_directory[0][i] = i << 21 | 0x83;
    pae_directory[1][0] = (uint32_t)pae_table | 7;
    pae_table[0] = (uint32_t)area | 3;
    pae_table[1] = (uint32_t)area | 3 | UINT64_C(1) << 63;
    write_cr4(read_cr4() | 0x20);
    write_cr3((word)pae_pointers);
    msr_set(0xc0000080, msr_get(0xc0000080) | 0x800);
    write_cr0(read_cr0() | 0x80010000);
    area[3] = 44;
    check_equal(window[3], 44, "three levels: 4 KiB page");
    area[0] = 0xc3;
    check_trap(trap_catch(jump, window), TRAP_NONE, 0, "... executes");
    check_trap(trap_catch(jump, window + 4096), TRAP_PF, 0x11, "... but not with NX");
    pae_pointers[1] = 0;
    check_equal(window[3], 44, "a changed PDPTE counts only from the next CR3 load");
    write_cr3((word)pae_pointers);
    check_trap(trap_catch(do_read, window), TRAP_PF, 0, "... and then it does");
    check_trap(trap_catch(bad_pointer, 0), TRAP_GP, 0, "a reserved bit in a PDPTE");
    write_cr0(read_cr0() & ~0x80010000ul);
    write_cr4(read_cr4() & ~0x20ul);
}

void guest_main(void)
{
    check_limits();
    check_old_instructions();
    check_16bit();
    check_call_gate();
    check_privilege();
    check_tasks();
    check_two_levels();
    check_three_levels();
}
