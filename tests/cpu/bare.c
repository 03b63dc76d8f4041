/* SPDX-License-Identifier: Apache-2.0 */
#include "bare.h"

#include <stdlib.h>
#include <string.h>

enum { MEMORY_SIZE = 4 << 20, FLAT = 0xc, FLAT_LONG = 0xa };

static int setup(void **state, unsigned processors)
{
    struct error error = {0};
    struct bare *bare = calloc(1, sizeof(*bare));
    *state = bare;
    if (!bare || !(bare->memory = memory_create(MEMORY_SIZE, &error)) ||
        !(bare->loop = loop_create(&error)) ||
        bus_init(&bare->bus, bare->memory, bare->loop, NULL, &error) < 0)
        return -1;
    pthread_mutex_init(&bare->group.split_lock, NULL);
    for (unsigned i = 0; i < processors; i++)
        if (!vcpu_create(&bare->group, &bare->bus, cpu_model_find(CPU_MODEL_DEFAULT), &error))
            return -1;
    bare->vcpu = bare->group.vcpus[0];
    return 0;
}

int bare_setup(void **state)
{
    return setup(state, 1);
}

int bare_setup_two(void **state)
{
    return setup(state, 2);
}

int bare_teardown(void **state)
{
    struct bare *bare = *state;
    for (unsigned i = 0; i < bare->group.count; i++)
        vcpu_destroy(bare->group.vcpus[i]);
    pthread_mutex_destroy(&bare->group.split_lock);
    bus_destroy(&bare->bus);
    loop_destroy(bare->loop);
    memory_destroy(bare->memory);
    free(bare);
    return 0;
}

uint64_t bare_load(struct bare *bare, uint64_t gpa, unsigned size)
{
    uint64_t value = 0;
    assert_int_equal(memory_read(bare->memory, gpa, &value, size), 0);
    return value;
}

void bare_store(struct bare *bare, uint64_t gpa, uint64_t value, unsigned size)
{
    assert_int_equal(memory_write(bare->memory, gpa, &value, size), 0);
}

uint64_t bare_descriptor(uint32_t base, uint32_t limit, uint8_t access, uint8_t flags)
{
    uint64_t low = (uint64_t)(base & 0xffff) << 16 | (limit & 0xffff);
    uint64_t high = (base & 0xff000000) | (uint32_t)flags << 20 | (limit & 0xf0000) |
                    (uint32_t)access << 8 | (base >> 16 & 0xff);
    return high << 32 | low;
}

void bare_set_descriptor(struct bare *bare, uint16_t selector, uint64_t descriptor)
{
    bare_store(bare, GDT + (selector & 0xfff8u), descriptor, 8);
}

void bare_set_gate(struct bare *bare, unsigned vector, uint16_t selector, uint32_t offset,
                   uint8_t access, uint8_t extra)
{
    unsigned size = vcpu_long_mode(bare->vcpu) ? 16 : 8;
    uint64_t high = (offset & 0xffff0000) | (uint32_t)access << 8 | extra;
    uint64_t low = (uint64_t)selector << 16 | (offset & 0xffff);
    bare_store(bare, IDT + vector * size, high << 32 | low, 8);
    if (size == 16)
        bare_store(bare, IDT + vector * size + 8, 0, 8);
}

static void load_tables(struct bare *bare)
{
    bare_set_descriptor(bare, SELECTOR_CODE, bare_descriptor(0, 0xfffff, ACCESS_CODE, FLAT));
    bare_set_descriptor(bare, SELECTOR_DATA, bare_descriptor(0, 0xfffff, ACCESS_DATA, FLAT));
    bare_set_descriptor(bare, SELECTOR_TSS, bare_descriptor(TSS, 0x67, ACCESS_TSS, 0));
    bare_set_descriptor(bare, SELECTOR_OTHER, bare_descriptor(TSS_OTHER, 0x67, ACCESS_TSS, 0));
    bare_set_descriptor(bare, SELECTOR_LONG_CODE,
                        bare_descriptor(0, 0xfffff, ACCESS_CODE, FLAT_LONG));
    bare->vcpu->gdtr = (struct descriptor_table){GDT, GDT_LIMIT};
    bare->vcpu->idtr = (struct descriptor_table){IDT, 0xfff};
}

/* User segments: 64-bit code in long mode. */
static void set_user_segments(struct bare *bare)
{
    bool long_mode = vcpu_long_mode(bare->vcpu);
    bare_set_descriptor(
        bare, SELECTOR_USER_CODE,
        bare_descriptor(0, 0xfffff, ACCESS_USER_CODE, long_mode ? FLAT_LONG : FLAT));
    bare_set_descriptor(bare, SELECTOR_USER_DATA,
                        bare_descriptor(0, 0xfffff, ACCESS_USER_DATA, FLAT));
}

static void load_segments(struct bare *bare, uint16_t code)
{
    static const uint8_t data[] = {SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS};
    struct vcpu *vcpu = bare->vcpu;
    set_user_segments(bare);
    assert_true(far_jump(vcpu, code, CODE, 4, 0));
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++)
        assert_true(segment_load(vcpu, data[i], SELECTOR_DATA));
    assert_true(segment_load_tr(vcpu, SELECTOR_TSS));
    vcpu->registers[GPR_RSP] = STACK;
    for (unsigned vector = 0; vector < 256; vector++)
        if (vector < 64 || vcpu_long_mode(vcpu))
            bare_set_gate(bare, vector, code, HANDLER + vector * 16, ACCESS_INTERRUPT_GATE, 0);
}

void bare_enter_protected(struct bare *bare)
{
    load_tables(bare);
    bare_store(bare, TSS + 4, STACK_INNER, 4);
    bare_store(bare, TSS + 8, SELECTOR_DATA, 2);
    assert_true(control_write_cr0(bare->vcpu, CR0_PE | CR0_ET));
    load_segments(bare, SELECTOR_CODE);
}

void bare_take_host_model(struct bare *bare)
{
    struct error error;
    assert_int_equal(cpu_model_fit(cpu_model_find("host"), &bare->host_model, &error), 0);
    bare->vcpu->model = &bare->host_model;
}

void bare_enter_long(struct bare *bare)
{
    struct vcpu *vcpu = bare->vcpu;
    const uint64_t open = PTE_PRESENT | PTE_WRITE | PTE_USER;
    load_tables(bare);
    bare_store(bare, PAGE_TABLES, (PAGE_TABLES + 0x1000) | open, 8);
    bare_store(bare, PAGE_TABLES + 0x1000, open | PTE_LARGE, 8);
    bare_store(bare, TSS + 4, STACK_INNER, 8);
    bare_store(bare, TSS + 0x24, STACK_INTERRUPT, 8);
    assert_true(control_write_cr4(vcpu, CR4_PAE));
    assert_true(control_write_cr3(vcpu, PAGE_TABLES));
    assert_true(msr_write(vcpu, MSR_EFER, EFER_LME | EFER_SCE | EFER_NXE));
    assert_true(control_write_cr0(vcpu, CR0_PE | CR0_PG | CR0_ET | CR0_WP));
    assert_true(vcpu_long_mode(vcpu));
    load_segments(bare, SELECTOR_LONG_CODE);
    assert_true(vcpu_64bit(vcpu));
}

void bare_enter_user(struct bare *bare)
{
    struct vcpu *vcpu = bare->vcpu;
    unsigned size = vcpu_long_mode(vcpu) ? 8 : 4;
    const uint64_t frame[] = {CODE, SELECTOR_USER_CODE, RFLAGS_FIXED | RFLAGS_IF, STACK,
                              SELECTOR_USER_DATA};
    vcpu->registers[GPR_RSP] = STACK_INNER - ARRAY_SIZE(frame) * size;
    for (unsigned i = 0; i < ARRAY_SIZE(frame); i++)
        bare_store(bare, vcpu->registers[GPR_RSP] + i * size, frame[i], size);
    assert_true(interrupt_return(vcpu, size));
    assert_int_equal(vcpu->cpl, 3);
}

void assert_raised(struct vcpu *vcpu, unsigned vector, uint32_t error_code)
{
    assert_true(vcpu->exception.pending);
    assert_int_equal(vcpu->exception.vector, vector);
    assert_int_equal(vcpu->exception.error_code, error_code);
    vcpu->exception.pending = false;
}

void assert_stack(struct bare *bare, unsigned size, unsigned count, const uint64_t *words)
{
    struct vcpu *vcpu = bare->vcpu;
    uint64_t top = vcpu->segments[SEG_SS].base + vcpu->registers[GPR_RSP];
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(bare_load(bare, top + i * size, size), words[i]);
}
