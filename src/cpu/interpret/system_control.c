/* SPDX-License-Identifier: Apache-2.0 */
/* Control and debug registers, the TLB and the caches. APM vol. 2 §3.1, §5.5, §13.1. */
#include "cpu/control.h"
#include "cpu/exception.h"
#include "cpu/interpret/system.h"

/* Of MOV: op->condition is the register's number. */

static uint64_t control_read(const struct vcpu *vcpu, unsigned number)
{
    const uint64_t values[] = {
        [0] = vcpu->cr0, [2] = vcpu->cr2, [3] = vcpu->cr3, [4] = vcpu->cr4, [8] = vcpu->cr8};
    return values[number];
}

static void mov_from_control(struct vcpu *vcpu, const struct op *op)
{
    if (!system_privileged(vcpu))
        FAULT(vcpu, op);
    register_set64(vcpu, op->destination, control_read(vcpu, op->condition));
    NEXT(vcpu, op);
}

static bool control_write(struct vcpu *vcpu, unsigned number, uint64_t value)
{
    switch (number) {
    case 0:
        return control_write_cr0(vcpu, value);
    case 2:
        vcpu->cr2 = value;
        return true;
    case 3:
        return control_write_cr3(vcpu, value);
    case 4:
        return control_write_cr4(vcpu, value);
    default:
        return control_write_cr8(vcpu, value);
    }
}

static void mov_to_control(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op,
                   system_privileged(vcpu) &&
                       control_write(vcpu, op->condition, system_register_full(vcpu, op->source)));
}

static inline enum mmu_status mov_from_debug_work(struct vcpu *vcpu, const struct op *op)
{
    uint64_t value;
    if (!system_privileged(vcpu) || !control_read_dr(vcpu, op->condition, &value))
        return MMU_FAULT;
    register_set64(vcpu, op->destination, value);
    return MMU_OK;
}
DEFINE_HANDLER(mov_from_debug)

static void mov_to_debug(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(
        vcpu, op,
        system_privileged(vcpu) &&
            control_write_dr(vcpu, op->condition, system_register_full(vcpu, op->source)));
}

static void clts(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op,
                   system_privileged(vcpu) && control_write_cr0(vcpu, vcpu->cr0 & ~CR0_TS));
}

/* LMSW can set PE but not clear it. */
static void lmsw(struct vcpu *vcpu, const struct op *op)
{
    uint16_t value;
    if (!system_privileged(vcpu) || !system_load_word(vcpu, op, &value))
        FAULT(vcpu, op);
    uint64_t kept = vcpu->cr0 & ~(CR0_MP | CR0_EM | CR0_TS);
    LEAVE_OR_FAULT(vcpu, op, control_write_cr0(vcpu, kept | (value & 0xf)));
}

static void smsw(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, system_umip_allows(vcpu) && system_store_word(vcpu, op, vcpu->cr0));
}

static void invlpg(struct vcpu *vcpu, const struct op *op)
{
    if (!system_privileged(vcpu))
        FAULT(vcpu, op);
    mmu_flush_page(vcpu, op_offset(vcpu, op) + vcpu->segment_bases[op->segment]);
    LEAVE(vcpu, op);
}

static void invpcid(struct vcpu *vcpu, const struct op *op)
{
    uint8_t bytes[16];
    if (!system_privileged(vcpu) || !system_load_bytes(vcpu, op, bytes, 16))
        FAULT(vcpu, op);
    uint64_t type = system_register_full(vcpu, op->destination), pcid = load_le(bytes, 8);
    uint64_t gva = load_le(bytes + 8, 8);
    bool bad_pcid = pcid >> 12 || (pcid && !(vcpu->cr4 & CR4_PCIDE) && type < 2);
    bool bad_address = type == 0 && !address_is_canonical(gva);
    if (type > 3 || bad_pcid || bad_address) {
        raise_error(vcpu, VECTOR_GP, 0);
        FAULT(vcpu, op);
    }
    if (type == 0 && (pcid == (vcpu->cr3 & CR3_PCID_MASK) || !(vcpu->cr4 & CR4_PCIDE)))
        mmu_flush_page(vcpu, gva);
    else if (type < 2)
        mmu_flush_pcid(vcpu, (uint16_t)pcid);
    else if (type == 2)
        mmu_flush_all(vcpu);
    else
        mmu_flush_non_global(vcpu);
    LEAVE(vcpu, op);
}

static void cache_control(struct vcpu *vcpu, const struct op *op)
{
    LEAVE_OR_FAULT(vcpu, op, system_privileged(vcpu));
}

static const struct system_instruction instructions[] = {
    {ZYDIS_MNEMONIC_CLTS, clts, 0, false},
    {ZYDIS_MNEMONIC_LMSW, lmsw, 0, false},
    {ZYDIS_MNEMONIC_SMSW, smsw, 0, false},
    {ZYDIS_MNEMONIC_INVLPG, invlpg, 0, false},
    {ZYDIS_MNEMONIC_INVPCID, invpcid, 0, false},
    {ZYDIS_MNEMONIC_INVD, cache_control, 0, false},
    {ZYDIS_MNEMONIC_WBINVD, cache_control, 0, false},
};

/* MOV to or from CRn and DRn. */
static op_handler *select_control_move(struct selection *selection)
{
    static const struct {
        ZydisRegister first, last;
        op_handler *read, *write;
        uint16_t valid; /* register numbers */
    } kinds[] = {
        {ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15, mov_from_control, mov_to_control,
         1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8},
        {ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15, mov_from_debug, mov_to_debug, 0xff},
    };
    for (unsigned operand = 0; operand < 2; operand++) {
        if (selection->operands[operand].type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        ZydisRegister name = selection->operands[operand].reg.value;
        for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
            unsigned number = (unsigned)(name - kinds[i].first);
            if (name < kinds[i].first || name > kinds[i].last || !(kinds[i].valid >> number & 1))
                continue;
            selection->op->condition = (uint8_t)number;
            return operand ? kinds[i].read : kinds[i].write;
        }
    }
    return NULL;
}

op_handler *select_system_control(struct selection *selection)
{
    if (selection->instruction.mnemonic == ZYDIS_MNEMONIC_MOV)
        return select_control_move(selection);
    return system_find(selection, instructions, ARRAY_SIZE(instructions));
}
