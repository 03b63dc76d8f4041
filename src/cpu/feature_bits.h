/* SPDX-License-Identifier: Apache-2.0 */
/* The one definition of each feature bit of CPUID that a model can have: register and leaf, then
 * the feature. APM vol. 3 appendix E; Intel SDM vol. 2 CPUID. */
#ifndef NACRE_CPU_FEATURE_BITS_H
#define NACRE_CPU_FEATURE_BITS_H

#include "base/bits.h"

/* CPUID leaf 1 */
#define ECX1_SSE3         BIT(0)
#define ECX1_PCLMULQDQ    BIT(1)
#define ECX1_SSSE3        BIT(9)
#define ECX1_FMA          BIT(12)
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
#define ECX1_AVX          BIT(28)
#define ECX1_F16C         BIT(29)
#define ECX1_RDRAND       BIT(30)
#define ECX1_HYPERVISOR   BIT(31)

/* FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2
 */
#define EDX1_BASE 0x078bfbffu

/* leaf 7 */
#define EBX7_FSGSBASE   BIT(0)
#define EBX7_TSC_ADJUST BIT(1)
#define EBX7_BMI1       BIT(3)
#define EBX7_AVX2       BIT(5)
#define EBX7_SMEP       BIT(7)
#define EBX7_BMI2       BIT(8)
#define EBX7_ERMS       BIT(9)
#define EBX7_INVPCID    BIT(10)
#define EBX7_AVX512F    BIT(16)
#define EBX7_AVX512DQ   BIT(17)
#define EBX7_RDSEED     BIT(18)
#define EBX7_ADX        BIT(19)
#define EBX7_SMAP       BIT(20)
#define EBX7_IFMA       BIT(21)
#define EBX7_CLFLUSHOPT BIT(23)
#define EBX7_AVX512CD   BIT(28)
#define EBX7_SHA        BIT(29)
#define EBX7_AVX512BW   BIT(30)
#define EBX7_AVX512VL   BIT(31)
/* What nacre has of AVX-512 at least, where it has any. */
#define EBX7_AVX512     (EBX7_AVX512F | EBX7_AVX512DQ | EBX7_AVX512CD | EBX7_AVX512BW | EBX7_AVX512VL)
#define ECX7_VBMI       BIT(1)
#define ECX7_UMIP       BIT(2)
#define ECX7_PKU        BIT(3)
#define ECX7_VBMI2      BIT(6)
#define ECX7_GFNI       BIT(8)
#define ECX7_VAES       BIT(9)
#define ECX7_VPCLMULQDQ BIT(10)
#define ECX7_VNNI       BIT(11)
#define ECX7_BITALG     BIT(12)
#define ECX7_VPOPCNTDQ  BIT(14)
#define ECX7_RDPID      BIT(22)
#define EDX7_FSRM       BIT(4)

/* leaf 0xd, subleaf 1 */
#define EAXD1_XSAVEOPT BIT(0)
#define EAXD1_XSAVEC   BIT(1)
#define EAXD1_XGETBV1  BIT(2)

/* leaf 0x80000001: EDX repeats leaf 1's common bits (AMD) */
#define ECX81_LAHF      BIT(0)
#define ECX81_CR8       BIT(4)
#define ECX81_LZCNT     BIT(5) /* ABM */
#define ECX81_PREFETCHW BIT(8)
#define EDX81_BASE      (0x0183f3ffu | BIT(11) /* SYSCALL */ | BIT(20) /* NX */ | BIT(29) /* LM */)
#define EDX81_1G_PAGES  BIT(26)
#define EDX81_RDTSCP    BIT(27)

#define EBX88_SSB_NO             BIT(26)
#define EAX821_LFENCE_SERIALIZES BIT(2)
#define EAX821_NULL_CLEARS_BASE  BIT(6)
#define EAX821_AUTOMATIC_IBRS    BIT(8)

#endif
