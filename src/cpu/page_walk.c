/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one page walk: two-level, PAE and four-level tables, every page size, and the permission
 * rules of U/S, R/W, NX, WP, SMEP, SMAP and protection keys. APM vol. 2 §5.2 to §5.6.
 */
#include "cpu/control.h"
#include "cpu/mmu.h"

/* Protection keys: two bits a key in PKRU. Intel SDM vol. 3 §4.6.2. */
#define PKRU_ACCESS_DISABLE 1u
#define PKRU_WRITE_DISABLE  2u

/* The shape of one paging mode's tables. */
struct paging_format {
    unsigned levels;
    unsigned entry_size; /* bytes */
    unsigned index_bits; /* of each level */
    unsigned large_mask; /* bit n: an entry of level n (1 is the lowest) may map a page */
};

static const struct paging_format format_32bit = {2, 4, 10, 1 << 2};
static const struct paging_format format_pae = {2, 8, 9, 1 << 2}; /* below the four PDPTEs */
static const struct paging_format format_long = {4, 8, 9, 1 << 2 | 1 << 3};

/* What a walk gathers on its way down. */
struct walk {
    struct vcpu *vcpu;
    const struct paging_format *format;
    uint64_t table; /* gpa of the current table */
    uint64_t entry;
    uint64_t entry_gpa;
    uint64_t physical_mask; /* address bits an entry may have */
    bool user, writable, no_execute;
};

static bool fail(struct mmu_translation *translation, uint32_t bits)
{
    translation->error_code = bits;
    return false;
}

/* False when the entry lies outside RAM, where no page table can be. */
static bool walk_read(struct walk *walk, uint64_t gva, unsigned level)
{
    const struct paging_format *format = walk->format;
    unsigned shift = PAGE_SHIFT + (level - 1) * format->index_bits;
    uint64_t index = gva >> shift & (BIT(format->index_bits) - 1);
    walk->entry_gpa = walk->table + index * format->entry_size;
    void *hva = memory_hva(walk->vcpu->memory, walk->entry_gpa, format->entry_size);
    if (!hva)
        return false;
    walk->entry = format->entry_size == 8 ? __atomic_load_n((uint64_t *)hva, __ATOMIC_ACQUIRE)
                                          : __atomic_load_n((uint32_t *)hva, __ATOMIC_ACQUIRE);
    return true;
}

/* Sets bits in the entry just read if it is still the same; false: the guest changed it, walk
 * again. */
static bool walk_update(struct walk *walk, uint64_t bits)
{
    uint64_t wanted = walk->entry | bits;
    if (wanted == walk->entry)
        return true;
    void *hva = memory_hva(walk->vcpu->memory, walk->entry_gpa, walk->format->entry_size);
    bool done;
    if (walk->format->entry_size == 8) {
        uint64_t old = walk->entry;
        done = __atomic_compare_exchange_n((uint64_t *)hva, &old, wanted, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_RELAXED);
    } else {
        uint32_t old = (uint32_t)walk->entry;
        done = __atomic_compare_exchange_n((uint32_t *)hva, &old, (uint32_t)wanted, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    }
    walk->entry = wanted;
    return done;
}

/* Bits that must be zero in a present entry. APM vol. 2 §5.3; Intel SDM vol. 3 §4.4.2. */
static uint64_t reserved_bits(const struct walk *walk, unsigned level, bool large)
{
    if (walk->format == &format_32bit)
        return large ? BIT(21) : 0; /* PSE-36 bits 13..20 carry address bits */
    uint64_t reserved = ~walk->physical_mask & (BIT(52) - 1) & PAGE_MASK;
    if (!(walk->vcpu->efer & EFER_NXE))
        reserved |= PTE_NX;
    if (walk->format == &format_pae)
        reserved |= bits_get(~UINT64_C(0), 62, 52) << 52;
    if (large) /* bits between the PAT bit (12) and the page's own address */
        reserved |= (BIT(PAGE_SHIFT + (level - 1) * 9) - 1) & ~(BIT(13) - 1);
    if (level == 4)
        reserved |= PTE_LARGE;
    return reserved;
}

static bool is_large(const struct walk *walk, unsigned level)
{
    if (!(walk->entry & PTE_LARGE) || !(walk->format->large_mask & 1u << level))
        return false;
    return walk->format != &format_32bit || walk->vcpu->cr4 & CR4_PSE;
}

static uint64_t leaf_address(const struct walk *walk, uint64_t gva, uint64_t page_size)
{
    uint64_t frame = walk->entry & walk->physical_mask;
    if (walk->format == &format_32bit && page_size > PAGE_SIZE) /* PSE-36 */
        frame = (walk->entry & 0xffc00000) | bits_get(walk->entry, 20, 13) << 32;
    return (frame & ~(page_size - 1)) | (gva & (page_size - 1));
}

static unsigned key_permissions(const struct vcpu *vcpu, const struct walk *walk,
                                enum mmu_mode mode)
{
    const unsigned all = 1u << MMU_READ | 1u << MMU_WRITE | 1u << MMU_FETCH;
    if (!(vcpu->cr4 & CR4_PKE) || !walk->user || !vcpu_long_mode(vcpu))
        return all;
    unsigned rights = vcpu->pkru >> (2 * bits_get(walk->entry, 62, 59)) & 3;
    if (rights & PKRU_ACCESS_DISABLE)
        return 1u << MMU_FETCH;
    if (rights & PKRU_WRITE_DISABLE && (mode == MMU_USER || vcpu->cr0 & CR0_WP))
        return all & ~(1u << MMU_WRITE);
    return all;
}

/* What this mode may do with the page, keys aside. */
static unsigned page_permissions(const struct vcpu *vcpu, const struct walk *walk,
                                 enum mmu_mode mode)
{
    unsigned permissions = 0;
    if (mode == MMU_USER) {
        if (!walk->user)
            return 0;
        permissions = 1u << MMU_READ | (unsigned)walk->writable << MMU_WRITE | 1u << MMU_FETCH;
    } else {
        bool hidden = walk->user && vcpu->cr4 & CR4_SMAP && mode != MMU_SUPERVISOR_AC;
        if (!hidden)
            permissions |= 1u << MMU_READ;
        if (!hidden && (walk->writable || !(vcpu->cr0 & CR0_WP)))
            permissions |= 1u << MMU_WRITE;
        if (!(walk->user && vcpu->cr4 & CR4_SMEP))
            permissions |= 1u << MMU_FETCH;
    }
    return walk->no_execute ? permissions & ~(1u << MMU_FETCH) : permissions;
}

static uint32_t access_error(const struct vcpu *vcpu, enum mmu_access access, enum mmu_mode mode)
{
    uint32_t error_code = 0;
    if (access == MMU_WRITE)
        error_code |= PAGE_FAULT_WRITE;
    if (mode == MMU_USER)
        error_code |= PAGE_FAULT_USER;
    /* I/D is reported only where fetches can be told apart. APM vol. 2 §8.4.2. */
    bool tells_fetch = (vcpu->cr4 & CR4_PAE && vcpu->efer & EFER_NXE) || vcpu->cr4 & CR4_SMEP;
    if (access == MMU_FETCH && tells_fetch)
        error_code |= PAGE_FAULT_FETCH;
    return error_code;
}

/* Chooses the format and the root table. False: a PDPTE of PAE paging is not present. */
static bool walk_start(struct walk *walk, uint64_t gva)
{
    struct vcpu *vcpu = walk->vcpu;
    walk->physical_mask = (BIT(vcpu->model->physical_address_bits) - 1) & PAGE_MASK;
    walk->user = walk->writable = true;
    if (!(vcpu->cr4 & CR4_PAE)) {
        walk->format = &format_32bit;
        walk->table = vcpu->cr3 & 0xfffff000;
        walk->physical_mask = 0xfffff000;
    } else if (vcpu_long_mode(vcpu)) {
        walk->format = &format_long;
        walk->table = vcpu->cr3 & walk->physical_mask;
    } else {
        uint64_t pdpte = vcpu->pdpte[gva >> 30 & 3];
        walk->format = &format_pae;
        walk->table = pdpte & walk->physical_mask;
        return pdpte & PTE_PRESENT;
    }
    return true;
}

enum walk_result { WALK_DONE, WALK_FAULT, WALK_AGAIN };

/* From the leaf: permissions, A and D bits, the address. access MMU_ACCESS_COUNT: look only, change
 * nothing. */
static enum walk_result walk_finish(struct walk *walk, uint64_t gva, unsigned level,
                                    enum mmu_access access, enum mmu_mode mode,
                                    struct mmu_translation *translation)
{
    struct vcpu *vcpu = walk->vcpu;
    unsigned keys = key_permissions(vcpu, walk, mode);
    unsigned permissions = page_permissions(vcpu, walk, mode);
    translation->permissions = (uint8_t)(permissions & keys);
    translation->page_size = BIT(PAGE_SHIFT + (level - 1) * walk->format->index_bits);
    translation->global = walk->entry & PTE_GLOBAL && vcpu->cr4 & CR4_PGE;
    translation->gpa = leaf_address(walk, gva, translation->page_size);
    if (access != MMU_ACCESS_COUNT) {
        if (!(translation->permissions & 1u << access)) {
            uint32_t error_code = access_error(vcpu, access, mode) | PAGE_FAULT_PRESENT;
            if (permissions & 1u << access)
                error_code |= PAGE_FAULT_PROTECT_KEY;
            fail(translation, error_code);
            return WALK_FAULT;
        }
        if (!walk_update(walk, access == MMU_WRITE ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED))
            return WALK_AGAIN;
    }
    translation->dirty = walk->entry & PTE_DIRTY;
    return WALK_DONE;
}

static enum walk_result walk_once(struct vcpu *vcpu, uint64_t gva, enum mmu_access access,
                                  enum mmu_mode mode, struct mmu_translation *translation)
{
    struct walk walk = {.vcpu = vcpu};
    bool present = walk_start(&walk, gva);
    for (unsigned level = walk.format->levels;; level--) {
        if (!present || !walk_read(&walk, gva, level) || !(walk.entry & PTE_PRESENT)) {
            fail(translation, access_error(vcpu, access, mode));
            return WALK_FAULT;
        }
        bool leaf = level == 1 || is_large(&walk, level);
        if (walk.entry & reserved_bits(&walk, level, leaf && level > 1)) {
            fail(translation,
                 access_error(vcpu, access, mode) | PAGE_FAULT_PRESENT | PAGE_FAULT_RESERVED);
            return WALK_FAULT;
        }
        walk.user &= !!(walk.entry & PTE_USER);
        walk.writable &= !!(walk.entry & PTE_WRITE);
        walk.no_execute |= walk.format->entry_size == 8 && walk.entry & PTE_NX;
        if (leaf)
            return walk_finish(&walk, gva, level, access, mode, translation);
        if (access != MMU_ACCESS_COUNT && !walk_update(&walk, PTE_ACCESSED))
            return WALK_AGAIN;
        walk.table = walk.entry & walk.physical_mask;
    }
}

static bool walk_paging_off(uint64_t gva, struct mmu_translation *translation)
{
    *translation = (struct mmu_translation){
        .gpa = gva,
        .page_size = PAGE_SIZE,
        .dirty = true,
        .permissions = 1u << MMU_READ | 1u << MMU_WRITE | 1u << MMU_FETCH,
    };
    return true;
}

bool mmu_walk(struct vcpu *vcpu, uint64_t gva, enum mmu_access access, enum mmu_mode mode,
              struct mmu_translation *translation)
{
    const uint64_t lines = memory_line_mask(vcpu->memory);
    if (!(vcpu->cr0 & CR0_PG))
        return walk_paging_off(gva & lines, translation);
    enum walk_result result;
    do {
        *translation = (struct mmu_translation){0};
        result = walk_once(vcpu, gva, access, mode, translation);
    } while (result == WALK_AGAIN);
    translation->gpa &= lines;
    return result == WALK_DONE;
}

bool mmu_inspect(struct vcpu *vcpu, uint64_t gva, struct mmu_translation *translation)
{
    const uint64_t lines = memory_line_mask(vcpu->memory);
    if (!(vcpu->cr0 & CR0_PG))
        return walk_paging_off(gva & lines, translation);
    *translation = (struct mmu_translation){0};
    bool found = walk_once(vcpu, gva, MMU_ACCESS_COUNT, MMU_SUPERVISOR, translation) == WALK_DONE;
    translation->gpa &= lines;
    return found;
}
