/* SPDX-License-Identifier: Apache-2.0 */
/* What the software TLB keeps and drops: INVLPG, CR3, PCIDs, global pages, generations. Kept means
 * that a changed page table goes unnoticed, as it does on a processor. APM vol. 2 §5.5. */
#include "cpu/access.h"
#include "paging.h"

#define OPEN (PTE_PRESENT | PTE_WRITE | PTE_USER)

enum { FIRST = 0x20000, SECOND = 0x21000 };

static const uint64_t lower = 0x00c03000, upper = UINT64_C(0xffff800000c05000);

/* Programs live in the lower half, the kernel in the upper one. */
static enum mmu_mode mode_of(uint64_t gva)
{
    return gva >> 63 ? MMU_SUPERVISOR : MMU_USER;
}

static uint64_t load_as(struct bare *bare, uint64_t gva, enum mmu_mode mode)
{
    uint64_t value = 0;
    assert_int_equal(mmu_read(bare->vcpu, gva, &value, 8, mode), MMU_OK);
    return value;
}

static uint64_t load(struct bare *bare, uint64_t gva)
{
    return load_as(bare, gva, mode_of(gva));
}

/* What the TLB's fast path gives; 0 when it misses. */
static uint64_t cached_as(struct bare *bare, uint64_t gva, enum mmu_mode mode)
{
    const void *hva = access_fast(bare->vcpu, gva, 8, MMU_READ, mode);
    return hva ? load_le(hva, 8) : 0;
}

static uint64_t load_cached(struct bare *bare, uint64_t gva)
{
    return cached_as(bare, gva, mode_of(gva));
}

static void point_to(struct bare *bare, uint64_t gva, uint64_t gpa, uint64_t bits)
{
    paging_write(bare, &paging_long, gva, 1, gpa | OPEN | bits);
}

/* Two pages that hold 1 and 2; both halves map the first. `bits` go to the upper half's entry. */
static struct bare *start(void **state, uint64_t bits, uint64_t cr4)
{
    struct bare *bare = *state;
    bare_store(bare, FIRST, 1, 8);
    bare_store(bare, SECOND, 2, 8);
    paging_map(bare, &paging_long, upper, 1, FIRST | OPEN | bits);
    paging_map(bare, &paging_long, lower, 1, FIRST | OPEN);
    paging_enter(bare, &paging_long, 0, cr4 | CR4_PGE);
    point_to(bare, upper, FIRST, bits);
    assert_int_equal(load(bare, lower), 1);
    assert_int_equal(load(bare, upper), 1);
    return bare;
}

static void switch_to(struct bare *bare, uint16_t pcid)
{
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES | pcid | CR3_NO_FLUSH));
}

static void test_invlpg(void **state)
{
    struct bare *bare = start(state, PTE_GLOBAL, 0);
    point_to(bare, lower, SECOND, 0);
    point_to(bare, upper, SECOND, PTE_GLOBAL);
    assert_int_equal(load_cached(bare, lower), 1);
    assert_int_equal(load_cached(bare, upper), 1);
    mmu_flush_page(bare->vcpu, upper);
    assert_int_equal(load_cached(bare, lower), 1);
    assert_int_equal(load(bare, upper), 2);
    mmu_flush_page(bare->vcpu, lower + 0xfff);
    assert_int_equal(load(bare, lower), 2);
}

/* Any address in a large page drops all of it. */
static void test_invlpg_large(void **state)
{
    static const unsigned levels[] = {2, 3};
    for (unsigned i = 0; i < ARRAY_SIZE(levels); i++) {
        void *fresh;
        assert_int_equal(bare_setup(&fresh), 0);
        struct bare *bare = fresh;
        const uint64_t gva = i ? GIB(5) : MIB(6);
        bare_store(bare, FIRST, 1, 8);
        bare_store(bare, MIB(2) + FIRST, 2, 8);
        paging_map(bare, &paging_long, gva, levels[i], OPEN | PTE_LARGE);
        paging_enter(bare, &paging_long, 0, 0);
        assert_int_equal(load(bare, gva + FIRST), 1);
        paging_map(bare, &paging_long, gva, 2, MIB(2) | OPEN | PTE_LARGE);
        mmu_flush_page(bare->vcpu, gva + 0x1000);
        assert_int_equal(load(bare, gva + FIRST), 2);
        bare_teardown(&fresh);
    }
}

/* Without PCIDs a CR3 write drops all but global pages. */
static void test_cr3(void **state)
{
    struct bare *bare = start(state, PTE_GLOBAL, 0);
    point_to(bare, lower, SECOND, 0);
    point_to(bare, upper, SECOND, PTE_GLOBAL);
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
    assert_int_equal(load_cached(bare, upper), 1);
    assert_int_equal(load_cached(bare, lower), 0);
    assert_int_equal(load(bare, lower), 2);
    mmu_flush_all(bare->vcpu);
    assert_int_equal(load(bare, upper), 2);
}

static void test_cr3_upper_not_global(void **state)
{
    struct bare *bare = start(state, 0, 0);
    point_to(bare, upper, SECOND, 0);
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
    assert_int_equal(load(bare, upper), 2);
}

/* Each address space sees its own pages, and finds them again without a walk. */
static void test_pcids(void **state)
{
    struct bare *bare = start(state, 0, CR4_PCIDE);
    switch_to(bare, 1);
    assert_int_equal(load_cached(bare, lower), 0);
    point_to(bare, lower, SECOND, 0);
    assert_int_equal(load(bare, lower), 2);
    switch_to(bare, 0);
    assert_int_equal(load(bare, upper), 1);
    switch_to(bare, 1);
    assert_int_equal(load_cached(bare, lower), 2);
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES | 1));
    assert_int_equal(load_cached(bare, lower), 0);
}

/*
 * Page-table isolation: the kernel's address space and the user's (PCIDs 11 bits apart) share not
 * one global page; going back and forth must leave both as they were.
 */
static void test_isolated_kernel(void **state)
{
    const uint64_t entry_page = upper + PAGE_SIZE;
    struct bare *bare = start(state, 0, CR4_PCIDE);
    switch_to(bare, 1);
    assert_int_equal(load(bare, upper), 1);
    uint64_t generation = mmu_fetch_generation(bare->vcpu, upper);
    switch_to(bare, 0x801);
    assert_int_equal(load_cached(bare, upper), 0); /* the kernel's alone */
    point_to(bare, entry_page, SECOND, 0);
    assert_int_equal(load(bare, entry_page), 2);
    for (unsigned i = 0; i < 10; i++) {
        switch_to(bare, 1);
        assert_int_equal(load_cached(bare, upper), 1);
        assert_int_equal(mmu_fetch_generation(bare->vcpu, upper), generation);
        assert_int_equal(load_cached(bare, entry_page), 0);
        switch_to(bare, 0x801);
        assert_int_equal(load_cached(bare, entry_page), 2);
        assert_int_equal(load_cached(bare, upper), 0);
    }
}

/* Global pages are everybody's, until INVLPG in any address space. */
static void test_global_across_pcids(void **state)
{
    struct bare *bare = start(state, PTE_GLOBAL, CR4_PCIDE);
    switch_to(bare, 1);
    assert_int_equal(load_cached(bare, upper), 1);
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES | 2));
    assert_int_equal(load_cached(bare, upper), 1);
    /* A page of its own takes address space 2 out of those who share. */
    point_to(bare, upper + PAGE_SIZE, SECOND, 0);
    assert_int_equal(load(bare, upper + PAGE_SIZE), 2);
    assert_int_equal(load(bare, upper), 1);
    mmu_flush_page(bare->vcpu, upper);
    switch_to(bare, 1);
    assert_int_equal(load_cached(bare, upper), 0);
}

/* INVPCID's four kinds by what they call. */
static void test_invpcid(void **state)
{
    struct bare *bare = start(state, PTE_GLOBAL, CR4_PCIDE);
    struct vcpu *vcpu = bare->vcpu;
    switch_to(bare, 1);
    assert_int_equal(load(bare, lower), 1);
    point_to(bare, lower, SECOND, 0);
    mmu_flush_pcid(vcpu, 0); /* another than the current */
    assert_int_equal(load_cached(bare, lower), 1);
    switch_to(bare, 0);
    assert_int_equal(load(bare, lower), 2);
    mmu_flush_pcid(vcpu, 0);
    assert_int_equal(load_cached(bare, lower), 0);
    assert_int_equal(load_cached(bare, upper), 1); /* global */
    mmu_flush_non_global(vcpu);
    assert_int_equal(load_cached(bare, upper), 1);
    switch_to(bare, 1);
    assert_int_equal(load_cached(bare, lower), 0);
    mmu_flush_all(vcpu);
    assert_int_equal(load_cached(bare, upper), 0);
}

/* More address spaces than are remembered: forgotten ones start empty. */
static void test_many_pcids(void **state)
{
    struct bare *bare = start(state, 0, CR4_PCIDE);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned pcid = 0; pcid < 64; pcid++) {
            uint64_t gpa = FIRST + (pcid & 1) * PAGE_SIZE;
            point_to(bare, lower, gpa, 0);
            point_to(bare, upper, gpa, 0);
            assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES | pcid));
            assert_int_equal(load(bare, lower), 1 + (pcid & 1));
            assert_int_equal(load(bare, upper), 1 + (pcid & 1));
        }
}

/* Numbers run out after some 1,000 flushes; what they marked must not come back to life. */
static void test_generations_wrap(void **state)
{
    struct bare *bare = start(state, 0, CR4_PCIDE);
    for (unsigned i = 0; i < 2 * TLB_GENERATIONS; i++) {
        point_to(bare, lower, i & 1 ? FIRST : SECOND, 0);
        point_to(bare, upper, i & 1 ? FIRST : SECOND, 0);
        assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
        assert_int_equal(load(bare, lower), i & 1 ? 1 : 2);
        assert_int_equal(load(bare, upper), i & 1 ? 1 : 2);
        for (unsigned mode = 0; mode < MMU_MODE_COUNT; mode++)
            assert_in_range(bare->vcpu->tlbs[mode].generation >> TLB_GENERATION_SHIFT, 1,
                            TLB_GENERATIONS);
    }
}

/* What the kernel has cached of one program's memory is gone for the next, however much it was. */
static void test_kernel_in_lower_half(void **state)
{
    static const unsigned counts[] = {1, TLB_JOURNAL, TLB_JOURNAL + 1, 3 * TLB_JOURNAL};
    for (unsigned i = 0; i < ARRAY_SIZE(counts); i++) {
        void *fresh;
        assert_int_equal(bare_setup(&fresh), 0);
        struct bare *bare = start(&fresh, i & 1 ? PTE_GLOBAL : 0, CR4_PCIDE);
        for (unsigned page = 0; page < counts[i]; page++) {
            uint64_t gva = lower + MIB(2) * 3 + page * PAGE_SIZE;
            paging_map(bare, &paging_long, gva, 1, FIRST | OPEN);
            assert_int_equal(load_as(bare, gva, MMU_SUPERVISOR), 1);
            assert_int_equal(cached_as(bare, gva, MMU_SUPERVISOR), 1);
        }
        switch_to(bare, 1);
        for (unsigned page = 0; page < counts[i]; page++)
            assert_int_equal(cached_as(bare, lower + MIB(2) * 3 + page * PAGE_SIZE, MMU_SUPERVISOR),
                             0);
        bare_teardown(&fresh);
    }
}

/* Global pages of the lower half, where 32-bit kernels are, survive the next program's coming. */
static void test_global_kernel_in_lower_half(void **state)
{
    struct bare *bare = start(state, PTE_GLOBAL, 0);
    point_to(bare, lower, FIRST, PTE_GLOBAL);
    assert_int_equal(load_as(bare, lower, MMU_SUPERVISOR), 1);
    point_to(bare, lower, SECOND, PTE_GLOBAL);
    for (unsigned i = 0; i < 2 * TLB_JOURNAL; i++)
        assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
    assert_int_equal(cached_as(bare, lower, MMU_SUPERVISOR), 1);
    mmu_flush_page(bare->vcpu, lower);
    assert_int_equal(load_as(bare, lower, MMU_SUPERVISOR), 2);
    mmu_flush_all(bare->vcpu);
    assert_int_equal(cached_as(bare, lower, MMU_SUPERVISOR), 0);
}

/* No address, canonical or not, reads what an older generation cached. */
static void test_stale_entries_unreachable(void **state)
{
    struct bare *bare = start(state, 0, 0);
    assert_true(control_write_cr3(bare->vcpu, PAGE_TABLES));
    for (unsigned bit = 12; bit < 64; bit++)
        for (unsigned other = 12; other < 64; other++) {
            uint64_t gva = lower ^ BIT(bit) ^ (other > bit ? BIT(other) : 0);
            assert_int_equal(cached_as(bare, gva, MMU_USER), 0);
            assert_int_equal(cached_as(bare, gva, MMU_SUPERVISOR), 0);
        }
}

/* A table that loses too many live entries doubles, and keeps what it has. */
static void test_growth(void **state)
{
    struct bare *bare = start(state, 0, 0);
    const struct tlb *tlb = &bare->vcpu->tlbs[MMU_USER];
    paging_map(bare, &paging_long, 0, 3, OPEN | PTE_LARGE);
    mmu_flush_all(bare->vcpu);
    paging_write(bare, &paging_long, GIB(1), 3, OPEN | PTE_LARGE);
    for (unsigned round = 0; round < 8; round++)
        for (uint64_t page = 0; page < 512; page++)
            load(bare, page * PAGE_SIZE);
    assert_int_equal(tlb->mask + 1, TLB_SIZE_MIN);
    for (unsigned round = 0; round < 8; round++)
        for (uint64_t page = 0; page < 512; page++) {
            load(bare, page * PAGE_SIZE);
            load(bare, GIB(1) + page * PAGE_SIZE); /* the same slot */
        }
    assert_true(tlb->mask + 1 > TLB_SIZE_MIN);
    assert_int_equal(load(bare, GIB(1) + FIRST), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_invlpg),
        cmocka_unit_test(test_invlpg_large),
        TEST(test_cr3),
        TEST(test_cr3_upper_not_global),
        TEST(test_pcids),
        TEST(test_isolated_kernel),
        TEST(test_global_across_pcids),
        TEST(test_invpcid),
        TEST(test_many_pcids),
        TEST(test_generations_wrap),
        cmocka_unit_test(test_kernel_in_lower_half),
        TEST(test_global_kernel_in_lower_half),
        TEST(test_stale_entries_unreachable),
        TEST(test_growth),
    };
    return cmocka_run_group_tests_name("tlb", tests, NULL, NULL);
}
