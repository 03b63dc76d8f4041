/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/fault.h"

#include "cpu/translate/cache.h"
#include "cpu/translate/emit.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <ucontext.h>
#include <unistd.h>

#define SIGNAL_STACK_SIZE KIB(64)
#define HWCAP2_FSGSBASE_  BIT(1)

static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

bool gs_base_usable(void)
{
    return getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE_;
}

uint64_t gs_base_read(void)
{
    uint64_t base;
    __asm__ volatile("rdgsbase %0" : "=r"(base));
    return base;
}

void gs_base_write(uint64_t base)
{
    __asm__ volatile("wrgsbase %0" : : "r"(base) : "memory");
}

static const struct instruction_mark *mark_at(const struct translation *translation, uint32_t host)
{
    const struct instruction_mark *found = NULL;
    for (unsigned i = 0; i < translation->instruction_count; i++)
        if (translation->marks[i].host <= host)
            found = &translation->marks[i];
    return found;
}

/* Not ours. The jail lets nobody change handlers, so the default cannot be had back: end as it
 * would. */
__attribute__((noreturn)) static void give_up(int number)
{
    static const char defect[] = "nacre: a fault of the host process itself; please report this\n";
    static const char memory[] = "nacre: the host has no memory left for the guest's, or a file "
                                 "that is mapped has become shorter\n";
    bool bus = number == SIGBUS;
    ssize_t ignored =
        write(STDERR_FILENO, bus ? memory : defect, (bus ? sizeof(memory) : sizeof(defect)) - 1);
    (void)ignored;
    _exit(128 + number);
}

/* Turns the fault into an event of emitted code: the registers are as the instruction left them,
 * that is, as before it. */
static void fault_handle(int number, siginfo_t *info, void *opaque)
{
    ucontext_t *context = opaque;
    if (number == SIGBUS)
        give_up(number);
    struct vcpu *vcpu = (struct vcpu *)gs_base_read(); /* NOLINT(performance-no-int-to-ptr) */
    if (!vcpu)
        give_up(number);
    const struct translator *translator = vcpu->translate.shared;
    uint64_t pc = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    const struct translation *translation = translator_at(translator, pc);
    uint32_t offset = (uint32_t)(pc - (uintptr_t)translator->executable);
    const struct instruction_mark *mark =
        translation ? mark_at(translation, offset - translation->start) : NULL;
    if (!mark)
        give_up(number);
    struct site *site = vcpu->translate.fault_site;
    site->offset = mark->offset;
    site->executed = (uint8_t)(mark - translation->marks);
    uint32_t stub = mark->parked ? translator->event_parked : translator->event_native;
    context->uc_mcontext.gregs[REG_R15] = (greg_t)(uintptr_t)site;
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)translator_code(translator, stub);
}

int fault_handlers_install(struct error *error)
{
    struct sigaction action = {.sa_sigaction = fault_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&action.sa_mask);
    for (unsigned i = 0; i < ARRAY_SIZE(fault_signals); i++)
        if (sigaction(fault_signals[i], &action, NULL) < 0)
            return error_set(error, errno, "translator: cannot handle signal %d: %s",
                             fault_signals[i], strerror(errno));
    return 0;
}

int fault_thread_prepare(struct vcpu *vcpu, struct error *error)
{
    struct translate_state *state = &vcpu->translate;
    if (!state->signal_stack)
        state->signal_stack = malloc(SIGNAL_STACK_SIZE);
    const stack_t stack = {.ss_sp = state->signal_stack, .ss_size = SIGNAL_STACK_SIZE};
    if (!state->signal_stack || sigaltstack(&stack, NULL) < 0)
        return error_set(error, ENOMEM, "vcpu %u: no stack for signals", vcpu->index);
    sigset_t blocked;
    sigfillset(&blocked);
    for (unsigned i = 0; i < ARRAY_SIZE(fault_signals); i++)
        sigdelset(&blocked, fault_signals[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    state->thread_ready = true;
    return 0;
}

void fault_thread_release(struct vcpu *vcpu)
{
    /* The thread that had it has ended, or gets another one before it runs emitted code again. */
    free(vcpu->translate.signal_stack);
    vcpu->translate.signal_stack = NULL;
}
