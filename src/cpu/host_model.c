/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CPU model becomes on this host. Vector and bit instructions are run by the host's own
 * units, by every engine, so a guest can have those alone that the host has, and whose registers
 * its kernel saves. All else in a model is made by nacre itself. Intel SDM vol. 1 §14.3, §15.2.
 */
#include "cpu/control.h"
#include "cpu/feature_bits.h"

#include <cpuid.h>
#include <errno.h>

/* A word of struct cpu_model: the CPUID register it is, and its bits that the host must have. */
struct host_word {
    size_t offset;
    uint32_t leaf, native;
    enum { REGISTER_EBX, REGISTER_ECX } source;
};

#define ECX1_NEEDS_AVX (ECX1_AVX | ECX1_FMA | ECX1_F16C)
#define EBX7_NEEDS_AVX (EBX7_AVX2 | EBX7_AVX512 | EBX7_IFMA)
#define ECX7_AVX512    (ECX7_VBMI | ECX7_VBMI2 | ECX7_VNNI | ECX7_BITALG | ECX7_VPOPCNTDQ)
#define ECX7_NEEDS_AVX (ECX7_VAES | ECX7_VPCLMULQDQ | ECX7_AVX512)

static const struct host_word words[CPU_HOST_WORDS] = {
    {offsetof(struct cpu_model, leaf1_ecx), 1,
     ECX1_SSE3 | ECX1_PCLMULQDQ | ECX1_SSSE3 | ECX1_SSE41 | ECX1_SSE42 | ECX1_MOVBE | ECX1_POPCNT |
         ECX1_AES | ECX1_NEEDS_AVX,
     REGISTER_ECX},
    {offsetof(struct cpu_model, leaf7_ebx), 7,
     EBX7_BMI1 | EBX7_BMI2 | EBX7_ADX | EBX7_SHA | EBX7_NEEDS_AVX, REGISTER_EBX},
    {offsetof(struct cpu_model, leaf7_ecx), 7, ECX7_GFNI | ECX7_NEEDS_AVX, REGISTER_ECX},
    {offsetof(struct cpu_model, leaf80000001_ecx), 0x80000001, ECX81_LZCNT, REGISTER_ECX},
};

static uint32_t *word_of(struct cpu_model *model, const struct host_word *word)
{
    return (uint32_t *)((uint8_t *)model + word->offset);
}

static uint32_t host_query(const struct host_word *word)
{
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    if (!__get_cpuid_count(word->leaf, 0, &eax, &ebx, &ecx, &edx))
        return 0;
    return word->source == REGISTER_EBX ? ebx : ecx;
}

/* The host's XCR0: the registers that its kernel has enabled. */
static uint64_t host_xcr0(void)
{
    unsigned eax, ebx, ecx, edx;
    uint32_t low, high;
    const uint32_t osxsave = BIT(27);
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & osxsave))
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool has_all(uint64_t value, uint64_t bits)
{
    return (value & bits) == bits;
}

/* Takes out what depends on registers or features that are not there. */
static void drop_dependents(struct cpu_model *model, uint64_t xcr0)
{
    if (!has_all(xcr0, XSTATE_SSE | XSTATE_AVX) || !(model->leaf1_ecx & ECX1_AVX)) {
        model->leaf1_ecx &= ~(uint32_t)ECX1_NEEDS_AVX;
        model->leaf7_ebx &= ~(uint32_t)EBX7_NEEDS_AVX;
        model->leaf7_ecx &= ~(uint32_t)ECX7_NEEDS_AVX;
        model->xcr0_supported &= ~XSTATE_AVX;
    }
    if (!has_all(xcr0, XSTATE_AVX512) || !has_all(model->leaf7_ebx, EBX7_AVX512)) {
        model->leaf7_ebx &= ~(uint32_t)(EBX7_AVX512 | EBX7_IFMA);
        model->leaf7_ecx &= ~(uint32_t)ECX7_AVX512;
        model->xcr0_supported &= ~XSTATE_AVX512;
    }
}

/* The first feature that `wanted` has and `model` has not, or NULL. */
static const char *missing_feature(const struct cpu_model *model,
                                   const struct cpu_host_features *wanted)
{
    struct cpu_host_features had;
    struct cpu_model missing = {0};
    unsigned position = 0;
    cpu_model_host_features(model, &had);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        *word_of(&missing, &words[i]) = wanted->words[i] & ~had.words[i];
    return cpu_model_feature(&missing, &position);
}

void cpu_model_host_features(const struct cpu_model *model, struct cpu_host_features *features)
{
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        features->words[i] =
            *(const uint32_t *)((const uint8_t *)model + words[i].offset) & words[i].native;
}

int cpu_model_fit(const struct cpu_model *model, struct cpu_model *fitted, struct error *error)
{
    struct cpu_host_features wanted;
    *fitted = *model;
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        *word_of(fitted, &words[i]) &= host_query(&words[i]) | ~words[i].native;
    drop_dependents(fitted, host_xcr0());
    cpu_model_host_features(model, &wanted);
    const char *name = model->optional ? NULL : missing_feature(fitted, &wanted);
    if (!name)
        return 0;
    return error_set(error, ENOTSUP, "--cpu %s: this host lacks %s; --cpu host takes what it has",
                     model->name, name);
}

int cpu_model_restrict(struct cpu_model *model, const struct cpu_host_features *features,
                       struct error *error)
{
    const char *name = missing_feature(model, features);
    if (name)
        return error_set(error, ENOTSUP, "its processors have %s, which this host lacks", name);
    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        *word_of(model, &words[i]) &= features->words[i] | ~words[i].native;
    drop_dependents(model, ~UINT64_C(0));
    return 0;
}
