/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/paravirtual_private.h"

#include <errno.h>
#include <stdlib.h>

#define LEAF_SIGNATURE 0x40000000u
#define LEAF_FEATURES  0x40000001u

/* KVM_CPUID_FEATURES, EAX */
#define FEATURE_NO_IO_DELAY  BIT(1)
#define FEATURE_CLOCKSOURCE2 BIT(3)
#define FEATURE_STEAL_TIME   BIT(5)
#define FEATURE_PV_EOI       BIT(6)
#define FEATURE_UNHALT       BIT(7)
#define FEATURE_SEND_IPI     BIT(11)
#define FEATURE_CLOCK_STABLE BIT(24)
#define FEATURES                                                                        \
    (FEATURE_NO_IO_DELAY | FEATURE_CLOCKSOURCE2 | FEATURE_STEAL_TIME | FEATURE_PV_EOI | \
     FEATURE_UNHALT | FEATURE_SEND_IPI | FEATURE_CLOCK_STABLE)

#define MSR_WALL_CLOCK       0x4b564d00u
#define MSR_SYSTEM_TIME      0x4b564d01u
#define MSR_STEAL_TIME       0x4b564d03u
#define MSR_END_OF_INTERRUPT 0x4b564d04u

#define HYPERCALL_KICK_CPU         5
#define HYPERCALL_SEND_IPI         10
#define HYPERCALL_ERROR_UNKNOWN    (-1000L)
#define HYPERCALL_ERROR_PERMISSION (-1L)

/* struct pvclock_vcpu_time_info */
struct time_info {
    uint32_t version, padding;
    uint64_t tsc_timestamp, system_time;
    uint32_t tsc_to_system_mul;
    int8_t tsc_shift;
    uint8_t flags;
    uint8_t padding2[2];
};
#define TIME_STABLE 1

struct paravirtual *paravirtual_create(struct vcpu *vcpu, struct error *error)
{
    struct paravirtual *paravirtual = calloc(1, sizeof(*paravirtual));
    if (!paravirtual)
        error_set(error, ENOMEM, "vcpu %u: out of memory", vcpu->index);
    else
        paravirtual->vcpu = vcpu;
    return paravirtual;
}

void paravirtual_destroy(struct paravirtual *paravirtual)
{
    free(paravirtual);
}

void paravirtual_reset(struct paravirtual *paravirtual)
{
    *paravirtual = (struct paravirtual){.vcpu = paravirtual->vcpu};
}

bool paravirtual_cpuid(const struct vcpu *vcpu, uint32_t leaf, struct cpuid_result *result)
{
    if (leaf < LEAF_SIGNATURE || leaf > LEAF_SIGNATURE + 0xff || !vcpu->model->kvm_paravirtual)
        return false;
    *result = (struct cpuid_result){0};
    if (leaf == LEAF_SIGNATURE)
        *result = (struct cpuid_result){.eax = LEAF_FEATURES,
                                        .ebx = (uint32_t)load_le("KVMK", 4),
                                        .ecx = (uint32_t)load_le("VMKV", 4),
                                        .edx = (uint32_t)load_le("M\0\0\0", 4)};
    else if (leaf == LEAF_FEATURES)
        result->eax = FEATURES;
    return true;
}

/* Nanoseconds since the guest was switched on: kvmclock, the same on every vcpu. */
static uint64_t system_time_now(const struct vcpu *vcpu)
{
    return clock_monotonic_ns() - vcpu->group->tsc_origin_ns;
}

static void publish_system_time(struct paravirtual *paravirtual)
{
    struct vcpu *vcpu = paravirtual->vcpu;
    uint64_t gpa = paravirtual->system_time & ~UINT64_C(3);
    paravirtual->version += 2;
    struct time_info info = {
        .version = paravirtual->version,
        .tsc_timestamp = tsc_read(vcpu),
        .system_time = system_time_now(vcpu),
        /* TSC ticks are nanoseconds: (ticks << 1) * 2^31 >> 32 */
        .tsc_to_system_mul = 0x80000000u,
        .tsc_shift = 1,
        .flags = TIME_STABLE,
    };
    memory_write(vcpu->memory, gpa, &info, sizeof(info));
}

static void publish_wall_clock(struct paravirtual *paravirtual)
{
    struct vcpu *vcpu = paravirtual->vcpu;
    uint64_t boot = clock_realtime_ns() - system_time_now(vcpu);
    const uint32_t words[3] = {2, (uint32_t)(boot / NANOSECONDS_PER_SECOND),
                               (uint32_t)(boot % NANOSECONDS_PER_SECOND)};
    memory_write(vcpu->memory, paravirtual->wall_clock, words, sizeof(words));
}

static bool write_wall_clock(struct paravirtual *paravirtual, uint64_t value)
{
    paravirtual->wall_clock = value;
    publish_wall_clock(paravirtual);
    return true;
}

static bool write_system_time(struct paravirtual *paravirtual, uint64_t value)
{
    paravirtual->system_time = value;
    if (value & PARAVIRTUAL_ENABLE)
        publish_system_time(paravirtual);
    return true;
}

static const struct paravirtual_msr {
    uint32_t index;
    size_t offset; /* of its value in struct paravirtual */
    bool (*write)(struct paravirtual *paravirtual, uint64_t value);
} msrs[] = {
    {MSR_WALL_CLOCK, offsetof(struct paravirtual, wall_clock), write_wall_clock},
    {MSR_SYSTEM_TIME, offsetof(struct paravirtual, system_time), write_system_time},
    {MSR_STEAL_TIME, offsetof(struct paravirtual, steal_time), paravirtual_steal_enable},
    {MSR_END_OF_INTERRUPT, offsetof(struct paravirtual, end_of_interrupt), paravirtual_eoi_enable},
};

static const struct paravirtual_msr *msr_find(const struct vcpu *vcpu, uint32_t index)
{
    for (unsigned i = 0; vcpu->model->kvm_paravirtual && i < ARRAY_SIZE(msrs); i++)
        if (msrs[i].index == index)
            return &msrs[i];
    return NULL;
}

bool paravirtual_msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    const struct paravirtual_msr *msr = msr_find(vcpu, index);
    if (!msr)
        return false;
    memcpy(value, (const uint8_t *)vcpu->paravirtual + msr->offset, sizeof(*value));
    return true;
}

bool paravirtual_msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    const struct paravirtual_msr *msr = msr_find(vcpu, index);
    return msr && msr->write(vcpu->paravirtual, value);
}

static long kick_cpu(struct vcpu *vcpu, uint64_t apic_id)
{
    if (apic_id < vcpu->group->count) {
        struct vcpu *target = vcpu->group->vcpus[apic_id];
        atomic_store(&target->kicked, true);
        vcpu_request(target, VCPU_REQUEST_INTERRUPT);
    }
    return 0;
}

/* rbx, rcx: bitmap of destinations; rdx: APIC id of its first bit; rsi: ICR. Returns how many were
 * reached. */
static long send_ipi(struct vcpu *vcpu)
{
    const uint64_t *registers = vcpu->registers;
    long count = 0;
    for (unsigned i = 0; i < vcpu->group->count; i++) {
        uint64_t bit = i - registers[GPR_RDX];
        if (bit >= 128 || !(registers[bit < 64 ? GPR_RBX : GPR_RCX] >> bit % 64 & 1))
            continue;
        bool nmi = (registers[GPR_RSI] >> 8 & 7) == 4;
        if (nmi)
            vcpu_request(vcpu->group->vcpus[i], VCPU_REQUEST_NMI);
        else
            apic_inject(vcpu->group->vcpus[i]->apic, (uint8_t)registers[GPR_RSI], false);
        count++;
    }
    return count;
}

void paravirtual_hypercall(struct vcpu *vcpu)
{
    uint64_t *registers = vcpu->registers;
    long result = HYPERCALL_ERROR_UNKNOWN;
    if (vcpu->cpl)
        result = HYPERCALL_ERROR_PERMISSION;
    else if (registers[GPR_RAX] == HYPERCALL_KICK_CPU)
        result = kick_cpu(vcpu, registers[GPR_RCX]);
    else if (registers[GPR_RAX] == HYPERCALL_SEND_IPI)
        result = send_ipi(vcpu);
    registers[GPR_RAX] = (uint64_t)result;
}

static const struct state_field paravirtual_fields[] = {
    STATE_FIELD(struct paravirtual, wall_clock),
    STATE_FIELD(struct paravirtual, system_time),
    STATE_FIELD(struct paravirtual, steal_time),
    STATE_FIELD(struct paravirtual, end_of_interrupt),
    STATE_FIELD(struct paravirtual, version),
    STATE_FIELD(struct paravirtual, stolen_ns),
    STATE_FIELD(struct paravirtual, steal_version),
    STATE_FIELD(struct paravirtual, eoi_offered),
};
const struct state_table paravirtual_state = STATE_TABLE("paravirtual", 1, paravirtual_fields);
