/* SPDX-License-Identifier: Apache-2.0 */
/* Writes to control and debug registers and RFLAGS, with everything they entail. APM vol. 2 §3.1,
 * §13.1. */
#include "cpu/control.h"

#include "base/clock.h"
#include "cpu/apic.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"

#define CR0_DEFINED                                                                            \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
/* Any of these changes what the TLB holds. */
#define CR0_FLUSHES (CR0_PG | CR0_WP | CR0_PE)
#define CR4_FLUSHES (CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE)

/* CR4 bits this model has; setting another is #GP. */
static uint64_t cr4_allowed(const struct cpu_model *model)
{
    uint64_t allowed = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
                       CR4_OSFXSR | CR4_OSXMMEXCPT;
    const struct {
        uint32_t word;
        unsigned bit;
        uint64_t cr4;
    } optional[] = {
        {model->leaf1_ecx, 17, CR4_PCIDE},   {model->leaf1_ecx, 26, CR4_OSXSAVE},
        {model->leaf7_ebx, 0, CR4_FSGSBASE}, {model->leaf7_ebx, 7, CR4_SMEP},
        {model->leaf7_ebx, 20, CR4_SMAP},    {model->leaf7_ecx, 2, CR4_UMIP},
        {model->leaf7_ecx, 3, CR4_PKE},      {model->leaf1_edx, 1, CR4_VME | CR4_PVI},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(optional); i++)
        if (optional[i].word & BIT(optional[i].bit))
            allowed |= optional[i].cr4;
    return allowed;
}

bool control_load_pdptes(struct vcpu *vcpu)
{
    uint64_t entries[4];
    if (memory_read(vcpu->memory, vcpu->cr3 & 0xffffffe0, entries, sizeof(entries)) < 0)
        memset(entries, 0, sizeof(entries));
    uint64_t physical = (BIT(vcpu->model->physical_address_bits) - 1) & PAGE_MASK;
    for (int i = 0; i < 4; i++)
        if (entries[i] & PTE_PRESENT &&
            entries[i] & ~(physical | PTE_PRESENT | BIT(3) | BIT(4) | 0xe00))
            return raise_error(vcpu, VECTOR_GP, 0);
    memcpy(vcpu->pdpte, entries, sizeof(entries));
    return true;
}

static bool uses_pdptes(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LME);
}

static bool cr0_valid(uint64_t value)
{
    return !(value >> 32) && (!(value & CR0_PG) || value & CR0_PE) &&
           (!(value & CR0_NW) || value & CR0_CD);
}

bool control_write_cr0(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = vcpu->cr0;
    if (!cr0_valid(value))
        return raise_error(vcpu, VECTOR_GP, 0);
    value = (value & CR0_DEFINED) | CR0_ET;
    bool paging_on = value & CR0_PG && !(old & CR0_PG);
    bool paging_off = old & CR0_PG && !(value & CR0_PG);
    if (paging_on && vcpu->efer & EFER_LME &&
        (!(vcpu->cr4 & CR4_PAE) || vcpu->segments[SEG_CS].attributes & SEGMENT_LONG))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (paging_off && (vcpu_64bit(vcpu) || vcpu->cr4 & CR4_PCIDE))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (paging_on && uses_pdptes(value, vcpu->cr4, vcpu->efer) && !control_load_pdptes(vcpu))
        return false;

    vcpu->cr0 = value;
    if (paging_on && vcpu->efer & EFER_LME)
        vcpu->efer |= EFER_LMA;
    if (paging_off)
        vcpu->efer &= ~EFER_LMA;
    if ((old ^ value) & CR0_FLUSHES)
        mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
    return true;
}

bool control_write_cr3(struct vcpu *vcpu, uint64_t value)
{
    bool pcid = vcpu->cr4 & CR4_PCIDE;
    bool keep = pcid && value & CR3_NO_FLUSH;
    if (pcid)
        value &= ~CR3_NO_FLUSH;
    if (vcpu_long_mode(vcpu) && value >> vcpu->model->physical_address_bits)
        return raise_error(vcpu, VECTOR_GP, 0);
    uint64_t old = vcpu->cr3;
    vcpu->cr3 = value;
    if (uses_pdptes(vcpu->cr0, vcpu->cr4, vcpu->efer) && !control_load_pdptes(vcpu)) {
        vcpu->cr3 = old;
        return false;
    }
    if (pcid)
        mmu_switch(vcpu, !keep);
    else
        mmu_flush_non_global(vcpu);
    return true;
}

bool control_write_cr4(struct vcpu *vcpu, uint64_t value)
{
    uint64_t old = vcpu->cr4;
    if (value & ~cr4_allowed(vcpu->model))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (vcpu_long_mode(vcpu) && !(value & CR4_PAE))
        return raise_error(vcpu, VECTOR_GP, 0);
    if (value & CR4_PCIDE && !(old & CR4_PCIDE) &&
        (!vcpu_long_mode(vcpu) || vcpu->cr3 & CR3_PCID_MASK))
        return raise_error(vcpu, VECTOR_GP, 0);
    vcpu->cr4 = value;
    bool pdptes_stale = (old ^ value) & (CR4_PSE | CR4_PAE | CR4_PGE);
    if (pdptes_stale && uses_pdptes(vcpu->cr0, value, vcpu->efer) && !control_load_pdptes(vcpu)) {
        vcpu->cr4 = old;
        return false;
    }
    if ((old ^ value) & CR4_FLUSHES)
        mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
    return true;
}

bool control_write_cr8(struct vcpu *vcpu, uint64_t value)
{
    if (value > 15)
        return raise_error(vcpu, VECTOR_GP, 0);
    vcpu->cr8 = value;
    apic_set_tpr(vcpu->apic, (uint8_t)(value << 4));
    return true;
}

/* Combinations that XSETBV refuses. APM vol. 2 §11.5.2 */
static bool xcr0_valid(const struct vcpu *vcpu, uint64_t value)
{
    const uint64_t avx512 = XSTATE_AVX512;
    return !(value & ~vcpu->model->xcr0_supported) && value & XSTATE_X87 &&
           (!(value & XSTATE_AVX) || value & XSTATE_SSE) &&
           (!(value & avx512) || ((value & avx512) == avx512 && value & XSTATE_AVX));
}

bool control_write_xcr0(struct vcpu *vcpu, uint64_t value)
{
    if (!xcr0_valid(vcpu, value))
        return raise_error(vcpu, VECTOR_GP, 0);
    vcpu->xcr0 = value;
    vcpu_update_mode(vcpu);
    return true;
}

/* DR4 and DR5 are DR6 and DR7 unless CR4.DE is set. False: exception recorded. */
static bool debug_register(struct vcpu *vcpu, unsigned *number)
{
    if (*number == 4 || *number == 5) {
        if (vcpu->cr4 & CR4_DE)
            return raise_exception(vcpu, VECTOR_UD);
        *number += 2;
    }
    if (vcpu->dr[7] & DR7_GD) {
        vcpu->dr[7] &= ~DR7_GD;
        return raise_debug(vcpu, DR6_BD);
    }
    return true;
}

bool control_read_dr(struct vcpu *vcpu, unsigned number, uint64_t *value)
{
    if (!debug_register(vcpu, &number))
        return false;
    *value = vcpu->dr[number];
    return true;
}

bool control_write_dr(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    if (!debug_register(vcpu, &number))
        return false;
    if (number >= 6 && value >> 32)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (number == 6)
        value = (value & 0xe00f) | DR6_FIXED;
    if (number == 7)
        value = (value & 0xffff2bff) | DR7_FIXED;
    vcpu->dr[number] = value;
    mmu_flush_all(vcpu); /* watched pages must not be cached */
    vcpu_update_mode(vcpu);
    return true;
}

void control_write_rflags(struct vcpu *vcpu, uint64_t value, uint64_t mask)
{
    uint64_t old = vcpu->rflags;
    vcpu->rflags = ((old & ~mask) | (value & mask) | RFLAGS_FIXED) & RFLAGS_DEFINED;
    uint64_t changed = old ^ vcpu->rflags;
    if (changed & (RFLAGS_TF | RFLAGS_AC | RFLAGS_VM))
        vcpu_update_mode(vcpu);
    if (changed & RFLAGS_IF)
        vcpu_recheck_interrupts(vcpu);
}

bool control_loaded(const struct vcpu *vcpu)
{
    uint64_t cr0 = vcpu->cr0, cr4 = vcpu->cr4, efer = vcpu->efer, rflags = vcpu->rflags;
    bool long_mode = cr0 & CR0_PG && efer & EFER_LME;
    bool virtual_8086 = rflags & RFLAGS_VM;
    /* A model without XSAVE has nothing in XCR0 but what a reset puts there. */
    bool xcr0 = vcpu->xcr0 == XSTATE_X87 || xcr0_valid(vcpu, vcpu->xcr0);
    return cr0_valid(cr0) && !(cr0 & ~CR0_DEFINED) && !(cr4 & ~cr4_allowed(vcpu->model)) && xcr0 &&
           !(efer & ~efer_allowed(vcpu->model)) && long_mode == !!(efer & EFER_LMA) &&
           (!long_mode || cr4 & CR4_PAE) && (!(cr4 & CR4_PCIDE) || long_mode) && vcpu->cr8 <= 15 &&
           rflags & RFLAGS_FIXED && !(rflags & ~RFLAGS_DEFINED) &&
           (!virtual_8086 || (cr0 & CR0_PE && !long_mode && vcpu->cpl == 3)) &&
           (cr0 & CR0_PE || !vcpu->cpl);
}

uint64_t tsc_read(const struct vcpu *vcpu)
{
    return clock_monotonic_ns() - vcpu->group->tsc_origin_ns + (uint64_t)vcpu->tsc_offset;
}

uint64_t tsc_deadline_ns(const struct vcpu *vcpu, uint64_t tsc)
{
    int64_t wait = (int64_t)(tsc - tsc_read(vcpu));
    return clock_monotonic_ns() + (wait > 0 ? (uint64_t)wait : 0);
}
