/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/descriptor.h"

#include "cpu/exception.h"
#include "cpu/mmu.h"
#include "cpu/segmentation.h"

#define SELECTOR_LOCAL 4u

bool descriptor_probe(struct vcpu *vcpu, uint16_t selector, struct descriptor *descriptor,
                      bool *found)
{
    bool local = selector & SELECTOR_LOCAL;
    uint64_t base = local ? vcpu->ldtr.base : vcpu->gdtr.base;
    uint32_t limit = local ? vcpu->ldtr.limit : vcpu->gdtr.limit;
    uint32_t offset = selector & 0xfff8;
    *found = false;
    if (offset + 7 > limit || (local && !(vcpu->ldtr.attributes & SEGMENT_PRESENT)))
        return true;
    uint64_t raw;
    descriptor->address = base + offset;
    if (mmu_read(vcpu, descriptor->address, &raw, 8, MMU_SUPERVISOR) == MMU_FAULT)
        return false;
    descriptor->low = (uint32_t)raw;
    descriptor->high = (uint32_t)(raw >> 32);
    descriptor->upper_base = 0;
    if (vcpu_long_mode(vcpu) && descriptor_is_system(descriptor)) {
        if (offset + 15 > limit)
            return true;
        if (mmu_read(vcpu, base + offset + 8, &raw, 8, MMU_SUPERVISOR) == MMU_FAULT)
            return false;
        descriptor->upper_base = (uint32_t)raw;
    }
    *found = true;
    return true;
}

bool descriptor_read(struct vcpu *vcpu, uint16_t selector, unsigned vector,
                     struct descriptor *descriptor)
{
    bool found;
    if (!descriptor_probe(vcpu, selector, descriptor, &found))
        return false;
    return found ? true : raise_error(vcpu, vector, selector_error(selector));
}

struct segment descriptor_segment(const struct descriptor *descriptor, uint16_t selector)
{
    uint32_t limit = (descriptor->low & 0xffff) | (descriptor->high & 0xf0000);
    uint16_t attributes = (descriptor->high >> 8 & 0xff) | (descriptor->high >> 12 & 0xf00);
    if (attributes & SEGMENT_GRANULARITY)
        limit = limit << 12 | 0xfff;
    uint64_t base =
        descriptor->low >> 16 | (descriptor->high & 0xff) << 16 | (descriptor->high & 0xff000000);
    base |= (uint64_t)descriptor->upper_base << 32;
    return (struct segment){
        .base = base, .limit = limit, .selector = selector, .attributes = attributes};
}

bool descriptor_set_type(struct vcpu *vcpu, struct descriptor *descriptor, unsigned bits)
{
    uint32_t high = descriptor->high | bits << 8;
    if (high == descriptor->high)
        return true;
    descriptor->high = high;
    uint8_t type = high >> 8 & 0xff;
    return mmu_write(vcpu, descriptor->address + 5, &type, 1, MMU_SUPERVISOR) != MMU_FAULT;
}

void segment_set(struct vcpu *vcpu, unsigned segment, const struct segment *value)
{
    vcpu->segments[segment] = *value;
    vcpu_update_mode(vcpu);
}

void privilege_set(struct vcpu *vcpu, unsigned cpl)
{
    vcpu->cpl = (uint8_t)cpl;
    vcpu_update_mode(vcpu);
}

bool code_segment_enter(struct vcpu *vcpu, struct descriptor *descriptor, uint16_t selector,
                        unsigned cpl, uint64_t offset)
{
    if (!descriptor_present(descriptor))
        return raise_error(vcpu, VECTOR_NP, selector_error(selector));
    struct segment segment =
        descriptor_segment(descriptor, (uint16_t)(selector_error(selector) | cpl));
    bool long_code = vcpu_long_mode(vcpu) && segment.attributes & SEGMENT_LONG;
    if (long_code && segment.attributes & SEGMENT_BIG)
        return raise_error(vcpu, VECTOR_GP, selector_error(selector));
    bool reachable = long_code ? address_is_canonical(offset) : offset <= segment.limit;
    if (!reachable)
        return raise_error(vcpu, VECTOR_GP, 0);
    if (!descriptor_set_type(vcpu, descriptor, SEGMENT_ACCESSED))
        return false;
    segment.attributes |= SEGMENT_ACCESSED;
    vcpu->segments[SEG_CS] = segment;
    vcpu->rip = offset;
    privilege_set(vcpu, cpl);
    return true;
}

static bool tss_read(struct vcpu *vcpu, uint32_t offset, void *bytes, unsigned size)
{
    if (offset + size - 1 > vcpu->tr.limit)
        return raise_error(vcpu, VECTOR_TS, selector_error(vcpu->tr.selector));
    return mmu_read(vcpu, vcpu->tr.base + offset, bytes, size, MMU_SUPERVISOR) != MMU_FAULT;
}

bool tss_stack(struct vcpu *vcpu, unsigned level, uint64_t *pointer, uint16_t *selector)
{
    if (vcpu_long_mode(vcpu)) {
        *selector = 0;
        return tss_read(vcpu, 4 + level * 8, pointer, 8);
    }
    *pointer = 0;
    if (vcpu->tr.attributes & BIT(3)) /* 32-bit TSS */
        return tss_read(vcpu, 4 + level * 8, pointer, 4) &&
               tss_read(vcpu, 8 + level * 8, selector, 2);
    return tss_read(vcpu, 2 + level * 4, pointer, 2) && tss_read(vcpu, 4 + level * 4, selector, 2);
}

bool tss_interrupt_stack(struct vcpu *vcpu, unsigned number, uint64_t *pointer)
{
    return tss_read(vcpu, 0x24 + (number - 1) * 8, pointer, 8);
}

/* It stands at 0x66 of a 32- or 64-bit TSS; a 16-bit one has none. */
bool tss_io_map(struct vcpu *vcpu, uint16_t *offset)
{
    if (!(vcpu->tr.attributes & BIT(3)) || vcpu->tr.limit < 0x67)
        return raise_error(vcpu, VECTOR_GP, 0);
    return mmu_read(vcpu, vcpu->tr.base + 0x66, offset, 2, MMU_SUPERVISOR) != MMU_FAULT;
}

bool stack_segment_check(struct vcpu *vcpu, uint16_t selector, unsigned cpl, unsigned vector,
                         struct descriptor *descriptor)
{
    if (selector_is_null(selector))
        return raise_error(vcpu, vector, 0);
    if (!descriptor_read(vcpu, selector, vector, descriptor))
        return false;
    if (selector_rpl(selector) != cpl || descriptor_dpl(descriptor) != cpl ||
        !descriptor_is_writable(descriptor))
        return raise_error(vcpu, vector, selector_error(selector));
    if (!descriptor_present(descriptor))
        return raise_error(vcpu, VECTOR_SS, selector_error(selector));
    return true;
}

struct stack stack_current(const struct vcpu *vcpu)
{
    return (struct stack){
        .segment = vcpu->segments[SEG_SS],
        .flat64 = vcpu_64bit(vcpu),
        .pointer = vcpu->registers[GPR_RSP],
        .mode = vcpu->cpl == 3 ? vcpu->mmu_mode : MMU_SUPERVISOR,
    };
}

static uint64_t stack_mask(const struct stack *stack)
{
    if (stack->flat64)
        return ~UINT64_C(0);
    return stack->segment.attributes & SEGMENT_BIG ? 0xffffffff : 0xffff;
}

void stack_move(struct stack *stack, int64_t bytes)
{
    uint64_t mask = stack_mask(stack);
    stack->pointer = (stack->pointer & ~mask) | ((stack->pointer + (uint64_t)bytes) & mask);
}

/* Linear address of `bytes` bytes from the (moved) pointer on; #SS when they leave the segment. */
static bool stack_linear(struct vcpu *vcpu, const struct stack *stack, unsigned bytes,
                         uint64_t *linear)
{
    uint64_t offset = stack->pointer & stack_mask(stack);
    if (stack->flat64) {
        *linear = offset;
        return true;
    }
    bool expand_down = stack->segment.attributes & SEGMENT_EXPAND_DOWN;
    uint64_t last = offset + bytes - 1;
    uint64_t top = stack->segment.attributes & SEGMENT_BIG ? 0xffffffff : 0xffff;
    bool inside =
        expand_down ? offset > stack->segment.limit && last <= top : last <= stack->segment.limit;
    if (!inside)
        return raise_error(vcpu, VECTOR_SS, stack->error_code);
    *linear = stack->segment.base + offset;
    return true;
}

/* A non-canonical stack is #SS, where other accesses give #GP. APM vol. 2 §8.2.13 */
static bool stack_fault(struct vcpu *vcpu)
{
    exception_in_stack(vcpu);
    return false;
}

bool stack_push(struct vcpu *vcpu, struct stack *stack, const uint64_t *words, unsigned count,
                unsigned size)
{
    uint8_t bytes[128];
    struct stack moved = *stack;
    uint64_t linear;
    stack_move(&moved, -(int64_t)(count * size));
    if (!stack_linear(vcpu, &moved, count * size, &linear))
        return false;
    for (unsigned i = 0; i < count; i++)
        store_le(bytes + (count - 1 - i) * size, words[i], size);
    if (mmu_write(vcpu, linear, bytes, count * size, stack->mode) == MMU_FAULT)
        return stack_fault(vcpu);
    *stack = moved;
    return true;
}

bool stack_peek(struct vcpu *vcpu, const struct stack *stack, uint64_t *words, unsigned count,
                unsigned size)
{
    uint8_t bytes[128];
    uint64_t linear;
    if (!count)
        return true;
    if (!stack_linear(vcpu, stack, count * size, &linear))
        return false;
    if (mmu_read(vcpu, linear, bytes, count * size, stack->mode) == MMU_FAULT)
        return stack_fault(vcpu);
    for (unsigned i = 0; i < count; i++)
        words[i] = load_le(bytes + i * size, size);
    return true;
}
