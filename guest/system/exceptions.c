/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every exception with its error code and saved address, priorities among them, double fault,
 * breakpoints, single step, interrupt shadow. APM vol. 2 §8, §13; Intel SDM vol. 3 §6, §17.
 */
#include "runtime/runtime.h"

#define ASM_TEST(name, ...)            \
    static void name(void *opaque)     \
    {                                  \
        (void)opaque;                  \
        __asm__ volatile(__VA_ARGS__); \
    }

ASM_TEST(divide_by_zero, "xor %%ecx, %%ecx; xor %%edx, %%edx; div %%ecx" ::: "eax", "ecx", "edx")
ASM_TEST(divide_overflow, "mov $-1, %%edx; mov $1, %%ecx; div %%ecx" ::: "eax", "ecx", "edx")
ASM_TEST(undefined, "ud2" ::)
ASM_TEST(lock_on_register, ".byte 0xf0, 0x01, 0xc0" ::: "eax")      /* lock add %eax, %eax */
ASM_TEST(lock_on_load, ".byte 0xf0, 0x8b, 0x00" ::"a"(&task_state)) /* lock mov (%rax), %eax */
ASM_TEST(invalid_in_64bit, ".byte 0x06" ::)                         /* push %es */
ASM_TEST(too_long,
         ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90" ::)
ASM_TEST(breakpoint, "int3" ::)
ASM_TEST(software_interrupt, "int $0x77" ::)
ASM_TEST(icebp, ".byte 0xf1" ::)
ASM_TEST(use_fpu, "fnop" ::)
ASM_TEST(use_sse, "xorps %%xmm0, %%xmm0" ::)
ASM_TEST(wait_fpu, "fwait" ::)
ASM_TEST(x87_error, "fninit; push $0; fldcw (%%rsp); fldz; fld1; fdivp; fwait; pop %%rax" ::: "rax")
ASM_TEST(sse_error, "push $0; ldmxcsr (%%rsp); pop %%rax; mov $1, %%eax; cvtsi2ss %%eax, %%xmm0;"
                    "xorps %%xmm1, %%xmm1; divss %%xmm1, %%xmm0" ::
             : "rax")
ASM_TEST(load_not_present, "mov %w0, %%fs" ::"r"(SELECTOR_FREE))
ASM_TEST(load_ss_not_present, "mov %w0, %%ss" ::"r"(SELECTOR_FREE + 8))
ASM_TEST(load_beyond_limit, "mov %w0, %%es" ::"r"(0x7f0))
ASM_TEST(load_null_cs, "push $0; push $1f; lretq; 1:" ::)
ASM_TEST(bad_msr, "rdmsr" ::"c"(0x12345678) : "eax", "edx")
ASM_TEST(bad_efer, "wrmsr" ::"c"(0xc0000080), "a"(0xffffffff), "d"(0xffffffff))
ASM_TEST(bad_cr4, "mov %0, %%cr4" ::"r"(read_cr4() | UINT64_C(1) << 40))
ASM_TEST(bad_cr0, "mov %0, %%cr0" ::"r"(read_cr0() & ~UINT64_C(1))) /* PG without PE */
ASM_TEST(drop_pae, "mov %0, %%cr4" ::"r"(read_cr4() & ~UINT64_C(0x20)))
ASM_TEST(bad_cr8, "mov %0, %%cr8" ::"r"(UINT64_C(16)))
ASM_TEST(cr1, ".byte 0x0f, 0x20, 0xc8" ::: "eax")
ASM_TEST(misaligned_sse, "movaps %0, %%xmm0" ::"m"(*((uint8_t *)&task_state + 1)))
ASM_TEST(cmpxchg16b_misaligned, "cmpxchg16b %0"
         : "+m"(*((uint8_t *)&task_state + 4))
         :
         : "rax", "rdx", "rbx", "rcx")
ASM_TEST(bad_dr7, "mov %0, %%dr7" ::"r"(UINT64_C(1) << 32))

struct trap_case {
    void (*function)(void *);
    unsigned vector;
    word error;
    const char *name;
};

static void check_cases(const struct trap_case *cases, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        check_trap(trap_catch(cases[i].function, 0), cases[i].vector, cases[i].error,
                   cases[i].name);
}

static void check_simple(void)
{
    static const struct trap_case cases[] = {
        {divide_by_zero, TRAP_DE, 0, "DIV by zero"},
        {divide_overflow, TRAP_DE, 0, "DIV overflow"},
        {undefined, TRAP_UD, 0, "UD2"},
        {lock_on_register, TRAP_UD, 0, "LOCK with a register destination"},
        {lock_on_load, TRAP_UD, 0, "LOCK MOV"},
        {invalid_in_64bit, TRAP_UD, 0, "PUSH ES in 64-bit mode"},
        {too_long, TRAP_GP, 0, "instruction of 16 bytes"},
        {breakpoint, TRAP_BP, 0, "INT3"},
        {software_interrupt, 0x77, 0, "INT n"},
        {icebp, TRAP_DB, 0, "INT1"},
        {load_beyond_limit, TRAP_GP, 0x7f0, "selector beyond the GDT's limit"},
        {load_null_cs, TRAP_GP, 0, "far return to a null CS"},
        {cr1, TRAP_UD, 0, "CR1"},
        {misaligned_sse, TRAP_GP, 0, "misaligned MOVAPS"},
        {cmpxchg16b_misaligned, TRAP_GP, 0, "misaligned CMPXCHG16B"},
        {bad_dr7, TRAP_GP, 0, "upper half of DR7"},
        {sse_error, TRAP_XM, 0, "unmasked SSE division by zero"},
    };
    check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

/* Last: an emulator that lets these through is hardly itself afterwards. */
static void check_reserved(void)
{
    static const struct trap_case cases[] = {
        {bad_msr, TRAP_GP, 0, "RDMSR of an unknown register"},
        {bad_efer, TRAP_GP, 0, "reserved bits of EFER"},
        {bad_cr4, TRAP_GP, 0, "reserved bits of CR4"},
        {bad_cr0, TRAP_GP, 0, "CR0.PG without PE"},
        {drop_pae, TRAP_GP, 0, "CR4.PAE off in long mode"},
        {bad_cr8, TRAP_GP, 0, "reserved bits of CR8"},
    };
    check_cases(cases, sizeof(cases) / sizeof(cases[0]));
}

static void check_saved_ip(void)
{
    struct trap fault = trap_catch(undefined, 0), trap = trap_catch(breakpoint, 0);
    check_equal(*(uint8_t *)fault.ip, 0x0f, "a fault saves the instruction's address");
    check_equal(((uint8_t *)trap.ip)[-1], 0xcc, "a trap saves the next instruction's");
}

static void check_fpu(void)
{
    write_cr0(read_cr0() | 8);
    check_trap(trap_catch(use_fpu, 0), TRAP_NM, 0, "x87 with CR0.TS");
    check_trap(trap_catch(use_sse, 0), TRAP_NM, 0, "SSE with CR0.TS");
    check_trap(trap_catch(wait_fpu, 0), TRAP_NM, 0, "FWAIT with CR0.TS and MP");
    __asm__ volatile("clts");
    check_trap(trap_catch(use_sse, 0), TRAP_NONE, 0, "SSE after CLTS");
    write_cr0(read_cr0() | 4);
    check_trap(trap_catch(use_fpu, 0), TRAP_NM, 0, "x87 with CR0.EM");
    check_trap(trap_catch(use_sse, 0), TRAP_UD, 0, "SSE with CR0.EM");
    write_cr0(read_cr0() & ~UINT64_C(4));
    write_cr4(read_cr4() & ~UINT64_C(0x200));
    check_trap(trap_catch(use_sse, 0), TRAP_UD, 0, "SSE without CR4.OSFXSR");
    write_cr4(read_cr4() | 0x200);
    check_trap(trap_catch(x87_error, 0), TRAP_MF, 0, "unmasked x87 division by zero");
    __asm__ volatile("fninit");
}

static void check_segments(void)
{
    gdt[SELECTOR_FREE / 8] = UINT64_C(0x00cf13000000ffff);
    gdt[SELECTOR_FREE / 8 + 1] = UINT64_C(0x00cf13000000ffff);
    check_trap(trap_catch(load_not_present, 0), TRAP_NP, SELECTOR_FREE, "not-present data segment");
    check_trap(trap_catch(load_ss_not_present, 0), TRAP_SS, SELECTOR_FREE + 8,
               "not-present stack segment");
    gdt[SELECTOR_FREE / 8] = UINT64_C(0x00cf11000000ffff);
    check_trap(trap_catch(load_not_present, 0), TRAP_NP, SELECTOR_FREE,
               "not-present read-only segment");
    gdt[SELECTOR_FREE / 8] = UINT64_C(0x00cf89000000ffff);
    check_trap(trap_catch(load_not_present, 0), TRAP_GP, SELECTOR_FREE, "system segment into FS");
    trap_gate(0x77, (word)trap_entries[0x77], SELECTOR_CODE, 0x0e, 0);
    check_trap(trap_catch(software_interrupt, 0), TRAP_NP, 0x77 * 8 + 2, "not-present gate");
    trap_gate(0x77, (word)trap_entries[0x77], SELECTOR_DATA, 0x8e, 0);
    check_trap(trap_catch(software_interrupt, 0), TRAP_GP, SELECTOR_DATA, "gate to a data segment");
    trap_gate(0x77, (word)trap_entries[0x77], SELECTOR_CODE, 0x85, 0);
    check_trap(trap_catch(software_interrupt, 0), TRAP_GP, 0x77 * 8 + 2, "task gate in long mode");
    trap_gate(0x77, (word)trap_entries[0x77], SELECTOR_CODE, 0x8e, 0);
}

/* A fault while a contributory fault is delivered. */
static void check_double_fault(void)
{
    trap_gate(TRAP_GP, (word)trap_entries[TRAP_GP], SELECTOR_CODE, 0x0e, 0);
    check_trap(trap_catch(load_null_cs, 0), TRAP_DF, 0, "#NP while #GP is delivered");
    trap_gate(TRAP_GP, (word)trap_entries[TRAP_GP], SELECTOR_CODE, 0x8e, 0);
    trap_gate(TRAP_UD, (word)trap_entries[TRAP_UD], SELECTOR_CODE, 0x0e, 0);
    check_trap(trap_catch(undefined, 0), TRAP_NP, TRAP_UD * 8 + 3,
               "#NP while #UD is delivered: serial");
    trap_gate(TRAP_UD, (word)trap_entries[TRAP_UD], SELECTOR_CODE, 0x8e, 0);
}

static volatile unsigned step_count;
static volatile word step_ips[16], step_dr6;

static void count_step(struct trap_frame *frame)
{
    step_ips[step_count++ & 15] = frame->ip;
    step_dr6 = read_dr6();
    write_dr6(0xffff0ff0);
    if (step_count > 12)
        frame->flags &= ~UINT64_C(0x100);
}

static void check_single_step(void)
{
    trap_hook(TRAP_DB, count_step);
    step_count = 0;
    __asm__ volatile(
        "pushf; orl $0x100, (%%rsp); popf\n\tnop\n\tnop\n\tpushf; andl $~0x100, (%%rsp); popf" ::
            : "memory", "cc");
    check_equal(step_count, 5, "TF: a trap after each instruction but the one that sets it");
    check_equal(step_dr6 & 0xf00f, 0x4000, "... with DR6.BS");
    check_equal(step_ips[1] - step_ips[0], 1, "... one instruction apart");

    step_count = 0;
    __asm__ volatile(
        "pushf; orl $0x100, (%%rsp); popf\n\tmov %%ss, %%eax; mov %%eax, %%ss; nop; nop\n\t"
        "pushf; andl $~0x100, (%%rsp); popf" ::
            : "eax", "memory", "cc");
    check_equal(step_count, 6, "MOV SS holds the single-step trap back for one instruction");

    uint8_t string[8];
    step_count = 0;
    void *to = string;
    word count = 4;
    __asm__ volatile(
        "pushf; orl $0x100, (%%rsp); popf\n\trep stosb\n\tpushf; andl $~0x100, (%%rsp); popf"
        : "+D"(to), "+c"(count)
        : "a"(0)
        : "memory", "cc");
    check_equal(step_count, 4 + 3, "TF: a trap after each round of REP STOSB");
    trap_hook(TRAP_DB, 0);
}

static volatile uint32_t watched;

static void resume_past(struct trap_frame *frame)
{
    count_step(frame);
    frame->flags |= 0x10000; /* RF */
}

static void touch_debug(void *opaque)
{
    read_dr0();
}

static void check_breakpoints(void)
{
    trap_hook(TRAP_DB, resume_past);
    step_count = 0;
    write_dr0((word)&watched);
    write_dr7(0x400 | 1 | 0xd << 16); /* L0, 4 bytes, write */
    (void)watched;
    check_equal(step_count, 0, "a write watchpoint ignores reads");
    watched = 1;
    check_equal(step_count, 1, "... and traps on a write");
    check_equal(step_dr6 & 0xf00f, 1, "... with DR6.B0");
    *((volatile uint8_t *)&watched + 3) = 1;
    check_equal(step_count, 2, "... and on a write to its last byte");
    write_dr7(0x400 | 1 | 0xf << 16);
    (void)watched;
    check_equal(step_count, 3, "an access watchpoint traps on a read");

    word target;
    step_count = 0;
    __asm__ volatile("lea 1f(%%rip), %0; mov %0, %%dr0; mov %1, %%dr7; mov $3, %%ecx\n"
                     "1: nop; loop 1b"
                     : "=&r"(target)
                     : "r"((word)0x401) /* L0, execute */
                     : "ecx", "memory");
    write_dr7(0x400);
    check_equal(step_count, 3, "an execution breakpoint traps each time, RF passes it");
    check_equal(step_ips[0], target, "... before the instruction");

    write_dr7(0x400 | 1 | 0x2000); /* GD */
    trap_hook(TRAP_DB, 0);
    check_trap(trap_catch(touch_debug, 0), TRAP_DB, 0, "DR7.GD guards the debug registers");
    check(read_dr6() & 0x2000, "... with DR6.BD");
    check(!(read_dr7() & 0x2000), "... and is clear in the handler");
    write_dr7(0x400);
    write_dr6(0xffff0ff0);
}

void guest_main(void)
{
    check_simple();
    check_saved_ip();
    check_fpu();
    check_segments();
    check_double_fault();
    check_single_step();
    check_breakpoints();
    check_reserved();
}
