/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Steal time: how long the guest's processor could not run although it wanted to. What of the time
 * that passed the vcpu's thread neither ran nor slept in a HLT was the host's. Linux
 * Documentation/virt/kvm/x86/msr.rst, MSR_KVM_STEAL_TIME.
 */
#include "base/clock.h"
#include "cpu/paravirtual_private.h"

#define STEAL_RESERVED   UINT64_C(0x3e)
#define PUBLISH_EVERY    (NANOSECONDS_PER_SECOND / 1000) /* a guest looks at each tick */
#define OFFSET_STEAL     0
#define OFFSET_VERSION   8
#define OFFSET_PREEMPTED 16

static struct time_split time_now(const struct vcpu *vcpu)
{
    return (struct time_split){
        .wall = clock_monotonic_ns(),
        .running = clock_read_ns(CLOCK_THREAD_CPUTIME_ID),
        .sleeping = vcpu->slept_ns,
    };
}

/* The version is odd while the rest changes. */
static void publish(struct paravirtual *paravirtual)
{
    struct memory *memory = paravirtual->vcpu->memory;
    uint64_t gpa = paravirtual->steal_time & ~(STEAL_RESERVED | PARAVIRTUAL_ENABLE);
    for (unsigned step = 0; step < 2; step++) {
        paravirtual->steal_version++;
        memory_write(memory, gpa + OFFSET_VERSION, &paravirtual->steal_version, 4);
        atomic_thread_fence(memory_order_seq_cst);
        if (!step)
            memory_write(memory, gpa + OFFSET_STEAL, &paravirtual->stolen_ns, 8);
    }
}

bool paravirtual_steal_enable(struct paravirtual *paravirtual, uint64_t value)
{
    if (value & STEAL_RESERVED)
        return false;
    paravirtual->steal_time = value;
    paravirtual->steal_version &= ~1u;
    paravirtual_account_pause(paravirtual->vcpu);
    if (value & PARAVIRTUAL_ENABLE)
        publish(paravirtual);
    return true;
}

void paravirtual_account(struct vcpu *vcpu)
{
    struct paravirtual *paravirtual = vcpu->paravirtual;
    struct time_split *last = &paravirtual->accounted;
    if (!(paravirtual->steal_time & PARAVIRTUAL_ENABLE) ||
        clock_monotonic_ns() - last->wall < PUBLISH_EVERY)
        return;
    struct time_split now = time_now(vcpu);
    uint64_t used = now.running - last->running + now.sleeping - last->sleeping;
    bool stolen = last->wall && now.wall - last->wall > used;
    if (stolen)
        paravirtual->stolen_ns += now.wall - last->wall - used;
    *last = now;
    if (stolen)
        publish(paravirtual);
}

void paravirtual_account_pause(struct vcpu *vcpu)
{
    vcpu->paravirtual->accounted.wall = 0;
}
