/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's side: a vcpu at CPL 3 with 4-level page tables that map what the host has mapped.
 * Each gate of the IDT leads to a HLT of its own: run() returns there, the exception's frame on the
 * kernel's stack.
 */
#include "differential/differential.h"

#include "cpu/control.h"
#include "cpu/mmu.h"

#include <errno.h>
#include <stdlib.h>

/* Physical addresses; the system's own 2 MiB lie at SYSTEM + these, for the kernel alone. */
enum {
    PML4 = 0x1000,
    PDPT_USER = 0x2000,
    DIRECTORY_USER = 0x3000,
    TABLE_DATA = 0x4000,
    TABLE_CODE = 0x5000,
    PDPT_SYSTEM = 0x6000,
    DIRECTORY_SYSTEM = 0x7000,
    GDT = 0x8000,
    LDT = 0x8800,
    TSS = 0x9000,
    IDT = 0xa000,
    STACK_END = 0xd000,
    HANDLERS = 0xe000, /* one every HANDLER_SIZE bytes */
    HANDLER_SIZE = 16,
};
#define SYSTEM UINT64_C(0xffff800000000000)

enum { SELECTOR_KERNEL = 0x10, SELECTOR_TSS = 0x40, SELECTOR_LDT = 0x50 };

struct machine {
    struct memory *memory;
    struct bus bus;
    struct cpu_model model;
    struct vcpu_group group;
    struct vcpu *vcpu;
};

static void put(struct machine *machine, uint64_t gpa, uint64_t value)
{
    memory_write(machine->memory, gpa, &value, 8);
}

static void make_page_tables(struct machine *machine)
{
    const uint64_t user = PTE_PRESENT | PTE_WRITE | PTE_USER, system = PTE_PRESENT | PTE_WRITE;
    put(machine, PML4, PDPT_USER | user);
    put(machine, PML4 + 256 * 8, PDPT_SYSTEM | system);
    put(machine, PDPT_USER, DIRECTORY_USER | user);
    put(machine, PDPT_SYSTEM, DIRECTORY_SYSTEM | system);
    put(machine, DIRECTORY_SYSTEM, 0 | system | PTE_LARGE);
    put(machine, DIRECTORY_USER + (DATA_ADDRESS >> 21) * 8, TABLE_DATA | user);
    put(machine, DIRECTORY_USER + (CODE_ADDRESS >> 21) * 8, TABLE_CODE | user);
    for (unsigned i = 0; i < DATA_PAGES; i++) {
        static const uint64_t bits[] = {[PAGE_NONE] = 0,
                                        [PAGE_READ_WRITE] =
                                            PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_NX,
                                        [PAGE_READ_ONLY] = PTE_PRESENT | PTE_USER | PTE_NX};
        put(machine, TABLE_DATA + i * 8, (DATA_ADDRESS + i * PAGE_SIZE) | bits[data_pages[i]]);
    }
    for (unsigned i = 0; i < CODE_SIZE / PAGE_SIZE; i++)
        put(machine, TABLE_CODE + i * 8, (CODE_ADDRESS + i * PAGE_SIZE) | user);
}

struct hidden {
    uint16_t selector;
    uint32_t base, limit;
    uint16_t attributes;
};

#define USER (SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_ACCESSED | 3u << SEGMENT_DPL_SHIFT)
#define KERNEL_CODE                                                                              \
    (SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_ACCESSED | SEGMENT_CODE | SEGMENT_WRITABLE | \
     SEGMENT_LONG | SEGMENT_GRANULARITY)

static const struct hidden segments[] = {
    {SELECTOR_KERNEL, 0, ~0u, KERNEL_CODE},
    {SELECTOR_CODE32, 0, ~0u,
     USER | SEGMENT_CODE | SEGMENT_WRITABLE | SEGMENT_BIG | SEGMENT_GRANULARITY},
    {SELECTOR_DATA, 0, ~0u, USER | SEGMENT_WRITABLE | SEGMENT_BIG | SEGMENT_GRANULARITY},
    {SELECTOR_CODE64, 0, ~0u,
     USER | SEGMENT_CODE | SEGMENT_WRITABLE | SEGMENT_LONG | SEGMENT_GRANULARITY},
    {SELECTOR_CODE16, (uint32_t)CODE_ADDRESS, 0xffff, USER | SEGMENT_CODE | SEGMENT_WRITABLE},
    {SELECTOR_DATA16, (uint32_t)DATA_ADDRESS, 0xffff, USER | SEGMENT_WRITABLE},
    {SELECTOR_FS, (uint32_t)FS_BASE, ~0u,
     USER | SEGMENT_WRITABLE | SEGMENT_BIG | SEGMENT_GRANULARITY},
    {SELECTOR_GS, (uint32_t)GS_BASE, ~0u,
     USER | SEGMENT_WRITABLE | SEGMENT_BIG | SEGMENT_GRANULARITY},
};

static void put_descriptor(struct machine *machine, const struct hidden *segment)
{
    uint64_t limit = segment->limit;
    if (segment->attributes & SEGMENT_GRANULARITY)
        limit >>= PAGE_SHIFT;
    uint64_t low = (limit & 0xffff) | (uint64_t)(segment->base & 0xffffff) << 16 |
                   (uint64_t)(segment->attributes & 0xff) << 40;
    uint64_t high = (limit >> 16 & 0xf) << 48 | (uint64_t)(segment->attributes >> 8) << 52 |
                    (uint64_t)(segment->base >> 24) << 56;
    put(machine, (segment->selector & 4 ? LDT : GDT) + (segment->selector & ~7u), low | high);
}

/* A gate into 64-bit code, 16 bytes; DPL 3 for INT3 and INTO. APM vol. 2 §4.8.4 */
static void put_gate(struct machine *machine, unsigned vector)
{
    uint64_t handler = SYSTEM + HANDLERS + vector * HANDLER_SIZE;
    uint64_t access = SEGMENT_PRESENT | DESCRIPTOR_INTERRUPT_GATE;
    if (vector == VECTOR_BP || vector == VECTOR_OF)
        access |= 3u << SEGMENT_DPL_SHIFT;
    put(machine, IDT + vector * 16,
        (handler & 0xffff) | SELECTOR_KERNEL << 16 | access << 40 | (handler >> 16 & 0xffff) << 48);
    put(machine, IDT + vector * 16 + 8, handler >> 32);
    const uint8_t hlt = 0xf4;
    memory_write(machine->memory, HANDLERS + vector * HANDLER_SIZE, &hlt, 1);
}

static void fill_code(struct machine *machine)
{
    uint8_t page[4096];
    memset(page, 0xcc, sizeof(page));
    for (uint64_t i = 0; i < CODE_SIZE; i += sizeof(page))
        memory_write(machine->memory, CODE_ADDRESS + i, page, sizeof(page));
}

struct machine *machine_create(const struct engine_ops *engine, const char *cpu,
                               struct error *error)
{
    struct machine *machine = calloc(1, sizeof(*machine));
    const struct cpu_model *model = cpu_model_find(cpu);
    if (machine && !model)
        error_set(error, ENOENT, "--cpu %s: no such model", cpu);
    if (!machine || !model || cpu_model_fit(model, &machine->model, error) < 0) {
        free(machine);
        return NULL;
    }
    pthread_mutex_init(&machine->group.split_lock, NULL);
    machine->memory = memory_create(GIB(1), error);
    if (!machine->memory || bus_init(&machine->bus, machine->memory, NULL, NULL, error) < 0)
        return NULL;
    machine->vcpu = vcpu_create(&machine->group, &machine->bus, &machine->model, error);
    if (!machine->vcpu || engine->create(machine->vcpu, error) < 0)
        return NULL;
    machine->vcpu->engine = engine;
    make_page_tables(machine);
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
        put_descriptor(machine, &segments[i]);
    for (unsigned i = 0; i < 256; i++)
        put_gate(machine, i);
    put(machine, TSS + 4, SYSTEM + STACK_END);
    fill_code(machine);
    return machine;
}

void machine_destroy(struct machine *machine)
{
    vcpu_destroy(machine->vcpu);
    pthread_mutex_destroy(&machine->group.split_lock);
    bus_destroy(&machine->bus);
    memory_destroy(machine->memory);
    free(machine);
}

static struct cpuid_words vcpu_cpuid(const void *opaque, uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_result result = cpuid_query(opaque, leaf, subleaf);
    return (struct cpuid_words){{result.eax, result.ebx, result.ecx, result.edx}};
}

uint64_t machine_features(const struct machine *machine)
{
    return features_of(vcpu_cpuid, machine->vcpu);
}

void machine_load(struct machine *machine, const struct test_case *test)
{
    uint8_t slot[SLOT_SIZE];
    uint64_t start = align_down(test->address, SLOT_SIZE);
    memset(slot, 0xcc, sizeof(slot));
    memcpy(slot + (test->address - start), test->code, test->length);
    memory_write(machine->memory, start, slot, sizeof(slot));
}

static struct segment load_segment(uint16_t selector)
{
    for (unsigned i = 0; i < ARRAY_SIZE(segments); i++)
        if (segments[i].selector == selector)
            return (struct segment){.base = segments[i].base,
                                    .limit = segments[i].limit,
                                    .selector = selector,
                                    .attributes = segments[i].attributes};
    return (struct segment){0};
}

static void load_segments(struct vcpu *vcpu, const struct test_case *test,
                          const struct machine_state *before)
{
    for (unsigned i = 0; i < SEG_COUNT; i++)
        vcpu->segments[i] = load_segment(before->selectors[i]);
    if (test->mode == MODE_64) {
        vcpu->segments[SEG_FS].base = FS_BASE;
        vcpu->segments[SEG_GS].base = GS_BASE;
    }
    vcpu->ldtr = (struct segment){.base = SYSTEM + LDT,
                                  .limit = 0x1f,
                                  .selector = SELECTOR_LDT,
                                  .attributes = SEGMENT_PRESENT | DESCRIPTOR_LDT};
    vcpu->tr = (struct segment){.base = SYSTEM + TSS,
                                .limit = 0x67,
                                .selector = SELECTOR_TSS,
                                .attributes = SEGMENT_PRESENT | DESCRIPTOR_TSS_BUSY};
    vcpu->gdtr = (struct descriptor_table){SYSTEM + GDT, 0x7f};
    vcpu->idtr = (struct descriptor_table){SYSTEM + IDT, 0xfff};
    vcpu->cpl = 3;
}

/* Components of the standard format, where this vcpu's CPUID says. */
static void move_component(struct vcpu *vcpu, unsigned number, void *bytes, size_t size, bool load)
{
    struct cpuid_result place = cpuid_query(vcpu, 0xd, number);
    if (place.eax != size || place.ebx + size > sizeof(vcpu->xsave))
        return;
    if (load)
        memcpy(vcpu->xsave + place.ebx, bytes, size);
    else
        memcpy(bytes, vcpu->xsave + place.ebx, size);
}

static void move_vectors(struct vcpu *vcpu, const struct test_case *test, struct vectors *vectors,
                         bool load)
{
    if (test->feature != FEATURE_NONE)
        move_component(vcpu, 2, vectors->ymm_high, sizeof(vectors->ymm_high), load);
    if (test->feature >= FEATURE_AVX512) {
        move_component(vcpu, 5, vectors->opmask, sizeof(vectors->opmask), load);
        move_component(vcpu, 6, vectors->zmm_high, sizeof(vectors->zmm_high), load);
        move_component(vcpu, 7, vectors->zmm_16_31, sizeof(vectors->zmm_16_31), load);
    }
}

/* The frame that the exception pushed, and what the handler was reached by. */
static void read_frame(struct machine *machine, struct machine_state *after)
{
    struct vcpu *vcpu = machine->vcpu;
    uint64_t stack[6] = {0}, rsp = vcpu->registers[GPR_RSP];
    uint64_t size = SYSTEM + STACK_END - rsp;
    uint64_t handler = vcpu->rip - 1 - SYSTEM - HANDLERS;
    if (handler % HANDLER_SIZE || handler >= UINT64_C(256) * HANDLER_SIZE ||
        (size != 40 && size != 48))
        return; /* after->vector says shutdown */
    memory_read(machine->memory, rsp - SYSTEM, stack, size);
    const uint64_t *frame = size == 48 ? stack + 1 : stack;
    after->vector = (unsigned)(handler / HANDLER_SIZE);
    /* The translator does not keep flags that nobody reads: docs/decisions/translator.md. */
    bool loose = vcpu->engine == &engine_translate && after->vector != VECTOR_BP;
    after->open_flags = loose ? RFLAGS_ARITHMETIC : 0;
    after->error_code = size == 48 ? (uint32_t)stack[0] : 0;
    after->fault_address = vcpu->cr2;
    after->rip = frame[0];
    for (unsigned i = 0; i < SEG_COUNT; i++)
        after->selectors[i] = vcpu->segments[i].selector;
    after->selectors[SEG_CS] = (uint16_t)frame[1];
    after->rflags = frame[2];
    after->registers[GPR_RSP] = frame[3];
    after->selectors[SEG_SS] = (uint16_t)frame[4];
}

void machine_run(struct machine *machine, const struct test_case *test,
                 const struct machine_state *before, struct machine_state *after)
{
    struct vcpu *vcpu = machine->vcpu;
    uint8_t *scratch = memory_hva(machine->memory, SCRATCH_ADDRESS, SCRATCH_SIZE);
    uint8_t *tail = memory_hva(machine->memory, TAIL_ADDRESS, TAIL_SIZE);
    *after = *before;
    load_segments(vcpu, test, before);
    vcpu->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_MP | CR0_WP | CR0_AM;
    vcpu->cr3 = PML4;
    vcpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    vcpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
    vcpu->xcr0 = vcpu->model->xcr0_supported & ~XSTATE_PKRU;
    memcpy(vcpu->registers, before->registers, sizeof(before->registers));
    memcpy(vcpu->xsave, before->vectors.fxsave, sizeof(before->vectors.fxsave));
    move_vectors(vcpu, test, &after->vectors, true);
    memcpy(scratch, before->scratch, SCRATCH_SIZE);
    memcpy(tail, before->tail, TAIL_SIZE);
    vcpu->rflags = before->rflags;
    vcpu->rip = before->rip;
    vcpu->run_state = VCPU_RUNNING;
    vcpu->exception.pending = false;
    vcpu->instruction_budget = vcpu->instruction_count + 100000;
    vcpu_update_mode(vcpu);
    enum vcpu_exit exit = vcpu->engine->run(vcpu);
    after->vector = SHUTDOWN_VECTOR;
    memcpy(after->registers, vcpu->registers, sizeof(after->registers));
    memcpy(after->vectors.fxsave, vcpu->xsave, sizeof(after->vectors.fxsave));
    move_vectors(vcpu, test, &after->vectors, false);
    memcpy(after->scratch, scratch, SCRATCH_SIZE);
    memcpy(after->tail, tail, TAIL_SIZE);
    if (exit == VCPU_EXIT_HALT)
        read_frame(machine, after);
}
