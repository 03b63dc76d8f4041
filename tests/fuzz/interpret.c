/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoder, interpreter and MMU: the input is a mode, registers and the bytes of low memory: code,
 * descriptor tables, page tables. The guest may do whatever it likes to itself.
 */
#include "fuzz/fuzz.h"

#include "bus/bus.h"
#include "cpu/control.h"
#include "cpu/engine.h"
#include "cpu/mmu.h"
#include "cpu/vcpu.h"

#include <sanitizer/lsan_interface.h>

enum mode { MODE_REAL, MODE_PROTECTED, MODE_LONG, MODE_LONG_USER, MODE_COUNT };

enum {
    MEMORY_SIZE = 0x200000,
    CODE = 0x1000,
    TABLES = 0x4000, /* page tables: identity map, unless the input overwrites them */
    INPUT_MAX = 0x8000,
    INSTRUCTIONS = 500,
};

/* Made once: creating a machine costs more than a run. */
struct target {
    struct memory *memory;
    struct loop *loop;
    struct log *log;
    struct bus bus;
    struct vcpu_group group;
    struct vcpu *vcpu;
};

static struct target *target_create(void)
{
    struct target *target = calloc(1, sizeof(*target));
    struct error error = {0};
    target->memory = memory_create(MEMORY_SIZE, &error);
    fuzz_require(target->memory != NULL, &error);
    target->loop = loop_create(&error);
    fuzz_require(target->loop != NULL, &error);
    fuzz_require(bus_init(&target->bus, target->memory, target->loop, NULL, &error) == 0, &error);
    pthread_mutex_init(&target->group.split_lock, NULL);
    target->vcpu =
        vcpu_create(&target->group, &target->bus, cpu_model_find(CPU_MODEL_DEFAULT), &error);
    fuzz_require(target->vcpu != NULL, &error);
    /* A vcpu lies in mapped memory, where the leak checker does not look for pointers by itself. */
    __lsan_register_root_region(target->vcpu, sizeof(*target->vcpu));
    target->vcpu->engine = &engine_interpret;
    fuzz_require(engine_interpret.create(target->vcpu, &error) == 0, &error);
    return target;
}

static void store_entry(struct memory *memory, uint64_t gpa, uint64_t entry)
{
    memory_write(memory, gpa, &entry, sizeof(entry));
}

static void segments_set(struct vcpu *vcpu, enum mode mode)
{
    const unsigned ring = mode == MODE_LONG_USER ? 3 : 0;
    const uint16_t common = SEGMENT_PRESENT | SEGMENT_NON_SYSTEM | SEGMENT_WRITABLE |
                            SEGMENT_ACCESSED | (uint16_t)(ring << SEGMENT_DPL_SHIFT);
    for (int i = 0; i < SEG_COUNT; i++) {
        bool code = i == SEG_CS;
        uint16_t width = code && mode >= MODE_LONG ? SEGMENT_LONG : SEGMENT_BIG;
        vcpu->segments[i] = (struct segment){
            .limit = 0xffffffff,
            .selector = (uint16_t)((code ? 8 : 16) | ring),
            .attributes = common | width | (code ? SEGMENT_CODE : 0),
        };
    }
    vcpu->cpl = (uint8_t)ring;
}

/* Real mode is what reset leaves; the others get flat segments and identity-mapped low memory. */
static void mode_set(struct vcpu *vcpu, enum mode mode)
{
    if (mode == MODE_REAL) {
        vcpu->segments[SEG_CS].base = 0;
        vcpu->segments[SEG_CS].selector = 0;
        return;
    }
    segments_set(vcpu, mode);
    vcpu->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP;
    vcpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    if (mode >= MODE_LONG) {
        vcpu->cr0 |= CR0_PG | CR0_WP;
        vcpu->cr4 |= CR4_PAE;
        vcpu->cr3 = TABLES;
        vcpu->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    }
}

static void memory_fill(struct memory *memory, struct fuzz_input *input)
{
    uint8_t bytes[INPUT_MAX - CODE];
    memory_clear(memory, 0, MEMORY_SIZE);
    store_entry(memory, TABLES, (TABLES + 0x1000) | 7);
    store_entry(memory, TABLES + 0x1000, (TABLES + 0x2000) | 7);
    store_entry(memory, TABLES + 0x2000, 0x87); /* one 2 MiB page */
    memset(bytes, 0xf4, PAGE_SIZE);             /* HLT: what runs off the input ends */
    size_t length = input->length < sizeof(bytes) ? input->length : sizeof(bytes);
    fuzz_take(input, bytes, length);
    memory_write(memory, CODE, bytes, length > PAGE_SIZE ? length : PAGE_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct target *target;
    if (!target)
        target = target_create();
    struct vcpu *vcpu = target->vcpu;
    struct fuzz_input input = {bytes, length};
    enum mode mode = fuzz_take_integer(&input, 1) % MODE_COUNT;

    vcpu_reset(vcpu, false);
    atomic_store(&vcpu->requests, 0);
    mode_set(vcpu, mode);
    for (unsigned i = 0; i < 16; i++) /* short: most point into memory */
        vcpu->registers[i] = fuzz_take_integer(&input, i % 4 ? 3 : 8);
    vcpu->gdtr = (struct descriptor_table){.base = 0x2000, .limit = 0xfff};
    vcpu->idtr = (struct descriptor_table){.base = 0x3000, .limit = 0xfff};
    vcpu->rip = CODE;
    memory_fill(target->memory, &input);
    engine_interpret.invalidate(vcpu, ~UINT64_C(0));
    mmu_flush_all(vcpu);
    vcpu_update_mode(vcpu);

    vcpu->exception.pending = false;
    vcpu->instruction_count = 0;
    vcpu->instruction_budget = INSTRUCTIONS;
    for (int i = 0; i < 8; i++)
        if (engine_interpret.run(vcpu) != VCPU_EXIT_NONE)
            break;
    if (vcpu->registers[REGISTER_ZERO] != 0 || vcpu->cpl > 3)
        abort();
    return 0;
}
