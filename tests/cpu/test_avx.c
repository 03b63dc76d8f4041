/* SPDX-License-Identifier: Apache-2.0 */
/* AVX and AVX-512 where the host cannot be compared with: what CR4, XCR0 and CR0 forbid, elements
 * that masks leave out, gathers that fault half way, state images. Skipped where the host lacks
 * them. */
#include "code.h"

#include "cpu/feature_bits.h"

#include <string.h>

enum { DATA = 0x20000, MAPPED_END = 0x40000000, XSAVE_BV = 512 };

#define XCR0_AVX    (XSTATE_X87 | XSTATE_SSE | XSTATE_AVX)
#define XCR0_AVX512 (XCR0_AVX | XSTATE_AVX512)

static struct bare *with_xcr0(void **state, uint64_t xcr0)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    if ((vcpu->model->xcr0_supported & xcr0) != xcr0)
        skip();
    vcpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    vcpu->xcr0 = xcr0;
    vcpu->registers[GPR_RBX] = DATA;
    vcpu_update_mode(vcpu);
    return bare;
}

/* A vector register's 32-bit element, wherever it lies in the image. */
static uint8_t *element(struct bare *bare, unsigned number, unsigned i)
{
    static const unsigned starts[] = {XSAVE_XMM, XSAVE_YMM_HIGH, XSAVE_ZMM_HIGH, XSAVE_ZMM_HIGH};
    unsigned part = i / 4, stride = part < 2 ? 16 : 32;
    return bare->vcpu->xsave + starts[part] + (size_t)number * stride + (i < 8 ? i % 4 : i - 8) * 4;
}

static void set_elements(struct bare *bare, unsigned number, unsigned count, const uint32_t *values)
{
    for (unsigned i = 0; i < count; i++)
        store_le(element(bare, number, i), values[i], 4);
}

static void assert_elements(struct bare *bare, unsigned number, unsigned count,
                            const uint32_t *values)
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(load_le(element(bare, number, i), 4), values[i]);
}

static void set_opmask(struct bare *bare, unsigned number, uint64_t value)
{
    store_le(bare->vcpu->xsave + XSAVE_OPMASK + (size_t)number * 8, value, 8);
}

static uint64_t opmask(struct bare *bare, unsigned number)
{
    return load_le(bare->vcpu->xsave + XSAVE_OPMASK + (size_t)number * 8, 8);
}

/* vaddps ymm0, ymm0, ymm1; vaddps zmm0, zmm0, zmm1; andn eax, ecx, edx */
#define VADDPS_YMM 0xc5, 0xfc, 0x58, 0xc1
#define VADDPS_ZMM 0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1
#define ANDN       0xc4, 0xe2, 0x70, 0xf2, 0xc2

static void registers_must_be_enabled(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX);
    struct vcpu *vcpu = bare->vcpu;
    assert_int_equal(CODE_RUN(bare, VADDPS_YMM), CODE_END);
    assert_int_equal(CODE_RUN(bare, VADDPS_ZMM), VECTOR_UD);
    vcpu->cr0 |= CR0_TS;
    vcpu_update_mode(vcpu);
    assert_int_equal(CODE_RUN(bare, VADDPS_YMM), VECTOR_NM);
    vcpu->cr0 = (vcpu->cr0 & ~CR0_TS) | CR0_EM; /* which is for SSE alone */
    vcpu_update_mode(vcpu);
    assert_int_equal(CODE_RUN(bare, VADDPS_YMM), CODE_END);
    vcpu->cr0 &= ~CR0_EM;
    vcpu->xcr0 = XSTATE_X87 | XSTATE_SSE;
    vcpu_update_mode(vcpu);
    assert_int_equal(CODE_RUN(bare, VADDPS_YMM), VECTOR_UD);
    vcpu->xcr0 = XCR0_AVX;
    vcpu->cr4 &= ~(uint64_t)CR4_OSXSAVE;
    vcpu_update_mode(vcpu);
    assert_int_equal(CODE_RUN(bare, VADDPS_YMM), VECTOR_UD);
    if (vcpu->model->leaf7_ebx & EBX7_BMI1) /* general registers need nothing */
        assert_int_equal(CODE_RUN(bare, ANDN), CODE_END);
}

static void xsetbv_enables_them(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX512);
    struct vcpu *vcpu = bare->vcpu;
    vcpu->xcr0 = XSTATE_X87;
    vcpu_update_mode(vcpu);
    vcpu->registers[GPR_RAX] = XCR0_AVX512;
    vcpu->registers[GPR_RCX] = vcpu->registers[GPR_RDX] = 0;
    assert_int_equal(CODE_RUN(bare, 0x0f, 0x01, 0xd1, VADDPS_ZMM), CODE_END);
}

static void upper_halves_become_zero(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX);
    static const uint32_t ones[] = {1, 1, 1, 1, 1, 1, 1, 1}, low[] = {2, 2, 2, 2, 0, 0, 0, 0};
    static const uint32_t kept[] = {2, 2, 2, 2, 1, 1, 1, 1}, none[8] = {0};
    static const uint32_t half[] = {1, 1, 1, 1, 0, 0, 0, 0};
    set_elements(bare, 0, 8, ones);
    set_elements(bare, 1, 8, (const uint32_t[]){2, 2, 2, 2, 2, 2, 2, 2});
    assert_int_equal(CODE_RUN(bare, 0x0f, 0x28, 0xc1), CODE_END); /* movaps xmm0, xmm1 */
    assert_elements(bare, 0, 8, kept);
    assert_int_equal(CODE_RUN(bare, 0xc5, 0xf8, 0x28, 0xc1), CODE_END); /* vmovaps xmm0, xmm1 */
    assert_elements(bare, 0, 8, low);
    set_elements(bare, 15, 8, ones);
    assert_int_equal(CODE_RUN(bare, 0xc5, 0xf8, 0x77), CODE_END); /* vzeroupper */
    assert_elements(bare, 15, 8, half);
    assert_int_equal(CODE_RUN(bare, 0xc5, 0xfc, 0x77), CODE_END); /* vzeroall */
    assert_elements(bare, 15, 8, none);
}

static void vex_clears_what_avx512_has(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX512);
    store_le(element(bare, 0, 12), 7, 4);
    assert_int_equal(CODE_RUN(bare, 0xc5, 0xf8, 0x28, 0xc1), CODE_END); /* vmovaps xmm0, xmm1 */
    assert_int_equal(load_le(element(bare, 0, 12), 4), 0);
}

/* Sixteen bytes in front of the end of what is mapped. */
static void masked_elements_do_not_fault(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX);
    static const uint32_t first[] = {~0u, 0, 0, ~0u, 0, 0, 0, 0};
    static const uint32_t fifth[] = {~0u, 0, 0, 0, ~0u, 0, 0, 0};
    bare->vcpu->registers[GPR_RBX] = MAPPED_END - 16;
    set_elements(bare, 1, 8, first);
    set_elements(bare, 2, 8, fifth);
    /* vmaskmovps ymm3, ymm1, [rbx], and the same to memory; then with ymm2 */
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x75, 0x2c, 0x1b), CODE_END);
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x75, 0x2e, 0x1b), CODE_END);
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x6d, 0x2c, 0x1b), VECTOR_PF);
    assert_int_equal(bare->vcpu->cr2, MAPPED_END);
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x6d, 0x2e, 0x1b), VECTOR_PF);
}

static void opmasks_leave_elements_out(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX512);
    bare->vcpu->registers[GPR_RBX] = MAPPED_END - 16;
    set_opmask(bare, 1, 0x000f);
    set_opmask(bare, 2, 0x0010);
    /* vmovdqu32 zmm0{k1}, [rbx]; [rbx]{k1}, zmm0; zmm0{k2}, [rbx] */
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf1, 0x7e, 0x49, 0x6f, 0x03), CODE_END);
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf1, 0x7e, 0x49, 0x7f, 0x03), CODE_END);
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf1, 0x7e, 0x4a, 0x6f, 0x03), VECTOR_PF);
    assert_int_equal(bare->vcpu->cr2, MAPPED_END);
    /* Four elements in a row fit, whichever they are: vpcompressd [rbx]{k3}, zmm0 */
    set_opmask(bare, 3, 0x8421);
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf2, 0x7d, 0x4b, 0x8b, 0x03), CODE_END);
    set_opmask(bare, 3, 0x8521);
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf2, 0x7d, 0x4b, 0x8b, 0x03), VECTOR_PF);
}

/* vpgatherdd ymm0, [rbx + ymm1*4], ymm2: the third element is not there. */
static void gather_keeps_what_is_done(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX);
    static const uint32_t all[] = {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0};
    static const uint32_t left[] = {0, 0, ~0u, ~0u, ~0u, ~0u, ~0u, 0}, none[8] = {0};
    uint32_t indices[] = {3, 0, (MAPPED_END - DATA) / 4, (uint32_t)-1, 1, 2, 5, 0};
    for (int i = -1; i < 6; i++)
        bare_store(bare, DATA + (uint64_t)(i * 4 + 4) - 4, (uint64_t)(100 + i), 4);
    set_elements(bare, 0, 8, (const uint32_t[]){9, 9, 9, 9, 9, 9, 9, 9});
    set_elements(bare, 1, 8, indices);
    set_elements(bare, 2, 8, all);
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x8b), VECTOR_PF);
    assert_int_equal(bare->vcpu->cr2, MAPPED_END);
    assert_elements(bare, 0, 2, (const uint32_t[]){103, 100});
    assert_elements(bare, 2, 8, left);
    indices[2] = 4;
    set_elements(bare, 1, 8, indices);
    assert_int_equal(CODE_RUN(bare, 0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x8b), CODE_END);
    assert_elements(bare, 0, 8, (const uint32_t[]){103, 100, 104, 99, 101, 102, 105, 9});
    assert_elements(bare, 2, 8, none);
}

/* vpscatterqd [rbx + zmm1*8]{k1}, ymm0: the later of two to one place stays. */
static void scatter_goes_in_order(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX512);
    static const uint32_t data[] = {10, 11, 12, 13, 14, 15, 16, 17};
    static const uint32_t indices[] = {0, 0, 1, 0, 0, 0, 3, 0, 1, 0, 5, 0, 6, 0, 7, 0};
    for (unsigned i = 0; i < 8; i++)
        bare_store(bare, DATA + i * UINT64_C(8), 0, 8);
    set_elements(bare, 0, 8, data);
    set_elements(bare, 1, 16, indices);
    set_opmask(bare, 1, 0x7f);
    assert_int_equal(CODE_RUN(bare, 0x62, 0xf2, 0x7d, 0x49, 0xa3, 0x04, 0xcb), CODE_END);
    assert_int_equal(bare_load(bare, DATA, 8), 12);
    assert_int_equal(bare_load(bare, DATA + 8, 8), 14);
    assert_int_equal(bare_load(bare, DATA + 24, 8), 13);
    assert_int_equal(bare_load(bare, DATA + 56, 8), 0); /* masked out */
    assert_int_equal(opmask(bare, 1), 0);
}

/* xsavec [rbx]; vzeroall; xrstor [rbx]: registers, and what of them is in use. */
static void state_comes_back(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX512);
    struct vcpu *vcpu = bare->vcpu;
    static const uint32_t values[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    uint8_t before[XSAVE_PKRU - XSAVE_XMM];
    for (unsigned i = 0; i < 4096; i += 8)
        bare_store(bare, DATA + i, 0, 8);
    set_elements(bare, 3, 16, values);
    store_le(vcpu->xsave + XSAVE_HI16_ZMM + 5 * 64, 77, 8);
    set_opmask(bare, 7, 0x1234);
    memcpy(before, vcpu->xsave + XSAVE_XMM, sizeof(before));
    vcpu->registers[GPR_RAX] = vcpu->registers[GPR_RDX] = ~0u;
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xc7, 0x23), CODE_END);
    assert_int_equal(bare_load(bare, DATA + XSAVE_BV, 8) | XSTATE_X87, XCR0_AVX512);
    assert_int_equal(bare_load(bare, DATA + 576 + 256 + 7 * 8, 8), 0x1234); /* compact */
    /* vzeroall; vpxord zmm21, zmm21, zmm21; kxorq k7, k7, k7 */
    assert_int_equal(CODE_RUN(bare, 0xc5, 0xfc, 0x77, 0x62, 0xa1, 0x55, 0x40, 0xef, 0xed, 0xc4,
                              0xe1, 0xc4, 0x47, 0xff),
                     CODE_END);
    assert_int_equal(load_le(element(bare, 3, 15), 4), 0);
    assert_int_equal(opmask(bare, 7), 0);
    /* xrstor [rbx] */
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xae, 0x2b), CODE_END);
    for (unsigned i = 0; i < sizeof(before); i++)
        if (i + XSAVE_XMM < 416 || i + XSAVE_XMM >= XSAVE_YMM_HIGH)
            assert_int_equal(vcpu->xsave[XSAVE_XMM + i], before[i]);
}

/* 32-bit code has eight of each register, whatever the image has. */
static void thirty_two_bit_code_has_half(void **state)
{
    struct bare *bare = with_xcr0(state, XCR0_AVX);
    store_le(element(bare, 7, 4), 1, 4);
    store_le(element(bare, 8, 4), 1, 4);
    bare_set_descriptor(bare, SELECTOR_LONG_CODE, bare_descriptor(0, 0xfffff, ACCESS_CODE, 0xc));
    bare->vcpu->segments[SEG_CS].attributes &= ~SEGMENT_LONG;
    bare->vcpu->segments[SEG_CS].attributes |= SEGMENT_BIG;
    vcpu_update_mode(bare->vcpu);
    CODE_RUN(bare, 0xc5, 0xf8, 0x77); /* vzeroupper */
    assert_int_equal(load_le(element(bare, 7, 4), 4), 0);
    assert_int_equal(load_le(element(bare, 8, 4), 4), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, code_setup_host, bare_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(registers_must_be_enabled),
        TEST(xsetbv_enables_them),
        TEST(upper_halves_become_zero),
        TEST(vex_clears_what_avx512_has),
        TEST(masked_elements_do_not_fault),
        TEST(opmasks_leave_elements_out),
        TEST(gather_keeps_what_is_done),
        TEST(scatter_goes_in_order),
        TEST(state_comes_back),
        TEST(thirty_two_bit_code_has_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
