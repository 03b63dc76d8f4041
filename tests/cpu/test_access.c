/* SPDX-License-Identifier: Apache-2.0 */
/* Guest accesses beyond the fast path: page crossings, MMIO, ROM, the local APIC's page, pages with
 * cached code, addresses that cannot be. APM vol. 2 §5.3.1, §7, §8.4. */
#include "paging.h"

#include <string.h>

#define OPEN (PTE_PRESENT | PTE_WRITE | PTE_USER)

enum { GVA = 0x00c03000, PAGE = 0x20000, DEVICE = 0xd0000000 };

/* A device that notes what reaches it. */
struct probe {
    struct bus_region region;
    uint64_t offsets[8], values[8];
    unsigned sizes[8], count;
};

static void note(struct probe *probe, uint64_t offset, uint64_t value, unsigned size)
{
    assert_true(probe->count < ARRAY_SIZE(probe->offsets));
    probe->offsets[probe->count] = offset;
    probe->values[probe->count] = value;
    probe->sizes[probe->count++] = size;
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    note(opaque, offset, 0, size);
    return UINT64_C(0x8877665544332211) & bytes_mask(size);
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    note(opaque, offset, value, size);
}

static const struct bus_ops probe_ops = {probe_read, probe_write};

static struct bare *start(void **state)
{
    struct bare *bare = *state;
    paging_map(bare, &paging_long, GVA, 1, PAGE | OPEN);
    paging_write(bare, &paging_long, GVA + PAGE_SIZE, 1, 0);
    paging_enter(bare, &paging_long, CR0_WP, 0);
    return bare;
}

static void map_second(struct bare *bare, uint64_t entry)
{
    paging_write(bare, &paging_long, GVA + PAGE_SIZE, 1, entry);
    mmu_flush_all(bare->vcpu);
}

static void assert_page_fault(struct vcpu *vcpu, uint64_t address, uint32_t error_code)
{
    assert_raised(vcpu, VECTOR_PF, error_code);
    assert_int_equal(vcpu->exception.address, address);
}

static void test_crossing(void **state)
{
    struct bare *bare = start(state);
    const uint64_t gva = GVA + PAGE_SIZE - 3;
    uint64_t value = UINT64_C(0x8877665544332211), back = 0;
    map_second(bare, (PAGE + 0x5000) | OPEN); /* not the physical neighbour */
    assert_int_equal(mmu_write(bare->vcpu, gva, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(bare_load(bare, PAGE + PAGE_SIZE - 3, 3), 0x332211);
    assert_int_equal(bare_load(bare, PAGE + 0x5000, 5), UINT64_C(0x8877665544));
    assert_int_equal(mmu_read(bare->vcpu, gva, &back, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(back, value);
    uint8_t vector[64], copy[64];
    for (unsigned i = 0; i < sizeof(vector); i++)
        vector[i] = (uint8_t)i;
    assert_int_equal(mmu_write(bare->vcpu, gva - 20, vector, 64, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(mmu_read(bare->vcpu, gva - 20, copy, 64, MMU_SUPERVISOR), MMU_OK);
    assert_memory_equal(vector, copy, 64);
}

/* A fault on the second page: its address is the first byte there, and nothing is written. */
static void test_crossing_faults(void **state)
{
    struct bare *bare = start(state);
    const uint64_t gva = GVA + PAGE_SIZE - 4, none = 0, ones = ~UINT64_C(0);
    uint64_t value;
    assert_int_equal(mmu_write(bare->vcpu, gva, &ones, 8, MMU_SUPERVISOR), MMU_FAULT);
    assert_page_fault(bare->vcpu, GVA + PAGE_SIZE, PAGE_FAULT_WRITE);
    assert_int_equal(bare_load(bare, PAGE + PAGE_SIZE - 4, 4), none);
    assert_int_equal(mmu_read(bare->vcpu, gva, &value, 8, MMU_USER), MMU_FAULT);
    assert_page_fault(bare->vcpu, GVA + PAGE_SIZE, PAGE_FAULT_USER);
    map_second(bare, (PAGE + 0x1000) | PTE_PRESENT); /* read-only */
    assert_false(mmu_probe_write(bare->vcpu, gva, 8, MMU_SUPERVISOR));
    assert_page_fault(bare->vcpu, GVA + PAGE_SIZE, PAGE_FAULT_PRESENT | PAGE_FAULT_WRITE);
    assert_int_equal(mmu_read(bare->vcpu, gva, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_true(mmu_probe_write(bare->vcpu, gva, 4, MMU_SUPERVISOR));
    assert_true(paging_read(bare, &paging_long, GVA, 1) & PTE_DIRTY);
}

static void test_mmio(void **state)
{
    struct bare *bare = start(state);
    struct probe probe = {.region = {"device", BUS_MMIO, DEVICE, 64, 8, &probe_ops, &probe}};
    struct error error;
    enum mmu_status status;
    uint8_t bytes[16];
    uint64_t value = 0xabcd;
    assert_int_equal(bus_add_region(&bare->bus, &probe.region, &error), 0);
    map_second(bare, DEVICE | OPEN);
    const uint64_t gva = GVA + PAGE_SIZE;
    assert_int_equal(mmu_write(bare->vcpu, gva + 4, &value, 2, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(probe.offsets[0], 4);
    assert_int_equal(probe.sizes[0], 2);
    assert_int_equal(probe.values[0], 0xabcd);
    /* Vector loads come in pieces of eight. */
    assert_int_equal(mmu_read(bare->vcpu, gva + 16, bytes, 16, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(probe.count, 3);
    assert_int_equal(probe.offsets[1], 16);
    assert_int_equal(probe.offsets[2], 24);
    assert_int_equal(bytes[15], 0x88);
    /* Half RAM, half probe. */
    assert_int_equal(mmu_read(bare->vcpu, gva - 4, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, UINT64_C(0x4433221100000000));
    assert_int_equal(probe.sizes[3], 4);
    assert_null(mmu_hva(bare->vcpu, gva, 4, MMU_READ, MMU_SUPERVISOR, &status));
    assert_int_equal(status, MMU_OK);
    assert_null(mmu_hva_modify(bare->vcpu, gva, 4, MMU_SUPERVISOR, &status));
    assert_int_equal(status, MMU_OK);
    bus_remove_region(&bare->bus, &probe.region);
}

/* Where nothing answers, reads are all ones and writes are lost. */
static void test_nothing_there(void **state)
{
    struct bare *bare = start(state);
    uint64_t value = 0;
    map_second(bare, DEVICE | OPEN);
    assert_int_equal(mmu_write(bare->vcpu, GVA + PAGE_SIZE, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(mmu_read(bare->vcpu, GVA + PAGE_SIZE, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, ~UINT64_C(0));
}

static void test_rom(void **state)
{
    struct bare *bare = start(state);
    enum mmu_status status;
    uint64_t value = 7;
    bare_store(bare, PAGE, 0x1234, 8);
    memory_set_rom(bare->memory, PAGE, PAGE_SIZE, true);
    assert_int_equal(mmu_write(bare->vcpu, GVA, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(mmu_read(bare->vcpu, GVA, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, 0x1234);
    assert_non_null(mmu_hva(bare->vcpu, GVA, 8, MMU_READ, MMU_SUPERVISOR, &status));
    assert_null(mmu_hva(bare->vcpu, GVA, 8, MMU_WRITE, MMU_SUPERVISOR, &status));
    assert_int_equal(status, MMU_OK);
    assert_null(mmu_hva_modify(bare->vcpu, GVA, 8, MMU_SUPERVISOR, &status));
}

/* The local APIC's page belongs to the processor that looks at it. */
static void test_apic_page(void **state)
{
    struct bare *bare = start(state);
    uint32_t version = 0, high = 0x0f000000;
    map_second(bare, APIC_DEFAULT_ADDRESS | OPEN);
    const uint64_t apic = GVA + PAGE_SIZE;
    assert_int_equal(mmu_read(bare->vcpu, apic + 0x30, &version, 4, MMU_SUPERVISOR), MMU_OK);
    assert_in_range(version & 0xff, 0x10, 0x15);
    assert_int_equal(mmu_write(bare->vcpu, apic + 0xd0, &high, 4, MMU_SUPERVISOR), MMU_OK);
    high = 0;
    assert_int_equal(mmu_read(bare->vcpu, apic + 0xd3, &high, 1, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(high, 0x0f);
}

/* A store to a page that holds decoded code is made and reported. */
static void test_code_page(void **state)
{
    struct bare *bare = start(state);
    enum mmu_status status;
    uint64_t value = 5;
    assert_int_equal(mmu_write(bare->vcpu, GVA, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_true(memory_mark_code(bare->memory, PAGE + 12, 3));
    assert_true(mmu_protect_gpa(bare->vcpu, PAGE)); /* the store above had cached a write entry */
    assert_int_equal(mmu_write(bare->vcpu, GVA, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(mmu_write(bare->vcpu, GVA + 8, &value, 8, MMU_SUPERVISOR), MMU_CODE);
    assert_int_equal(bare_load(bare, PAGE + 8, 8), 5);
    assert_true(memory_mark_code(bare->memory, PAGE, 1));
    mmu_protect_gpa(bare->vcpu, PAGE);
    uint64_t *hva = mmu_hva_modify(bare->vcpu, GVA, 8, MMU_SUPERVISOR, &status);
    assert_non_null(hva);
    assert_int_equal(status, MMU_CODE);
    assert_int_equal(mmu_code_written(bare->vcpu, GVA, 8), MMU_CODE);
    assert_false(memory_page_flags(bare->memory, PAGE) & MEMORY_PAGE_CODE);
}

/* Firmware keeps data beside its code. */
static void test_stores_beside_code_keep_it(void **state)
{
    struct bare *bare = start(state);
    const uint64_t code = PAGE + 0x3f; /* from one word of bits into the next */
    const uint64_t value = 0;
    memory_mark_code(bare->memory, code, 0x42);
    assert_int_equal(mmu_write(bare->vcpu, GVA + 0x37, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(mmu_write(bare->vcpu, GVA + 0x81, &value, 8, MMU_SUPERVISOR), MMU_OK);
    memory_note_write(bare->memory, PAGE, 0x3f);
    memory_note_write(bare->memory, PAGE + 0x81, PAGE_SIZE);
    assert_true(memory_page_flags(bare->memory, PAGE) & MEMORY_PAGE_CODE);
    assert_int_equal(mmu_write(bare->vcpu, GVA + 0x80, &value, 1, MMU_SUPERVISOR), MMU_CODE);
    assert_false(memory_page_flags(bare->memory, PAGE) & MEMORY_PAGE_CODE);
    memory_mark_code(bare->memory, code, 0x42);
    memory_note_write(bare->memory, PAGE + 0x38, 8);
    assert_false(memory_page_flags(bare->memory, PAGE) & MEMORY_PAGE_CODE);
}

/* A page that held code once must not stay slow to write for ever; one that holds both may. */
static void test_many_stores_beside_code_drop_it(void **state)
{
    struct bare *bare = start(state);
    const uint64_t value = 0;
    unsigned last = 0;
    for (unsigned round = 0; round < 4; round++) {
        unsigned stores = 1;
        memory_mark_code(bare->memory, PAGE, 1);
        while (mmu_write(bare->vcpu, GVA + 8, &value, 8, MMU_SUPERVISOR) != MMU_CODE)
            assert_in_range(++stores, 1, 1000);
        assert_true(stores > last);
        last = stores;
    }
}

/* The second megabyte is the first then: for code that counts on 8086 addresses wrapping. */
static void test_a20(void **state)
{
    struct bare *bare = *state;
    const uint64_t far = UINT64_C(0x100000) + PAGE;
    uint8_t near_byte = 1, far_byte = 2, byte = 0;
    memory_write(bare->memory, PAGE, &near_byte, 1);
    memory_write(bare->memory, far, &far_byte, 1);
    atomic_store(&bare->memory->a20_closed, true);
    mmu_flush_all(bare->vcpu);
    assert_int_equal(mmu_read(bare->vcpu, far, &byte, 1, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(byte, 1);
    atomic_store(&bare->memory->a20_closed, false);
    mmu_flush_all(bare->vcpu);
    assert_int_equal(mmu_read(bare->vcpu, far, &byte, 1, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(byte, 2);
}

static void test_non_canonical(void **state)
{
    static const uint64_t addresses[] = {UINT64_C(0x0000800000000000), UINT64_C(0xffff7ffffffffff8),
                                         UINT64_C(0x8000000000c03000)};
    struct bare *bare = start(state);
    uint64_t value, gpa;
    for (unsigned i = 0; i < ARRAY_SIZE(addresses); i++) {
        assert_int_equal(mmu_read(bare->vcpu, addresses[i], &value, 8, MMU_SUPERVISOR), MMU_FAULT);
        assert_raised(bare->vcpu, VECTOR_GP, 0);
        assert_int_equal(mmu_fetch(bare->vcpu, addresses[i], &gpa), MMU_FAULT);
        assert_raised(bare->vcpu, VECTOR_GP, 0);
    }
    /* The last byte below the hole is fine, the next is not. */
    paging_map(bare, &paging_long, UINT64_C(0x00007ffffffff000), 1, PAGE | OPEN);
    assert_int_equal(mmu_read(bare->vcpu, UINT64_C(0x00007ffffffffff8), &value, 8, MMU_SUPERVISOR),
                     MMU_OK);
    assert_int_equal(mmu_read(bare->vcpu, UINT64_C(0x00007ffffffffffc), &value, 8, MMU_SUPERVISOR),
                     MMU_FAULT);
    assert_raised(bare->vcpu, VECTOR_GP, 0);
}

/* Outside long mode linear addresses end at 4 GiB and go on at 0. There is no A20 gate: the second
 * MiB is never the first. */
static void test_wrap(void **state)
{
    struct bare *bare = *state;
    uint64_t value = 0;
    paging_map(bare, &paging_32bit, 0xfffff000, 1, PAGE | OPEN);
    paging_write(bare, &paging_32bit, 0, 2, paging_read(bare, &paging_32bit, 0xfffff000, 2));
    paging_write(bare, &paging_32bit, 0, 1, (PAGE + 0x3000) | OPEN);
    paging_write(bare, &paging_32bit, 0x100000, 1, (PAGE + 0x4000) | OPEN);
    paging_enter(bare, &paging_32bit, 0, 0);
    bare_store(bare, PAGE + 0xffc, 0x11111111, 4);
    bare_store(bare, PAGE + 0x3000, 0x22222222, 4);
    bare_store(bare, PAGE + 0x4000, 0x33333333, 4);
    assert_int_equal(mmu_read(bare->vcpu, 0xfffffffc, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, UINT64_C(0x2222222211111111));
    assert_int_equal(mmu_read(bare->vcpu, BIT(32), &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, 0x22222222);
    assert_int_equal(mmu_read(bare->vcpu, 0x100000, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(value, 0x33333333);
}

/* While a data breakpoint is armed every access is looked at, and those that meet it are noted. */
static void test_data_breakpoints(void **state)
{
    struct bare *bare = start(state);
    struct vcpu *vcpu = bare->vcpu;
    uint64_t value = 0;
    assert_true(control_write_dr(vcpu, 0, GVA + 8));
    assert_true(control_write_dr(vcpu, 1, GVA + 0x11));
    /* 0: writes of 4 bytes; 1: reads and writes of 8, wherever in them DR1 points */
    assert_true(control_write_dr(vcpu, 7, 1 | 4 | 0xd << 16 | 0xb << 20));
    assert_int_equal(mmu_read(vcpu, GVA + 8, &value, 8, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(vcpu->watch_hits, 0);
    assert_int_equal(mmu_write(vcpu, GVA + 4, &value, 4, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(vcpu->watch_hits, 0);
    assert_int_equal(mmu_write(vcpu, GVA + 4, &value, 5, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(vcpu->watch_hits, 1);
    assert_int_equal(mmu_read(vcpu, GVA + 0x17, &value, 1, MMU_SUPERVISOR), MMU_OK);
    assert_int_equal(vcpu->watch_hits, 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, bare_setup, bare_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_crossing),
        TEST(test_crossing_faults),
        TEST(test_mmio),
        TEST(test_nothing_there),
        TEST(test_rom),
        TEST(test_apic_page),
        TEST(test_code_page),
        TEST(test_stores_beside_code_keep_it),
        TEST(test_many_stores_beside_code_drop_it),
        TEST(test_a20),
        TEST(test_non_canonical),
        TEST(test_wrap),
        TEST(test_data_breakpoints),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
