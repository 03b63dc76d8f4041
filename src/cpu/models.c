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

/* CPUID leaf 1 */
#define ECX1_SSE3         BIT(0)
#define ECX1_PCLMULQDQ    BIT(1)
#define ECX1_SSSE3        BIT(9)
#define ECX1_CX16         BIT(13)
#define ECX1_PCID         BIT(17)
#define ECX1_SSE41        BIT(19)
#define ECX1_SSE42        BIT(20)
#define ECX1_X2APIC       BIT(21)
#define ECX1_MOVBE        BIT(22)
#define ECX1_POPCNT       BIT(23)
#define ECX1_TSC_DEADLINE BIT(24)
#define ECX1_AES          BIT(25)
#define ECX1_XSAVE        BIT(26)
#define ECX1_RDRAND       BIT(30)
#define ECX1_HYPERVISOR   BIT(31)

/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2
 */
#define EDX1_BASE 0x078bfbffu

/* leaf 7 */
#define EBX7_FSGSBASE   BIT(0)
#define EBX7_TSC_ADJUST BIT(1)
#define EBX7_SMEP       BIT(7)
#define EBX7_ERMS       BIT(9)
#define EBX7_INVPCID    BIT(10)
#define EBX7_RDSEED     BIT(18)
#define EBX7_SMAP       BIT(20)
#define EBX7_CLFLUSHOPT BIT(23)
#define ECX7_UMIP       BIT(2)
#define ECX7_PKU        BIT(3)
#define ECX7_RDPID      BIT(22)
#define EDX7_FSRM       BIT(4)

/* leaf 0xd, subleaf 1 */
#define EAXD1_XSAVEOPT BIT(0)
#define EAXD1_XSAVEC   BIT(1)
#define EAXD1_XGETBV1  BIT(2)

/* leaf 0x80000001: EDX repeats leaf 1's common bits (AMD) */
#define ECX81_LAHF      BIT(0)
#define ECX81_CR8       BIT(4)
#define ECX81_PREFETCHW BIT(8)
#define EDX81_BASE      (0x0183f3ffu | BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(29) /* LM */)
#define EDX81_1G_PAGES  BIT(26)
#define EDX81_RDTSCP    BIT(27)

#define EBX88_SSB_NO             BIT(26)
#define EAX821_LFENCE_SERIALIZES BIT(2)
#define EAX821_NULL_CLEARS_BASE  BIT(6)
#define EAX821_AUTOMATIC_IBRS    BIT(8)

#define SIGNATURE_K8 0x00060fb1u /* family 15, model 107, stepping 1 */

static const struct cpu_model models[] = {
    {
        .name = "x86-64-v2",
        .description = "SSE4.2, AES, PCID, SMEP/SMAP, PKU; no AVX (default)",
        .vendor = "AuthenticAMD",
        .brand = "nacre virtual CPU (x86-64-v2)",
        .signature = SIGNATURE_K8,
        .leaf1_ecx = ECX1_SSE3 | ECX1_PCLMULQDQ | ECX1_SSSE3 | ECX1_CX16 | ECX1_PCID | ECX1_SSE41 |
                     ECX1_SSE42 | ECX1_X2APIC | ECX1_MOVBE | ECX1_POPCNT | ECX1_TSC_DEADLINE |
                     ECX1_AES | ECX1_XSAVE | ECX1_RDRAND | ECX1_HYPERVISOR,
        .leaf1_edx = EDX1_BASE,
        .leaf7_ebx = EBX7_FSGSBASE | EBX7_TSC_ADJUST | EBX7_SMEP | EBX7_ERMS | EBX7_INVPCID |
                     EBX7_RDSEED | EBX7_SMAP | EBX7_CLFLUSHOPT,
        .leaf7_ecx = ECX7_UMIP | ECX7_PKU | ECX7_RDPID,
        .leaf7_edx = EDX7_FSRM,
        .leafd1_eax = EAXD1_XSAVEOPT | EAXD1_XSAVEC | EAXD1_XGETBV1,
        .leaf80000001_ecx = ECX81_LAHF | ECX81_CR8 | ECX81_PREFETCHW,
        .leaf80000001_edx = EDX81_BASE | EDX81_1G_PAGES | EDX81_RDTSCP,
        .leaf80000008_ebx = EBX88_SSB_NO,
        .leaf80000021_eax =
            EAX821_LFENCE_SERIALIZES | EAX821_NULL_CLEARS_BASE | EAX821_AUTOMATIC_IBRS,
        .xcr0_supported = XSTATE_X87 | XSTATE_SSE | XSTATE_PKRU,
        .physical_address_bits = 46,
        .kvm_paravirtual = true,
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
