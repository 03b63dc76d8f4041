/* SPDX-License-Identifier: Apache-2.0 */
#include "paging.h"

#define TABLE (PTE_PRESENT | PTE_WRITE | PTE_USER)

const struct paging_shape paging_32bit = {"32-bit", 2, 4, 10, CR4_PSE, 0, TABLE, TABLE};
const struct paging_shape paging_pae = {"PAE", 3, 8, 9, CR4_PAE, EFER_NXE, TABLE, PTE_PRESENT};
const struct paging_shape paging_long = {"long", 4,    8, 9, CR4_PAE, EFER_NXE | EFER_LME,
                                         TABLE,  TABLE};

/* Every path uses the same table of each level. */
static uint64_t table(const struct paging_shape *shape, unsigned level)
{
    return PAGE_TABLES + (shape->levels - level) * PAGE_SIZE;
}

uint64_t paging_entry(const struct paging_shape *shape, uint64_t gva, unsigned level)
{
    uint64_t index = gva >> (PAGE_SHIFT + (level - 1) * shape->index_bits);
    return table(shape, level) + (index & (BIT(shape->index_bits) - 1)) * shape->entry_size;
}

uint64_t paging_read(struct bare *bare, const struct paging_shape *shape, uint64_t gva,
                     unsigned level)
{
    return bare_load(bare, paging_entry(shape, gva, level), shape->entry_size);
}

void paging_write(struct bare *bare, const struct paging_shape *shape, uint64_t gva, unsigned level,
                  uint64_t entry)
{
    bare_store(bare, paging_entry(shape, gva, level), entry, shape->entry_size);
}

void paging_map(struct bare *bare, const struct paging_shape *shape, uint64_t gva, unsigned level,
                uint64_t leaf)
{
    for (unsigned upper = shape->levels; upper > level; upper--)
        paging_write(bare, shape, gva, upper,
                     table(shape, upper - 1) |
                         (upper == shape->levels ? shape->root : shape->upper));
    paging_write(bare, shape, gva, level, leaf);
}

void paging_enter(struct bare *bare, const struct paging_shape *shape, uint64_t cr0, uint64_t cr4)
{
    struct vcpu *vcpu = bare->vcpu;
    assert_true(control_write_cr4(vcpu, shape->cr4 | (cr4 & ~CR4_PCIDE)));
    assert_true(control_write_cr3(vcpu, PAGE_TABLES));
    assert_true(msr_write(vcpu, MSR_EFER, shape->efer));
    assert_true(control_write_cr0(vcpu, CR0_PE | CR0_PG | CR0_ET | cr0));
    if (shape == &paging_long) {
        vcpu->segments[SEG_CS].attributes |= SEGMENT_LONG;
        vcpu_update_mode(vcpu);
    }
    if (cr4 & CR4_PCIDE)
        assert_true(control_write_cr4(vcpu, shape->cr4 | cr4));
}
