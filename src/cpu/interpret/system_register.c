/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID, time-stamp counter, random numbers, MSRs, FS and GS bases, protection keys. APM vol. 3;
 * Intel SDM vol. 2. */
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/system.h"
#include "cpu/paravirtual.h"

#include <sys/random.h>

static void cpuid(struct vcpu *vcpu, const struct op *op)
{
    uint64_t *registers = vcpu->registers;
    struct cpuid_result result =
        cpuid_query(vcpu, (uint32_t)registers[GPR_RAX], (uint32_t)registers[GPR_RCX]);
    registers[GPR_RAX] = result.eax;
    registers[GPR_RBX] = result.ebx;
    registers[GPR_RCX] = result.ecx;
    registers[GPR_RDX] = result.edx;
    NEXT(vcpu, op);
}

static bool tsc_allowed(struct vcpu *vcpu)
{
    return !(vcpu->cr4 & CR4_TSD && vcpu->cpl) || raise_error(vcpu, VECTOR_GP, 0);
}

static void set_edx_eax(struct vcpu *vcpu, uint64_t value)
{
    vcpu->registers[GPR_RAX] = (uint32_t)value;
    vcpu->registers[GPR_RDX] = value >> 32;
}

static void rdtsc(struct vcpu *vcpu, const struct op *op)
{
    if (!tsc_allowed(vcpu))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, tsc_read(vcpu));
    NEXT(vcpu, op);
}

static void rdtscp(struct vcpu *vcpu, const struct op *op)
{
    if (!tsc_allowed(vcpu))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, tsc_read(vcpu));
    vcpu->registers[GPR_RCX] = (uint32_t)vcpu->tsc_aux;
    NEXT(vcpu, op);
}

/* There are no performance counters. */
static void rdpmc(struct vcpu *vcpu, const struct op *op)
{
    raise_error(vcpu, VECTOR_GP, 0);
    FAULT(vcpu, op);
}

static void rdmsr(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!system_privileged(vcpu) || !msr_read(vcpu, (uint32_t)vcpu->registers[GPR_RCX], &value))
        FAULT(vcpu, op);
    set_edx_eax(vcpu, value);
    LEAVE(vcpu, op);
}

static void wrmsr(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = vcpu->registers[GPR_RDX] << 32 | (uint32_t)vcpu->registers[GPR_RAX];
    LEAVE_OR_FAULT(vcpu, op,
                   system_privileged(vcpu) &&
                       msr_write(vcpu, (uint32_t)vcpu->registers[GPR_RCX], value));
}

/* RDRAND and RDSEED: CF says that there was a number; the host always has one. */
static inline enum mmu_status rdrand_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = 0;
    bool ok = getrandom(&value, sizeof(value), 0) == (ssize_t)sizeof(value);
    system_store_word(vcpu, op, ok ? value : 0);
    flags_load(vcpu, ok ? RFLAGS_CF : 0);
    return MMU_OK;
}
DEFINE_HANDLER(rdrand)

static void hypercall(struct vcpu *vcpu, const struct op *op)
{
    if (!vcpu->model->kvm_paravirtual) {
        raise_exception(vcpu, VECTOR_UD);
        FAULT(vcpu, op);
    }
    paravirtual_hypercall(vcpu);
    LEAVE(vcpu, op);
}

static void swapgs(struct vcpu *vcpu, const struct op *op)
{
    if (!system_privileged(vcpu))
        FAULT(vcpu, op);
    uint64_t base = vcpu->segments[SEG_GS].base;
    vcpu->segments[SEG_GS].base = vcpu->segment_bases[SEG_GS] = vcpu->kernel_gs_base;
    vcpu->kernel_gs_base = base;
    NEXT(vcpu, op);
}

static bool base_access_allowed(struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_FSGSBASE || raise_exception(vcpu, VECTOR_UD);
}

/* op->condition: the segment */
static void read_base(struct vcpu *vcpu, const struct op *op)
{
    if (!base_access_allowed(vcpu))
        FAULT(vcpu, op);
    system_store_word(vcpu, op, vcpu->segments[op->condition].base);
    NEXT(vcpu, op);
}

static void write_base(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value = register_get64(vcpu, op->destination);
    if (op->operand_size == 4)
        value = (uint32_t)value;
    if (!base_access_allowed(vcpu))
        FAULT(vcpu, op);
    if (!address_is_canonical(value)) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    vcpu->segments[op->condition].base = vcpu->segment_bases[op->condition] = value;
    NEXT(vcpu, op);
}

static bool keys_enabled(struct vcpu *vcpu)
{
    return vcpu->cr4 & CR4_PKE || raise_exception(vcpu, VECTOR_UD);
}

static void rdpkru(struct vcpu *vcpu, const struct op *op)
{
    if (!keys_enabled(vcpu))
        FAULT(vcpu, op);
    if ((uint32_t)vcpu->registers[GPR_RCX]) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    set_edx_eax(vcpu, vcpu->pkru);
    NEXT(vcpu, op);
}

static void wrpkru(struct vcpu *vcpu, const struct op *op)
{
    if (!keys_enabled(vcpu))
        FAULT(vcpu, op);
    if ((uint32_t)vcpu->registers[GPR_RCX] || (uint32_t)vcpu->registers[GPR_RDX]) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    uint32_t value = (uint32_t)vcpu->registers[GPR_RAX];
    if (value != vcpu->pkru) {
        vcpu->pkru = value;
        mmu_flush_all(vcpu);
    }
    LEAVE(vcpu, op);
}

static const struct system_instruction instructions[] = {
    {ZYDIS_MNEMONIC_CPUID, cpuid, 0, true},
    {ZYDIS_MNEMONIC_RDTSC, rdtsc, 0, true},
    {ZYDIS_MNEMONIC_RDTSCP, rdtscp, 0, true},
    {ZYDIS_MNEMONIC_RDPMC, rdpmc, 0, false},
    {ZYDIS_MNEMONIC_RDMSR, rdmsr, 0, false},
    {ZYDIS_MNEMONIC_WRMSR, wrmsr, 0, false},
    {ZYDIS_MNEMONIC_RDRAND, rdrand, 0, true},
    {ZYDIS_MNEMONIC_RDSEED, rdrand, 0, true},
    {ZYDIS_MNEMONIC_VMCALL, hypercall, 0, false},
    {ZYDIS_MNEMONIC_VMMCALL, hypercall, 0, false},
    {ZYDIS_MNEMONIC_SWAPGS, swapgs, 0, true},
    {ZYDIS_MNEMONIC_RDFSBASE, read_base, SEG_FS, true},
    {ZYDIS_MNEMONIC_RDGSBASE, read_base, SEG_GS, true},
    {ZYDIS_MNEMONIC_WRFSBASE, write_base, SEG_FS, true},
    {ZYDIS_MNEMONIC_WRGSBASE, write_base, SEG_GS, true},
    {ZYDIS_MNEMONIC_RDPKRU, rdpkru, 0, true},
    {ZYDIS_MNEMONIC_WRPKRU, wrpkru, 0, false},
};

op_handler *select_system_register(struct selection *selection)
{
    return system_find(selection, instructions, ARRAY_SIZE(instructions));
}
