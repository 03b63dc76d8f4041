/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB: guest virtual page -> host address of the page, one table per MMU mode of a
 * vcpu. The fast path of every engine, in C or as emitted host code, is
 *
 *     entry = &tlb->entries[(gva >> 12) & tlb->mask];
 *     offset = gva ^ entry->tag[access] ^ tlb->generation;
 *     if (offset <= 4096 - size)
 *         hva = offset + entry->page;
 *
 * so that one compare finds a miss, an access across the page's end and a stale entry. A tag is the
 * page's address with a generation number xored into the ten bits that the slot implies: a flush is
 * one increment, and no other address (not even one that is not canonical) can look like a page of
 * an older generation.
 *
 * Mode USER caches pages of the lower half only, and each address space (PCID) has its generation
 * of them. The supervisor modes share one generation. Global pages stay in it; others of the lower
 * half are noted in a journal and dropped when the address space changes. The first other page of
 * the upper half gives the address space a supervisor generation of its own: a kernel that keeps
 * two sets of page tables (page-table isolation) finds each as it left it.
 *
 * When one kind of access must take the slow path (not permitted, MMIO, page not yet dirty, page
 * with cached code (writes), ROM (writes), a watched page), the tag has generation 0, which is
 * never the present one: tlb_no_tag().
 */
#ifndef NACRE_CPU_TLB_H
#define NACRE_CPU_TLB_H

#include "base/bits.h"

enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH, MMU_ACCESS_COUNT };

/*
 * Who accesses. SUPERVISOR_AC: supervisor with RFLAGS.AC set, so SMAP does not apply. USER_ALIGNED:
 * level 3 with alignment checking on (CR0.AM and RFLAGS.AC); its table stays empty, so that every
 * access takes the slow path, which looks at the address.
 */
enum mmu_mode {
    MMU_USER,
    MMU_SUPERVISOR,
    MMU_SUPERVISOR_AC,
    MMU_USER_ALIGNED,
    MMU_MODE_COUNT,
};
#define MMU_CACHED_MODES MMU_USER_ALIGNED /* modes before this one have tables that are filled */

#define TLB_SIZE_MIN         1024u
#define TLB_GENERATIONS      (TLB_SIZE_MIN - 1) /* numbers are 1 to this */
#define TLB_GENERATION_SHIFT 12
#define TLB_SIZE_MAX         8192u

struct tlb_entry {
    uint64_t tag[MMU_ACCESS_COUNT];
    uint64_t page; /* hva of the page's first byte */
};

struct tlb {
    struct tlb_entry *entries;
    uint64_t mask;       /* entry count - 1 */
    uint64_t byte_mask;  /* the same times the entry's size: for emitted code */
    uint64_t generation; /* number << TLB_GENERATION_SHIFT; the supervisor modes have the same */
    uint32_t evictions;  /* live entries pushed out since the last resize */
};

#define TLB_CONTEXTS 16
#define TLB_JOURNAL  64

/* The generations of one address space. */
struct tlb_context {
    bool valid;
    uint16_t pcid;
    uint16_t user;
    uint16_t supervisor; /* 0: the shared one */
};

/* A Bloom filter of pages, with two bits for each: 5000 pages leave others a chance of 2 % to be
 * taken for one of them. */
struct page_filter {
    uint64_t bits[1024];
};

static inline uint64_t page_filter_hash(uint64_t gva)
{
    return (gva >> 12) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline bool page_filter_has(const struct page_filter *filter, uint64_t gva)
{
    uint64_t hash = page_filter_hash(gva);
    return filter->bits[hash >> 54] >> (hash >> 48 & 63) &
           filter->bits[hash >> 38 & 1023] >> (hash >> 32 & 63) & 1;
}

static inline void page_filter_add(struct page_filter *filter, uint64_t gva)
{
    uint64_t hash = page_filter_hash(gva);
    filter->bits[hash >> 54] |= BIT(hash >> 48 & 63);
    filter->bits[hash >> 38 & 1023] |= BIT(hash >> 32 & 63);
}

/* What lies behind the tables of one vcpu: which generation belongs to which address space. */
struct tlb_contexts {
    uint16_t next_generation;
    uint16_t shared; /* supervisor generation of those that have none of their own */
    struct tlb_context contexts[TLB_CONTEXTS];
    struct tlb_context *current;
    /* Pages of the lower half that a supervisor mode has cached, without global ones; past the end:
     * all must go. */
    uint64_t journal[TLB_JOURNAL];
    uint32_t journal_count;
    struct page_filter fetched[2]; /* by address half: pages that code was fetched from */
    /* Bloom filters of regions cached from large pages: INVLPG there must drop the whole page. */
    uint64_t large_2m[64]; /* hashed by gva >> 21 */
    uint64_t large_1g[8];  /* hashed by gva >> 30 */
};

static inline struct tlb_entry *tlb_slot(const struct tlb *tlb, uint64_t gva)
{
    return &tlb->entries[(gva >> 12) & tlb->mask];
}

/* What the tag of a valid entry for gva's page is. */
static inline uint64_t tlb_tag(const struct tlb *tlb, uint64_t gva)
{
    return (gva & ~UINT64_C(0xfff)) ^ tlb->generation;
}

/* The tag that nothing matches in the slot of gva. */
static inline uint64_t tlb_no_tag(uint64_t gva)
{
    return gva & (uint64_t)TLB_GENERATIONS << TLB_GENERATION_SHIFT;
}

#endif
