/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software TLB: guest virtual page -> host address, one table per MMU mode of a vcpu. The
 * fast path of every engine is one index, one compare and one add:
 *
 *     entry = &tlb->entries[(gva >> 12) & tlb->mask];
 *     if (entry->tag[access] == (gva & PAGE_MASK) | tlb->generation[gva >> 63])
 *         hva = gva + entry->addend;
 *
 * The low 12 bits of a tag hold a generation number, so a flush is one increment. Lower and upper
 * half of the address space have generations of their own: a CR3 write leaves the kernel's
 * (global) half alone unless a non-global page was cached there.
 *
 * A tag is TLB_NO_TAG when that kind of access must take the slow path: not permitted, MMIO, page
 * not yet dirty, page with cached code (writes), ROM (writes), a watched page.
 */
#ifndef NACRE_CPU_TLB_H
#define NACRE_CPU_TLB_H

#include "base/bits.h"

enum mmu_access { MMU_READ, MMU_WRITE, MMU_FETCH, MMU_ACCESS_COUNT };

/* Who accesses. SUPERVISOR_AC: supervisor with RFLAGS.AC set, so SMAP does not apply. */
enum mmu_mode { MMU_USER, MMU_SUPERVISOR, MMU_SUPERVISOR_AC, MMU_MODE_COUNT };

#define TLB_NO_TAG (~UINT64_C(0))
#define TLB_GENERATIONS \
    0xffeu /* generation numbers are 1 to this; 0xfff would look like TLB_NO_TAG */
#define TLB_SIZE_MIN 1024u
#define TLB_SIZE_MAX 8192u

struct tlb_entry {
    uint64_t tag[MMU_ACCESS_COUNT];
    uint64_t addend; /* hva - gva */
};

struct tlb {
    struct tlb_entry *entries;
    uint64_t mask;          /* entry count - 1 */
    uint64_t generation[2]; /* [0]: lower half of the address space, [1]: upper half; same in every
                               mode */
    uint32_t evictions;     /* live entries pushed out since the last resize */
};

#define TLB_CONTEXTS 8

/* What lies behind the tables of one vcpu: which generation belongs to which address space. */
struct tlb_contexts {
    uint16_t next_generation;
    struct {
        bool valid;
        uint16_t pcid;
        uint16_t generation; /* of the lower half */
    } contexts[TLB_CONTEXTS];
    bool upper_non_global; /* a non-global page of the upper half was cached since its last flush */
    /* Bloom filters of regions cached from large pages: INVLPG there must drop the whole page. */
    uint64_t large_2m[64]; /* hashed by gva >> 21 */
    uint64_t large_1g[8];  /* hashed by gva >> 30 */
};

static inline uint64_t tlb_tag(const struct tlb *tlb, uint64_t gva)
{
    return (gva & ~UINT64_C(0xfff)) | tlb->generation[gva >> 63];
}

#endif
