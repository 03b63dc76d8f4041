/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler of SIGSYS. It may run anywhere, in the middle of malloc too: it formats by hand, uses
 * its own stack and calls nothing but write and exit.
 */
#include "jail/violation.h"

#include "jail/handout.h"
#include "jail/resolver.h"
#include "jail/rules.h"

#include <errno.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <unistd.h>

#define LINE_MAX_LENGTH 400
#define X32_BIT         0x40000000

/* --- one line of text --- */

struct line {
    char text[LINE_MAX_LENGTH];
    size_t used;
};

static void put_text(struct line *line, const char *text)
{
    while (*text && line->used < sizeof(line->text))
        line->text[line->used++] = *text++;
}

static void put_number(struct line *line, uint64_t number, unsigned base)
{
    char digits[24];
    size_t i = sizeof(digits);
    digits[--i] = 0;
    do
        digits[--i] = "0123456789abcdef"[number % base];
    while ((number /= base) && i);
    put_text(line, &digits[i]);
}

static void put_call(struct line *line, const struct violation_config *config,
                     const siginfo_t *info, const greg_t *registers)
{
    static const int argument_registers[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10};
    unsigned number = (unsigned)info->si_syscall;
    if (info->si_arch != AUDIT_ARCH_X86_64 || number & X32_BIT)
        put_text(line, "another ABI's system call");
    else if (number < CALL_NUMBERS && config->names[number][0])
        put_text(line, config->names[number]);
    else
        put_text(line, "of an unknown name");
    put_text(line, " (");
    put_number(line, number, 10);
    put_text(line, ") with");
    for (unsigned i = 0; i < 4; i++) {
        put_text(line, " 0x");
        put_number(line, (uint64_t)registers[argument_registers[i]], 16);
    }
}

static void say(const struct violation_thread *thread, const siginfo_t *info,
                const greg_t *registers)
{
    struct line line = {.used = 0};
    put_text(&line, "nacre: jail: a ");
    put_text(&line, thread_kind_name(thread->kind));
    put_text(&line, " thread made the forbidden call ");
    put_call(&line, thread->config, info, registers);
    put_text(&line, thread->config->mode == JAIL_LOG
                        ? "; --jail log lets it pass\r\n"
                        : ": stopped. A guest may be attacking; else please report this line "
                          "(--jail log goes on and lists all such calls)\r\n");
    /* Nobody left to read it: nothing more to be done. */
    if (write(STDERR_FILENO, line.text, line.used) < 0)
        return;
}

/* --- carrying on, for --jail log --- */

/*
 * The one place whose system calls the filters of JAIL_LOG let through; nacre_jail_through is the
 * address behind it, which is what a filter sees.
 */
long nacre_jail_call(long number, const long long *arguments);
extern const char nacre_jail_through[];
__asm__(".text\n"
        ".globl nacre_jail_call\n"
        ".hidden nacre_jail_call\n"
        ".type nacre_jail_call, @function\n"
        "nacre_jail_call:\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %r11\n"
        "    mov 0(%r11), %rdi\n"
        "    mov 8(%r11), %rsi\n"
        "    mov 16(%r11), %rdx\n"
        "    mov 24(%r11), %r10\n"
        "    mov 32(%r11), %r8\n"
        "    mov 40(%r11), %r9\n"
        "    syscall\n"
        ".hidden nacre_jail_through\n"
        ".globl nacre_jail_through\n"
        "nacre_jail_through:\n"
        "    ret\n"
        ".size nacre_jail_call, . - nacre_jail_call\n");

uint64_t violation_through(void)
{
    return (uint64_t)(uintptr_t)nacre_jail_through;
}

/* A new thread or process would start on the handler's stack. */
static bool can_carry_out(const siginfo_t *info)
{
    return info->si_arch == AUDIT_ARCH_X86_64 && info->si_syscall != SYS_clone &&
           info->si_syscall != SYS_clone3 && info->si_syscall != SYS_vfork;
}

/* --- the handler --- */

static void violation(int signal_number, siginfo_t *info, void *context)
{
    ucontext_t *interrupted = context;
    greg_t *registers = interrupted->uc_mcontext.gregs;
    struct violation_thread *thread = interrupted->uc_stack.ss_sp;
    const long long arguments[] = {registers[REG_RDI], registers[REG_RSI], registers[REG_RDX],
                                   registers[REG_R10], registers[REG_R8],  registers[REG_R9]};
    if (!thread)
        _exit(EXIT_FAILURE); /* a SIGSYS of somebody else's making */
    if (thread->kind == THREAD_NET && info->si_arch == AUDIT_ARCH_X86_64 &&
        (handout_answer(thread->handout, info->si_syscall, arguments, &registers[REG_RAX]) ||
         resolver_answer(&thread->resolver_fd, info->si_syscall, arguments, &registers[REG_RAX])))
        return;
    int saved = errno;
    say(thread, info, registers);
    if (thread->config->mode != JAIL_LOG || !can_carry_out(info))
        _exit(thread->config->exit_code);
    registers[REG_RAX] = nacre_jail_call(info->si_syscall, arguments);
    errno = saved;
}

static void look_up_names(struct violation_config *config)
{
    for (int i = 0; i < CALL_NUMBERS; i++) {
        char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, i);
        if (name)
            strncpy(config->names[i], name, CALL_NAME_MAX - 1);
        free(name);
    }
}

int violation_catch(struct violation_config *config, struct error *error)
{
    const struct sigaction action = {.sa_sigaction = violation,
                                     .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    look_up_names(config);
    if (sigaction(SIGSYS, &action, NULL) < 0)
        return error_set(error, errno, "jail: cannot catch SIGSYS: %s", strerror(errno));
    return 0;
}

size_t violation_stack_size(void)
{
    /* The kernel's frame grows with the processor's vector registers. */
    long frame = sysconf(_SC_MINSIGSTKSZ);
    size_t size = (frame > 0 ? (size_t)frame : 4096) + 65536;
    return (size + 4095) & ~(size_t)4095;
}

int violation_prepare_thread(void *stack, const struct violation_config *config,
                             enum thread_kind kind)
{
    sigset_t set;
    const stack_t signal_stack = {.ss_sp = stack, .ss_size = violation_stack_size()};
    const struct handout *handout = kind == THREAD_NET ? handout_create() : NULL;
    *(struct violation_thread *)stack = (struct violation_thread){
        .config = config,
        .kind = kind,
        .resolver_fd = kind == THREAD_NET ? resolver_open() : -1,
        .handout = handout,
    };
    /* Blocked, it would end the process without a word. */
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    int result = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    return sigaltstack(&signal_stack, NULL) < 0 ? -errno : -result;
}
