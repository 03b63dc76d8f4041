/* SPDX-License-Identifier: Apache-2.0 */
/* Creation, reset, sleeping and waking of a vcpu, and the shortcuts derived from its mode. */
#include "cpu/vcpu.h"

#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/breakpoint.h"
#include "cpu/control.h"
#include "cpu/engine.h"
#include "cpu/mmu.h"
#include "cpu/paravirtual.h"
#include "cpu/segmentation.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define FCW_RESET   0x0040 /* after RESET; FNINIT gives 0x37f */
#define MXCSR_RESET 0x1f80
#define PAT_RESET   UINT64_C(0x0007040600070406)

/* Byte offsets in the XSAVE image. */

struct vcpu *vcpu_create(struct vcpu_group *group, struct bus *bus, const struct cpu_model *model,
                         struct error *error)
{
    if (group->count >= VCPU_COUNT_MAX) {
        error_set(error, EINVAL, "too many vcpus: at most %d", VCPU_COUNT_MAX);
        return NULL;
    }
    /* By mmap: most of the tables in it are never touched, and cost nothing then. */
    struct vcpu *vcpu =
        mmap(NULL, sizeof(*vcpu), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vcpu == MAP_FAILED) {
        error_set(error, ENOMEM, "vcpu %u: out of memory", group->count);
        return NULL;
    }
    vcpu->index = group->count;
    vcpu->group = group;
    vcpu->bus = bus;
    vcpu->memory = bus->memory;
    vcpu->model = model;
    vcpu->instruction_budget = ~UINT64_C(0);
    if (!group->engine_options)
        group->engine_options = &engine_options_default;
    pthread_mutex_init(&vcpu->wake_lock, NULL);
    pthread_cond_init(&vcpu->wake, NULL);
    pthread_mutex_init(&vcpu->mailbox_lock, NULL);
    mmu_create(vcpu);
    if (!(vcpu->apic = apic_create(vcpu, error)) ||
        !(vcpu->paravirtual = paravirtual_create(vcpu, error))) {
        vcpu_destroy(vcpu);
        return NULL;
    }
    group->vcpus[group->count++] = vcpu;
    vcpu_reset(vcpu, false);
    return vcpu;
}

void vcpu_destroy(struct vcpu *vcpu)
{
    if (!vcpu)
        return;
    engine_detach_all(vcpu);
    paravirtual_destroy(vcpu->paravirtual);
    apic_destroy(vcpu->apic);
    pthread_mutex_destroy(&vcpu->wake_lock);
    pthread_cond_destroy(&vcpu->wake);
    pthread_mutex_destroy(&vcpu->mailbox_lock);
    munmap(vcpu, sizeof(*vcpu));
}

static void reset_segments(struct vcpu *vcpu)
{
    const uint16_t data =
        SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE | SEGMENT_ACCESSED;
    for (int i = 0; i < SEG_COUNT; i++)
        vcpu->segments[i] = (struct segment){.limit = 0xffff, .attributes = data};
    vcpu->segments[SEG_CS].selector = 0xf000;
    vcpu->segments[SEG_CS].base = 0xffff0000;
    vcpu->segments[SEG_CS].attributes = data | SEGMENT_CODE;
    vcpu->ldtr = (struct segment){.limit = 0xffff, .attributes = SEGMENT_PRESENT | DESCRIPTOR_LDT};
    vcpu->tr =
        (struct segment){.limit = 0xffff, .attributes = SEGMENT_PRESENT | DESCRIPTOR_TSS_BUSY};
    vcpu->gdtr = vcpu->idtr = (struct descriptor_table){.limit = 0xffff};
}

/* What RESET clears and INIT leaves alone. */
static void reset_power_on(struct vcpu *vcpu)
{
    memset(vcpu->xsave, 0, sizeof(vcpu->xsave));
    store_le(vcpu->xsave + XSAVE_FCW, FCW_RESET, 2);
    store_le(vcpu->xsave + XSAVE_FTW, 0xff, 1); /* abridged: all registers hold +0.0 */
    store_le(vcpu->xsave + XSAVE_MXCSR, MXCSR_RESET, 4);
    vcpu->xcr0 = XSTATE_X87;
    vcpu->xss = 0;
    vcpu->pkru = 0;
    vcpu->star = vcpu->lstar = vcpu->cstar = vcpu->fmask = vcpu->kernel_gs_base = 0;
    vcpu->sysenter_cs = vcpu->sysenter_esp = vcpu->sysenter_eip = 0;
    vcpu->pat = PAT_RESET;
    vcpu->tsc_aux = vcpu->misc_enable = vcpu->spec_ctrl = 0;
    vcpu->tsc_offset = 0;
    vcpu->mtrr_default = 0;
    memset(vcpu->mtrr_fixed, 0, sizeof(vcpu->mtrr_fixed));
    memset(vcpu->mtrr_base, 0, sizeof(vcpu->mtrr_base));
    memset(vcpu->mtrr_mask, 0, sizeof(vcpu->mtrr_mask));
    vcpu->apic_base = APIC_DEFAULT_ADDRESS | APIC_BASE_ENABLE | (vcpu->index ? 0 : APIC_BASE_BSP);
}

void vcpu_reset(struct vcpu *vcpu, bool init)
{
    uint64_t cache_bits = init ? vcpu->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW;
    memset(vcpu->registers, 0, sizeof(vcpu->registers));
    vcpu->registers[GPR_RDX] = vcpu->model->signature;
    vcpu->rip = 0xfff0;
    vcpu->rflags = RFLAGS_FIXED;
    reset_segments(vcpu);
    vcpu->cpl = 0;
    vcpu->cr0 = CR0_ET | cache_bits;
    vcpu->cr2 = vcpu->cr3 = vcpu->cr4 = vcpu->cr8 = vcpu->efer = 0;
    memset(vcpu->dr, 0, sizeof(vcpu->dr));
    vcpu->dr[6] = DR6_FIXED;
    vcpu->dr[7] = DR7_FIXED;
    vcpu->interrupt_shadow = vcpu->nmi_blocked = vcpu->nmi_waiting = false;
    vcpu->exception.pending = false;
    vcpu->run_state = vcpu->index ? VCPU_WAIT_FOR_SIPI : VCPU_RUNNING;
    if (!init)
        reset_power_on(vcpu);
    /* The SIPI that follows an INIT may be here already. */
    uint32_t kept = VCPU_REQUEST_STOP | VCPU_REQUEST_CODE | (init ? VCPU_REQUEST_STARTUP : 0);
    atomic_fetch_and(&vcpu->requests, kept);
    apic_reset(vcpu->apic, init);
    paravirtual_reset(vcpu->paravirtual);
    mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
}

void vcpu_request(struct vcpu *vcpu, uint32_t requests)
{
    atomic_fetch_or(&vcpu->requests, requests);
    engine_kick(vcpu);
    pthread_mutex_lock(&vcpu->wake_lock);
    pthread_cond_signal(&vcpu->wake);
    pthread_mutex_unlock(&vcpu->wake_lock);
}

void vcpu_recheck_interrupts(struct vcpu *vcpu)
{
    uint32_t waiting = (apic_has_interrupt(vcpu->apic) ? VCPU_REQUEST_INTERRUPT : 0) |
                       (atomic_load(&vcpu->extint_level) ? VCPU_REQUEST_EXTINT : 0);
    bool open = vcpu->rflags & RFLAGS_IF;
    vcpu->interrupt_window = !open && waiting;
    if (open && waiting)
        atomic_fetch_or(&vcpu->requests, waiting);
}

bool vcpu_has_work(struct vcpu *vcpu)
{
    uint32_t requests = atomic_load(&vcpu->requests);
    if (requests & VCPU_REQUEST_STOP)
        return true;
    if (vcpu->run_state == VCPU_WAIT_FOR_SIPI)
        return requests & (VCPU_REQUEST_STARTUP | VCPU_REQUEST_INIT);
    if (requests & (VCPU_REQUEST_INIT | VCPU_REQUEST_CODE | VCPU_REQUEST_TLB_FLUSH))
        return true;
    if (requests & VCPU_REQUEST_NMI && !vcpu->nmi_blocked)
        return true;
    if (vcpu->run_state != VCPU_HALTED)
        return true;
    if (atomic_load(&vcpu->kicked))
        return true;
    return vcpu->rflags & RFLAGS_IF &&
           (apic_has_interrupt(vcpu->apic) || atomic_load(&vcpu->extint_level));
}

void vcpu_wait(struct vcpu *vcpu)
{
    uint64_t start = clock_monotonic_ns();
    pthread_mutex_lock(&vcpu->wake_lock);
    while (!vcpu_has_work(vcpu))
        pthread_cond_wait(&vcpu->wake, &vcpu->wake_lock);
    pthread_mutex_unlock(&vcpu->wake_lock);
    vcpu->slept_ns += clock_monotonic_ns() - start;
}

/* Whatever its base: is there nothing to check? */
static bool segment_is_open(const struct segment *segment, bool code)
{
    const uint16_t need =
        SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | (code ? SEGMENT_CODE : 0) | SEGMENT_WRITABLE;
    /* Writable data, or readable code; data must not expand down. */
    const uint16_t mask = need | SEGMENT_CODE | (code ? 0 : SEGMENT_EXPAND_DOWN);
    return segment->limit == 0xffffffff && (segment->attributes & mask) == need;
}

static bool segment_is_flat(const struct segment *segment, bool code)
{
    return !segment->base && segment_is_open(segment, code);
}

static bool segments_are_flat(const struct vcpu *vcpu)
{
    return segment_is_flat(&vcpu->segments[SEG_CS], true) &&
           segment_is_flat(&vcpu->segments[SEG_SS], false) &&
           segment_is_flat(&vcpu->segments[SEG_DS], false) &&
           segment_is_flat(&vcpu->segments[SEG_ES], false);
}

static uint32_t segments_mode(const struct vcpu *vcpu)
{
    if (vcpu_64bit(vcpu))
        return CODE_MODE_LONG | CODE_MODE_FLAT | CODE_MODE_STACK_BIG;
    if (!vcpu_protected(vcpu) || vcpu_v86(vcpu))
        return 0;
    return (segments_are_flat(vcpu) ? CODE_MODE_FLAT : 0) |
           (segment_is_open(&vcpu->segments[SEG_FS], false) ? CODE_MODE_FS_OPEN : 0) |
           (segment_is_open(&vcpu->segments[SEG_GS], false) ? CODE_MODE_GS_OPEN : 0);
}

static uint32_t code_mode(const struct vcpu *vcpu)
{
    const uint64_t avx = XSTATE_SSE | XSTATE_AVX;
    uint32_t mode = segments_mode(vcpu);
    if (vcpu->segments[SEG_CS].attributes & SEGMENT_BIG)
        mode |= CODE_MODE_BIG;
    if (vcpu->segments[SEG_SS].attributes & SEGMENT_BIG)
        mode |= CODE_MODE_STACK_BIG;
    if (vcpu->cpl == 3)
        mode |= CODE_MODE_USER;
    else if (vcpu->rflags & RFLAGS_AC)
        mode |= CODE_MODE_AC;
    if (vcpu->cr0 & (CR0_TS | CR0_EM) || !(vcpu->cr4 & CR4_OSFXSR))
        mode |= CODE_MODE_NO_FPU;
    if (vcpu->cr4 & CR4_OSXSAVE && (vcpu->xcr0 & avx) == avx)
        mode |= CODE_MODE_AVX;
    if (mode & CODE_MODE_AVX && (vcpu->xcr0 & XSTATE_AVX512) == XSTATE_AVX512)
        mode |= CODE_MODE_AVX512;
    if (vcpu_v86(vcpu))
        mode |= CODE_MODE_V86;
    else if (vcpu_protected(vcpu))
        mode |= CODE_MODE_PROTECTED;
    if (vcpu->rflags & RFLAGS_TF || breakpoints_armed(vcpu))
        mode |= CODE_MODE_STEP;
    return mode;
}

void vcpu_update_mode(struct vcpu *vcpu)
{
    bool long_code = vcpu_64bit(vcpu);
    for (int i = 0; i < SEG_COUNT; i++)
        vcpu->segment_bases[i] =
            long_code && i != SEG_FS && i != SEG_GS ? 0 : vcpu->segments[i].base;
    vcpu->segment_bases[SEG_COUNT] = 0;
    bool ac = vcpu->rflags & RFLAGS_AC;
    if (vcpu->cpl == 3)
        vcpu->mmu_mode = ac && vcpu->cr0 & CR0_AM ? MMU_USER_ALIGNED : MMU_USER;
    else
        vcpu->mmu_mode = ac ? MMU_SUPERVISOR_AC : MMU_SUPERVISOR;
    vcpu->code_mode = code_mode(vcpu);
}

void vcpu_describe(const struct vcpu *vcpu, char *text, size_t size)
{
    static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"};
    size_t used = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(names) && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s %016llx%s", names[i],
                                 (unsigned long long)vcpu->registers[i], i % 4 == 3 ? "\n" : "  ");
    if (used < size)
        snprintf(text + used, size - used,
                 "rip %016llx  rflags %08llx  cs %04x  ss %04x  cpl %u\n"
                 "cr0 %08llx  cr2 %016llx  cr3 %016llx  cr4 %08llx  efer %04llx",
                 (unsigned long long)vcpu->rip, (unsigned long long)vcpu->rflags,
                 vcpu->segments[SEG_CS].selector, vcpu->segments[SEG_SS].selector, vcpu->cpl,
                 (unsigned long long)vcpu->cr0, (unsigned long long)vcpu->cr2,
                 (unsigned long long)vcpu->cr3, (unsigned long long)vcpu->cr4,
                 (unsigned long long)vcpu->efer);
}
