/* SPDX-License-Identifier: Apache-2.0 */
/* What a CPU model contains, by the names that Linux has for the bits in /proc/cpuinfo. AMD64 APM
 * vol. 3 appendix E. */
#include "cpu/control.h"

#include <stdio.h>

/* A feature word of struct cpu_model and the names of its bits; those without a name are reserved
 * or not in any model. */
struct feature_word {
    size_t offset;
    const char *names[32];
};

#define WORD(member, ...)                                                      \
    {                                                                          \
        .offset = offsetof(struct cpu_model, member), .names = { __VA_ARGS__ } \
    }

static const struct feature_word words[] = {
    WORD(leaf1_edx, "fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8",
         "apic", [11] = "sep", "mtrr", "pge", "mca", "cmov", "pat",
         "pse36", [19] = "clflush", [23] = "mmx", "fxsr", "sse", "sse2", [28] = "ht"),
    WORD(leaf1_ecx, "sse3", "pclmulqdq", [3] = "monitor", [9] = "ssse3", [12] = "fma",
         "cx16", [17] = "pcid", [19] = "sse4_1", "sse4_2", "x2apic", "movbe", "popcnt",
         "tsc_deadline", "aes", "xsave", [28] = "avx", "f16c", "rdrand", "hypervisor"),
    WORD(leaf7_ebx, "fsgsbase", "tsc_adjust", [3] = "bmi1", [5] = "avx2", [7] = "smep", "bmi2",
         "erms", "invpcid", [16] = "avx512f", "avx512dq", "rdseed", "adx", "smap",
         "avx512ifma", [23] = "clflushopt", "clwb", [28] = "avx512cd", "sha_ni", "avx512bw",
         "avx512vl"),
    WORD(leaf7_ecx, [1] = "avx512vbmi", "umip", "pku", [6] = "avx512_vbmi2", [8] = "gfni", "vaes",
         "vpclmulqdq", "avx512_vnni",
         "avx512_bitalg", [14] = "avx512_vpopcntdq", [16] = "la57", [22] = "rdpid"),
    WORD(leaf7_edx, [4] = "fsrm"),
    WORD(leafd1_eax, "xsaveopt", "xsavec", "xgetbv1", "xsaves"),
    WORD(leaf80000001_edx, [11] = "syscall", [20] = "nx", [22] = "mmxext", [25] = "fxsr_opt",
         "pdpe1gb", "rdtscp", [29] = "lm"),
    WORD(leaf80000001_ecx, "lahf_lm", [4] = "cr8_legacy", "abm", "sse4a", "misalignsse",
         "3dnowprefetch"),
    WORD(leaf80000008_ebx, [26] = "ssb_no"),
    WORD(leaf80000021_eax, [2] = "lfence_serializing", [6] = "null_sel_clr_base", [8] = "autoibrs"),
};

const char *cpu_model_feature(const struct cpu_model *model, unsigned *position)
{
    for (; *position < ARRAY_SIZE(words) * 32; ++*position) {
        const struct feature_word *word = &words[*position / 32];
        uint32_t bits;
        memcpy(&bits, (const uint8_t *)model + word->offset, sizeof(bits));
        const char *name = word->names[*position % 32];
        if (name && bits >> (*position % 32) & 1) {
            ++*position;
            return name;
        }
    }
    return NULL;
}
