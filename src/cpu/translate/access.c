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

void build_run_access(struct builder *builder, enum mmu_access access, unsigned size)
{
    build_missable(builder, access, size)->run = true;
}
