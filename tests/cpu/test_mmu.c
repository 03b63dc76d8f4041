/* SPDX-License-Identifier: Apache-2.0 */
/* Page walks: every paging mode and page size, permissions, error codes, accessed and dirty bits.
 * APM vol. 2 §5.2 to §5.6, §8.4.2. */
#include "paging.h"

#include <string.h>

#define OPEN (PTE_PRESENT | PTE_WRITE | PTE_USER)
#define P    PAGE_FAULT_PRESENT
#define W    PAGE_FAULT_WRITE
#define U    PAGE_FAULT_USER
#define R    PAGE_FAULT_RESERVED
#define I    PAGE_FAULT_FETCH
#define K    PAGE_FAULT_PROTECT_KEY

enum { GVA = 0x00c03000, PAGE = 0x20000 };

static void test_page_sizes(void **state)
{
    static const struct {
        const struct paging_shape *shape;
        uint64_t gva;
        unsigned level;
        uint64_t leaf, gpa, size;
    } cases[] = {
        {&paging_32bit, 0xffc03123, 1, 0xabcde000, 0xabcde123, KIB(4)},
        {&paging_32bit, 0x12345678, 2, PTE_LARGE | 0xabc00000, 0xabf45678, MIB(4)},
        /* PSE-36: bits 13 to 20 are address bits 32 to 39. */
        {&paging_32bit, 0x12345678, 2, PTE_LARGE | 0xabc00000 | 0x2e000, 0x17abf45678, MIB(4)},
        {&paging_pae, 0xc0005123, 1, UINT64_C(0x3212345000), UINT64_C(0x3212345123), KIB(4)},
        {&paging_pae, 0x7fffffff, 2, PTE_LARGE | UINT64_C(0x3200200000), UINT64_C(0x32003fffff),
         MIB(2)},
        {&paging_long, UINT64_C(0x00007fffffffffff), 1, UINT64_C(0x3212345000),
         UINT64_C(0x3212345fff), KIB(4)},
        {&paging_long, UINT64_C(0xffffffff81234567), 2, PTE_LARGE | 0x40000000, 0x40034567, MIB(2)},
        /* Bit 12 of a large page is its PAT bit. */
        {&paging_long, UINT64_C(0xffff888012345678), 3, PTE_LARGE | BIT(12) | GIB(2),
         GIB(2) + 0x12345678, GIB(1)},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mmu_translation translation;
        void *fresh;
        assert_int_equal(bare_setup(&fresh), 0);
        struct bare *bare = fresh;
        paging_map(bare, cases[i].shape, cases[i].gva, cases[i].level, cases[i].leaf | OPEN);
        paging_enter(bare, cases[i].shape, 0, 0);
        assert_true(mmu_walk(bare->vcpu, cases[i].gva, MMU_READ, MMU_SUPERVISOR, &translation));
        assert_int_equal(translation.gpa, cases[i].gpa);
        assert_int_equal(translation.page_size, cases[i].size);
        assert_false(translation.global || translation.dirty);
        bare_teardown(&fresh);
    }
}

/* PS without CR4.PSE is ignored: the entry leads to a table. */
static void test_large_needs_pse(void **state)
{
    struct bare *bare = *state;
    struct mmu_translation translation;
    paging_map(bare, &paging_32bit, GVA, 1, PAGE | OPEN);
    paging_write(bare, &paging_32bit, GVA, 2, paging_read(bare, &paging_32bit, GVA, 2) | PTE_LARGE);
    paging_enter(bare, &paging_32bit, 0, 0);
    assert_true(control_write_cr4(bare->vcpu, 0));
    assert_true(mmu_walk(bare->vcpu, GVA + 5, MMU_READ, MMU_USER, &translation));
    assert_int_equal(translation.gpa, PAGE + 5);
}

/* How each level refuses. */
static void test_levels(void **state)
{
    static const struct paging_shape *const shapes[] = {&paging_32bit, &paging_pae, &paging_long};
    for (unsigned i = 0; i < ARRAY_SIZE(shapes); i++) {
        const struct paging_shape *shape = shapes[i];
        void *fresh;
        struct mmu_translation translation;
        assert_int_equal(bare_setup(&fresh), 0);
        struct bare *bare = fresh;
        struct vcpu *vcpu = bare->vcpu;
        paging_map(bare, shape, GVA, 1, PAGE | OPEN);
        paging_enter(bare, shape, CR0_WP, 0);
        for (unsigned level = 1; level <= shape->levels; level++) {
            if (shape == &paging_pae && level == 3)
                continue; /* the PDPTEs sit in registers: test_pdpte_not_present */
            uint64_t entry = paging_read(bare, shape, GVA, level);
            paging_write(bare, shape, GVA, level, entry & ~PTE_PRESENT);
            assert_false(mmu_walk(vcpu, GVA, MMU_WRITE, MMU_USER, &translation));
            assert_int_equal(translation.error_code, W | U);
            paging_write(bare, shape, GVA, level, entry & ~PTE_WRITE);
            assert_false(mmu_walk(vcpu, GVA, MMU_WRITE, MMU_SUPERVISOR, &translation));
            assert_int_equal(translation.error_code, P | W);
            paging_write(bare, shape, GVA, level, entry & ~PTE_USER);
            assert_false(mmu_walk(vcpu, GVA, MMU_READ, MMU_USER, &translation));
            assert_int_equal(translation.error_code, P | U);
            if (shape->entry_size == 8) {
                paging_write(bare, shape, GVA, level, entry | PTE_NX);
                assert_false(mmu_walk(vcpu, GVA, MMU_FETCH, MMU_USER, &translation));
                assert_int_equal(translation.error_code, P | U | I);
            }
            paging_write(bare, shape, GVA, level, entry);
            assert_true(mmu_walk(vcpu, GVA, MMU_WRITE, MMU_USER, &translation));
        }
        bare_teardown(&fresh);
    }
}

static void test_pdpte_not_present(void **state)
{
    struct bare *bare = *state;
    struct mmu_translation translation;
    paging_map(bare, &paging_pae, GVA, 1, PAGE | OPEN);
    paging_enter(bare, &paging_pae, 0, 0);
    paging_write(bare, &paging_pae, GVA, 3, 0); /* read with CR3 only */
    assert_true(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
    assert_false(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_int_equal(translation.error_code, U);
}

/* What a leaf entry and the control registers allow. expected: the error code, or 0. */
static void test_permissions(void **state)
{
#define AC  MMU_SUPERVISOR_AC
#define S   MMU_SUPERVISOR
#define USR MMU_USER
#define KEY (UINT64_C(1) << 59) /* protection key 1 */
    enum { READ_DISABLED = 4, WRITE_DISABLED = 8 };
    static const struct {
        uint64_t clear, set; /* bits of the entry */
        uint64_t cr0, cr4;
        uint32_t pkru;
        enum mmu_mode mode;
        enum mmu_access access;
        uint32_t expected;
    } cases[] = {
        {0, 0, 0, 0, 0, USR, MMU_READ, 0},
        {0, 0, 0, 0, 0, USR, MMU_WRITE, 0},
        {0, 0, 0, 0, 0, USR, MMU_FETCH, 0},
        {PTE_USER, 0, 0, 0, 0, USR, MMU_READ, P | U},
        {PTE_USER, 0, 0, 0, 0, USR, MMU_WRITE, P | U | W},
        {PTE_USER, 0, 0, 0, 0, USR, MMU_FETCH, P | U | I},
        {PTE_USER, 0, 0, 0, 0, S, MMU_WRITE, 0},
        /* R/W and WP */
        {PTE_WRITE, 0, 0, 0, 0, USR, MMU_WRITE, P | U | W},
        {PTE_WRITE, 0, CR0_WP, 0, 0, USR, MMU_WRITE, P | U | W},
        {PTE_WRITE, 0, 0, 0, 0, S, MMU_WRITE, 0},
        {PTE_WRITE, 0, CR0_WP, 0, 0, S, MMU_WRITE, P | W},
        {PTE_WRITE, 0, CR0_WP, 0, 0, S, MMU_READ, 0},
        /* NX */
        {0, PTE_NX, 0, 0, 0, USR, MMU_FETCH, P | U | I},
        {0, PTE_NX, 0, 0, 0, S, MMU_FETCH, P | I},
        {0, PTE_NX, 0, 0, 0, USR, MMU_READ, 0},
        /* SMEP and SMAP */
        {0, 0, 0, CR4_SMEP, 0, S, MMU_FETCH, P | I},
        {PTE_USER, 0, 0, CR4_SMEP, 0, S, MMU_FETCH, 0},
        {0, 0, 0, CR4_SMEP, 0, S, MMU_READ, 0},
        {0, 0, 0, CR4_SMAP, 0, S, MMU_READ, P},
        {0, 0, 0, CR4_SMAP, 0, S, MMU_WRITE, P | W},
        {0, 0, 0, CR4_SMAP, 0, S, MMU_FETCH, 0},
        {0, 0, 0, CR4_SMAP, 0, AC, MMU_READ, 0},
        {0, 0, 0, CR4_SMAP, 0, USR, MMU_READ, 0},
        {PTE_USER, 0, 0, CR4_SMAP, 0, S, MMU_READ, 0},
        /* protection keys */
        {0, KEY, 0, CR4_PKE, READ_DISABLED, USR, MMU_READ, P | U | K},
        {0, KEY, 0, CR4_PKE, READ_DISABLED, USR, MMU_WRITE, P | U | W | K},
        {0, KEY, 0, CR4_PKE, READ_DISABLED, S, MMU_READ, P | K},
        {0, KEY, 0, CR4_PKE, READ_DISABLED, USR, MMU_FETCH, 0},
        {0, KEY, 0, CR4_PKE, WRITE_DISABLED, USR, MMU_WRITE, P | U | W | K},
        {0, KEY, 0, CR4_PKE, WRITE_DISABLED, USR, MMU_READ, 0},
        {0, KEY, CR0_WP, CR4_PKE, WRITE_DISABLED, S, MMU_WRITE, P | W | K},
        {0, KEY, 0, CR4_PKE, WRITE_DISABLED, S, MMU_WRITE, 0},
        {0, KEY, 0, 0, READ_DISABLED, USR, MMU_READ, 0},
        {0, 0, 0, CR4_PKE, READ_DISABLED, USR, MMU_READ, 0}, /* key 0 */
        {PTE_USER, KEY, 0, CR4_PKE, READ_DISABLED, S, MMU_READ, 0},
    };
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    paging_map(bare, &paging_long, GVA, 1, 0);
    paging_enter(bare, &paging_long, 0, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        struct mmu_translation translation;
        paging_write(bare, &paging_long, GVA, 1, ((PAGE | OPEN) & ~cases[i].clear) | cases[i].set);
        assert_true(control_write_cr0(vcpu, CR0_PE | CR0_PG | CR0_ET | cases[i].cr0));
        assert_true(control_write_cr4(vcpu, CR4_PAE | cases[i].cr4));
        vcpu->pkru = cases[i].pkru;
        bool allowed = mmu_walk(vcpu, GVA, cases[i].access, cases[i].mode, &translation);
        if (allowed != !cases[i].expected || translation.error_code != cases[i].expected)
            print_message("case %u\n", i);
        assert_int_equal(allowed, !cases[i].expected);
        assert_int_equal(translation.error_code, cases[i].expected);
    }
}

/* Fetches are told from reads only where NX or SMEP could refuse them. */
static void test_fetch_bit(void **state)
{
    struct bare *bare = *state;
    struct mmu_translation translation;
    paging_map(bare, &paging_32bit, GVA, 1, 0);
    paging_enter(bare, &paging_32bit, 0, 0);
    assert_false(mmu_walk(bare->vcpu, GVA, MMU_FETCH, MMU_USER, &translation));
    assert_int_equal(translation.error_code, U);
    assert_true(control_write_cr4(bare->vcpu, CR4_PSE | CR4_SMEP));
    assert_false(mmu_walk(bare->vcpu, GVA, MMU_FETCH, MMU_USER, &translation));
    assert_int_equal(translation.error_code, U | I);
}

static void test_reserved_bits(void **state)
{
    static const struct {
        const struct paging_shape *shape;
        unsigned leaf, level; /* the level that maps the page, and that of the bad entry */
        uint64_t bits;
        bool no_nxe;
    } cases[] = {
        {&paging_32bit, 2, 2, BIT(21), false}, {&paging_pae, 1, 1, BIT(52), false},
        {&paging_pae, 1, 1, BIT(62), false},   {&paging_pae, 1, 2, BIT(51), false},
        {&paging_pae, 2, 2, BIT(13), false},   {&paging_pae, 2, 2, BIT(20), false},
        {&paging_pae, 1, 1, PTE_NX, true},     {&paging_long, 1, 1, BIT(51), false},
        {&paging_long, 1, 3, BIT(51), false},  {&paging_long, 1, 4, PTE_LARGE, false},
        {&paging_long, 2, 2, BIT(20), false},  {&paging_long, 3, 3, BIT(29), false},
        {&paging_long, 1, 1, PTE_NX, true},    {&paging_long, 1, 4, PTE_NX, true},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct paging_shape *shape = cases[i].shape;
        struct mmu_translation translation;
        void *fresh;
        assert_int_equal(bare_setup(&fresh), 0);
        struct bare *bare = fresh;
        paging_map(bare, shape, GVA, cases[i].leaf, OPEN | (cases[i].leaf > 1 ? PTE_LARGE : 0));
        paging_enter(bare, shape, 0, 0);
        if (cases[i].no_nxe)
            assert_true(msr_write(bare->vcpu, MSR_EFER, shape->efer & ~EFER_NXE));
        assert_true(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
        uint64_t entry = paging_read(bare, shape, GVA, cases[i].level);
        paging_write(bare, shape, GVA, cases[i].level, entry | cases[i].bits);
        assert_false(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
        assert_int_equal(translation.error_code, P | U | R);
        /* Of an entry that is not present nothing is reserved. */
        paging_write(bare, shape, GVA, cases[i].level, (entry | cases[i].bits) & ~PTE_PRESENT);
        assert_false(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
        assert_int_equal(translation.error_code, U);
        bare_teardown(&fresh);
    }
}

static void test_accessed_dirty(void **state)
{
    struct bare *bare = *state;
    struct vcpu *vcpu = bare->vcpu;
    struct mmu_translation translation;
    paging_map(bare, &paging_long, GVA, 1, PAGE | PTE_PRESENT | PTE_USER);
    paging_enter(bare, &paging_long, 0, 0);
    assert_true(mmu_inspect(vcpu, GVA, &translation)); /* looks and leaves no trace */
    for (unsigned level = 1; level <= 4; level++)
        assert_false(paging_read(bare, &paging_long, GVA, level) & PTE_ACCESSED);
    /* A refused write leaves the leaf alone. */
    assert_false(mmu_walk(vcpu, GVA, MMU_WRITE, MMU_USER, &translation));
    assert_int_equal(paging_read(bare, &paging_long, GVA, 1), PAGE | PTE_PRESENT | PTE_USER);
    assert_true(mmu_walk(vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_false(translation.dirty);
    for (unsigned level = 1; level <= 4; level++)
        assert_int_equal(paging_read(bare, &paging_long, GVA, level) & (PTE_ACCESSED | PTE_DIRTY),
                         PTE_ACCESSED);
    paging_write(bare, &paging_long, GVA, 1, PAGE | OPEN);
    assert_true(mmu_walk(vcpu, GVA, MMU_WRITE, MMU_USER, &translation));
    assert_true(translation.dirty);
    assert_int_equal(paging_read(bare, &paging_long, GVA, 1),
                     PAGE | OPEN | PTE_ACCESSED | PTE_DIRTY);
    assert_false(paging_read(bare, &paging_long, GVA, 2) & PTE_DIRTY);
}

/* G counts where CR4.PGE says so, and only in the leaf. */
static void test_global(void **state)
{
    struct bare *bare = *state;
    struct mmu_translation translation;
    paging_map(bare, &paging_long, GVA, 2, OPEN | PTE_LARGE | PTE_GLOBAL);
    paging_enter(bare, &paging_long, 0, 0);
    assert_true(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_false(translation.global);
    assert_true(control_write_cr4(bare->vcpu, CR4_PAE | CR4_PGE));
    assert_true(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_true(translation.global);
}

/* A table outside RAM reads as not present: nothing of the host is touched. */
static void test_table_outside_ram(void **state)
{
    struct bare *bare = *state;
    struct mmu_translation translation;
    paging_map(bare, &paging_long, GVA, 1, PAGE | OPEN);
    paging_write(bare, &paging_long, GVA, 2, (BIT(39) & PAGE_MASK) | OPEN);
    paging_enter(bare, &paging_long, 0, 0);
    assert_false(mmu_walk(bare->vcpu, GVA, MMU_READ, MMU_USER, &translation));
    assert_int_equal(translation.error_code, U);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_page_sizes),
        TEST(test_large_needs_pse),
        cmocka_unit_test(test_levels),
        TEST(test_pdpte_not_present),
        TEST(test_permissions),
        TEST(test_fetch_bit),
        cmocka_unit_test(test_reserved_bits),
        TEST(test_accessed_dirty),
        TEST(test_global),
        TEST(test_table_outside_ram),
    };
    return cmocka_run_group_tests_name("mmu", tests, NULL, NULL);
}
