/* SPDX-License-Identifier: Apache-2.0 */
/* Filling, growing and flushing the software TLB. */
#include "cpu/tlb.h"

#include "cpu/mmu.h"

#include <errno.h>
#include <stdlib.h>

/* Live entries pushed out, as a multiple of the table's size, before it doubles. */
#define GROW_AFTER_EVICTIONS 2

static void entry_clear(struct tlb_entry *entry, uint64_t gva)
{
    for (int access = 0; access < MMU_ACCESS_COUNT; access++)
        entry->tag[access] = tlb_no_tag(gva);
}

static void tlb_clear(struct tlb *tlb)
{
    for (uint64_t i = 0; i <= tlb->mask; i++)
        entry_clear(&tlb->entries[i], i << PAGE_SHIFT);
}

static void tlb_set_generation(struct tlb *tlb, uint64_t number)
{
    tlb->generation = number << TLB_GENERATION_SHIFT;
}

void mmu_create(struct vcpu *vcpu)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        tlb->entries = vcpu->tlb_entries[mode];
        tlb->mask = TLB_SIZE_MIN - 1;
        tlb_set_generation(tlb, 1);
        tlb_clear(tlb);
    }
    vcpu->tlb_contexts.next_generation = 2;
}

/* The page an entry stands for (with its generation), by any of its tags; false: it is empty. */
static bool entry_page(const struct tlb_entry *entry, uint64_t slot, uint64_t *tag)
{
    for (int access = 0; access < MMU_ACCESS_COUNT; access++) {
        *tag = entry->tag[access];
        if (*tag != tlb_no_tag(slot << PAGE_SHIFT))
            return true;
    }
    return false;
}

/* Doubles the table: an entry stays, or moves up by the old size. Its bit 12 stays as it is. */
static void tlb_grow(struct tlb *tlb)
{
    uint64_t size = tlb->mask + 1;
    tlb->evictions = 0;
    for (uint64_t i = 0; i < size; i++) {
        struct tlb_entry *entry = &tlb->entries[i], *upper = entry + size;
        uint64_t tag;
        entry_clear(upper, i << PAGE_SHIFT);
        if (entry_page(entry, i, &tag) && tag >> PAGE_SHIFT & size) {
            *upper = *entry;
            entry_clear(entry, i << PAGE_SHIFT);
        }
    }
    tlb->mask = size * 2 - 1;
}

static bool entry_is_live(const struct tlb *tlb, const struct tlb_entry *entry)
{
    uint64_t slot = (uint64_t)(entry - tlb->entries), tag;
    if (!entry_page(entry, slot, &tag))
        return false;
    /* With the right generation the top bits are those of a canonical address. */
    uint64_t gva = tag ^ tlb->generation;
    return (int64_t)gva >> 47 == (int64_t)(gva << 16) >> 63;
}

static void note_large_page(struct tlb_contexts *contexts, uint64_t gva, uint64_t page_size)
{
    if (page_size == PAGE_SIZE)
        return;
    if (page_size == GIB(1))
        contexts->large_1g[gva >> 30 >> 6 & 7] |= BIT(gva >> 30 & 63);
    else
        contexts->large_2m[gva >> 21 >> 6 & 63] |= BIT(gva >> 21 & 63);
}

uint8_t mmu_cache(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                  const struct mmu_translation *translation)
{
    struct tlb *tlb = &vcpu->tlbs[mode];
    struct tlb_entry *entry = tlb_slot(tlb, gva);
    uint64_t tag = tlb_tag(tlb, gva);
    bool same_page = entry->tag[MMU_READ] == tag || entry->tag[MMU_FETCH] == tag;
    if (!same_page && entry_is_live(tlb, entry) && tlb->mask + 1 < TLB_SIZE_MAX &&
        ++tlb->evictions > GROW_AFTER_EVICTIONS * (tlb->mask + 1)) {
        tlb_grow(tlb);
        entry = tlb_slot(tlb, gva);
    }

    bool writable = translation->permissions & 1u << MMU_WRITE && translation->dirty;
    uint8_t want = writable ? MEMORY_PAGE_CACHED_WRITE : 0;
    uint8_t flags = memory_set_page_flags(vcpu->memory, translation->gpa, want);
    if (flags & (MEMORY_PAGE_CODE | MEMORY_PAGE_ROM))
        writable = false;
    bool upper = gva >> 63;
    if (mode == MMU_USER && upper)
        return flags; /* a vsyscall page: it would need a generation of its own */

    uint64_t none = tlb_no_tag(gva);
    entry->page = (uintptr_t)vcpu->memory->base + (translation->gpa & PAGE_MASK);
    entry->tag[MMU_READ] = translation->permissions & 1u << MMU_READ ? tag : none;
    entry->tag[MMU_WRITE] = writable ? tag : none;
    entry->tag[MMU_FETCH] = translation->permissions & 1u << MMU_FETCH ? tag : none;

    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    note_large_page(contexts, gva, translation->page_size);
    if (upper && !translation->global)
        contexts->upper_non_global = true;
    if (!upper && mode != MMU_USER && !same_page && contexts->journal_count <= TLB_JOURNAL) {
        if (contexts->journal_count < TLB_JOURNAL)
            contexts->journal[contexts->journal_count] = gva & PAGE_MASK;
        contexts->journal_count++;
    }
    return flags;
}

/* All numbers are used up: really empty the tables, and start again. */
static void generations_wrap(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        tlb_clear(tlb);
        tlb_set_generation(tlb, mode == MMU_USER ? 1 : 2);
    }
    memset(contexts, 0, sizeof(*contexts));
    contexts->next_generation = 3;
    vcpu->fetch_epoch[0]++;
    vcpu->fetch_epoch[1]++;
}

static uint16_t generation_take(struct vcpu *vcpu)
{
    if (vcpu->tlb_contexts.next_generation > TLB_GENERATIONS)
        generations_wrap(vcpu);
    return vcpu->tlb_contexts.next_generation++;
}

static uint16_t current_pcid(const struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PCIDE ? vcpu->cr3 & CR3_PCID_MASK : 0;
}

static void flush_upper(struct vcpu *vcpu)
{
    uint16_t generation = generation_take(vcpu);
    tlb_set_generation(&vcpu->tlbs[MMU_SUPERVISOR], generation);
    tlb_set_generation(&vcpu->tlbs[MMU_SUPERVISOR_AC], generation);
    vcpu->tlb_contexts.upper_non_global = false;
    vcpu->tlb_contexts.journal_count = 0;
}

/* Drops one 4K page from one mode. */
static void drop_from(struct tlb *tlb, uint64_t gva)
{
    struct tlb_entry *entry = tlb_slot(tlb, gva);
    uint64_t tag = tlb_tag(tlb, gva);
    for (int access = 0; access < MMU_ACCESS_COUNT; access++) {
        if (entry->tag[access] == tag)
            entry->tag[access] = tlb_no_tag(gva);
    }
}

/* Mode USER goes on with `generation`; the supervisor modes forget the lower half. */
static void switch_lower(struct vcpu *vcpu, uint16_t generation)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    tlb_set_generation(&vcpu->tlbs[MMU_USER], generation);
    if (contexts->journal_count > TLB_JOURNAL) {
        flush_upper(vcpu);
        return;
    }
    for (uint32_t i = 0; i < contexts->journal_count; i++) {
        drop_from(&vcpu->tlbs[MMU_SUPERVISOR], contexts->journal[i]);
        drop_from(&vcpu->tlbs[MMU_SUPERVISOR_AC], contexts->journal[i]);
    }
    contexts->journal_count = 0;
}

/* A fresh generation for the lower half, remembered for the current PCID. */
static void flush_lower(struct vcpu *vcpu)
{
    uint16_t generation = generation_take(vcpu), pcid = current_pcid(vcpu);
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].valid = true;
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].pcid = pcid;
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].generation = generation;
    switch_lower(vcpu, generation);
}

void mmu_flush_all(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    memset(contexts->contexts, 0, sizeof(contexts->contexts));
    memset(contexts->large_2m, 0, sizeof(contexts->large_2m));
    memset(contexts->large_1g, 0, sizeof(contexts->large_1g));
    flush_upper(vcpu);
    flush_lower(vcpu);
}

void mmu_flush_non_global(struct vcpu *vcpu)
{
    if (vcpu->tlb_contexts.upper_non_global)
        flush_upper(vcpu);
    memset(vcpu->tlb_contexts.contexts, 0, sizeof(vcpu->tlb_contexts.contexts));
    flush_lower(vcpu);
}

void mmu_switch(struct vcpu *vcpu, bool flush)
{
    /* What the upper half holds of the old address space alone must go: its tags carry no PCID. */
    if (vcpu->tlb_contexts.upper_non_global)
        flush_upper(vcpu);
    uint16_t pcid = current_pcid(vcpu);
    unsigned slot = pcid % TLB_CONTEXTS;
    if (flush || !vcpu->tlb_contexts.contexts[slot].valid ||
        vcpu->tlb_contexts.contexts[slot].pcid != pcid)
        flush_lower(vcpu);
    else
        switch_lower(vcpu, vcpu->tlb_contexts.contexts[slot].generation);
}

void mmu_flush_pcid(struct vcpu *vcpu, uint16_t pcid)
{
    if (pcid == current_pcid(vcpu)) {
        mmu_switch(vcpu, true);
        return;
    }
    unsigned slot = pcid % TLB_CONTEXTS;
    if (vcpu->tlb_contexts.contexts[slot].pcid == pcid)
        vcpu->tlb_contexts.contexts[slot].valid = false;
}

/* Drops one 4K page from every mode. */
static void drop_page(struct vcpu *vcpu, uint64_t gva)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++)
        drop_from(&vcpu->tlbs[mode], gva);
}

void mmu_flush_page(struct vcpu *vcpu, uint64_t gva)
{
    const struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    if (contexts->large_1g[gva >> 30 >> 6 & 7] & BIT(gva >> 30 & 63)) {
        gva >> 63 ? flush_upper(vcpu) : flush_lower(vcpu);
        return;
    }
    /* Jump caches may hold the page even when the TLB has lost it: always say so. */
    vcpu->fetch_epoch[gva >> 63]++;
    if (!(contexts->large_2m[gva >> 21 >> 6 & 63] & BIT(gva >> 21 & 63))) {
        drop_page(vcpu, gva);
        return;
    }
    /* 4 MiB covers both the 2M and the 4M page that may hold the address. */
    uint64_t start = align_down(gva, MIB(4));
    for (uint64_t page = start; page < start + MIB(4); page += PAGE_SIZE)
        drop_page(vcpu, page);
}

bool mmu_protect_gpa(struct vcpu *vcpu, uint64_t gpa_page)
{
    if (!memory_is_ram(vcpu->memory, gpa_page) ||
        !(memory_page_flags(vcpu->memory, gpa_page) & MEMORY_PAGE_CACHED_WRITE))
        return false;
    uint64_t hva = (uintptr_t)vcpu->memory->base + gpa_page;
    bool dropped = false;
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        for (uint64_t i = 0; i <= tlb->mask; i++) {
            struct tlb_entry *entry = &tlb->entries[i];
            uint64_t none = tlb_no_tag(i << PAGE_SHIFT);
            if (entry->tag[MMU_WRITE] == none || entry->page != hva)
                continue;
            entry->tag[MMU_WRITE] = none;
            dropped = true;
        }
    }
    return dropped;
}
