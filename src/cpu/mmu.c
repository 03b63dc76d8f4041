/* SPDX-License-Identifier: Apache-2.0 */
/* Guest virtual accesses off the fast path: TLB fills, page crossings, MMIO, ROM, pages that hold
 * code. */
#include "cpu/mmu.h"

#include "cpu/access.h"
#include "cpu/apic.h"
#include "cpu/breakpoint.h"
#include "cpu/exception.h"

/* One byte range inside one page, ready to be accessed. */
struct target {
    uint64_t gpa;
    uint8_t *hva; /* NULL: MMIO */
    bool window;  /* onto a device's memory: no page flags */
    uint8_t page_flags;
};

/* As whom the page tables see an access. */
static enum mmu_mode paging_mode(enum mmu_mode mode)
{
    return mode == MMU_USER_ALIGNED ? MMU_USER : mode;
}

/* Linear addresses outside long mode have 32 bits; so have those of compatibility-mode programs. */
static uint64_t wrap_linear(const struct vcpu *vcpu, uint64_t gva, enum mmu_mode mode)
{
    if (!vcpu_long_mode(vcpu) || (paging_mode(mode) == MMU_USER && !vcpu_64bit(vcpu)))
        return (uint32_t)gva;
    return gva;
}

static enum mmu_status resolve(struct vcpu *vcpu, uint64_t gva, enum mmu_access access,
                               enum mmu_mode mode, struct target *target)
{
    if (unlikely(vcpu_long_mode(vcpu) && !address_is_canonical(gva))) {
        raise_error(vcpu, VECTOR_GP, 0);
        vcpu->exception.address = gva; /* tells it from other #GP: see exception_in_stack() */
        return MMU_FAULT;
    }
    struct mmu_translation translation;
    mode = paging_mode(mode);
    if (!mmu_walk(vcpu, gva, access, mode, &translation)) {
        raise_page_fault(vcpu, gva, translation.error_code);
        return MMU_FAULT;
    }
    target->gpa = translation.gpa;
    target->hva = NULL;
    target->window = false;
    target->page_flags = 0;
    if (memory_is_ram(vcpu->memory, translation.gpa)) {
        target->hva = vcpu->memory->base + translation.gpa;
        target->page_flags = unlikely(breakpoints_watch_memory(vcpu))
                                 ? memory_page_flags(vcpu->memory, translation.gpa)
                                 : mmu_cache(vcpu, gva, mode, &translation);
    } else {
        target->hva = memory_window_hva(vcpu->memory, translation.gpa);
        target->window = target->hva != NULL;
        if (target->window && !breakpoints_watch_memory(vcpu))
            mmu_cache_window(vcpu, gva, mode, &translation, target->hva);
    }
    return MMU_OK;
}

/* Copies 1, 2, 4 or 8 bytes in one host access, as the guest's own access would be; others in
 * pieces. */
static void copy_once(void *to, const void *from, unsigned size)
{
    switch (size) {
    case 1:
        *(volatile access_u8 *)to = *(const volatile access_u8 *)from;
        break;
    case 2:
        *(volatile access_u16 *)to = *(const volatile access_u16 *)from;
        break;
    case 4:
        *(volatile access_u32 *)to = *(const volatile access_u32 *)from;
        break;
    case 8:
        *(volatile access_u64 *)to = *(const volatile access_u64 *)from;
        break;
    default:
        memcpy(to, from, size);
    }
}

static bool is_apic_page(const struct vcpu *vcpu, uint64_t gpa)
{
    uint64_t base = vcpu->apic_base;
    return (base & (APIC_BASE_ENABLE | APIC_BASE_X2APIC)) == APIC_BASE_ENABLE &&
           (gpa & PAGE_MASK) == (base & PAGE_MASK);
}

static uint64_t mmio_read(struct vcpu *vcpu, uint64_t gpa, unsigned size)
{
    if (!is_apic_page(vcpu, gpa))
        return bus_read(vcpu->bus, BUS_MMIO, gpa, size);
    /* Registers are 32 bits wide on 16-byte boundaries; narrower reads see their part. */
    unsigned shift = (gpa & 3) * 8;
    return apic_read(vcpu->apic, gpa & 0xffc) >> shift & bytes_mask(size);
}

static void mmio_write(struct vcpu *vcpu, uint64_t gpa, uint64_t value, unsigned size)
{
    if (!is_apic_page(vcpu, gpa))
        bus_write(vcpu->bus, BUS_MMIO, gpa, value, size);
    else if (size >= 4 && !(gpa & 3))
        apic_write(vcpu->apic, gpa & 0xffc, (uint32_t)value);
}

/* MMIO wider than eight bytes (vector loads) goes in pieces of eight. */
static void target_read(struct vcpu *vcpu, const struct target *target, uint8_t *bytes,
                        unsigned size)
{
    if (likely(target->hva)) {
        copy_once(bytes, target->hva, size);
        return;
    }
    for (unsigned done = 0; done < size;) {
        unsigned piece = size - done < 8 ? size - done : 8;
        store_le(bytes + done, mmio_read(vcpu, target->gpa + done, piece), piece);
        done += piece;
    }
}

static enum mmu_status target_write(struct vcpu *vcpu, const struct target *target,
                                    const uint8_t *bytes, unsigned size)
{
    if (target->hva && !(target->page_flags & MEMORY_PAGE_ROM)) {
        copy_once(target->hva, bytes, size);
        if (target->window)
            return MMU_OK;
        /* Whoever marks the page from now on reads the new bytes; who did before is told. */
        atomic_thread_fence(memory_order_seq_cst);
        if (likely(!(memory_page_flags(vcpu->memory, target->gpa) & MEMORY_PAGE_CODE)))
            return MMU_OK;
        return memory_code_hit(vcpu->memory, target->gpa, size) ? MMU_CODE : MMU_OK;
    }
    for (unsigned done = 0; done < size;) {
        unsigned piece = size - done < 8 ? size - done : 8;
        mmio_write(vcpu, target->gpa + done, load_le(bytes + done, piece), piece);
        done += piece;
    }
    return MMU_OK;
}

/* Bytes of [gva, gva + size) that lie in the first page. */
static unsigned first_part(uint64_t gva, unsigned size)
{
    unsigned room = (unsigned)(PAGE_SIZE - (gva & (PAGE_SIZE - 1)));
    return size < room ? size : room;
}

/*
 * Alignment checking, behind the page fault in priority. What is wider than 8 bytes or of no even
 * size is a record of smaller fields. Intel SDM vol. 3 table 6-7; APM vol. 2 §8.2.18
 */
static enum mmu_status check_alignment(struct vcpu *vcpu, uint64_t gva, unsigned size,
                                       enum mmu_mode mode)
{
    unsigned natural = size > 16 ? 4 : size >= 8 ? 8 : size >= 4 ? 4 : size;
    if (likely(mode != MMU_USER_ALIGNED) || !(gva & (natural - 1)))
        return MMU_OK;
    raise_error(vcpu, VECTOR_AC, 0);
    return MMU_FAULT;
}

/*
 * Resolves [gva, gva + size), which may run into a second page: all of it before any byte moves, so
 * that an access that faults changes nothing. *first says how many bytes lie in targets[0].
 */
static enum mmu_status resolve_range(struct vcpu *vcpu, uint64_t gva, unsigned size,
                                     enum mmu_access access, enum mmu_mode mode,
                                     struct target targets[2], unsigned *first)
{
    gva = wrap_linear(vcpu, gva, mode);
    *first = first_part(gva, size);
    if (resolve(vcpu, gva, access, mode, &targets[0]) == MMU_FAULT)
        return MMU_FAULT;
    if (*first < size && resolve(vcpu, wrap_linear(vcpu, gva + *first, mode), access, mode,
                                 &targets[1]) == MMU_FAULT)
        return MMU_FAULT;
    return check_alignment(vcpu, gva, size, mode);
}

enum mmu_status mmu_read(struct vcpu *vcpu, uint64_t gva, void *bytes, unsigned size,
                         enum mmu_mode mode)
{
    struct target targets[2];
    unsigned first;
    if (resolve_range(vcpu, gva, size, MMU_READ, mode, targets, &first) == MMU_FAULT)
        return MMU_FAULT;
    breakpoints_note_memory(vcpu, wrap_linear(vcpu, gva, mode), size, false);
    target_read(vcpu, &targets[0], bytes, first);
    if (first < size)
        target_read(vcpu, &targets[1], (uint8_t *)bytes + first, size - first);
    return MMU_OK;
}

enum mmu_status mmu_write(struct vcpu *vcpu, uint64_t gva, const void *bytes, unsigned size,
                          enum mmu_mode mode)
{
    struct target targets[2];
    unsigned first;
    if (resolve_range(vcpu, gva, size, MMU_WRITE, mode, targets, &first) == MMU_FAULT)
        return MMU_FAULT;
    breakpoints_note_memory(vcpu, wrap_linear(vcpu, gva, mode), size, true);
    enum mmu_status status = target_write(vcpu, &targets[0], bytes, first);
    if (first == size)
        return status;
    enum mmu_status second =
        target_write(vcpu, &targets[1], (const uint8_t *)bytes + first, size - first);
    return second == MMU_CODE ? MMU_CODE : status;
}

bool mmu_probe_write(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_mode mode)
{
    struct target targets[2];
    unsigned first;
    return resolve_range(vcpu, gva, size, MMU_WRITE, mode, targets, &first) != MMU_FAULT;
}

/*
 * The page behind an access that wants a host address and missed the TLB. False: *status says
 * MMU_FAULT, or MMU_OK when there is no one address to hand out (MMIO, page crossing, watched).
 */
static bool resolve_single(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_access access,
                           enum mmu_mode mode, struct target *target, enum mmu_status *status)
{
    gva = wrap_linear(vcpu, gva, mode);
    if (first_part(gva, size) < size || unlikely(breakpoints_watch_memory(vcpu)))
        return false;
    *status = resolve(vcpu, gva, access, mode, target);
    if (*status == MMU_OK)
        *status = check_alignment(vcpu, gva, size, mode);
    return *status == MMU_OK && target->hva;
}

void *mmu_hva(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_access access,
              enum mmu_mode mode, enum mmu_status *status)
{
    *status = MMU_OK;
    void *hva = access_fast(vcpu, gva, size, access, mode);
    if (hva)
        return hva;
    struct target target;
    if (!resolve_single(vcpu, gva, size, access, mode, &target, status))
        return NULL;
    if (access == MMU_WRITE && target.page_flags & (MEMORY_PAGE_CODE | MEMORY_PAGE_ROM))
        return NULL;
    return target.hva;
}

void *mmu_hva_modify(struct vcpu *vcpu, uint64_t gva, unsigned size, enum mmu_mode mode,
                     enum mmu_status *status)
{
    *status = MMU_OK;
    void *hva = access_fast(vcpu, gva, size, MMU_WRITE, mode);
    if (hva)
        return hva;
    struct target target;
    if (!resolve_single(vcpu, gva, size, MMU_WRITE, mode, &target, status) ||
        target.page_flags & MEMORY_PAGE_ROM)
        return NULL;
    if (target.page_flags & MEMORY_PAGE_CODE)
        *status = MMU_CODE;
    return target.hva;
}

enum mmu_status mmu_code_written(struct vcpu *vcpu, uint64_t gva, unsigned size)
{
    struct mmu_translation translation;
    gva = wrap_linear(vcpu, gva, vcpu->mmu_mode);
    if (!mmu_inspect(vcpu, gva, &translation) || !memory_is_ram(vcpu->memory, translation.gpa))
        return MMU_OK;
    atomic_thread_fence(memory_order_seq_cst); /* as in target_write() */
    return memory_code_hit(vcpu->memory, translation.gpa, size) ? MMU_CODE : MMU_OK;
}

enum mmu_status mmu_fetch(struct vcpu *vcpu, uint64_t gva, uint64_t *gpa)
{
    const struct tlb *tlb = &vcpu->tlbs[paging_mode(vcpu->mmu_mode)];
    const struct tlb_entry *entry = tlb_slot(tlb, gva);
    page_filter_add(&vcpu->tlb_contexts.fetched[gva >> 63], gva);
    if (likely(entry->tag[MMU_FETCH] == tlb_tag(tlb, gva))) {
        *gpa = entry->page + (gva & (PAGE_SIZE - 1)) - (uintptr_t)vcpu->memory->base;
        return MMU_OK;
    }
    struct target target;
    enum mmu_status status =
        resolve(vcpu, wrap_linear(vcpu, gva, vcpu->mmu_mode), MMU_FETCH, vcpu->mmu_mode, &target);
    *gpa = target.gpa;
    return status;
}
