/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest virtual memory: the page walk and the accesses built on it. Addresses here are linear:
 * segment base added, limits checked. APM vol. 2 §5; Intel SDM vol. 3 §4.
 */
#ifndef NACRE_CPU_MMU_H
#define NACRE_CPU_MMU_H

#include "cpu/vcpu.h"

/* Outcome of a page walk. */
struct mmu_translation {
    uint64_t gpa;       /* of the very byte */
    uint64_t page_size; /* 4K, 2M, 4M, 1G; 4K with paging off */
    bool global;
    bool dirty;          /* the leaf's D bit is set: later writes need no walk */
    uint8_t permissions; /* bits 1 << MMU_READ, MMU_WRITE, MMU_FETCH allowed in this mode */
    uint32_t error_code; /* page-fault error code when the walk failed */
};

/*
 * Walks the guest's page tables for one access and sets A (and, for writes, D) bits. False when
 * it faults: error_code then says how. Raises nothing. gva must be canonical in long mode.
 */
bool mmu_walk(struct vcpu *vcpu, uint64_t gva, enum mmu_access access, enum mmu_mode mode,
              struct mmu_translation *translation);

/* As mmu_walk with no access bits set and no A/D update: for the debugger and inspector. */
bool mmu_inspect(struct vcpu *vcpu, uint64_t gva, struct mmu_translation *translation);

/*
 * Puts a successful walk to a RAM page into the TLB and returns the page's memory flags. Not for
 * engines: mmu_read and friends call it.
 */
uint8_t mmu_cache(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                  const struct mmu_translation *translation);
/* The same for a page in a memory window, at hva: no code is cached from there. */
void mmu_cache_window(struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode,
                      const struct mmu_translation *translation, const uint8_t *hva);

enum mmu_status {
    MMU_OK,
    MMU_FAULT, /* vcpu->exception is set */
    MMU_CODE,  /* a store went through and hit a page with cached code: leave the block after this
                  instruction */
};

/*
 * Slow path of the inline accessors and the way for everything that is not hot: any size from 1
 * to 64 bytes, any alignment, page crossings, MMIO, ROM, A/D bits, pages with code. A write that
 * faults on its second page changes nothing. The mode is usually vcpu->mmu_mode; descriptor
 * tables and the TSS use MMU_SUPERVISOR.
 */
enum mmu_status mmu_read(struct vcpu *vcpu, uint64_t gva, void *bytes, unsigned size,
                         enum mmu_mode mode);
enum mmu_status mmu_write(struct vcpu *vcpu, uint64_t gva, const void *bytes, unsigned size,
                          enum mmu_mode mode);

/* Would a write to [gva, gva + size) go through? Sets A and D bits as a write would; false: fault
 * recorded. */
bool mmu_probe_write(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_mode mode);

/*
 * The host address of [gva, gva + size) for a locked or repeated access, or NULL: then *status says
 * MMU_FAULT, or MMU_OK when it is MMIO, crosses a page, or touches a page that needs the slow path
 * (code, ROM): use mmu_read/mmu_write.
 */
void *mmu_hva(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_access access,
              enum mmu_mode mode, enum mmu_status *status);

/*
 * As mmu_hva for a read-modify-write: checks write permission, sets A and D, and returns the host
 * address even of a page with cached code; *status is then MMU_CODE and the caller must call
 * mmu_code_written(vcpu, gva, size) after storing, which says MMU_CODE or MMU_OK. NULL with MMU_OK:
 * MMIO, ROM or page crossing.
 */
void *mmu_hva_modify(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_mode mode,
                     enum mmu_status *status);
enum mmu_status mmu_code_written(struct vcpu *vcpu, uint64_t gva, unsigned size);

/* Instruction fetch: gpa of the byte at gva in *gpa. MMU_FAULT raises the fetch fault. */
enum mmu_status mmu_fetch(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa);

/* Flushes. All on the vcpu's own thread; dropping more than asked is always allowed. */
void mmu_flush_all(struct vcpu *vcpu);        /* CR0, CR4, EFER, PKRU change; INVPCID 2 */
void mmu_flush_non_global(struct vcpu *vcpu); /* MOV CR3 without PCID; INVPCID 3 */
void mmu_flush_page(struct vcpu *vcpu,
                    uint64_t gva); /* INVLPG: the current PCID, and global pages */
void mmu_flush_pcid(struct vcpu *vcpu, uint16_t pcid); /* INVPCID 0 and 1 */

/*
 * Forgets that the physical page may be written without a look at its flags: after it was marked
 * as code. True when such an entry was there.
 */
bool mmu_protect_gpa(struct vcpu *vcpu, uint64_t gpa_page);

/*
 * Notes that this vcpu's engine caches the code in [gpa, gpa + length), inside a RAM page, and
 * takes fast writes to the page away from every vcpu. False: the bytes are not these any more, as
 * another has written them meanwhile; they must not be cached.
 */
bool mmu_mark_code(struct vcpu *vcpu, uint64_t gpa, const void *bytes, unsigned length);

/* After vcpu->cr3 has changed: keeps what the new PCID still has cached unless `flush` is asked
 * for. */
void mmu_switch(struct vcpu *vcpu, bool flush);

/* Prepares the tables of a new vcpu. */
void mmu_create(struct vcpu *vcpu);

/*
 * Changes whenever a cached fetch translation of this address half may have become wrong: engines
 * tag their gva -> block caches with it. It is to be read behind mmu_fetch(), which may change it.
 */
static inline uint64_t mmu_fetch_generation(const struct vcpu *vcpu, uint64_t gva)
{
    unsigned half = gva >> 63;
    uint64_t generation = vcpu->tlbs[half ? MMU_SUPERVISOR : MMU_USER].generation;
    return vcpu->fetch_epoch[half] << 12 | generation >> TLB_GENERATION_SHIFT;
}

#endif
