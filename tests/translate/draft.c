/* SPDX-License-Identifier: Apache-2.0 */
#include "draft.h"

unsigned draft_site(struct draft *draft, enum site_kind kind)
{
    unsigned index = draft->translation.site_count++;
    assert_true(index < ARRAY_SIZE(draft->sites));
    draft->sites[index] = (struct site){
        .kind = (uint8_t)kind,
        .index = (uint16_t)index,
        .mode = draft->translation.mode,
        .translation = &draft->translation,
    };
    return index;
}

void draft_put(struct draft *draft, const uint8_t *bytes, unsigned length)
{
    emit_bytes(&draft->emitter, bytes, length);
}

void draft_jump_to(struct draft *draft, uint32_t target)
{
    uint32_t place = emit_jump(&draft->emitter);
    store_le(draft->code + place, target - (START + place + 4), 4);
}

void draft_event(struct draft *draft, unsigned site)
{
    PUT(draft, 0x49, 0xbf); /* mov r15, imm64 */
    emit_u64(&draft->emitter, (uintptr_t)&draft->sites[site]);
    draft_jump_to(draft, draft->corpus->translator->event_parked);
}

/* cmp dword gs:[requests], 0; jne event; jmp main; event: ...; main: */
static void draft_entry(struct draft *draft)
{
    unsigned site = draft_site(draft, SITE_REQUESTS);
    emit_test_dword(&draft->emitter, VCPU(requests));
    uint32_t asked = emit_jump_if(&draft->emitter, CONDITION_NE);
    uint32_t on = emit_jump(&draft->emitter);
    emit_land(&draft->emitter, asked);
    draft->sites[site].stub = START + draft->emitter.length;
    draft_event(draft, site);
    emit_land(&draft->emitter, on);
    assert_int_equal(draft->emitter.length, MAIN);
}

void draft_begin(struct draft *draft, void **state)
{
    *draft = (struct draft){.corpus = *state};
    draft->emitter = (struct emitter){.bytes = draft->code, .capacity = sizeof(draft->code)};
    draft->translation = (struct translation){
        .start = START,
        .native = START,
        .parked = START,
        .body = START,
        .mode = CODE_MODE_LONG | CODE_MODE_FLAT | CODE_MODE_PROTECTED | CODE_MODE_USER,
        .sites = draft->sites,
    };
    draft_entry(draft);
}

void draft_address(struct draft *draft)
{
    emit_constant(&draft->emitter, S0, 0x1000);
}

unsigned draft_access(struct draft *draft, enum mmu_mode mode, enum mmu_access access,
                      unsigned size)
{
    struct emitter *emitter = &draft->emitter;
    int32_t table =
        VCPU(tlb_entries[0]) + (int32_t)(mode * TLB_SIZE_MAX * sizeof(struct tlb_entry));
    int32_t tlb = VCPU(tlbs) + (int32_t)(mode * sizeof(struct tlb));
    int32_t tag = table + (int32_t)(access * sizeof(uint64_t));
    unsigned site = draft_site(draft, access == MMU_WRITE ? SITE_WRITE : SITE_READ);
    emit_rorx(emitter, S1, S0, 7);
    emit_vcpu(emitter, OPCODE_AND, false, S1, tlb + (int32_t)offsetof(struct tlb, byte_mask));
    emit_vcpu_indexed(emitter, OPCODE_XOR, S0, S1, tag);
    emit_vcpu(emitter, OPCODE_XOR, true, S0, tlb + (int32_t)offsetof(struct tlb, generation));
    emit_compare_constant(emitter, S0, (int32_t)(PAGE_SIZE - size));
    draft->misses[site] = emit_jump_if(emitter, CONDITION_A);
    emit_vcpu_indexed(emitter, OPCODE_ADD, S0, S1,
                      table + (int32_t)offsetof(struct tlb_entry, page));
    draft->sites[site].size = (uint16_t)size;
    draft->sites[site].resume = START + emitter->length;
    draft->access[site] = access;
    return site;
}

unsigned draft_user_access(struct draft *draft, enum mmu_access access, unsigned size)
{
    draft_address(draft);
    return draft_access(draft, MMU_USER, access, size);
}

/* The end: what misses have to do. */
static void draft_misses(struct draft *draft)
{
    for (unsigned i = 0; i < draft->translation.site_count; i++) {
        if (!draft->misses[i])
            continue;
        emit_land(&draft->emitter, draft->misses[i]);
        emit_vcpu_indexed(&draft->emitter, OPCODE_XOR, S0, S1,
                          VCPU(tlb_entries[0]) + (int32_t)(draft->access[i] * sizeof(uint64_t)));
        emit_vcpu(&draft->emitter, OPCODE_XOR, true, S0, VCPU(tlbs[0].generation));
        draft_event(draft, i);
    }
}

enum check_rule draft_verdict(struct draft *draft)
{
    struct check_refusal refusal = {0};
    draft->translation.end = START + draft->emitter.length;
    assert_false(draft->emitter.overflow);
    return check_translation(draft->corpus->translator->checker, draft->corpus->translator,
                             &draft->translation, draft->code, &refusal)
               ? CHECK_ACCEPTED
               : refusal.rule;
}

enum check_rule draft_finish(struct draft *draft)
{
    draft_event(draft, draft_site(draft, SITE_INTERPRET));
    draft_misses(draft);
    return draft_verdict(draft);
}

enum check_rule draft_accessed(void **state, enum mmu_access access, unsigned size,
                               const struct instruction_case *instruction)
{
    struct draft draft;
    draft_begin(&draft, state);
    draft_user_access(&draft, access, size);
    draft_put(&draft, instruction->bytes, instruction->length);
    return draft_finish(&draft);
}
