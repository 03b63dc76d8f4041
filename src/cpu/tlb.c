/* SPDX-License-Identifier: Apache-2.0 */
/* Filling, growing and flushing the software TLB. */
#include "cpu/tlb.h"

#include "cpu/mmu.h"

#include <errno.h>
#include <stdlib.h>

/* Live entries pushed out, as a multiple of the table's size, before it doubles. */
#define GROW_AFTER_EVICTIONS 2

static void tlb_clear(struct tlb *tlb)
{
    memset(tlb->entries, 0xff, (tlb->mask + 1) * sizeof(tlb->entries[0]));
}

int mmu_create(struct vcpu *vcpu, struct error *error)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        tlb->entries = malloc(TLB_SIZE_MIN * sizeof(tlb->entries[0]));
        if (!tlb->entries) {
            mmu_destroy(vcpu);
            return error_set(error, ENOMEM, "vcpu %u: out of memory", vcpu->index);
        }
        tlb->mask = TLB_SIZE_MIN - 1;
        tlb->generation[0] = tlb->generation[1] = 1;
        tlb_clear(tlb);
    }
    vcpu->tlb_contexts.next_generation = 2;
    return 0;
}

void mmu_destroy(struct vcpu *vcpu)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        free(vcpu->tlbs[mode].entries);
        vcpu->tlbs[mode].entries = NULL;
    }
}

/* Doubles the table; entries move to their new places. Without memory it stays as it is. */
static void tlb_grow(struct tlb *tlb)
{
    uint64_t size = (tlb->mask + 1) * 2;
    struct tlb_entry *entries = malloc(size * sizeof(*entries));
    tlb->evictions = 0;
    if (!entries)
        return;
    memset(entries, 0xff, size * sizeof(*entries));
    for (uint64_t i = 0; i <= tlb->mask; i++) {
        const struct tlb_entry *old = &tlb->entries[i];
        /* Any tag of an entry names its page; one that has none is empty. */
        uint64_t tag = old->tag[MMU_READ] & old->tag[MMU_WRITE] & old->tag[MMU_FETCH];
        if (tag != TLB_NO_TAG)
            entries[(tag >> PAGE_SHIFT) & (size - 1)] = *old;
    }
    free(tlb->entries);
    tlb->entries = entries;
    tlb->mask = size - 1;
}

static bool tag_is_live(const struct tlb *tlb, uint64_t tag)
{
    return tag != TLB_NO_TAG && (tag & (PAGE_SIZE - 1)) == tlb->generation[tag >> 63];
}

static bool entry_is_live(const struct tlb *tlb, const struct tlb_entry *entry)
{
    return tag_is_live(tlb, entry->tag[MMU_READ]) || tag_is_live(tlb, entry->tag[MMU_WRITE]) ||
           tag_is_live(tlb, entry->tag[MMU_FETCH]);
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
    struct tlb_entry *entry = &tlb->entries[(gva >> PAGE_SHIFT) & tlb->mask];
    uint64_t tag = tlb_tag(tlb, gva);
    bool same_page = entry->tag[MMU_READ] == tag || entry->tag[MMU_FETCH] == tag;
    if (!same_page && entry_is_live(tlb, entry) && tlb->mask + 1 < TLB_SIZE_MAX &&
        ++tlb->evictions > GROW_AFTER_EVICTIONS * (tlb->mask + 1)) {
        tlb_grow(tlb);
        entry = &tlb->entries[(gva >> PAGE_SHIFT) & tlb->mask];
    }

    bool writable = translation->permissions & 1u << MMU_WRITE && translation->dirty;
    uint8_t want = writable ? MEMORY_PAGE_CACHED_WRITE : 0;
    uint8_t flags = memory_set_page_flags(vcpu->memory, translation->gpa, want);
    if (flags & (MEMORY_PAGE_CODE | MEMORY_PAGE_ROM))
        writable = false;

    entry->addend = (uintptr_t)vcpu->memory->base + translation->gpa - gva;
    entry->tag[MMU_READ] = translation->permissions & 1u << MMU_READ ? tag : TLB_NO_TAG;
    entry->tag[MMU_WRITE] = writable ? tag : TLB_NO_TAG;
    entry->tag[MMU_FETCH] = translation->permissions & 1u << MMU_FETCH ? tag : TLB_NO_TAG;

    note_large_page(&vcpu->tlb_contexts, gva, translation->page_size);
    if (gva >> 63 && !translation->global)
        vcpu->tlb_contexts.upper_non_global = true;
    return flags;
}

/* All numbers are used up: really empty the tables, and start again. */
static void generations_wrap(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        tlb_clear(tlb);
        tlb->generation[0] = 1;
        tlb->generation[1] = 2;
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

static void generation_set(struct vcpu *vcpu, unsigned half, uint16_t generation)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++)
        vcpu->tlbs[mode].generation[half] = generation;
}

static uint16_t current_pcid(const struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PCIDE ? vcpu->cr3 & CR3_PCID_MASK : 0;
}

/* A fresh generation for the lower half, remembered for the current PCID. */
static void flush_lower(struct vcpu *vcpu)
{
    uint16_t generation = generation_take(vcpu), pcid = current_pcid(vcpu);
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].valid = true;
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].pcid = pcid;
    vcpu->tlb_contexts.contexts[pcid % TLB_CONTEXTS].generation = generation;
    generation_set(vcpu, 0, generation);
}

static void flush_upper(struct vcpu *vcpu)
{
    generation_set(vcpu, 1, generation_take(vcpu));
    vcpu->tlb_contexts.upper_non_global = false;
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
        generation_set(vcpu, 0, vcpu->tlb_contexts.contexts[slot].generation);
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
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        struct tlb *tlb = &vcpu->tlbs[mode];
        struct tlb_entry *entry = &tlb->entries[(gva >> PAGE_SHIFT) & tlb->mask];
        uint64_t tag = tlb_tag(tlb, gva);
        for (int access = 0; access < MMU_ACCESS_COUNT; access++) {
            if (entry->tag[access] == tag)
                entry->tag[access] = TLB_NO_TAG;
        }
    }
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
            uint64_t tag = entry->tag[MMU_WRITE];
            if (tag == TLB_NO_TAG || (tag & PAGE_MASK) + entry->addend != hva)
                continue;
            entry->tag[MMU_WRITE] = TLB_NO_TAG;
            dropped = true;
        }
    }
    return dropped;
}
