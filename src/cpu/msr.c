/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers: one table says which exist, where their value lives and what may be
 * written, or which functions do both. APM vol. 2 appendix A */
#include "cpu/apic.h"
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/paravirtual.h"

struct msr {
    uint32_t first, last;
    size_t offset; /* of the first one's value in struct vcpu; NO_VALUE: reads as `bits` */
    uint64_t bits; /* may be written; others must be zero (#GP) */
    /* NULL: as the fields above say. False: #GP. */
    bool (*read)(struct vcpu *vcpu, uint32_t index, uint64_t *value);
    bool (*write)(struct vcpu *vcpu, uint32_t index, uint64_t value);
};

#define NO_VALUE     SIZE_MAX
#define ALL_BITS     (~UINT64_C(0))
#define MC_BANKS_MAX 32 /* numbers that are set aside */

#define MTRR_CAPABILITIES 0x508 /* eight variable ranges, fixed ranges, write combining */
#define MISC_ENABLE_BITS  (BIT(0) | BIT(7) | BIT(11) | BIT(12) | BIT(16) | BIT(18))

static const struct msr *msr_find(uint32_t index);

static uint64_t *msr_value(struct vcpu *vcpu, const struct msr *msr, uint32_t index)
{
    return (uint64_t *)((uint8_t *)vcpu + msr->offset) + (index - msr->first);
}

static bool write_address(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    if (!address_is_canonical(value))
        return false;
    *msr_value(vcpu, msr_find(index), index) = value;
    return true;
}

static bool write_segment_base(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    unsigned segment = index == MSR_FS_BASE ? SEG_FS : SEG_GS;
    if (!address_is_canonical(value))
        return false;
    vcpu->segments[segment].base = vcpu->segment_bases[segment] = value;
    return true;
}

/* What kernels poke at without asking: writes go nowhere. */
static bool write_nothing(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    return true;
}

static bool write_refused(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    return false;
}

uint64_t efer_allowed(const struct cpu_model *model)
{
    uint64_t automatic_ibrs = model->leaf80000021_eax & BIT(8) ? BIT(21) : 0;
    return EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE | automatic_ibrs;
}

static bool write_efer(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    if (value & ~efer_allowed(vcpu->model))
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

/* Each byte of PAT is a memory type: 0, 1, 4, 5, 6 or 7. APM vol. 2 §7.8 */
static bool write_pat(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t type = value >> (i * 8) & 0xff;
        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    vcpu->pat = value;
    return true;
}

static bool read_tsc(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    *value = tsc_read(vcpu);
    return true;
}

static bool write_tsc(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    vcpu->tsc_offset += (int64_t)(value - tsc_read(vcpu));
    return true;
}

static bool read_tsc_adjust(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    *value = (uint64_t)vcpu->tsc_offset;
    return vcpu->model->leaf7_ebx & BIT(1);
}

static bool write_tsc_adjust(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    if (!(vcpu->model->leaf7_ebx & BIT(1)))
        return false;
    vcpu->tsc_offset = (int64_t)value;
    return true;
}

static bool read_apic(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    return apic_msr_read(vcpu->apic, index, value);
}

static bool write_apic(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    return apic_msr_write(vcpu->apic, index, value);
}

/* Base and mask of the variable ranges take turns. */
static uint64_t *variable_mtrr(struct vcpu *vcpu, uint32_t index)
{
    unsigned n = index - MSR_MTRR_BASE0;
    return n & 1 ? &vcpu->mtrr_mask[n / 2] : &vcpu->mtrr_base[n / 2];
}

static bool read_mtrr(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    *value = *variable_mtrr(vcpu, index);
    return true;
}

static bool write_mtrr(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    *variable_mtrr(vcpu, index) = value;
    return true;
}

#define FIELD(field) offsetof(struct vcpu, field)
#define MSR_PLAIN(index, field, bits)                \
    {                                                \
        index, index, FIELD(field), bits, NULL, NULL \
    }
#define MSR_ADDRESS(index, field)                          \
    {                                                      \
        index, index, FIELD(field), 0, NULL, write_address \
    }
#define MSR_CHECKED(index, field, write)           \
    {                                              \
        index, index, FIELD(field), 0, NULL, write \
    }
#define MSR_COMPUTED(first, last, read, write) \
    {                                          \
        first, last, NO_VALUE, 0, read, write  \
    }
#define MSR_CONSTANT(index, value)                         \
    {                                                      \
        index, index, NO_VALUE, value, NULL, write_refused \
    }
#define MSR_IGNORED(first, last)                      \
    {                                                 \
        first, last, NO_VALUE, 0, NULL, write_nothing \
    }

static const struct msr msrs[] = {
    MSR_PLAIN(MSR_SYSENTER_CS, sysenter_cs, 0xffffffff),
    MSR_ADDRESS(MSR_SYSENTER_ESP, sysenter_esp),
    MSR_ADDRESS(MSR_SYSENTER_EIP, sysenter_eip),
    MSR_CHECKED(MSR_EFER, efer, write_efer),
    MSR_PLAIN(MSR_STAR, star, ALL_BITS),
    MSR_ADDRESS(MSR_LSTAR, lstar),
    MSR_ADDRESS(MSR_CSTAR, cstar),
    MSR_PLAIN(MSR_FMASK, fmask, 0xffffffff),
    MSR_CHECKED(MSR_FS_BASE, segments[SEG_FS].base, write_segment_base),
    MSR_CHECKED(MSR_GS_BASE, segments[SEG_GS].base, write_segment_base),
    MSR_ADDRESS(MSR_KERNEL_GS_BASE, kernel_gs_base),
    MSR_PLAIN(MSR_TSC_AUX, tsc_aux, 0xffffffff),
    MSR_COMPUTED(MSR_TSC, MSR_TSC, read_tsc, write_tsc),
    MSR_COMPUTED(MSR_TSC_ADJUST, MSR_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust),
    MSR_COMPUTED(MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, read_apic, write_apic),
    MSR_COMPUTED(MSR_APIC_BASE, MSR_APIC_BASE, read_apic, write_apic),
    MSR_COMPUTED(MSR_X2APIC_FIRST, MSR_X2APIC_LAST, read_apic, write_apic),
    MSR_PLAIN(MSR_MISC_ENABLE, misc_enable, MISC_ENABLE_BITS),
    MSR_CHECKED(MSR_PAT, pat, write_pat),
    MSR_CONSTANT(MSR_MTRR_CAP, MTRR_CAPABILITIES),
    MSR_PLAIN(MSR_MTRR_DEFAULT, mtrr_default, 0xcff),
    MSR_COMPUTED(MSR_MTRR_BASE0, MSR_MTRR_BASE0 + 15, read_mtrr, write_mtrr),
    {MSR_MTRR_FIX64K, MSR_MTRR_FIX64K, FIELD(mtrr_fixed[0]), ALL_BITS, NULL, NULL},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, FIELD(mtrr_fixed[1]), ALL_BITS, NULL, NULL},
    {MSR_MTRR_FIX4K, MSR_MTRR_FIX4K + 7, FIELD(mtrr_fixed[3]), ALL_BITS, NULL, NULL},
    MSR_IGNORED(MSR_MICROCODE_REVISION, MSR_MICROCODE_REVISION),
    /* Machine checks: no banks and never an error, for kernels that look without counting, too. */
    MSR_CONSTANT(MSR_MCG_CAP, 0),
    MSR_IGNORED(MSR_MCG_STATUS, MSR_MCG_CTL),
    MSR_IGNORED(MSR_MC0_CTL, MSR_MC0_CTL + 4 * MC_BANKS_MAX - 1),
    MSR_IGNORED(MSR_MC0_CTL2, MSR_MC0_CTL2 + MC_BANKS_MAX - 1),
    /* AMD: SYSCFG, HWCR, IORRs, TOP_MEM, PMCs, northbridge and C1E control, DE_CFG, LS_CFG. */
    MSR_IGNORED(0xc0010000, 0xc0010007),
    MSR_IGNORED(0xc0010010, 0xc001001f),
    MSR_IGNORED(0xc0010055, 0xc0010055),
    MSR_IGNORED(0xc0010058, 0xc0010058),
    MSR_IGNORED(0xc0010112, 0xc0010117),
    MSR_IGNORED(0xc0010140, 0xc0010141),
    MSR_IGNORED(0xc0011000, 0xc0011040),
};

static const struct msr *msr_find(uint32_t index)
{
    for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
        if (index >= msrs[i].first && index <= msrs[i].last)
            return &msrs[i];
    return NULL;
}

/* False: #GP. */
static bool read(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    const struct msr *msr = msr_find(index);
    if (!msr)
        return paravirtual_msr_read(vcpu, index, value);
    if (msr->read)
        return msr->read(vcpu, index, value);
    *value = msr->offset == NO_VALUE ? msr->bits : *msr_value(vcpu, msr, index);
    return true;
}

static bool write(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    const struct msr *msr = msr_find(index);
    if (!msr)
        return paravirtual_msr_write(vcpu, index, value);
    if (msr->write)
        return msr->write(vcpu, index, value);
    if (value & ~msr->bits)
        return false;
    *msr_value(vcpu, msr, index) = value;
    return true;
}

bool msr_read(struct vcpu *vcpu, uint32_t index, uint64_t *value)
{
    bool ok = read(vcpu, index, value);
    if (trace_wants(vcpu->trace, TRACE_MSR))
        trace_print(vcpu->trace, TRACE_MSR, "vcpu %u read 0x%x -> 0x%llx%s", vcpu->index, index,
                    ok ? (unsigned long long)*value : 0, ok ? "" : " (refused)");
    return ok || raise_error(vcpu, VECTOR_GP, 0);
}

bool msr_write(struct vcpu *vcpu, uint32_t index, uint64_t value)
{
    bool ok = write(vcpu, index, value);
    if (trace_wants(vcpu->trace, TRACE_MSR))
        trace_print(vcpu->trace, TRACE_MSR, "vcpu %u write 0x%x <- 0x%llx%s", vcpu->index, index,
                    (unsigned long long)value, ok ? "" : " (refused)");
    return ok || raise_error(vcpu, VECTOR_GP, 0);
}
