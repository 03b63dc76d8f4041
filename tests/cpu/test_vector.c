/* SPDX-License-Identifier: Apache-2.0 */
/* x87, MMX and SSE instructions whose surroundings the host cannot be compared with: exceptions,
 * state images, what CR0 and CR4 forbid. */
#include "code.h"

#include <string.h>

enum { DATA = 0x20000, FXSAVE_MXCSR = 24, XSAVE_HEADER = 512, MXCSR_INITIAL = 0x1f80 };

static int setup(void **state)
{
    if (code_setup_long(state))
        return -1;
    struct bare *bare = *state;
    bare->vcpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    bare->vcpu->cr0 |= CR0_NE;
    bare->vcpu->xcr0 = 3;
    bare->vcpu->registers[GPR_RBX] = DATA;
    vcpu_update_mode(bare->vcpu);
    return 0;
}

static void crc32_needs_no_vector_state(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->cr0 |= CR0_TS;
    bare->vcpu->cr4 &= ~(uint64_t)CR4_OSFXSR;
    bare->vcpu->registers[GPR_RAX] = 0;
    bare->vcpu->registers[GPR_RCX] = 1;
    assert_int_equal(CODE_RUN(bare, 0xf2, 0x0f, 0x38, 0xf1, 0xc1), CODE_END); /* crc32 eax, ecx */
    assert_int_equal(bare->vcpu->registers[GPR_RAX], 0xdd45aab8);
}

static void task_switched_forbids_vectors(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->cr0 |= CR0_TS;
    assert_int_equal(CODE_RUN(bare, 0x66, 0x0f, 0xef, 0xc0), VECTOR_NM); /* pxor xmm0, xmm0 */
}

static void mmx_forms_of_sse_need_no_osfxsr(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->cr4 &= ~(uint64_t)CR4_OSFXSR;
    assert_int_equal(CODE_RUN(bare, 0x0f, 0x38, 0x00, 0xc1), CODE_END); /* pshufb mm0, mm1 */
    assert_int_equal(CODE_RUN(bare, 0x66, 0x0f, 0x38, 0x00, 0xc1),
                     VECTOR_UD); /* pshufb xmm0, xmm1 */
}

static void misaligned_operand_of_mmx_faults(void **state)
{
    struct bare *bare = *state;
    /* cvtpd2pi mm0, [rbx + 8]: run on the host, it brought down nacre. */
    assert_int_equal(CODE_RUN(bare, 0x66, 0x0f, 0x2d, 0x43, 0x08), VECTOR_GP);
}

static void unmasked_x87_store_leaves_memory(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_store(bare, DATA, 0x33e, 2); /* IM clear */
    bare_store(bare, DATA + 8, 0x1122334455667788, 8);
    /* fninit; fldcw [rbx]; fst qword [rbx + 8] of an empty register; fnstsw ax; fwait */
    assert_int_equal(CODE_RUN(bare, 0xdb, 0xe3, 0xd9, 0x2b, 0xdd, 0x53, 0x08, 0xdf, 0xe0, 0x9b),
                     VECTOR_MF);
    assert_int_equal(bare_load(bare, DATA + 8, 8), 0x1122334455667788);
    assert_int_equal(vcpu->registers[GPR_RAX] & 0xffff, 0x80c1); /* B, ES, SF, IE */
}

static void unmasked_x87_overflow_biases(void **state)
{
    struct bare *bare = *state;
    bare_store(bare, DATA, 0x337, 2); /* OM clear */
    bare_store(bare, DATA + 16, 0x8000000000000000, 8);
    bare_store(bare, DATA + 24, 0x7ffe, 2);
    /* fninit; fldcw [rbx]; fld tbyte [rbx + 16]; fadd st0, st0; fnclex; fstp tbyte [rbx + 16] */
    assert_int_equal(CODE_RUN(bare, 0xdb, 0xe3, 0xd9, 0x2b, 0xdb, 0x6b, 0x10, 0xdc, 0xc0, 0xdb,
                              0xe2, 0xdb, 0x7b, 0x10),
                     -1);
    assert_int_equal(bare_load(bare, DATA + 24, 2), 0x7fff - 24576);
}

static void non_canonical_stack_operand_faults(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->registers[GPR_RBP] = 0x8000000000000000;
    assert_int_equal(CODE_RUN(bare, 0x01, 0x45, 0x00), VECTOR_SS); /* add [rbp], eax */
    bare->vcpu->registers[GPR_RBX] = 0x8000000000000000;
    assert_int_equal(CODE_RUN(bare, 0x01, 0x03), VECTOR_GP); /* add [rbx], eax */
}

static void misaligned_operand_faults(void **state)
{
    struct bare *bare = *state;
    assert_int_equal(CODE_RUN(bare, 0x0f, 0x58, 0x43, 0x08), VECTOR_GP); /* addps xmm0, [rbx + 8] */
}

static void unmasked_divide_changes_nothing(void **state)
{
    struct bare *bare = *state;
    bare_store(bare, DATA, MXCSR_INITIAL & ~0x200u, 4); /* zero-divide unmasked */
    memset(bare->vcpu->xsave + 160, 0, 32);
    bare->vcpu->xsave[163] = 0x3f; /* xmm0: 0.5 */
    /* ldmxcsr [rbx]; divss xmm0, xmm1 */
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xae, 0x13, 0xf3, 0x0f, 0x5e, 0xc1), VECTOR_XM);
    assert_int_equal(bare->vcpu->xsave[163], 0x3f);
    assert_int_equal(bare->vcpu->xsave[FXSAVE_MXCSR] & 0x3f, 4);
}

static void pending_x87_exception_comes_at_fistp(void **state)
{
    struct bare *bare = *state;
    bare_store(bare, DATA, 0x37f & ~4u, 2); /* zero-divide unmasked */
    /* fninit; fldcw [rbx]; fld1; fldz; fdivp; fisttp dword [rbx] */
    assert_int_equal(
        CODE_RUN(bare, 0xdb, 0xe3, 0xd9, 0x2b, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0xdb, 0x0b),
        VECTOR_MF);
}

static void status_word_shows_pending_exception(void **state)
{
    struct bare *bare = *state;
    bare_store(bare, DATA, 0x37f & ~4u, 2); /* zero-divide unmasked */
    /* fninit; fldcw [rbx]; fld1; fldz; fdivp; fnstsw ax; fnstsw [rbx + 8]; fnclex; fnstsw [rbx] */
    assert_int_equal(CODE_RUN(bare, 0xdb, 0xe3, 0xd9, 0x2b, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9,
                              0xdf, 0xe0, 0xdd, 0x7b, 0x08, 0xdb, 0xe2, 0xdd, 0x3b),
                     -1);
    assert_int_equal(bare->vcpu->registers[GPR_RAX] & 0x8084, 0x8084);
    assert_int_equal(bare_load(bare, DATA + 8, 2), bare->vcpu->registers[GPR_RAX] & 0xffff);
    assert_int_equal(bare_load(bare, DATA, 2) & 0x80ff, 0);
}

static void environment_hides_host_addresses(void **state)
{
    struct bare *bare = *state;
    /* fninit; fld1; fld dword [rbx]; fnstenv [rbx] */
    assert_int_equal(CODE_RUN(bare, 0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0x03, 0xd9, 0x33), CODE_END);
    assert_int_equal(bare_load(bare, DATA, 2), 0x37f);
    assert_int_equal(bare_load(bare, DATA + 12, 8), 0);
    assert_int_equal(bare_load(bare, DATA + 20, 8), 0);
}

/* In the compact format MXCSR goes with the SSE component. */
static void compact_image_keeps_mxcsr(void **state)
{
    struct bare *bare = *state;
    memset(bare->vcpu->xsave + 160, 0, 256);
    bare->vcpu->registers[GPR_RAX] = 3;
    bare->vcpu->registers[GPR_RDX] = 0;
    bare_store(bare, DATA + 1024, 0x7f80, 4); /* round toward zero */
    /* ldmxcsr [rbx + 1024]; xsavec [rbx] */
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xae, 0x93, 0x00, 0x04, 0x00, 0x00, 0x0f, 0xc7, 0x23),
                     CODE_END);
    assert_int_equal(bare_load(bare, DATA + XSAVE_HEADER, 8) & 2, 2);
    assert_int_equal(bare_load(bare, DATA + FXSAVE_MXCSR, 4), 0x7f80);
    bare_store(bare, DATA + XSAVE_HEADER, 0, 8);
    bare->vcpu->registers[GPR_RAX] = 3;
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xae, 0x2b), CODE_END); /* xrstor [rbx] */
    uint32_t mxcsr;
    memcpy(&mxcsr, bare->vcpu->xsave + FXSAVE_MXCSR, 4);
    assert_int_equal(mxcsr, MXCSR_INITIAL);
}

static void reserved_header_bits_fault(void **state)
{
    struct bare *bare = *state;
    bare->vcpu->registers[GPR_RAX] = 3;
    bare->vcpu->registers[GPR_RDX] = 0;
    bare_store(bare, DATA + FXSAVE_MXCSR, MXCSR_INITIAL, 4);
    bare_store(bare, DATA + XSAVE_HEADER, BIT(40), 8);
    assert_int_equal(CODE_RUN(bare, 0x0f, 0xae, 0x2b), VECTOR_GP); /* xrstor [rbx] */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(crc32_needs_no_vector_state, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(task_switched_forbids_vectors, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(mmx_forms_of_sse_need_no_osfxsr, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(misaligned_operand_of_mmx_faults, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(unmasked_x87_store_leaves_memory, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(unmasked_x87_overflow_biases, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(non_canonical_stack_operand_faults, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(misaligned_operand_faults, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(unmasked_divide_changes_nothing, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(pending_x87_exception_comes_at_fistp, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(status_word_shows_pending_exception, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(environment_hides_host_addresses, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(compact_image_keeps_mxcsr, setup, bare_teardown),
        cmocka_unit_test_setup_teardown(reserved_header_bits_fault, setup, bare_teardown),
    };
    return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
