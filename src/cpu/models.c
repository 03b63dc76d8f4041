/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CPU models that --cpu names.
 *
 * Vendor and family are chosen by what a stock kernel makes of them: an AMD processor of family 15
 * is on none of Linux's lists for Meltdown, L1TF, MDS, retbleed or SRSO; SSB_NO and automatic IBRS
 * take away the remaining reasons for speculation barriers and retpolines, which an emulated CPU
 * does not need. See docs/decisions/cpu-model.md.
 */
#include "cpu/control.h"
#include "cpu/feature_bits.h"

#define SIGNATURE_K8 0x00060fb1u /* family 15, model 107, stepping 1 */

#define ECX1_V2                                                                                  \
    (ECX1_SSE3 | ECX1_PCLMULQDQ | ECX1_SSSE3 | ECX1_CX16 | ECX1_PCID | ECX1_SSE41 | ECX1_SSE42 | \
     ECX1_X2APIC | ECX1_MOVBE | ECX1_POPCNT | ECX1_TSC_DEADLINE | ECX1_AES | ECX1_XSAVE |        \
     ECX1_RDRAND | ECX1_HYPERVISOR)
#define EBX7_V2                                                                             \
    (EBX7_FSGSBASE | EBX7_TSC_ADJUST | EBX7_SMEP | EBX7_ERMS | EBX7_INVPCID | EBX7_RDSEED | \
     EBX7_SMAP | EBX7_CLFLUSHOPT)
#define ECX7_V2  (ECX7_UMIP | ECX7_PKU | ECX7_RDPID)
#define ECX81_V2 (ECX81_LAHF | ECX81_CR8 | ECX81_PREFETCHW)

#define ECX1_V3  (ECX1_V2 | ECX1_FMA | ECX1_AVX | ECX1_F16C)
#define EBX7_V3  (EBX7_V2 | EBX7_BMI1 | EBX7_AVX2 | EBX7_BMI2 | EBX7_ADX)
#define ECX81_V3 (ECX81_V2 | ECX81_LZCNT)

#define EBX7_V4 (EBX7_V3 | EBX7_AVX512)

#define XCR0_V2 (XSTATE_X87 | XSTATE_SSE | XSTATE_PKRU)
#define XCR0_V3 (XCR0_V2 | XSTATE_AVX)
#define XCR0_V4 (XCR0_V3 | XSTATE_AVX512)

/* What all models from x86-64-v2 on share. */
#define MODERN(name_)                                                                    \
    .name = (name_), .vendor = "AuthenticAMD", .brand = "nacre virtual CPU (" name_ ")", \
    .signature = SIGNATURE_K8, .leaf1_edx = EDX1_BASE, .leaf7_edx = EDX7_FSRM,           \
    .leafd1_eax = EAXD1_XSAVEOPT | EAXD1_XSAVEC | EAXD1_XGETBV1,                         \
    .leaf80000001_edx = EDX81_BASE | EDX81_1G_PAGES | EDX81_RDTSCP,                      \
    .leaf80000008_ebx = EBX88_SSB_NO,                                                    \
    .leaf80000021_eax =                                                                  \
        EAX821_LFENCE_SERIALIZES | EAX821_NULL_CLEARS_BASE | EAX821_AUTOMATIC_IBRS,      \
    .physical_address_bits = 40, .kvm_paravirtual = true

static const struct cpu_model models[] = {
    {
        MODERN("x86-64-v2"),
        .description = "SSE4.2, AES, PCID, SMEP/SMAP, PKU; no AVX (default)",
        .leaf1_ecx = ECX1_V2,
        .leaf7_ebx = EBX7_V2,
        .leaf7_ecx = ECX7_V2,
        .leaf80000001_ecx = ECX81_V2,
        .xcr0_supported = XCR0_V2,
    },
    {
        MODERN("x86-64-v3"),
        .description = "v2 with AVX2, FMA, F16C, BMI, ADX, LZCNT",
        .leaf1_ecx = ECX1_V3,
        .leaf7_ebx = EBX7_V3,
        .leaf7_ecx = ECX7_V2,
        .leaf80000001_ecx = ECX81_V3,
        .xcr0_supported = XCR0_V3,
    },
    {
        MODERN("x86-64-v4"),
        .description = "v3 with AVX-512 F, BW, CD, DQ, VL",
        .leaf1_ecx = ECX1_V3,
        .leaf7_ebx = EBX7_V4,
        .leaf7_ecx = ECX7_V2,
        .leaf80000001_ecx = ECX81_V3,
        .xcr0_supported = XCR0_V4,
    },
    {
        MODERN("host"),
        .description = "v2 and every instruction set below that this host has",
        .optional = true,
        .leaf1_ecx = ECX1_V3,
        .leaf7_ebx = EBX7_V4 | EBX7_IFMA | EBX7_SHA,
        .leaf7_ecx = ECX7_V2 | ECX7_VBMI | ECX7_VBMI2 | ECX7_GFNI | ECX7_VAES | ECX7_VPCLMULQDQ |
                     ECX7_VNNI | ECX7_BITALG | ECX7_VPOPCNTDQ,
        .leaf80000001_ecx = ECX81_V3,
        .xcr0_supported = XCR0_V4,
    },
    {
        .name = "x86-64-v1",
        .description = "the first x86-64: SSE2, no XSAVE, no PCID",
        .vendor = "AuthenticAMD",
        .brand = "nacre virtual CPU (x86-64-v1)",
        .signature = SIGNATURE_K8,
        .leaf1_ecx = ECX1_CX16 | ECX1_X2APIC | ECX1_TSC_DEADLINE | ECX1_HYPERVISOR,
        .leaf1_edx = EDX1_BASE,
        .leaf80000001_ecx = ECX81_LAHF | ECX81_CR8,
        .leaf80000001_edx = EDX81_BASE | EDX81_RDTSCP,
        .leaf80000008_ebx = EBX88_SSB_NO,
        .leaf80000021_eax =
            EAX821_LFENCE_SERIALIZES | EAX821_NULL_CLEARS_BASE | EAX821_AUTOMATIC_IBRS,
        .physical_address_bits = 40,
        .kvm_paravirtual = true,
    },
};

const struct cpu_model *cpu_model_at(unsigned index)
{
    return index < ARRAY_SIZE(models) ? &models[index] : NULL;
}

const struct cpu_model *cpu_model_find(const char *name)
{
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}
