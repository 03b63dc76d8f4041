/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's side: a vcpu in 64-bit mode, all memory mapped one to one by a 1G page. */
#include "differential/differential.h"

#include "cpu/control.h"
#include "cpu/mmu.h"

#include <stdlib.h>

#define PAGE_TABLES UINT64_C(0x1000)
#define SLOT        32 /* bytes of code a test case gets */
#define XMM_OFFSET  160

struct machine {
    struct memory *memory;
    struct bus bus;
    struct vcpu_group group;
    struct vcpu *vcpu;
    uint64_t code; /* address of the present instruction */
};

struct machine *machine_create(const struct engine_ops *engine, struct error *error)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    if (!machine)
        return NULL;
    machine->memory = memory_create(GIB(1), error);
    if (!machine->memory || bus_init(&machine->bus, machine->memory, NULL, NULL, error) < 0)
        return NULL;
    machine->vcpu =
        vcpu_create(&machine->group, &machine->bus, cpu_model_find(CPU_MODEL_DEFAULT), error);
    if (!machine->vcpu || engine->create(machine->vcpu, error) < 0)
        return NULL;
    machine->vcpu->engine = engine;
    const uint64_t tables[2] = {(PAGE_TABLES + PAGE_SIZE) | 3, 0x83};
    memory_write(machine->memory, PAGE_TABLES, &tables[0], 8);
    memory_write(machine->memory, PAGE_TABLES + PAGE_SIZE, &tables[1], 8);
    machine->code = CODE_ADDRESS;
    return machine;
}

void machine_destroy(struct machine *machine)
{
    vcpu_destroy(machine->vcpu);
    bus_destroy(&machine->bus);
    memory_destroy(machine->memory);
    free(machine);
}

void machine_load(struct machine *machine, const struct test_case *test)
{
    machine->code += SLOT;
    if (machine->code >= CODE_ADDRESS + CODE_SIZE)
        machine->code = CODE_ADDRESS;
    memory_write(machine->memory, machine->code, test->code, test->length);
}

static void enter_64bit(struct vcpu *vcpu)
{
    const uint16_t flat = SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE |
                          SEGMENT_ACCESSED | SEGMENT_GRANULARITY;
    for (unsigned i = 0; i < SEG_COUNT; i++)
        vcpu->segments[i] = (struct segment){.limit = ~0u, .selector = 0x10, .attributes = flat};
    vcpu->segments[SEG_CS].attributes = flat | SEGMENT_CODE | SEGMENT_LONG;
    vcpu->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE;
    vcpu->cr3 = PAGE_TABLES;
    vcpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
    vcpu->efer = EFER_LME | EFER_LMA;
    vcpu->idtr.limit = 0; /* any exception ends in a triple fault: seen as "faulted" */
    vcpu->cpl = 0;
    vcpu_update_mode(vcpu);
}

void machine_run(struct machine *machine, const struct machine_state *before,
                 struct machine_state *after)
{
    struct vcpu *vcpu = machine->vcpu;
    uint8_t *scratch = memory_hva(machine->memory, SCRATCH_ADDRESS, SCRATCH_SIZE);
    enter_64bit(vcpu);
    memcpy(vcpu->registers, before->registers, sizeof(before->registers));
    memcpy(vcpu->xsave + XMM_OFFSET, before->xmm, sizeof(before->xmm));
    memcpy(scratch, before->scratch, SCRATCH_SIZE);
    vcpu->rflags = before->rflags;
    vcpu->rip = machine->code;
    vcpu->run_state = VCPU_RUNNING;
    vcpu->exception.pending = false;
    vcpu->instruction_budget = vcpu->instruction_count + 1;
    enum vcpu_exit exit = vcpu->engine->run(vcpu);
    *after = *before;
    after->faulted = exit != VCPU_EXIT_SWITCH;
    if (after->faulted)
        return;
    memcpy(after->registers, vcpu->registers, sizeof(after->registers));
    after->rflags = vcpu->rflags;
    memcpy(after->xmm, vcpu->xsave + XMM_OFFSET, sizeof(after->xmm));
    memcpy(after->scratch, scratch, SCRATCH_SIZE);
}
