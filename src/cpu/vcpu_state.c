/* SPDX-License-Identifier: Apache-2.0 */
/* What of a vcpu is saved, and whether what is loaded can be a vcpu's: engines rely on states that
 * instructions can lead to. */
#include "cpu/apic.h"
#include "cpu/control.h"
#include "cpu/mmu.h"
#include "cpu/paravirtual.h"

#include <errno.h>

/* Of the requests, what is not worked out again. */
#define REQUESTS_KEPT (VCPU_REQUEST_NMI | VCPU_REQUEST_INIT | VCPU_REQUEST_STARTUP)

void vcpu_before_save(struct vcpu *vcpu)
{
    apic_before_save(vcpu->apic);
}

static bool loaded_is_sound(const struct vcpu *vcpu)
{
    return vcpu->cpl <= 3 && vcpu->run_state <= VCPU_WAIT_FOR_SIPI && vcpu->exception.vector < 32 &&
           !vcpu->registers[REGISTER_ZERO] && !(load_le(vcpu->xsave + XSAVE_MXCSR, 4) >> 16) &&
           control_loaded(vcpu);
}

int vcpu_after_load(struct vcpu *vcpu, struct error *error)
{
    if (!loaded_is_sound(vcpu))
        return error_set(error, EINVAL, "state of vcpu %u: no %s could come to it: file damaged",
                         vcpu->index, vcpu->model->name);
    uint32_t kept = atomic_load(&vcpu->requests) & REQUESTS_KEPT;
    atomic_store(&vcpu->requests, kept | VCPU_REQUEST_INTERRUPT);
    apic_after_load(vcpu->apic);
    paravirtual_after_load(vcpu->paravirtual);
    mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);
    vcpu_recheck_interrupts(vcpu);
    return 0;
}

static const struct state_field segment_fields[] = {
    STATE_FIELD(struct segment, base),
    STATE_FIELD(struct segment, limit),
    STATE_FIELD(struct segment, selector),
    STATE_FIELD(struct segment, attributes),
};
static const struct state_table segment_state = STATE_TABLE("segment", 1, segment_fields);

static const struct state_field table_fields[] = {
    STATE_FIELD(struct descriptor_table, base),
    STATE_FIELD(struct descriptor_table, limit),
};
static const struct state_table table_state = STATE_TABLE("descriptor-table", 1, table_fields);

static const struct state_field exception_fields[] = {
    STATE_FIELD(struct exception, pending),        STATE_FIELD(struct exception, vector),
    STATE_FIELD(struct exception, has_error_code), STATE_FIELD(struct exception, error_code),
    STATE_FIELD(struct exception, address),
};
static const struct state_table exception_state = STATE_TABLE("exception", 1, exception_fields);

static const struct state_field vcpu_fields[] = {
    STATE_ARRAY(struct vcpu, registers),
    STATE_FIELD(struct vcpu, rip),
    STATE_FIELD(struct vcpu, rflags),
    STATE_FIELD(struct vcpu, interrupt_shadow),
    STATE_FIELD(struct vcpu, trap_shadow),
    STATE_FIELD(struct vcpu, requests),
    STATE_FIELD(struct vcpu, extint_level),
    STATE_FIELD(struct vcpu, kicked),
    STATE_FIELD(struct vcpu, cpl),
    STATE_STRUCT_ARRAY(struct vcpu, segments, &segment_state),
    STATE_NESTED(struct vcpu, ldtr, &segment_state),
    STATE_NESTED(struct vcpu, tr, &segment_state),
    STATE_NESTED(struct vcpu, gdtr, &table_state),
    STATE_NESTED(struct vcpu, idtr, &table_state),
    STATE_FIELD(struct vcpu, cr0),
    STATE_FIELD(struct vcpu, cr2),
    STATE_FIELD(struct vcpu, cr3),
    STATE_FIELD(struct vcpu, cr4),
    STATE_FIELD(struct vcpu, cr8),
    STATE_FIELD(struct vcpu, efer),
    STATE_FIELD(struct vcpu, xcr0),
    STATE_FIELD(struct vcpu, xss),
    STATE_ARRAY(struct vcpu, dr),
    STATE_FIELD(struct vcpu, pkru),
    STATE_ARRAY(struct vcpu, pdpte),
    STATE_FIELD(struct vcpu, star),
    STATE_FIELD(struct vcpu, lstar),
    STATE_FIELD(struct vcpu, cstar),
    STATE_FIELD(struct vcpu, fmask),
    STATE_FIELD(struct vcpu, kernel_gs_base),
    STATE_FIELD(struct vcpu, sysenter_cs),
    STATE_FIELD(struct vcpu, sysenter_esp),
    STATE_FIELD(struct vcpu, sysenter_eip),
    STATE_FIELD(struct vcpu, pat),
    STATE_FIELD(struct vcpu, apic_base),
    STATE_FIELD(struct vcpu, tsc_aux),
    STATE_FIELD(struct vcpu, misc_enable),
    STATE_FIELD(struct vcpu, spec_ctrl),
    STATE_FIELD(struct vcpu, mtrr_default),
    STATE_ARRAY(struct vcpu, mtrr_fixed),
    STATE_ARRAY(struct vcpu, mtrr_base),
    STATE_ARRAY(struct vcpu, mtrr_mask),
    STATE_FIELD(struct vcpu, tsc_offset),
    STATE_FIELD(struct vcpu, nmi_blocked),
    STATE_FIELD(struct vcpu, nmi_waiting),
    STATE_FIELD(struct vcpu, run_state),
    STATE_FIELD(struct vcpu, startup_vector),
    STATE_BLOB(struct vcpu, xsave),
    STATE_NESTED(struct vcpu, exception, &exception_state),
    STATE_FIELD(struct vcpu, watch_hits),
};
const struct state_table vcpu_state = STATE_TABLE("vcpu", 2, vcpu_fields);
