/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: a table of leaves over the model's feature words. APM vol. 3 appendix E; Intel SDM vol. 2
 * CPUID. */
#include "cpu/control.h"
#include "cpu/paravirtual.h"

#define LEAF_MAX          0xdu
#define LEAF_EXTENDED_MAX 0x80000021u
#define CACHE_LINE        64

typedef struct cpuid_result leaf_function(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf);

static struct cpuid_result leaf_vendor(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const char *vendor = vcpu->model->vendor;
    return (struct cpuid_result){
        .eax = leaf ? LEAF_EXTENDED_MAX : LEAF_MAX,
        .ebx = (uint32_t)load_le(vendor, 4),
        .edx = (uint32_t)load_le(vendor + 4, 4),
        .ecx = (uint32_t)load_le(vendor + 8, 4),
    };
}

static struct cpuid_result leaf_features(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct cpu_model *model = vcpu->model;
    unsigned count = vcpu->group->count;
    struct cpuid_result result = {
        .eax = model->signature,
        .ebx = vcpu->index << 24 | count << 16 | (CACHE_LINE / 8) << 8,
        .ecx = model->leaf1_ecx,
        .edx = model->leaf1_edx,
    };
    if (vcpu->cr4 & CR4_OSXSAVE)
        result.ecx |= BIT(27);
    if (count > 1)
        result.edx |= BIT(28); /* HTT: leaf 1 EBX counts logical processors */
    if (!(vcpu->apic_base & APIC_BASE_ENABLE))
        result.edx &= ~(uint32_t)BIT(9);
    return result;
}

static struct cpuid_result leaf_structured(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct cpu_model *model = vcpu->model;
    if (subleaf)
        return (struct cpuid_result){0};
    uint32_t ospke = vcpu->cr4 & CR4_PKE ? BIT(4) : 0;
    return (struct cpuid_result){
        .ebx = model->leaf7_ebx,
        .ecx = model->leaf7_ecx | ospke,
        .edx = model->leaf7_edx,
    };
}

/* Bits of an APIC id that number the cores. */
static unsigned core_bits(const struct vcpu *vcpu)
{
    unsigned bits = 0;
    while (1u << bits < vcpu->group->count)
        bits++;
    return bits;
}

static struct cpuid_result leaf_topology(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    enum { LEVEL_THREAD = 1 << 8, LEVEL_CORE = 2 << 8 };
    struct cpuid_result result = {.ecx = subleaf, .edx = vcpu->index};
    if (subleaf == 0) {
        result.ebx = 1;
        result.ecx |= LEVEL_THREAD;
    } else if (subleaf == 1) {
        result.eax = core_bits(vcpu);
        result.ebx = vcpu->group->count;
        result.ecx |= LEVEL_CORE;
    }
    return result;
}

/* Size and offset of each XSAVE component in the standard format. Intel SDM vol. 1 §13.5. */
static const struct {
    uint16_t size, offset;
} xstate_components[] = {
    [2] = {256, XSAVE_YMM_HIGH},  [5] = {64, XSAVE_OPMASK}, [6] = {512, XSAVE_ZMM_HIGH},
    [7] = {1024, XSAVE_HI16_ZMM}, [9] = {8, XSAVE_PKRU},
};

uint32_t xstate_size(uint64_t components, bool compacted)
{
    uint32_t end = 576;
    for (unsigned i = 2; i < ARRAY_SIZE(xstate_components); i++) {
        if (!(components & BIT(i)))
            continue;
        uint32_t start = compacted ? end : xstate_components[i].offset;
        end = start + xstate_components[i].size;
    }
    return end;
}

bool xstate_component(unsigned index, uint32_t *offset, uint32_t *size)
{
    if (index >= ARRAY_SIZE(xstate_components) || !xstate_components[index].size)
        return false;
    *offset = xstate_components[index].offset;
    *size = xstate_components[index].size;
    return true;
}

static struct cpuid_result leaf_xstate(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const struct cpu_model *model = vcpu->model;
    uint64_t supported = model->xcr0_supported;
    if (!supported)
        return (struct cpuid_result){0};
    if (subleaf == 0)
        return (struct cpuid_result){
            .eax = (uint32_t)supported,
            .ebx = xstate_size(vcpu->xcr0, false),
            .ecx = xstate_size(supported, false),
            .edx = (uint32_t)(supported >> 32),
        };
    if (subleaf == 1)
        return (struct cpuid_result){
            .eax = model->leafd1_eax,
            .ebx = xstate_size(vcpu->xcr0 | vcpu->xss, true),
        };
    if (subleaf < ARRAY_SIZE(xstate_components) && supported & BIT(subleaf))
        return (struct cpuid_result){
            .eax = xstate_components[subleaf].size,
            .ebx = xstate_components[subleaf].offset,
        };
    return (struct cpuid_result){0};
}

static struct cpuid_result leaf_extended_features(const struct vcpu *vcpu, uint32_t leaf,
                                                  uint32_t subleaf)
{
    const struct cpu_model *model = vcpu->model;
    uint32_t legacy = vcpu->group->count > 1 ? BIT(1) : 0; /* CMP_LEGACY: HTT counts cores */
    return (struct cpuid_result){
        .eax = model->signature,
        .ecx = model->leaf80000001_ecx | legacy,
        .edx = model->leaf80000001_edx,
    };
}

static struct cpuid_result leaf_brand(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    const char *part = vcpu->model->brand + (leaf - 0x80000002) * 16;
    return (struct cpuid_result){
        .eax = (uint32_t)load_le(part, 4),
        .ebx = (uint32_t)load_le(part + 4, 4),
        .ecx = (uint32_t)load_le(part + 8, 4),
        .edx = (uint32_t)load_le(part + 12, 4),
    };
}

/* L1: 32 KiB each, 8-way; L2 512 KiB 16-way; no L3. APM vol. 3 Fn8000_0005 and 0006. */
static struct cpuid_result leaf_l1_cache(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    uint32_t cache = 32u << 24 | 8u << 16 | 1u << 8 | CACHE_LINE;
    return (struct cpuid_result){.eax = 0xff40ff40, .ebx = 0xff40ff40, .ecx = cache, .edx = cache};
}

static struct cpuid_result leaf_l2_cache(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    return (struct cpuid_result){.ecx = 512u << 16 | 8u << 12 | 1u << 8 | CACHE_LINE};
}

static struct cpuid_result leaf_power(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    return (struct cpuid_result){.edx = BIT(8)}; /* invariant TSC */
}

static struct cpuid_result leaf_sizes(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    return (struct cpuid_result){
        .eax = vcpu->model->physical_address_bits | 48u << 8,
        .ebx = vcpu->model->leaf80000008_ebx,
        .ecx = (vcpu->group->count - 1) | core_bits(vcpu) << 12,
    };
}

static struct cpuid_result leaf_extended_2(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    return (struct cpuid_result){.eax = vcpu->model->leaf80000021_eax};
}

static const struct {
    uint32_t leaf;
    leaf_function *query;
} leaves[] = {
    {0x0, leaf_vendor},
    {0x1, leaf_features},
    {0x7, leaf_structured},
    {0xb, leaf_topology},
    {0xd, leaf_xstate},
    {0x80000000, leaf_vendor},
    {0x80000001, leaf_extended_features},
    {0x80000002, leaf_brand},
    {0x80000003, leaf_brand},
    {0x80000004, leaf_brand},
    {0x80000005, leaf_l1_cache},
    {0x80000006, leaf_l2_cache},
    {0x80000007, leaf_power},
    {0x80000008, leaf_sizes},
    {0x80000021, leaf_extended_2},
};

struct cpuid_result cpuid_query(const struct vcpu *vcpu, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result result;
    if (paravirtual_cpuid(vcpu, leaf, &result))
        return result;
    for (unsigned i = 0; i < ARRAY_SIZE(leaves); i++)
        if (leaves[i].leaf == leaf)
            return leaves[i].query(vcpu, leaf, subleaf);
    return (struct cpuid_result){0};
}
