/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inline fast path of guest loads and stores: one TLB compare, then the host's own load or
 * store. Plain host accesses keep the guest's memory order: x86 guests on x86 hosts get TSO for
 * free (a host with a weaker order would need acquire and release here).
 */
#ifndef NACRE_CPU_ACCESS_H
#define NACRE_CPU_ACCESS_H

#include "cpu/mmu.h"

/* Host address for an access that lies inside one page and hits the TLB, else NULL. */
static inline void *access_fast(const struct vcpu *vcpu, uint64_t gva, unsigned size,
                                enum mmu_access access, unsigned mode)
{
    const struct tlb *tlb = &vcpu->tlbs[mode];
    const struct tlb_entry *entry = tlb_slot(tlb, gva);
    uint64_t offset = gva ^ entry->tag[access] ^ tlb->generation;
    if (likely(offset <= PAGE_SIZE - size))
        return (void *)(uintptr_t)(offset + entry->page);
    return NULL;
}

/*
 * The slow paths go through a local of their own: were the address of a handler's variable known
 * outside, the compiler could not make the handler's last call a jump.
 *
 * Loads an unsigned integer of `bits` bits at linear address gva into *value; MMU_FAULT records the
 * exception.
 */
#define DEFINE_ACCESS(bits)                                                                  \
    typedef uint##bits##_t access_u##bits __attribute__((aligned(1), may_alias));            \
    static inline enum mmu_status access_load##bits(struct vcpu *vcpu, uint64_t gva,         \
                                                    uint##bits##_t *value)                   \
    {                                                                                        \
        void *hva = access_fast(vcpu, gva, (bits) / 8, MMU_READ, vcpu->mmu_mode);            \
        if (unlikely(!hva)) {                                                                \
            uint##bits##_t slow = 0;                                                         \
            enum mmu_status status = mmu_read(vcpu, gva, &slow, (bits) / 8, vcpu->mmu_mode); \
            *value = slow;                                                                   \
            return status;                                                                   \
        }                                                                                    \
        *value = *(volatile access_u##bits *)hva;                                            \
        return MMU_OK;                                                                       \
    }                                                                                        \
    static inline enum mmu_status access_store##bits(struct vcpu *vcpu, uint64_t gva,        \
                                                     uint##bits##_t value)                   \
    {                                                                                        \
        void *hva = access_fast(vcpu, gva, (bits) / 8, MMU_WRITE, vcpu->mmu_mode);           \
        if (unlikely(!hva)) {                                                                \
            uint##bits##_t slow = value;                                                     \
            return mmu_write(vcpu, gva, &slow, (bits) / 8, vcpu->mmu_mode);                  \
        }                                                                                    \
        *(volatile access_u##bits *)hva = value;                                             \
        return MMU_OK;                                                                       \
    }

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

#endif
