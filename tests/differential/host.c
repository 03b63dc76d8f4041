/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side. rt_sigreturn(2) loads a complete user-mode state, code segment and vector
 * registers included, and the signal of the exception that ends the case brings all of it back: no
 * code of ours runs between. Linux, arch/x86/include/uapi/asm/sigcontext.h and ucontext.h.
 */
#include "differential/differential.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define UC_FP_XSTATE         1u
#define UC_SIGCONTEXT_SS     2u
#define UC_STRICT_RESTORE_SS 4u

#define ALTERNATE_STACK_SIZE KIB(64)
#define FIRST_MAGIC          0x46505853u
#define SECOND_MAGIC         0x46505845u
#define SOFTWARE_BYTES       464 /* in the FXSAVE area: Linux's description of the image */
#define XSTATE_BV            512
#define IMAGE_MAX            8192

/* What the kernel finds on the stack, the return address already popped. */
struct signal_frame {
    ucontext_t context;
    uint8_t image[IMAGE_MAX] __attribute__((aligned(64)));
};

/* What host_enter() loads beyond the frame. */
struct host_segments {
    uint64_t fs_base, gs_base; /* with null selectors */
    uint32_t fs, gs, data;     /* data: of DS and ES */
};

static struct signal_frame frame;
static uint8_t alternate_stack[ALTERNATE_STACK_SIZE] __attribute__((aligned(64)));

/* Used by the assembly below. */
__attribute__((visibility("hidden"))) uint64_t host_stack, host_fs_base;
__attribute__((visibility("hidden"))) uint16_t host_selectors[SEG_COUNT];
__attribute__((visibility("hidden"))) uint32_t host_ticks;
/* Not zero: system calls raise SIGSYS, but for those below. Code that went astray must not
 * call Linux. */
__attribute__((visibility("hidden"))) char host_dispatch;
extern const char host_enter_end[] __attribute__((visibility("hidden")));
__attribute__((visibility("hidden"))) ucontext_t *host_context;
void host_enter(const ucontext_t *context, const struct host_segments *segments);
void host_signal(int number, siginfo_t *info, void *context);
void host_tick(int number, siginfo_t *info, void *context);
void host_other(int number, siginfo_t *info, void *context);

static uint64_t announced;
static struct sigaction previous_actions[NSIG];

void host_announce(uint64_t number)
{
    announced = number;
}

/* No case runs on the host: the signal is an engine's own affair, or its end. */
__attribute__((visibility("hidden"), used)) void host_other(int number, siginfo_t *info,
                                                            void *context)
{
    const struct sigaction *previous = &previous_actions[number];
    if (previous->sa_flags & SA_SIGINFO) {
        previous->sa_sigaction(number, info, context);
        return;
    }
    dprintf(STDERR_FILENO, "differential: signal %d in an engine, case %llu\n", number,
            (unsigned long long)announced);
    signal(number, SIG_DFL);
}

__asm__(".text\n"
        ".local host_enter\n"
        "host_enter:\n"
        "    push %rbx\n"
        "    push %rbp\n"
        "    push %r12\n"
        "    push %r13\n"
        "    push %r14\n"
        "    push %r15\n"
        "    mov %rsp, host_stack(%rip)\n"
        "    rdfsbase %rax\n"
        "    mov %rax, host_fs_base(%rip)\n"
        "    mov 24(%rsi), %eax\n"
        "    mov %eax, %ds\n"
        "    mov %eax, %es\n"
        "    mov 16(%rsi), %eax\n"
        "    mov 20(%rsi), %edx\n"
        "    mov %eax, %fs\n"
        "    mov %edx, %gs\n"
        "    test %eax, %eax\n"
        "    jnz 1f\n"
        "    mov 0(%rsi), %rax\n"
        "    wrfsbase %rax\n"
        "    mov 8(%rsi), %rax\n"
        "    wrgsbase %rax\n"
        "1:  movb $1, host_dispatch(%rip)\n"
        "    push $0x202\n" /* sigreturn keeps NT and ID as they are */
        "    popf\n"
        "    mov %rdi, %rsp\n"
        "    mov $15, %eax\n" /* rt_sigreturn */
        "    syscall\n"
        "    ud2\n"
        /* Of SIGPROF: the second one within a case ends it. */
        ".local host_tick\n"
        "host_tick:\n"
        "    incl host_ticks(%rip)\n"
        "    cmpl $2, host_ticks(%rip)\n"
        "    jb 3f\n"
        "    cmpq $0, host_stack(%rip)\n"
        "    jne 2f\n"
        "3:  add $8, %rsp\n" /* not through libc's rt_sigreturn: that one is forbidden */
        "    mov $15, %eax\n"
        "    syscall\n"
        "host_enter_end:\n"
        "    ud2\n"
        /* Of any signal: back into host_enter()'s caller, on its stack. */
        ".local host_signal\n"
        "host_signal:\n"
        "    cmpq $0, host_stack(%rip)\n"
        "    je host_other\n"
        "2:  mov %rdx, host_context(%rip)\n"
        "    mov %es, host_selectors(%rip)\n"
        "    mov %ds, 6+host_selectors(%rip)\n"
        "    mov %fs, 8+host_selectors(%rip)\n"
        "    mov %gs, 10+host_selectors(%rip)\n"
        "    movb $0, host_dispatch(%rip)\n"
        "    push $2\n" /* the case's AC flag would fault C code */
        "    popf\n"
        "    xor %eax, %eax\n"
        "    mov %eax, %fs\n"
        "    mov %eax, %gs\n"
        "    wrgsbase %rax\n"
        "    mov host_fs_base(%rip), %rax\n"
        "    wrfsbase %rax\n"
        "    mov host_stack(%rip), %rsp\n"
        "    movq $0, host_stack(%rip)\n" /* no case runs */
        "    pop %r15\n"
        "    pop %r14\n"
        "    pop %r13\n"
        "    pop %r12\n"
        "    pop %rbp\n"
        "    pop %rbx\n"
        "    ret\n");

static int map_data(void)
{
    static const int protections[] = {[PAGE_NONE] = PROT_NONE,
                                      [PAGE_READ_WRITE] = PROT_READ | PROT_WRITE,
                                      [PAGE_READ_ONLY] = PROT_READ};
    uint8_t *data =
        mmap((void *)(uintptr_t)DATA_ADDRESS, DATA_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (data == MAP_FAILED)
        return -errno;
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        data[i * PAGE_SIZE] = 0; /* present from now on: error codes tell */
        if (mprotect(data + i * PAGE_SIZE, PAGE_SIZE, protections[data_pages[i]]) < 0)
            return -errno;
    }
    return 0;
}

static int map_code(void)
{
    void *code =
        mmap((void *)(uintptr_t)CODE_ADDRESS, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (code == MAP_FAILED)
        return -errno;
    memset(code, 0xcc, CODE_SIZE); /* INT3 */
    return 0;
}

static int make_ldt(void)
{
    const struct user_desc descriptors[] = {
        {.entry_number = SELECTOR_CODE16 >> 3,
         .base_addr = CODE_ADDRESS,
         .limit = 0xffff,
         .contents = 2},
        {.entry_number = SELECTOR_DATA16 >> 3, .base_addr = DATA_ADDRESS, .limit = 0xffff},
        {.entry_number = SELECTOR_FS >> 3,
         .base_addr = (unsigned)FS_BASE,
         .limit = 0xfffff,
         .seg_32bit = 1,
         .limit_in_pages = 1},
        {.entry_number = SELECTOR_GS >> 3,
         .base_addr = (unsigned)GS_BASE,
         .limit = 0xfffff,
         .seg_32bit = 1,
         .limit_in_pages = 1},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(descriptors); i++)
        if (syscall(SYS_modify_ldt, 0x11, &descriptors[i], sizeof(descriptors[i])) < 0)
            return -errno;
    return 0;
}

static void catch_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
    struct sigaction action = {.sa_sigaction = host_signal,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    stack_t stack = {.ss_sp = alternate_stack, .ss_size = sizeof(alternate_stack)};
    sigaltstack(&stack, NULL);
    for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
        sigaction(signals[i], &action, &previous_actions[signals[i]]);
    const struct itimerval second = {{1, 0}, {1, 0}};
    action.sa_sigaction = host_tick;
    sigaction(SIGPROF, &action, NULL);
    setitimer(ITIMER_PROF, &second, NULL);
}

/* Learns from a first signal how the kernel lays out its image of the vector registers. */
static void learn_image(void)
{
    const struct host_segments segments = {.data = SELECTOR_DATA};
    ucontext_t *context = &frame.context;
    context->uc_flags = UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
    context->uc_stack = (stack_t){.ss_sp = alternate_stack, .ss_size = sizeof(alternate_stack)};
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)CODE_ADDRESS;
    context->uc_mcontext.gregs[REG_EFL] = RFLAGS_FIXED | RFLAGS_IF;
    context->uc_mcontext.gregs[REG_CSGSFS] =
        SELECTOR_CODE64 | (greg_t)((uint64_t)SELECTOR_DATA << 48);
    host_enter(context, &segments);
    const uint8_t *image = (const uint8_t *)host_context->uc_mcontext.fpregs;
    memcpy(frame.image + SOFTWARE_BYTES, image + SOFTWARE_BYTES, 512 - SOFTWARE_BYTES);
    context->uc_flags |= UC_FP_XSTATE;
    context->uc_mcontext.fpregs = (fpregset_t)frame.image;
}

static uint32_t image_size(void)
{
    return (uint32_t)load_le(frame.image + SOFTWARE_BYTES + 16, 4);
}

int host_create(struct error *error)
{
    if (!(getauxval(AT_HWCAP2) & 2))
        return error_set(error, ENOTSUP, "the host's kernel does not allow WRFSBASE");
    int status = map_data();
    if (!status)
        status = map_code();
    if (status < 0)
        return error_set(error, -status, "cannot map the test areas: %s", strerror(-status));
    status = make_ldt();
    if (status < 0)
        return error_set(error, -status, "cannot make an LDT: %s", strerror(-status));
    catch_signals();
    uintptr_t enter = (uintptr_t)host_enter, enter_end = (uintptr_t)host_enter_end;
    if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, enter, enter_end + 2 - enter,
              &host_dispatch) < 0)
        return error_set(error, errno, "cannot keep the cases from system calls: %s",
                         strerror(errno));
    learn_image();
    if (load_le(frame.image + SOFTWARE_BYTES, 4) != FIRST_MAGIC || image_size() > IMAGE_MAX - 4)
        return error_set(error, ENOTSUP, "signals have no XSAVE image of the usual size");
    store_le(frame.image + image_size(), SECOND_MAGIC, 4);
    return 0;
}

static struct cpuid_words host_cpuid(const void *opaque, uint32_t leaf, uint32_t subleaf)
{
    (void)opaque;
    struct cpuid_words result = {{0}};
    __get_cpuid_count(leaf, subleaf, &result.words[0], &result.words[1], &result.words[2],
                      &result.words[3]);
    return result;
}

uint64_t host_features(void)
{
    return features_of(host_cpuid, NULL);
}

void host_load(const struct test_case *test)
{
    uint64_t slot = align_down(test->address, SLOT_SIZE);
    memset((void *)(uintptr_t)slot, 0xcc, SLOT_SIZE);
    memcpy((void *)(uintptr_t)test->address, test->code, test->length);
}

/* Where the host's CPU puts a component; the kernel's image is in the standard format. */
static uint8_t *component(uint8_t *image, unsigned number)
{
    static uint32_t offsets[8];
    if (!offsets[number])
        offsets[number] = host_cpuid(NULL, 0xd, number).words[1];
    return image + offsets[number];
}

static void store_vectors(const struct test_case *test, const struct vectors *vectors)
{
    uint8_t *image = frame.image;
    uint64_t present = XSTATE_X87 | XSTATE_SSE;
    memcpy(image, vectors->fxsave, SOFTWARE_BYTES - 48);
    if (test->feature != FEATURE_NONE) {
        present |= XSTATE_AVX;
        memcpy(component(image, 2), vectors->ymm_high, sizeof(vectors->ymm_high));
    }
    if (test->feature >= FEATURE_AVX512) {
        present |= XSTATE_OPMASK | XSTATE_ZMM_HI256 | XSTATE_HI16_ZMM;
        memcpy(component(image, 5), vectors->opmask, sizeof(vectors->opmask));
        memcpy(component(image, 6), vectors->zmm_high, sizeof(vectors->zmm_high));
        memcpy(component(image, 7), vectors->zmm_16_31, sizeof(vectors->zmm_16_31));
    }
    store_le(image + XSTATE_BV, present, 8);
}

/* A component whose bit is clear is in its initial state: all zero. */
static void load_component(uint8_t *image, unsigned number, void *to, size_t size)
{
    if (load_le(image + XSTATE_BV, 8) & BIT(number))
        memcpy(to, component(image, number), size);
    else
        memset(to, 0, size);
}

static void load_vectors(const struct test_case *test, struct vectors *vectors)
{
    uint8_t *image = (uint8_t *)host_context->uc_mcontext.fpregs;
    memcpy(vectors->fxsave, image, SOFTWARE_BYTES - 48);
    if (test->feature != FEATURE_NONE)
        load_component(image, 2, vectors->ymm_high, sizeof(vectors->ymm_high));
    if (test->feature >= FEATURE_AVX512) {
        load_component(image, 5, vectors->opmask, sizeof(vectors->opmask));
        load_component(image, 6, vectors->zmm_high, sizeof(vectors->zmm_high));
        load_component(image, 7, vectors->zmm_16_31, sizeof(vectors->zmm_16_31));
    }
}

/* gregs[] index of each register. */
static const uint8_t greg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};

void host_run(const struct test_case *test, const struct machine_state *before,
              struct machine_state *after)
{
    struct host_segments segments = {
        .fs_base = FS_BASE, .gs_base = GS_BASE, .data = before->selectors[SEG_DS]};
    greg_t *gregs = frame.context.uc_mcontext.gregs;
    segments.fs = before->selectors[SEG_FS];
    segments.gs = before->selectors[SEG_GS];
    for (unsigned i = 0; i < 16; i++)
        gregs[greg_of[i]] = (greg_t)before->registers[i];
    gregs[REG_RIP] = (greg_t)before->rip;
    gregs[REG_EFL] = (greg_t)before->rflags;
    gregs[REG_CSGSFS] =
        (greg_t)(before->selectors[SEG_CS] | (uint64_t)before->selectors[SEG_SS] << 48);
    store_vectors(test, &before->vectors);
    after->vectors = before->vectors; /* where the case has not all registers */
    memcpy((void *)(uintptr_t)SCRATCH_ADDRESS, before->scratch, SCRATCH_SIZE);
    memcpy((void *)(uintptr_t)TAIL_ADDRESS, before->tail, TAIL_SIZE);
    host_ticks = 0;
    host_enter(&frame.context, &segments);
    gregs = host_context->uc_mcontext.gregs;
    for (unsigned i = 0; i < 16; i++)
        after->registers[i] = (uint64_t)gregs[greg_of[i]];
    after->rip = (uint64_t)gregs[REG_RIP];
    after->rflags = (uint64_t)gregs[REG_EFL];
    memcpy(after->selectors, host_selectors, sizeof(after->selectors));
    after->selectors[SEG_CS] = (uint16_t)gregs[REG_CSGSFS];
    after->selectors[SEG_SS] = (uint16_t)((uint64_t)gregs[REG_CSGSFS] >> 48);
    load_vectors(test, &after->vectors);
    memcpy(after->scratch, (void *)(uintptr_t)SCRATCH_ADDRESS, SCRATCH_SIZE);
    memcpy(after->tail, (void *)(uintptr_t)TAIL_ADDRESS, TAIL_SIZE);
    after->vector = host_ticks < 2 ? (unsigned)gregs[REG_TRAPNO] : ENDLESS_VECTOR;
    after->error_code = (uint32_t)gregs[REG_ERR];
    after->fault_address = (uint64_t)gregs[REG_CR2];
}
