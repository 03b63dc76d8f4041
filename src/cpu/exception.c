/* SPDX-License-Identifier: Apache-2.0 */
/* Recording exceptions, double and triple faults, and what an engine does between instructions. APM
 * vol. 2 §8.2. */
#include "cpu/exception.h"

#include "cpu/apic.h"
#include "cpu/engine.h"
#include "cpu/interrupt_gate.h"
#include "cpu/mmu.h"
#include "cpu/paravirtual.h"
#include "cpu/segmentation.h"

static bool vector_has_error_code(unsigned vector)
{
    const uint32_t with_code = 1u << VECTOR_DF | 1u << VECTOR_TS | 1u << VECTOR_NP |
                               1u << VECTOR_SS | 1u << VECTOR_GP | 1u << VECTOR_PF |
                               1u << VECTOR_AC;
    return with_code >> vector & 1;
}

bool raise_error(struct vcpu *vcpu, unsigned vector, uint32_t error_code)
{
    vcpu->exception = (struct exception){
        .pending = true,
        .vector = (uint8_t)vector,
        .has_error_code = vector_has_error_code(vector),
        .error_code = error_code,
    };
    return false;
}

bool raise_exception(struct vcpu *vcpu, unsigned vector)
{
    return raise_error(vcpu, vector, 0);
}

bool raise_page_fault(struct vcpu *vcpu, uint64_t gva, uint32_t error_code)
{
    raise_error(vcpu, VECTOR_PF, error_code);
    vcpu->exception.address = gva;
    return false;
}

bool raise_debug(struct vcpu *vcpu, uint64_t dr6_bits)
{
    raise_error(vcpu, VECTOR_DB, 0);
    vcpu->exception.address = dr6_bits;
    return false;
}

void exception_in_stack(struct vcpu *vcpu)
{
    if (vcpu->exception.vector == VECTOR_GP && !address_is_canonical(vcpu->exception.address))
        vcpu->exception.vector = VECTOR_SS;
}

/* APM vol. 2 table 8-3 */
static bool is_contributory(unsigned vector)
{
    const uint32_t set =
        1u << VECTOR_DE | 1u << VECTOR_TS | 1u << VECTOR_NP | 1u << VECTOR_SS | 1u << VECTOR_GP;
    return vector < 32 && set >> vector & 1;
}

static bool becomes_double_fault(unsigned first, unsigned second)
{
    if (first == VECTOR_PF)
        return second == VECTOR_PF || is_contributory(second);
    return is_contributory(first) && is_contributory(second);
}

static void trace_exception(const struct vcpu *vcpu, const struct exception *exception)
{
    trace_print(vcpu->trace, TRACE_EXCEPTION,
                "vcpu %u vector %u error 0x%x address 0x%llx at %x:0x%llx", vcpu->index,
                exception->vector, exception->error_code, (unsigned long long)exception->address,
                vcpu->segments[SEG_CS].selector, (unsigned long long)vcpu->rip);
}

bool exception_deliver(struct vcpu *vcpu)
{
    struct exception first = vcpu->exception;
    for (;;) {
        if (trace_wants(vcpu->trace, TRACE_EXCEPTION))
            trace_exception(vcpu, &first);
        vcpu->exception.pending = false;
        vcpu->run_state = VCPU_RUNNING; /* a single step ends a HLT */
        if (first.vector == VECTOR_PF)
            vcpu->cr2 = first.address;
        if (first.vector == VECTOR_DB)
            vcpu->dr[6] |= first.address;
        if (interrupt_enter(vcpu, INTERRUPT_EXCEPTION, &first)) {
            if (first.vector == VECTOR_DB)
                vcpu->dr[7] &= ~DR7_GD;
            if (!vcpu->exception.pending)
                return true;
            /* A task gate led to a task whose own segments fault. */
        }
        struct exception second = vcpu->exception;
        if (first.vector == VECTOR_DF) {
            vcpu->exception.pending = false;
            return false;
        }
        if (second.vector == VECTOR_PF) /* also when it is reported as a double fault */
            vcpu->cr2 = second.address;
        if (becomes_double_fault(first.vector, second.vector))
            second =
                (struct exception){.pending = true, .vector = VECTOR_DF, .has_error_code = true};
        first = second;
    }
}

bool interrupt_deliver(struct vcpu *vcpu, unsigned vector, enum interrupt_kind kind)
{
    struct exception event = {.pending = true, .vector = (uint8_t)vector};
    if (interrupt_enter(vcpu, kind, &event)) /* pending: the fault of a task it switched to */
        return kind == INTERRUPT_SOFTWARE || !vcpu->exception.pending || exception_deliver(vcpu);
    return kind == INTERRUPT_SOFTWARE ? false : exception_deliver(vcpu);
}

static void service_code_mailbox(struct vcpu *vcpu)
{
    uint64_t pages[ARRAY_SIZE(vcpu->code_mailbox)];
    pthread_mutex_lock(&vcpu->mailbox_lock);
    unsigned count = vcpu->code_mailbox_count;
    bool overflow = vcpu->mailbox_overflow;
    memcpy(pages, vcpu->code_mailbox, count * sizeof(pages[0]));
    vcpu->code_mailbox_count = 0;
    vcpu->mailbox_overflow = false;
    pthread_mutex_unlock(&vcpu->mailbox_lock);
    if (overflow) {
        /* Which pages is not known any more: forget all code, and all fast writes to code pages. */
        engine_invalidate(vcpu, ~UINT64_C(0));
        mmu_flush_all(vcpu);
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        engine_invalidate(vcpu, pages[i]);
        /* A write may have gone unnoticed through the entry just dropped: say that the code
         * changed. */
        if (mmu_protect_gpa(vcpu, pages[i]))
            memory_code_changed(vcpu->memory, pages[i]);
    }
}

void vcpu_post_code_page(struct vcpu *vcpu, uint64_t gpa_page)
{
    pthread_mutex_lock(&vcpu->mailbox_lock);
    unsigned count = vcpu->code_mailbox_count;
    if (count == ARRAY_SIZE(vcpu->code_mailbox))
        vcpu->mailbox_overflow = true;
    else if (!count || vcpu->code_mailbox[count - 1] != gpa_page)
        vcpu->code_mailbox[vcpu->code_mailbox_count++] = gpa_page;
    pthread_mutex_unlock(&vcpu->mailbox_lock);
    vcpu_request(vcpu, VCPU_REQUEST_CODE);
}

/* SIPI: real mode at vector * 4096. Intel SDM vol. 3 §8.4.3 */
static void service_startup(struct vcpu *vcpu)
{
    if (vcpu->run_state != VCPU_WAIT_FOR_SIPI)
        return;
    segment_set_real(vcpu, SEG_CS, (uint16_t)(vcpu->startup_vector << 8));
    vcpu->rip = 0;
    vcpu->run_state = VCPU_RUNNING;
}

/* False: triple fault. */
static bool take_interrupt(struct vcpu *vcpu, int vector, const char *source)
{
    if (trace_wants(vcpu->trace, TRACE_IRQ))
        trace_print(vcpu->trace, TRACE_IRQ, "vcpu %u vector 0x%x from %s at %x:0x%llx%s",
                    vcpu->index, (unsigned)vector, source, vcpu->segments[SEG_CS].selector,
                    (unsigned long long)vcpu->rip,
                    vcpu->run_state == VCPU_HALTED ? " (halted)" : "");
    vcpu->run_state = VCPU_RUNNING;
    return interrupt_deliver(vcpu, (unsigned)vector, INTERRUPT_EXTERNAL);
}

/* A maskable interrupt, if there is one and it may come now. False: triple fault. */
static bool service_interrupt(struct vcpu *vcpu)
{
    if (!(vcpu->rflags & RFLAGS_IF) || vcpu->interrupt_shadow)
        return true;
    const char *source = "pic";
    int vector = -1;
    if (atomic_load(&vcpu->extint_level) && vcpu->bus->intr_acknowledge)
        vector = vcpu->bus->intr_acknowledge(vcpu->bus->intr_acknowledge_opaque);
    if (vector < 0) {
        vector = apic_take_interrupt(vcpu->apic);
        source = "apic";
    }
    if (vector < 0)
        return true;
    paravirtual_account(vcpu); /* it may be the tick that asks */
    return take_interrupt(vcpu, vector, source);
}

static bool service_nmi(struct vcpu *vcpu)
{
    vcpu->nmi_blocked = true;
    return take_interrupt(vcpu, VECTOR_NMI, "nmi");
}

/* A kick lets the next HLT return at once. */
static enum vcpu_exit exit_of_halt(struct vcpu *vcpu, bool stop)
{
    if (stop) /* who returns for a halt would wait for another request */
        return VCPU_EXIT_NONE;
    if (vcpu->run_state == VCPU_HALTED && atomic_exchange(&vcpu->kicked, false))
        vcpu->run_state = VCPU_RUNNING;
    return vcpu->run_state == VCPU_RUNNING ? VCPU_EXIT_NONE : VCPU_EXIT_HALT;
}

enum vcpu_exit vcpu_service_requests(struct vcpu *vcpu, bool *stop)
{
    const uint32_t wait_for_window =
        VCPU_REQUEST_NMI | VCPU_REQUEST_INTERRUPT | VCPU_REQUEST_EXTINT;
    uint32_t requests = atomic_exchange(&vcpu->requests, 0);
    *stop = requests & VCPU_REQUEST_STOP;
    if (*stop)
        paravirtual_account_pause(vcpu);
    if (requests & VCPU_REQUEST_CODE)
        service_code_mailbox(vcpu);
    if (requests & VCPU_REQUEST_TLB_FLUSH)
        mmu_flush_all(vcpu);
    if (requests & VCPU_REQUEST_INIT) {
        vcpu_reset(vcpu, true);
        if (!vcpu->index)
            vcpu->run_state = VCPU_RUNNING;
        requests &= ~wait_for_window;
    }
    if (requests & VCPU_REQUEST_STARTUP)
        service_startup(vcpu);
    if (vcpu->run_state == VCPU_WAIT_FOR_SIPI) {
        *stop = true;
        return VCPU_EXIT_HALT;
    }
    if (vcpu->interrupt_shadow) {
        /* One more instruction first: keep what is left to do. */
        atomic_fetch_or(&vcpu->requests, requests & wait_for_window);
        return exit_of_halt(vcpu, *stop);
    }
    bool alive = true;
    if (requests & VCPU_REQUEST_NMI) {
        if (vcpu->nmi_blocked)
            vcpu->nmi_waiting = true; /* IRET asks again */
        else
            alive = service_nmi(vcpu);
    }
    if (alive && requests & (VCPU_REQUEST_INTERRUPT | VCPU_REQUEST_EXTINT))
        alive = service_interrupt(vcpu);
    /* With IF clear nothing is asked again here: whoever sets IF does (vcpu_recheck_interrupts). */
    vcpu_recheck_interrupts(vcpu);
    return alive ? exit_of_halt(vcpu, *stop) : VCPU_EXIT_SHUTDOWN;
}
