/* SPDX-License-Identifier: Apache-2.0 */
/* APM vol. 3 appendix D; Intel SDM vol. 1 §5, §14, §15. */
#include "cpu/isa.h"

#include "cpu/control.h"
#include "cpu/feature_bits.h"

#define SETS(first_, last_, word_, bits_)                                                 \
    {                                                                                     \
        ZYDIS_ISA_SET_##first_, ZYDIS_ISA_SET_##last_, offsetof(struct cpu_model, word_), \
            (uint32_t)(bits_)                                                             \
    }
#define SET(set_, word_, bits_) SETS(set_, set_, word_, bits_)

/* Sets that follow each other in Zydis's list, and the bits a model has for them. A model with any
 * AVX-512 has its forms for 128 and 256 bits too. */
static const struct {
    uint16_t first, last, offset;
    uint32_t bits;
} sets[] = {
    SET(SSE3, leaf1_ecx, ECX1_SSE3),
    SET(SSE3X87, leaf1_ecx, ECX1_SSE3),
    SET(PCLMULQDQ, leaf1_ecx, ECX1_PCLMULQDQ),
    SET(SSSE3, leaf1_ecx, ECX1_SSSE3),
    SET(SSSE3MMX, leaf1_ecx, ECX1_SSSE3),
    SET(SSE4, leaf1_ecx, ECX1_SSE41),
    SET(SSE42, leaf1_ecx, ECX1_SSE42),
    SET(MOVBE, leaf1_ecx, ECX1_MOVBE),
    SET(POPCNT, leaf1_ecx, ECX1_POPCNT),
    SET(AES, leaf1_ecx, ECX1_AES),
    SET(LZCNT, leaf80000001_ecx, ECX81_LZCNT),
    SET(BMI1, leaf7_ebx, EBX7_BMI1),
    SET(BMI2, leaf7_ebx, EBX7_BMI2),
    SET(ADOX_ADCX, leaf7_ebx, EBX7_ADX),
    SET(SHA, leaf7_ebx, EBX7_SHA),
    SET(GFNI, leaf7_ecx, ECX7_GFNI),
    SET(AVX, leaf1_ecx, ECX1_AVX),
    SET(AVXAES, leaf1_ecx, ECX1_AVX | ECX1_AES),
    SET(F16C, leaf1_ecx, ECX1_F16C),
    SET(FMA, leaf1_ecx, ECX1_FMA),
    SETS(AVX2, AVX2GATHER, leaf7_ebx, EBX7_AVX2),
    SET(AVX_GFNI, leaf7_ecx, ECX7_GFNI),
    SET(VAES, leaf7_ecx, ECX7_VAES),
    SET(VPCLMULQDQ, leaf7_ecx, ECX7_VPCLMULQDQ),
    SETS(AVX512BW_128, AVX512BW_KOP, leaf7_ebx, EBX7_AVX512BW),
    SETS(AVX512CD_128, AVX512CD_512, leaf7_ebx, EBX7_AVX512CD),
    SETS(AVX512DQ_128, AVX512DQ_SCALAR, leaf7_ebx, EBX7_AVX512DQ),
    SETS(AVX512F_128, AVX512F_SCALAR, leaf7_ebx, EBX7_AVX512F),
    SETS(AVX512_BITALG_128, AVX512_BITALG_512, leaf7_ecx, ECX7_BITALG),
    SETS(AVX512_GFNI_128, AVX512_GFNI_512, leaf7_ecx, ECX7_GFNI),
    SETS(AVX512_IFMA_128, AVX512_IFMA_512, leaf7_ebx, EBX7_IFMA),
    SETS(AVX512_VAES_128, AVX512_VAES_512, leaf7_ecx, ECX7_VAES),
    SETS(AVX512_VBMI2_128, AVX512_VBMI2_512, leaf7_ecx, ECX7_VBMI2),
    SETS(AVX512_VBMI_128, AVX512_VBMI_512, leaf7_ecx, ECX7_VBMI),
    SETS(AVX512_VNNI_128, AVX512_VNNI_512, leaf7_ecx, ECX7_VNNI),
    SETS(AVX512_VPCLMULQDQ_128, AVX512_VPCLMULQDQ_512, leaf7_ecx, ECX7_VPCLMULQDQ),
    SETS(AVX512_VPOPCNTDQ_128, AVX512_VPOPCNTDQ_512, leaf7_ecx, ECX7_VPOPCNTDQ),
};

bool isa_set_available(const struct cpu_model *model, ZydisISASet set)
{
    for (unsigned i = 0; i < ARRAY_SIZE(sets); i++) {
        if (set < sets[i].first || set > sets[i].last)
            continue;
        uint32_t word = *(const uint32_t *)((const uint8_t *)model + sets[i].offset);
        return (word & sets[i].bits) == sets[i].bits;
    }
    return false;
}
