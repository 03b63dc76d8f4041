/* SPDX-License-Identifier: Apache-2.0 */
/* Control registers, MSRs, CPUID, system calls; reset, INIT and start-up of a processor. APM vol. 2
 * §3, §6.1, §14.1. */
#include "bare.h"

#include "cpu/feature_bits.h"

#include <errno.h>
#include <string.h>

static void test_control_refused(void **state)
{
    static const struct {
        bool (*write)(struct vcpu *vcpu, uint64_t value);
        uint64_t value;
    } cases[] = {
        {control_write_cr0, CR0_PG},                     /* without PE */
        {control_write_cr0, CR0_PE | CR0_NW},            /* without CD */
        {control_write_cr0, CR0_PE | BIT(32)},           /* upper half */
        {control_write_cr0, CR0_PE},                     /* paging off in 64-bit code */
        {control_write_cr3, BIT(52)},                    /* beyond the address width */
        {control_write_cr3, CR3_NO_FLUSH | PAGE_TABLES}, /* without PCIDE */
        {control_write_cr4, 0},                          /* PAE off in long mode */
        {control_write_cr4, CR4_PAE | BIT(13)},          /* not in this model */
        {control_write_cr4, CR4_PAE | BIT(30)},          /* reserved */
        {control_write_cr8, 16},                         /* 4 bits */
        {control_write_xcr0, XSTATE_SSE},                /* x87 must be set */
        {control_write_xcr0, XSTATE_X87 | XSTATE_AVX},   /* not in this model */
    };
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_long(bare);
    const uint64_t cr0 = vcpu->cr0, cr3 = vcpu->cr3, cr4 = vcpu->cr4;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_false(cases[i].write(vcpu, cases[i].value));
        assert_raised(vcpu, VECTOR_GP, 0);
    }
    assert_int_equal(vcpu->cr0, cr0);
    assert_int_equal(vcpu->cr3, cr3);
    assert_int_equal(vcpu->cr4, cr4);
}

static void test_pcid(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    assert_false(control_write_cr4(vcpu, CR4_PCIDE)); /* needs long mode */
    assert_raised(vcpu, VECTOR_GP, 0);
    bare_enter_long(bare);
    assert_true(control_write_cr4(vcpu, CR4_PAE | CR4_PCIDE));
    assert_true(control_write_cr3(vcpu, CR3_NO_FLUSH | PAGE_TABLES | 5));
    assert_int_equal(vcpu->cr3, PAGE_TABLES | 5); /* bit 63 is a request */
}

static void test_long_mode_needs_pae(void **state)
{
    struct bare *bare = *state;
    assert_true(msr_write(bare->vcpu, MSR_EFER, EFER_LME));
    assert_false(control_write_cr0(bare->vcpu, CR0_PE | CR0_PG));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
    assert_false(vcpu_long_mode(bare->vcpu));
}

static void test_pdptes(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_store(bare, PAGE_TABLES, (PAGE_TABLES + 0x1000) | PTE_PRESENT, 8);
    bare_store(bare, PAGE_TABLES + 0x1000, PTE_PRESENT | PTE_WRITE | PTE_LARGE, 8);
    assert_true(control_write_cr4(vcpu, CR4_PAE));
    assert_true(control_write_cr3(vcpu, PAGE_TABLES));
    assert_true(control_write_cr0(vcpu, CR0_PE | CR0_PG));
    assert_int_equal(vcpu->pdpte[0], (PAGE_TABLES + 0x1000) | PTE_PRESENT);
    bare_store(bare, PAGE_TABLES + 8, PTE_PRESENT | PTE_WRITE, 8); /* a reserved bit */
    assert_false(control_write_cr3(vcpu, PAGE_TABLES));
    assert_raised(vcpu, VECTOR_GP, 0);
}

static void test_debug_registers(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    uint64_t value;
    assert_true(control_write_dr(vcpu, 7, 0xffffdfff)); /* all but GD */
    assert_true(control_read_dr(vcpu, 5, &value));      /* DR5 is DR7 */
    assert_int_equal(value & (BIT(10) | BIT(12) | BIT(14) | BIT(15)), BIT(10));
    assert_true(vcpu->code_mode & CODE_MODE_STEP);
    assert_true(control_write_dr(vcpu, 7, 0));
    assert_false(vcpu->code_mode & CODE_MODE_STEP);
    assert_false(control_write_dr(vcpu, 7, BIT(32)));
    assert_raised(vcpu, VECTOR_GP, 0);
    assert_true(control_write_cr4(vcpu, CR4_DE));
    assert_false(control_read_dr(vcpu, 4, &value));
    assert_raised(vcpu, VECTOR_UD, 0);
}

static void test_rflags(void **state)
{
    struct bare *bare = *state;
    control_write_rflags(bare->vcpu, ~UINT64_C(0), ~UINT64_C(0));
    assert_int_equal(bare->vcpu->rflags, 0x3f7fd7);
    control_write_rflags(bare->vcpu, 0, ~UINT64_C(0));
    assert_int_equal(bare->vcpu->rflags, RFLAGS_FIXED);
}

static void test_msrs_refused(void **state)
{
    static const struct {
        uint32_t index;
        uint64_t value;
    } cases[] = {
        {MSR_EFER, BIT(1)},
        {MSR_LSTAR, UINT64_C(0x8000000000000000)},
        {MSR_FS_BASE, UINT64_C(0x0000800000000000)},
        {MSR_KERNEL_GS_BASE, UINT64_C(0xffff7fffffffffff)},
        {MSR_PAT, 2},
        {MSR_PAT, UINT64_C(0x0800000000000000)},
        {MSR_TSC_AUX, BIT(32)},
        {MSR_MTRR_CAP, 0},
        {0x12345678, 0},
    };
    struct bare *bare = *state;
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_false(msr_write(bare->vcpu, cases[i].index, cases[i].value));
        assert_raised(bare->vcpu, VECTOR_GP, 0);
    }
}

static void test_msrs_keep(void **state)
{
    static const uint32_t plain[] = {MSR_STAR,    MSR_LSTAR,          MSR_CSTAR,
                                     MSR_FMASK,   MSR_KERNEL_GS_BASE, MSR_SYSENTER_EIP,
                                     MSR_FS_BASE, MSR_GS_BASE,        MSR_MTRR_BASE0 + 15};
    struct bare *bare = *state;
    uint64_t value;
    for (unsigned i = 0; i < ARRAY_SIZE(plain); i++) {
        assert_true(msr_write(bare->vcpu, plain[i], 0x1000 + i));
        assert_true(msr_read(bare->vcpu, plain[i], &value));
        assert_int_equal(value, 0x1000 + i);
    }
    assert_int_equal(bare->vcpu->segment_bases[SEG_FS], bare->vcpu->segments[SEG_FS].base);
}

/* No banks and never an error; kernels that look at a bank without counting find nothing. */
static void test_machine_check_msrs(void **state)
{
    static const uint32_t quiet[] = {MSR_MCG_STATUS, MSR_MCG_CTL, MSR_MC0_CTL, MSR_MC0_CTL + 127,
                                     MSR_MC0_CTL2 + 31};
    struct bare *bare = *state;
    uint64_t value = 1;
    assert_true(msr_read(bare->vcpu, MSR_MCG_CAP, &value));
    assert_int_equal(value, 0);
    assert_false(msr_write(bare->vcpu, MSR_MCG_CAP, 1));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(quiet); i++) {
        assert_true(msr_write(bare->vcpu, quiet[i], ~UINT64_C(0)));
        assert_true(msr_read(bare->vcpu, quiet[i], &value));
        assert_int_equal(value, 0);
    }
}

static void test_efer_under_paging(void **state)
{
    struct bare *bare = *state;
    bare_enter_long(bare);
    assert_false(msr_write(bare->vcpu, MSR_EFER, EFER_SCE)); /* LME off while paging */
    assert_raised(bare->vcpu, VECTOR_GP, 0);
    assert_true(msr_write(bare->vcpu, MSR_EFER, EFER_SCE | EFER_LME));
    assert_true(bare->vcpu->efer & EFER_LMA); /* not the guest's to clear */
}

static void test_tsc(void **state)
{
    struct bare *bare = *state;
    const uint64_t start = UINT64_C(1) << 40;
    uint64_t first, second;
    assert_true(msr_write(bare->vcpu, MSR_TSC, start));
    assert_true(msr_read(bare->vcpu, MSR_TSC, &first));
    assert_true(msr_read(bare->vcpu, MSR_TSC, &second));
    assert_true(first >= start && first < start + TSC_HZ);
    assert_true(second >= first);
}

static void test_cpuid(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    struct cpuid_result leaf = cpuid_query(vcpu, 0, 0);
    assert_memory_equal(&leaf.ebx, "Auth", 4);
    assert_memory_equal(&leaf.edx, "enti", 4);
    assert_memory_equal(&leaf.ecx, "cAMD", 4);
    assert_false(cpuid_query(vcpu, 1, 0).ecx & BIT(27));
    assert_true(control_write_cr4(vcpu, CR4_OSXSAVE | CR4_PKE));
    assert_true(cpuid_query(vcpu, 1, 0).ecx & BIT(27));
    assert_true(cpuid_query(vcpu, 7, 0).ecx & BIT(4));
    assert_int_equal(cpuid_query(vcpu, 7, 1).ebx, 0);
    assert_false(cpuid_query(vcpu, 1, 0).ecx & BIT(28)); /* no AVX */
    /* The XSAVE area grows with XCR0. */
    assert_int_equal(cpuid_query(vcpu, 0xd, 0).ebx, 576);
    assert_true(control_write_xcr0(vcpu, XSTATE_X87 | XSTATE_SSE | XSTATE_PKRU));
    assert_int_equal(cpuid_query(vcpu, 0xd, 0).ebx, 2696);
    assert_int_equal(cpuid_query(vcpu, 0xd, 1).ebx, 584); /* compacted */
    assert_int_equal(cpuid_query(vcpu, 0x12345678, 0).eax, 0);
}

static void test_models(void **state)
{
    assert_null(cpu_model_find("x86-64-v99"));
    for (unsigned i = 0; cpu_model_at(i); i++) {
        const struct cpu_model *model = cpu_model_at(i);
        assert_ptr_equal(cpu_model_find(model->name), model);
        /* XSAVE and its components come together. */
        assert_int_equal(!!(model->leaf1_ecx & BIT(26)), model->xcr0_supported != 0);
        assert_int_equal(!!(model->leaf1_ecx & ECX1_AVX), !!(model->xcr0_supported & XSTATE_AVX));
        assert_int_equal(!!(model->leaf7_ebx & EBX7_AVX512),
                         !!(model->xcr0_supported & XSTATE_AVX512));
    }
}

/* What the host lacks is missing from "host", and refuses the others. */
static void test_models_on_this_host(void **state)
{
    struct error error;
    struct cpu_model host, fitted;
    assert_int_equal(cpu_model_fit(cpu_model_find("host"), &host, &error), 0);
    assert_true((host.xcr0_supported & XSTATE_AVX512) == 0 ||
                (host.xcr0_supported & XSTATE_AVX512) == XSTATE_AVX512);
    assert_int_equal(!!(host.leaf1_ecx & ECX1_AVX), !!(host.xcr0_supported & XSTATE_AVX));
    bool has_v4 = host.xcr0_supported & XSTATE_AVX512;
    assert_int_equal(cpu_model_fit(cpu_model_find("x86-64-v4"), &fitted, &error),
                     has_v4 ? 0 : -ENOTSUP);
    /* A machine that was saved elsewhere: it keeps what it had, or cannot go on here. */
    struct cpu_host_features features;
    cpu_model_host_features(cpu_model_find("x86-64-v2"), &features);
    fitted = host;
    assert_int_equal(cpu_model_restrict(&fitted, &features, &error), 0);
    assert_int_equal(fitted.leaf1_ecx, cpu_model_find("x86-64-v2")->leaf1_ecx);
    assert_int_equal(fitted.xcr0_supported, XSTATE_X87 | XSTATE_SSE | XSTATE_PKRU);
    cpu_model_host_features(cpu_model_find("x86-64-v4"), &features);
    assert_int_equal(cpu_model_restrict(&fitted, &features, &error), -ENOTSUP);
    assert_non_null(strstr(error.message, "fma"));
    /* This one has nothing that is the host's. */
    const struct cpu_model *first = cpu_model_find("x86-64-v1");
    assert_int_equal(cpu_model_fit(first, &fitted, &error), 0);
    assert_memory_equal(&fitted, first, sizeof(fitted));
}

/* The place of each component, and the size of all, as compacted images have them too. */
static void test_vector_state_sizes(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    static const struct {
        const char *model;
        uint32_t standard, compacted, largest;
        uint64_t xcr0;
    } cases[] = {
        {"x86-64-v3", 832, 832, 2696, XSTATE_X87 | XSTATE_SSE | XSTATE_AVX},
        {"x86-64-v4", 2688, 2432, 2696, XSTATE_X87 | XSTATE_SSE | XSTATE_AVX | XSTATE_AVX512},
        {"x86-64-v4", 2696, 2440, 2696,
         XSTATE_X87 | XSTATE_SSE | XSTATE_AVX | XSTATE_AVX512 | XSTATE_PKRU},
    };
    assert_true(control_write_cr4(vcpu, CR4_OSXSAVE));
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        vcpu->model = cpu_model_find(cases[i].model);
        assert_true(control_write_xcr0(vcpu, cases[i].xcr0));
        assert_int_equal(cpuid_query(vcpu, 0xd, 0).ebx, cases[i].standard);
        assert_int_equal(cpuid_query(vcpu, 0xd, 0).ecx, cases[i].largest);
        assert_int_equal(cpuid_query(vcpu, 0xd, 1).ebx, cases[i].compacted);
    }
    assert_int_equal(cpuid_query(vcpu, 0xd, 6).eax, 512);
    assert_int_equal(cpuid_query(vcpu, 0xd, 6).ebx, XSAVE_ZMM_HIGH);
    /* Half of AVX-512, or any of it without AVX, there is not. */
    assert_false(control_write_xcr0(vcpu, XSTATE_X87 | XSTATE_SSE | XSTATE_AVX | XSTATE_OPMASK));
    assert_false(control_write_xcr0(vcpu, XSTATE_X87 | XSTATE_SSE | XSTATE_AVX512));
}

static void test_syscall(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_long(bare);
    assert_true(msr_write(vcpu, MSR_STAR, UINT64_C(0x0013000800000000)));
    assert_true(msr_write(vcpu, MSR_LSTAR, 0x01000000));
    assert_true(msr_write(vcpu, MSR_FMASK, RFLAGS_IF | RFLAGS_TF));
    bare_enter_user(bare);
    vcpu->rflags |= RFLAGS_CF;
    assert_true(syscall_enter(vcpu, CODE + 2));
    assert_int_equal(vcpu->cpl, 0);
    assert_int_equal(vcpu->rip, 0x01000000);
    assert_int_equal(vcpu->registers[GPR_RCX], CODE + 2);
    assert_int_equal(vcpu->registers[GPR_R11], RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
    assert_int_equal(vcpu->segments[SEG_SS].selector, 0x10);
    /* Reserved bits of R11 do not reach RFLAGS. */
    vcpu->registers[GPR_R11] |= BIT(40) | RFLAGS_VM | BIT(15);
    assert_true(syscall_return(vcpu, 8));
    assert_int_equal(vcpu->cpl, 3);
    assert_int_equal(vcpu->rip, CODE + 2);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF);
    assert_int_equal(vcpu->segments[SEG_CS].selector, 0x23);
    assert_int_equal(vcpu->segments[SEG_SS].selector, 0x1b);
}

static void test_sysret_checks(void **state)
{
    struct bare *bare = *state;
    bare_enter_long(bare);
    bare->vcpu->registers[GPR_RCX] = UINT64_C(0x0000800000000000);
    assert_false(syscall_return(bare->vcpu, 8));
    assert_raised(bare->vcpu, VECTOR_GP, 0);
    assert_int_equal(bare->vcpu->cpl, 0);
    assert_true(msr_write(bare->vcpu, MSR_EFER, EFER_LME));
    assert_false(syscall_enter(bare->vcpu, CODE));
    assert_raised(bare->vcpu, VECTOR_UD, 0);
}

static void test_reset(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    bare_enter_long(bare);
    vcpu->rflags |= RFLAGS_IF;
    assert_true(msr_write(vcpu, MSR_LSTAR, 0x1234));
    vcpu_reset(vcpu, true);
    assert_int_equal(vcpu->lstar, 0x1234); /* INIT keeps MSRs */
    assert_int_equal(vcpu->efer, 0);
    assert_int_equal(vcpu->rflags, RFLAGS_FIXED);
    assert_int_equal(vcpu->rip + vcpu->segment_bases[SEG_CS], 0xfffffff0);
    assert_int_equal(vcpu->code_mode, CODE_MODE_NO_FPU); /* no CR4.OSFXSR */
    vcpu_reset(vcpu, false);
    assert_int_equal(vcpu->lstar, 0);
    assert_int_equal(vcpu->cr0, CR0_CD | CR0_NW | CR0_ET);
}

static void test_startup(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->group.vcpus[1];
    bool stop;
    assert_int_equal(vcpu->run_state, VCPU_WAIT_FOR_SIPI);
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_HALT);
    assert_false(vcpu_has_work(vcpu));
    vcpu->startup_vector = 0x9a;
    vcpu_request(vcpu, VCPU_REQUEST_INIT | VCPU_REQUEST_STARTUP);
    assert_true(vcpu_has_work(vcpu));
    assert_int_equal(vcpu_service_requests(vcpu, &stop), VCPU_EXIT_NONE);
    assert_int_equal(vcpu->run_state, VCPU_RUNNING);
    assert_int_equal(vcpu->rip + vcpu->segment_bases[SEG_CS], 0x9a000);
}

/* The other processor may send its SIPI while this one still serves the INIT. */
static void test_init_keeps_startup(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->group.vcpus[1];
    vcpu_request(vcpu, VCPU_REQUEST_STARTUP | VCPU_REQUEST_NMI);
    vcpu_reset(vcpu, true);
    assert_int_equal(atomic_load(&vcpu->requests), VCPU_REQUEST_STARTUP);
    vcpu_reset(vcpu, false);
    assert_int_equal(atomic_load(&vcpu->requests), 0);
}

int main(void)
{
#define TEST(name)     cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
#define TEST_TWO(name) cmocka_unit_test_setup_teardown(name, bare_setup_two, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_control_refused),
        TEST(test_pcid),
        TEST(test_long_mode_needs_pae),
        TEST(test_pdptes),
        TEST(test_debug_registers),
        TEST(test_rflags),
        TEST(test_msrs_refused),
        TEST(test_msrs_keep),
        TEST(test_machine_check_msrs),
        TEST(test_efer_under_paging),
        TEST(test_tsc),
        TEST(test_cpuid),
        TEST(test_models),
        TEST(test_models_on_this_host),
        TEST(test_vector_state_sizes),
        TEST(test_syscall),
        TEST(test_sysret_checks),
        TEST(test_reset),
        TEST_TWO(test_startup),
        TEST_TWO(test_init_keeps_startup),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
