/* SPDX-License-Identifier: Apache-2.0 */
/* Filling, growing and flushing the software TLB. */
#include "cpu/tlb.h"

#include "cpu/mmu.h"

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

static void tlb_set_size(struct tlb *tlb, uint64_t entries)
{
    tlb->mask = entries - 1;
    tlb->byte_mask = (entries - 1) * sizeof(struct tlb_entry);
}

static void tlb_set_generation(struct tlb *tlb, uint64_t number)
{
    tlb->generation = number << TLB_GENERATION_SHIFT;
}

static uint16_t current_pcid(const struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PCIDE ? vcpu->cr3 & CR3_PCID_MASK : 0;
}

/* Kernels with page-table isolation use PCIDs in pairs that differ in bit 11. */
static struct tlb_context *context_of(struct vcpu *vcpu, uint16_t pcid)
{
    return &vcpu->tlb_contexts.contexts[(pcid ^ pcid >> 8) % TLB_CONTEXTS];
}

static void context_enter(struct vcpu *vcpu, struct tlb_context *context)
{
    uint16_t supervisor = context->supervisor ? context->supervisor : vcpu->tlb_contexts.shared;
    vcpu->tlb_contexts.current = context;
    tlb_set_generation(&vcpu->tlbs[MMU_USER], context->user);
    tlb_set_generation(&vcpu->tlbs[MMU_SUPERVISOR], supervisor);
    tlb_set_generation(&vcpu->tlbs[MMU_SUPERVISOR_AC], supervisor);
}

/* Empties the tables for good, and numbers from the start: at creation, and when all are used. */
static void generations_restart(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    uint16_t pcid = current_pcid(vcpu);
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++)
        tlb_clear(&vcpu->tlbs[mode]);
    memset(contexts, 0, sizeof(*contexts));
    contexts->shared = 1;
    *context_of(vcpu, pcid) = (struct tlb_context){.valid = true, .pcid = pcid, .user = 2};
    contexts->next_generation = 3;
    context_enter(vcpu, context_of(vcpu, pcid));
    vcpu->fetch_epoch[0]++;
    vcpu->fetch_epoch[1]++;
}

static uint16_t generation_take(struct vcpu *vcpu)
{
    if (vcpu->tlb_contexts.next_generation > TLB_GENERATIONS)
        generations_restart(vcpu);
    return vcpu->tlb_contexts.next_generation++;
}

void mmu_create(struct vcpu *vcpu)
{
    for (int mode = 0; mode < MMU_MODE_COUNT; mode++) {
        vcpu->tlbs[mode].entries =
            mode < MMU_CACHED_MODES ? vcpu->tlb_entries[mode] : vcpu->tlb_empty;
        tlb_set_size(&vcpu->tlbs[mode], TLB_SIZE_MIN);
        tlb_set_generation(&vcpu->tlbs[mode], 1);
    }
    generations_restart(vcpu);
}

/* Drops one 4K page from every mode, of whatever generation: it may be a global page that another
 * address space has cached. The slot stands for the bits that hold the number. */
static void drop_page(struct vcpu *vcpu, uint64_t gva)
{
    const uint64_t beyond = ~(TLB_SIZE_MIN * PAGE_SIZE - 1);
    for (int mode = 0; mode < MMU_CACHED_MODES; mode++) {
        struct tlb_entry *entry = tlb_slot(&vcpu->tlbs[mode], gva);
        for (int access = 0; access < MMU_ACCESS_COUNT; access++)
            if (!((entry->tag[access] ^ gva) & beyond))
                entry->tag[access] = tlb_no_tag(gva);
    }
}

/* Before another address space comes: what the supervisor modes hold of this one's lower half, but
 * for global pages (all that a 32-bit kernel has). */
static void journal_drop(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    if (contexts->journal_count <= TLB_JOURNAL)
        for (uint32_t i = 0; i < contexts->journal_count; i++)
            drop_page(vcpu, contexts->journal[i]);
    else if (contexts->current->supervisor)
        contexts->current->supervisor = 0;
    else
        contexts->shared = generation_take(vcpu);
    contexts->journal_count = 0;
}

/* Goes on in the address space of the current PCID, with nothing of its own cached when it is new
 * or `flush` is asked for. */
static void context_switch(struct vcpu *vcpu, bool flush)
{
    journal_drop(vcpu);
    uint16_t pcid = current_pcid(vcpu);
    struct tlb_context *context = context_of(vcpu, pcid);
    if (flush || !context->valid || context->pcid != pcid) {
        uint16_t user = generation_take(vcpu);
        *context = (struct tlb_context){.valid = true, .pcid = pcid, .user = user};
    }
    context_enter(vcpu, context);
}

/* A page of the upper half that is this address space's alone is about to be cached. */
static void context_leave_shared(struct vcpu *vcpu)
{
    if (vcpu->tlb_contexts.current->supervisor)
        return;
    journal_drop(vcpu);
    uint16_t supervisor = generation_take(vcpu);
    vcpu->tlb_contexts.current->supervisor = supervisor;
    context_enter(vcpu, vcpu->tlb_contexts.current);
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

/* Doubles the table: an entry stays, or moves up by the old size, as the address bit above those of
 * the old slots says, which holds no generation. */
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
    tlb_set_size(tlb, size * 2);
}

static bool entry_is_live(const struct tlb *tlb, const struct tlb_entry *entry)
{
    uint64_t slot = (uint64_t)(entry - tlb->entries), tag;
    return entry_page(entry, slot, &tag) &&
           tlb_no_tag(tag ^ tlb->generation) == tlb_no_tag(slot << PAGE_SHIFT);
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

/* The entry that is to hold the page of gva, in a table that may grow for it. */
static struct tlb_entry *entry_for(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                                   const struct mmu_translation *translation)
{
    bool upper = gva >> 63;
    if (upper && !translation->global && mode != MMU_USER)
        context_leave_shared(vcpu);
    struct tlb *tlb = &vcpu->tlbs[mode];
    struct tlb_entry *entry = tlb_slot(tlb, gva);
    uint64_t tag = tlb_tag(tlb, gva);
    bool same_page = entry->tag[MMU_READ] == tag || entry->tag[MMU_FETCH] == tag;
    if (!same_page && entry_is_live(tlb, entry) && tlb->mask + 1 < TLB_SIZE_MAX &&
        ++tlb->evictions > GROW_AFTER_EVICTIONS * (tlb->mask + 1)) {
        tlb_grow(tlb);
        entry = tlb_slot(tlb, gva);
    }
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    note_large_page(contexts, gva, translation->page_size);
    if (!upper && !translation->global && mode != MMU_USER && !same_page &&
        contexts->journal_count <= TLB_JOURNAL) {
        if (contexts->journal_count < TLB_JOURNAL)
            contexts->journal[contexts->journal_count] = gva & PAGE_MASK;
        contexts->journal_count++;
    }
    return entry;
}

/* permissions: bits 1 << enum mmu_access that may take the fast path. */
static void entry_fill(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                       const struct mmu_translation *translation, const uint8_t *hva,
                       unsigned permissions)
{
    if (mode == MMU_USER && gva >> 63)
        return; /* a vsyscall page: it would need a generation of its own */
    struct tlb_entry *entry = entry_for(vcpu, gva, mode, translation);
    uint64_t tag = tlb_tag(&vcpu->tlbs[mode], gva), none = tlb_no_tag(gva);
    entry->page = (uintptr_t)hva & PAGE_MASK;
    for (int access = 0; access < MMU_ACCESS_COUNT; access++)
        entry->tag[access] = permissions & 1u << access ? tag : none;
}

uint8_t mmu_cache(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                  const struct mmu_translation *translation)
{
    unsigned permissions = translation->permissions;
    if (!translation->dirty)
        permissions &= ~(1u << MMU_WRITE);
    uint8_t want = permissions & 1u << MMU_WRITE ? MEMORY_PAGE_CACHED_WRITE : 0;
    uint8_t flags = memory_set_page_flags(vcpu->memory, translation->gpa, want);
    if (flags & (MEMORY_PAGE_CODE | MEMORY_PAGE_ROM))
        permissions &= ~(1u << MMU_WRITE);
    entry_fill(vcpu, gva, mode, translation, vcpu->memory->base + translation->gpa, permissions);
    return flags;
}

void mmu_cache_window(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                      const struct mmu_translation *translation, const uint8_t *hva)
{
    unsigned permissions = translation->permissions & ~(1u << MMU_FETCH);
    if (!translation->dirty)
        permissions &= ~(1u << MMU_WRITE);
    entry_fill(vcpu, gva, mode, translation, hva, permissions);
}

void mmu_flush_all(struct vcpu *vcpu)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    memset(contexts->contexts, 0, sizeof(contexts->contexts));
    memset(contexts->large_2m, 0, sizeof(contexts->large_2m));
    memset(contexts->large_1g, 0, sizeof(contexts->large_1g));
    contexts->journal_count = 0;
    contexts->shared = generation_take(vcpu);
    context_switch(vcpu, true);
}

void mmu_flush_non_global(struct vcpu *vcpu)
{
    journal_drop(vcpu);
    memset(vcpu->tlb_contexts.contexts, 0, sizeof(vcpu->tlb_contexts.contexts));
    context_switch(vcpu, true);
}

void mmu_switch(struct vcpu *vcpu, bool flush)
{
    context_switch(vcpu, flush);
}

void mmu_flush_pcid(struct vcpu *vcpu, uint16_t pcid)
{
    struct tlb_context *context = context_of(vcpu, pcid);
    if (pcid == current_pcid(vcpu))
        context_switch(vcpu, true);
    else if (context->pcid == pcid)
        context->valid = false;
}

void mmu_flush_page(struct vcpu *vcpu, uint64_t gva)
{
    struct tlb_contexts *contexts = &vcpu->tlb_contexts;
    if (contexts->large_1g[gva >> 30 >> 6 & 7] & BIT(gva >> 30 & 63)) {
        mmu_flush_all(vcpu);
        return;
    }
    bool large = contexts->large_2m[gva >> 21 >> 6 & 63] & BIT(gva >> 21 & 63);
    /* Jump caches may hold the page even when the TLB has lost it. */
    struct page_filter *fetched = &contexts->fetched[gva >> 63];
    if (large || page_filter_has(fetched, gva)) {
        vcpu->fetch_epoch[gva >> 63]++;
        memset(fetched, 0, sizeof(*fetched));
    }
    if (!large) {
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
    for (int mode = 0; mode < MMU_CACHED_MODES; mode++) {
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

bool mmu_mark_code(struct vcpu *vcpu, uint64_t gpa, const void *bytes, unsigned length)
{
    if (memory_mark_code(vcpu->memory, gpa, length)) {
        mmu_protect_gpa(vcpu, gpa & PAGE_MASK);
        for (unsigned i = 0; i < vcpu->group->count; i++)
            if (vcpu->group->vcpus[i] != vcpu)
                vcpu_post_code_page(vcpu->group->vcpus[i], gpa & PAGE_MASK);
    }
    atomic_thread_fence(memory_order_seq_cst);
    return !memcmp(vcpu->memory->base + gpa, bytes, length);
}
