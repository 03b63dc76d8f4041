/* SPDX-License-Identifier: Apache-2.0 */
/* The one definition of every x86 register bit, vector and descriptor field. APM vol. 2 §3, §4, §8.
 */
#ifndef NACRE_CPU_REGISTERS_H
#define NACRE_CPU_REGISTERS_H

#include "base/bits.h"

enum {
    GPR_RAX,
    GPR_RCX,
    GPR_RDX,
    GPR_RBX,
    GPR_RSP,
    GPR_RBP,
    GPR_RSI,
    GPR_RDI,
    GPR_R8,
    GPR_R9,
    GPR_R10,
    GPR_R11,
    GPR_R12,
    GPR_R13,
    GPR_R14,
    GPR_R15,
};

/* In the order of the instruction encoding. */
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

/* Do bits 63 to 48 repeat bit 47? Other linear addresses fault in long mode. APM vol. 2 §5.3.1 */
static inline bool address_is_canonical(uint64_t address)
{
    return (uint64_t)sign_extend(address, 48) == address;
}

/* RFLAGS, APM vol. 2 §3.1.6 */
#define RFLAGS_CF         BIT(0)
#define RFLAGS_FIXED      BIT(1)
#define RFLAGS_PF         BIT(2)
#define RFLAGS_AF         BIT(4)
#define RFLAGS_ZF         BIT(6)
#define RFLAGS_SF         BIT(7)
#define RFLAGS_TF         BIT(8)
#define RFLAGS_IF         BIT(9)
#define RFLAGS_DF         BIT(10)
#define RFLAGS_OF         BIT(11)
#define RFLAGS_IOPL       (BIT(12) | BIT(13))
#define RFLAGS_IOPL_SHIFT 12
#define RFLAGS_NT         BIT(14)
#define RFLAGS_RF         BIT(16)
#define RFLAGS_VM         BIT(17)
#define RFLAGS_AC         BIT(18)
#define RFLAGS_VIF        BIT(19)
#define RFLAGS_VIP        BIT(20)
#define RFLAGS_ID         BIT(21)
#define RFLAGS_DEFINED    UINT64_C(0x3f7fd7) /* the others read as zero */
#define RFLAGS_ARITHMETIC (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* CR0, APM vol. 2 §3.1.1 */
#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

/* CR4, APM vol. 2 §3.1.3 */
#define CR4_VME        BIT(0)
#define CR4_PVI        BIT(1)
#define CR4_TSD        BIT(2)
#define CR4_DE         BIT(3)
#define CR4_PSE        BIT(4)
#define CR4_PAE        BIT(5)
#define CR4_MCE        BIT(6)
#define CR4_PGE        BIT(7)
#define CR4_PCE        BIT(8)
#define CR4_OSFXSR     BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP       BIT(11)
#define CR4_FSGSBASE   BIT(16)
#define CR4_PCIDE      BIT(17)
#define CR4_OSXSAVE    BIT(18)
#define CR4_SMEP       BIT(20)
#define CR4_SMAP       BIT(21)
#define CR4_PKE        BIT(22)

#define CR3_PCID_MASK UINT64_C(0xfff)
#define CR3_NO_FLUSH  BIT(63)

/* EFER, APM vol. 2 §3.1.7 */
#define EFER_SCE   BIT(0)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define EFER_NXE   BIT(11)
#define EFER_FFXSR BIT(14)

/* Where vector registers lie in vcpu->xsave: XSAVE's standard format, as leaf 0xd of CPUID says it.
 * APM vol. 2 §11.5.7 */
enum xsave_offset {
    XSAVE_FCW = 0,
    XSAVE_FTW = 4,
    XSAVE_MXCSR = 24,
    XSAVE_XMM = 160,       /* 16 of 16 bytes */
    XSAVE_YMM_HIGH = 576,  /* 16 of 16 bytes: the upper halves */
    XSAVE_OPMASK = 1088,   /* 8 of 8 bytes */
    XSAVE_ZMM_HIGH = 1152, /* 16 of 32 bytes: the upper halves */
    XSAVE_HI16_ZMM = 1664, /* ZMM16 to ZMM31, 64 bytes each */
    XSAVE_PKRU = 2688,
};

/* XCR0 and XSTATE_BV, APM vol. 2 §11.5.2 */
#define XSTATE_X87       BIT(0)
#define XSTATE_SSE       BIT(1)
#define XSTATE_AVX       BIT(2)
#define XSTATE_OPMASK    BIT(5)
#define XSTATE_ZMM_HI256 BIT(6)
#define XSTATE_HI16_ZMM  BIT(7)
#define XSTATE_PKRU      BIT(9)
#define XSTATE_AVX512    (XSTATE_OPMASK | XSTATE_ZMM_HI256 | XSTATE_HI16_ZMM)

/* struct segment.attributes: descriptor bits 40..47 and 52..55, packed as in an SVM VMCB. APM vol.
 * 2 §4.7, table 15-5 */
#define SEGMENT_TYPE        0x000fu
#define SEGMENT_ACCESSED    0x0001u /* code and data */
#define SEGMENT_WRITABLE    0x0002u /* data; readable for code */
#define SEGMENT_EXPAND_DOWN 0x0004u /* data; conforming for code */
#define SEGMENT_CODE        0x0008u
#define SEGMENT_NON_SYSTEM  0x0010u
#define SEGMENT_DPL_SHIFT   5
#define SEGMENT_PRESENT     0x0080u
#define SEGMENT_AVAILABLE   0x0100u
#define SEGMENT_LONG        0x0200u
#define SEGMENT_BIG         0x0400u /* D/B */
#define SEGMENT_GRANULARITY 0x0800u

/* System descriptor types, APM vol. 2 §4.7.2 to §4.8.3 */
enum descriptor_type {
    DESCRIPTOR_TSS16_AVAILABLE = 1,
    DESCRIPTOR_LDT = 2,
    DESCRIPTOR_TSS16_BUSY = 3,
    DESCRIPTOR_CALL_GATE16 = 4,
    DESCRIPTOR_TASK_GATE = 5,
    DESCRIPTOR_INTERRUPT_GATE16 = 6,
    DESCRIPTOR_TRAP_GATE16 = 7,
    DESCRIPTOR_TSS_AVAILABLE = 9,
    DESCRIPTOR_TSS_BUSY = 11,
    DESCRIPTOR_CALL_GATE = 12,
    DESCRIPTOR_INTERRUPT_GATE = 14,
    DESCRIPTOR_TRAP_GATE = 15,
};

/* Exception vectors, APM vol. 2 table 8-1 */
enum {
    VECTOR_DE = 0,
    VECTOR_DB = 1,
    VECTOR_NMI = 2,
    VECTOR_BP = 3,
    VECTOR_OF = 4,
    VECTOR_BR = 5,
    VECTOR_UD = 6,
    VECTOR_NM = 7,
    VECTOR_DF = 8,
    VECTOR_TS = 10,
    VECTOR_NP = 11,
    VECTOR_SS = 12,
    VECTOR_GP = 13,
    VECTOR_PF = 14,
    VECTOR_MF = 16,
    VECTOR_AC = 17,
    VECTOR_MC = 18,
    VECTOR_XM = 19,
};

/* Page-fault error code, APM vol. 2 §8.4.2 */
#define PAGE_FAULT_PRESENT     BIT(0)
#define PAGE_FAULT_WRITE       BIT(1)
#define PAGE_FAULT_USER        BIT(2)
#define PAGE_FAULT_RESERVED    BIT(3)
#define PAGE_FAULT_FETCH       BIT(4)
#define PAGE_FAULT_PROTECT_KEY BIT(5)

/* Page-table entries, APM vol. 2 §5.4 */
#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_GLOBAL   BIT(8)
#define PTE_NX       BIT(63)

/* DR6 and DR7, APM vol. 2 §13.1 */
#define DR6_FIXED UINT64_C(0xffff0ff0)
#define DR6_BD    BIT(13)
#define DR6_BS    BIT(14)
#define DR6_BT    BIT(15)
#define DR7_FIXED UINT64_C(0x400)
#define DR7_GD    BIT(13)

#define DR7_ENABLES UINT64_C(0xff) /* L0, G0 ... L3, G3 */

/* Model-specific registers, APM vol. 2 appendix A; Intel SDM vol. 4 */
enum {
    MSR_TSC = 0x10,
    MSR_APIC_BASE = 0x1b,
    MSR_TSC_ADJUST = 0x3b,
    MSR_SPEC_CTRL = 0x48,
    MSR_PRED_CMD = 0x49,
    MSR_MICROCODE_REVISION = 0x8b,
    MSR_MTRR_CAP = 0xfe,
    MSR_ARCH_CAPABILITIES = 0x10a,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP = 0x175,
    MSR_SYSENTER_EIP = 0x176,
    MSR_MCG_CAP = 0x179,
    MSR_MCG_STATUS = 0x17a,
    MSR_MCG_CTL = 0x17b,
    MSR_MISC_ENABLE = 0x1a0,
    MSR_MTRR_BASE0 = 0x200,
    MSR_MTRR_FIX64K = 0x250,
    MSR_MTRR_FIX16K_80000 = 0x258,
    MSR_MTRR_FIX16K_A0000 = 0x259,
    MSR_MTRR_FIX4K = 0x268,
    MSR_PAT = 0x277,
    MSR_MC0_CTL2 = 0x280, /* one a bank */
    MSR_MTRR_DEFAULT = 0x2ff,
    MSR_MC0_CTL = 0x400, /* CTL, STATUS, ADDR, MISC of each bank */
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_X2APIC_FIRST = 0x800,
    MSR_X2APIC_LAST = 0x8ff,
    MSR_XSS = 0xda0,
};
#define MSR_EFER           0xc0000080u
#define MSR_STAR           0xc0000081u
#define MSR_LSTAR          0xc0000082u
#define MSR_CSTAR          0xc0000083u
#define MSR_FMASK          0xc0000084u
#define MSR_FS_BASE        0xc0000100u
#define MSR_GS_BASE        0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_TSC_AUX        0xc0000103u

#define APIC_BASE_BSP        BIT(8)
#define APIC_BASE_X2APIC     BIT(10)
#define APIC_BASE_ENABLE     BIT(11)
#define APIC_DEFAULT_ADDRESS UINT64_C(0xfee00000)

/* vcpu->code_mode: cached code is valid only under the same value. */
#define CODE_MODE_LONG      BIT(0) /* 64-bit code */
#define CODE_MODE_BIG       BIT(1) /* CS.D: 32-bit defaults */
#define CODE_MODE_STACK_BIG BIT(2) /* SS.B */
#define CODE_MODE_USER      BIT(3) /* CPL 3 */
#define CODE_MODE_FLAT                                                                             \
    BIT(4) /* CS, DS, ES, SS have base 0, limit 4 GiB and allow all: no segment checks; always set \
              in 64-bit code */
#define CODE_MODE_NO_FPU                                                                           \
    BIT(5) /* CR0.TS or EM, or no CR4.OSFXSR: x87, MMX and SSE instructions may fault (the handler \
              decides) */
#define CODE_MODE_PROTECTED BIT(6) /* CR0.PE and not virtual-8086 */
#define CODE_MODE_V86       BIT(7)
#define CODE_MODE_FS_OPEN   BIT(10) /* not in 64-bit code: FS has a limit of 4 GiB and allows all */
#define CODE_MODE_GS_OPEN   BIT(11) /* likewise */
#define CODE_MODE_AC        BIT(9)  /* CPL below 3 with RFLAGS.AC: SMAP does not apply */
#define CODE_MODE_AVX       BIT(12) /* XCR0 has AVX, and CR4.OSXSAVE is set */
#define CODE_MODE_AVX512    BIT(13) /* ... and all of AVX-512 */
#define CODE_MODE_STEP      BIT(8)  /* RFLAGS.TF or armed breakpoints: one instruction a block */

#endif
