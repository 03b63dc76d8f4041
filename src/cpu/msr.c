/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers: one table says which exist, where their value lives and what may be
 * written. */
#include "cpu/apic.h"
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/paravirtual.h"

enum msr_rule {
    MSR_PLAIN,     /* bits of `writable` may change, others must be zero (#GP) */
    MSR_CANONICAL, /* an address */
    MSR_CONSTANT,  /* reads as `writable`, writes are #GP */
    MSR_IGNORE,    /* reads as zero, writes go nowhere: what kernels poke without asking */
};

struct msr {
    uint32_t first, last;
    enum msr_rule rule;
    size_t offset; /* of the first one in struct vcpu; MSR_PLAIN and MSR_CANONICAL */
    uint64_t writable;
};

#define MSR_FIELD(index, rule, field, writable)                    \
    {                                                              \
        index, index, rule, offsetof(struct vcpu, field), writable \
    }
#define ALL_BITS (~UINT64_C(0))

#define MTRR_CAPABILITIES 0x508 /* eight variable ranges, fixed ranges, write combining */
#define MISC_ENABLE_BITS  (BIT(0) | BIT(7) | BIT(11) | BIT(12) | BIT(16) | BIT(18))

static const struct msr msrs[] = {
    MSR_FIELD(MSR_SYSENTER_CS, MSR_PLAIN, sysenter_cs, 0xffffffff),
    MSR_FIELD(MSR_SYSENTER_ESP, MSR_CANONICAL, sysenter_esp, 0),
    MSR_FIELD(MSR_SYSENTER_EIP, MSR_CANONICAL, sysenter_eip, 0),
    MSR_FIELD(MSR_STAR, MSR_PLAIN, star, ALL_BITS),
    MSR_FIELD(MSR_LSTAR, MSR_CANONICAL, lstar, 0),
    MSR_FIELD(MSR_CSTAR, MSR_CANONICAL, cstar, 0),
    MSR_FIELD(MSR_FMASK, MSR_PLAIN, fmask, 0xffffffff),
    MSR_FIELD(MSR_KERNEL_GS_BASE, MSR_CANONICAL, kernel_gs_base, 0),
    MSR_FIELD(MSR_TSC_AUX, MSR_PLAIN, tsc_aux, 0xffffffff),
    MSR_FIELD(MSR_MISC_ENABLE, MSR_PLAIN, misc_enable, MISC_ENABLE_BITS),
    MSR_FIELD(MSR_MTRR_DEFAULT, MSR_PLAIN, mtrr_default, 0xcff),
    {MSR_MTRR_FIX64K, MSR_MTRR_FIX64K, MSR_PLAIN, offsetof(struct vcpu, mtrr_fixed[0]), ALL_BITS},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, MSR_PLAIN, offsetof(struct vcpu, mtrr_fixed[1]),
     ALL_BITS},
    {MSR_MTRR_FIX4K, MSR_MTRR_FIX4K + 7, MSR_PLAIN, offsetof(struct vcpu, mtrr_fixed[3]), ALL_BITS},
    {MSR_MTRR_CAP, MSR_MTRR_CAP, MSR_CONSTANT, 0, MTRR_CAPABILITIES},
    {MSR_MCG_CAP, MSR_MCG_CAP, MSR_CONSTANT, 0, 0},
    {MSR_MCG_STATUS, MSR_MCG_CTL, MSR_IGNORE, 0, 0},
    {MSR_MICROCODE_REVISION, MSR_MICROCODE_REVISION, MSR_IGNORE, 0, 0},
    /* AMD: SYSCFG, HWCR, IORRs, TOP_MEM, PMCs, northbridge and C1E control, DE_CFG, LS_CFG. */
    {0xc0010000, 0xc0010007, MSR_IGNORE, 0, 0},
    {0xc0010010, 0xc001001f, MSR_IGNORE, 0, 0},
    {0xc0010055, 0xc0010055, MSR_IGNORE, 0, 0},
    {0xc0010058, 0xc0010058, MSR_IGNORE, 0, 0},
    {0xc0010112, 0xc0010117, MSR_IGNORE, 0, 0},
    {0xc0010140, 0xc0010141, MSR_IGNORE, 0, 0},
    {0xc0011000, 0xc0011040, MSR_IGNORE, 0, 0},
};

static const struct msr *msr_find(uint32_t index)
{
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        if (index >= msrs[i].first && index <= msrs[i].last)
            return &msrs[i];
    return NULL;
}

static uint64_t *msr_value(struct vcpu *vcpu, const struct msr *msr, uint32_t index)
{
    return (uint64_t *)((uint8_t *)vcpu + msr->offset) + (index - msr->first);
}

static bool write_efer(struct vcpu *vcpu, uint64_t value)
{
    const uint64_t automatic_ibrs = vcpu->model->leaf80000021_eax & BIT(8) ? BIT(21) : 0;
    const uint64_t allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | automatic_ibrs;
    if (value & ~allowed)
        return false;
    if ((value ^ vcpu->efer) & EFER_LME && vcpu->cr0 & CR0_PG)
        return false;
    value = (value & ~EFER_LMA) | (vcpu->efer & EFER_LMA);
    bool flush = (value ^ vcpu->efer) & EFER_NXE;
    vcpu->efer = value;
    if (flush)
        mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
    return true;
}

static bool write_segment_base(struct vcpu *vcpu, unsigned segment, uint64_t value)
{
    if (!address_is_canonical(value))
        return false;
    vcpu->segments[segment].base = value;
    vcpu->segment_bases[segment] = value;
    return true;
}

/* Each byte of PAT is a memory type: 0, 1, 4, 5, 6 or 7. APM vol. 2 §7.8 */
static bool write_pat(struct vcpu *vcpu, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t type = value >> (i * 8) & 0xff;
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    vcpu->pat = value;
    return true;
}

static bool is_apic_msr(uint32_t index)
{
    return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
           (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST);
}

/* Base and mask of variable range n take turns. */
static uint64_t *variable_mtrr(struct vcpu *vcpu, uint32_t index)
{
    unsigned n = index - MSR_MTRR_BASE0;
    if (n >= 16)
        return NULL;
    return n & 1 ? &vcpu->mtrr_mask[n / 2] : &vcpu->mtrr_base[n / 2];
}

/* The registers that are more than a field. False: not there, or not allowed. */
static bool read_special(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    if (is_apic_msr(index))
        return apic_msr_read(vcpu->apic, index, value);
    bool ok = true;
    if (paravirtual_msr_read(vcpu, index, value, &ok))
        return ok;
    uint64_t *mtrr = variable_mtrr(vcpu, index);
    if (mtrr) {
        *value = *mtrr;
        return true;
    }
    switch (index) {
    case MSR_TSC:
        *value = tsc_read(vcpu);
        return true;
    case MSR_TSC_ADJUST:
        *value = (uint64_t)vcpu->tsc_offset;
        return vcpu->model->leaf7_ebx & BIT(1);
    case MSR_EFER:
        *value = vcpu->efer;
        return true;
    case MSR_FS_BASE:
        *value = vcpu->segments[SEG_FS].base;
        return true;
    case MSR_GS_BASE:
        *value = vcpu->segments[SEG_GS].base;
        return true;
    case MSR_PAT:
        *value = vcpu->pat;
        return true;
    default:
        return false;
    }
}

static bool write_special(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    if (is_apic_msr(index))
        return apic_msr_write(vcpu->apic, index, value);
    bool ok = true;
    if (paravirtual_msr_write(vcpu, index, value, &ok))
        return ok;
    uint64_t *mtrr = variable_mtrr(vcpu, index);
    if (mtrr) {
        *mtrr = value;
        return true;
    }
    switch (index) {
    case MSR_TSC:
        vcpu->tsc_offset += (int64_t)(value - tsc_read(vcpu));
        return true;
    case MSR_TSC_ADJUST:
        vcpu->tsc_offset = (int64_t)value;
        return vcpu->model->leaf7_ebx & BIT(1);
    case MSR_EFER:
        return write_efer(vcpu, value);
    case MSR_FS_BASE:
        return write_segment_base(vcpu, SEG_FS, value);
    case MSR_GS_BASE:
        return write_segment_base(vcpu, SEG_GS, value);
    case MSR_PAT:
        return write_pat(vcpu, value);
    default:
        return false;
    }
}

bool msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    const struct msr *msr = msr_find(index);
    bool ok = true;
    if (!msr)
        ok = read_special(vcpu, index, value);
    else if (msr->rule == MSR_CONSTANT)
        *value = msr->writable;
    else if (msr->rule == MSR_IGNORE)
        *value = 0;
    else
        *value = *msr_value(vcpu, msr, index);
    return ok ? true : raise_error(vcpu, VECTOR_GP, 0);
}

bool msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    const struct msr *msr = msr_find(index);
    bool ok = true;
    if (!msr)
        ok = write_special(vcpu, index, value);
    else if (msr->rule == MSR_CONSTANT)
        ok = false;
    else if (msr->rule == MSR_CANONICAL)
        ok = address_is_canonical(value);
    else if (msr->rule == MSR_PLAIN)
        ok = !(value & ~msr->writable);
    if (ok && msr && (msr->rule == MSR_PLAIN || msr->rule == MSR_CANONICAL))
        *msr_value(vcpu, msr, index) = value;
    return ok ? true : raise_error(vcpu, VECTOR_GP, 0);
}
