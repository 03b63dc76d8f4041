/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How emitted code reaches guest memory: the inline look-up in the software TLB (cpu/tlb.h).
 * Another strategy (the host's own MMU) would replace this file alone.
 */
#include "cpu/translate/build.h"

#define SLOT_SHIFT 5 /* sizeof(struct tlb_entry) is 32 */
_Static_assert(sizeof(struct tlb_entry) == 1 << SLOT_SHIFT, "the index is made by one rotate");

/* Where the tags of one kind of access are, from the entry's index in bytes. */
static int32_t tag_displacement(const struct builder *builder, enum mmu_access access)
{
    size_t table = builder->mmu_mode * sizeof(builder->vcpu->tlb_entries[0]);
    return VCPU(tlb_entries) +
           (int32_t)(table + offsetof(struct tlb_entry, tag) + access * sizeof(uint64_t));
}

uint32_t build_access_check(struct builder *builder, enum mmu_access access, unsigned size)
{
    struct emitter *emitter = &builder->emitter;
    unsigned mode = builder->mmu_mode;
    int32_t table = VCPU(tlb_entries) + (int32_t)(mode * sizeof(builder->vcpu->tlb_entries[0]));
    int32_t tlb = VCPU(tlbs) + (int32_t)(mode * sizeof(struct tlb));
    emit_rorx(emitter, S1, S0, PAGE_SHIFT - SLOT_SHIFT);
    emit_vcpu(emitter, OPCODE_AND, false, S1, tlb + (int32_t)offsetof(struct tlb, byte_mask));
    emit_vcpu_indexed(emitter, OPCODE_XOR, S0, S1, tag_displacement(builder, access));
    emit_vcpu(emitter, OPCODE_XOR, true, S0, tlb + (int32_t)offsetof(struct tlb, generation));
    emit_compare_constant(emitter, S0, (int32_t)(PAGE_SIZE - size));
    uint32_t miss = emit_jump_if(emitter, CONDITION_A);
    emit_vcpu_indexed(emitter, OPCODE_ADD, S0, S1,
                      table + (int32_t)offsetof(struct tlb_entry, page));
    return miss;
}

void build_access_undo(struct builder *builder, enum mmu_access access)
{
    int32_t tlb = VCPU(tlbs) + (int32_t)(builder->mmu_mode * sizeof(struct tlb));
    emit_vcpu_indexed(&builder->emitter, OPCODE_XOR, S0, S1, tag_displacement(builder, access));
    emit_vcpu(&builder->emitter, OPCODE_XOR, true, S0,
              tlb + (int32_t)offsetof(struct tlb, generation));
}

static struct site *build_missable(struct builder *builder, enum mmu_access access, unsigned size)
{
    uint32_t miss = build_access_check(builder, access, size);
    struct site *site = build_site(builder, access == MMU_WRITE ? SITE_WRITE : SITE_READ);
    site->size = (uint16_t)size;
    site->masked = builder->instruction->masked;
    site->resume = builder->start + builder->emitter.length;
    build_detour(builder, miss, site, true);
    return site;
}

void build_access(struct builder *builder, enum mmu_access access, unsigned size)
{
    build_missable(builder, access, size);
}

/* The window's host address comes to be in S0, as the gva of its first byte is now. */
static void open_window(struct builder *builder, const struct window_reach *reach)
{
    const struct window *window = &builder->plan.windows[reach->window];
    build_missable(builder, window->writes ? MMU_WRITE : MMU_READ, window->size)->run = true;
    if (window->kept)
        emit_vcpu(&builder->emitter, OPCODE_STORE, true, S0,
                  VCPU(translate.windows) + 8 * reach->window);
}

/* Where the operand is in its window, whose host address S0 holds behind this. */
static int32_t reach_window(struct builder *builder, const struct window_reach *reach)
{
    if (reach->reload)
        emit_vcpu(&builder->emitter, OPCODE_LOAD, true, S0,
                  VCPU(translate.windows) + 8 * reach->window);
    return (int32_t)(reach->place - builder->plan.windows[reach->window].low);
}

static const struct window_reach *present_reach(const struct builder *builder,
                                                enum window_access kind)
{
    return &builder->plan.reaches[builder->instruction - builder->scan->instructions][kind];
}

/* How far the window's first byte lies before the operand, which is to be looked up. */
static int64_t window_lead(const struct builder *builder, const struct window_reach *reach)
{
    return reach->window < 0 ? 0 : builder->plan.windows[reach->window].low - reach->place;
}

int32_t build_operand_access(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    const struct window_reach *reach = present_reach(builder, WINDOW_OPERAND);
    ZydisDecodedOperand operand = instruction->operands[instruction->memory];
    bool write = operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (reach->window >= 0 && !reach->first)
        return reach_window(builder, reach);
    build_free_flags(builder, flags_wanted(instruction));
    operand.mem.disp.value = operand_displacement(&operand) + window_lead(builder, reach);
    operand.mem.disp.has_displacement = true;
    build_address(builder, &operand);
    if (reach->window < 0) {
        build_access(builder, write ? MMU_WRITE : MMU_READ, operand.size / 8u);
        return 0;
    }
    open_window(builder, reach);
    return reach_window(builder, reach);
}

int32_t build_stack_access(struct builder *builder, enum mmu_access access, unsigned base,
                           int32_t offset)
{
    const struct window_reach *reach = present_reach(builder, WINDOW_STACK);
    if (reach->window >= 0 && !reach->first)
        return reach_window(builder, reach);
    build_free_flags(builder, builder->instruction->flags_live);
    offset += (int32_t)window_lead(builder, reach);
    if (offset)
        build_add_pointer(builder, S0, base, offset);
    else
        build_load_pointer(builder, S0, base);
    if (reach->window < 0) {
        build_access(builder, access, (unsigned)build_slot_size(builder));
        return 0;
    }
    open_window(builder, reach);
    return reach_window(builder, reach);
}
