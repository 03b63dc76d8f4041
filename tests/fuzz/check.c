/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator's code checker: the input makes a translation out of raw bytes and of the
 * translator's own sequences, and then overwrites bytes of it. What the checker accepts must be
 * harmless to the eyes of tests/translate/oracle.c.
 */
#include "fuzz/fuzz.h"

#include "cpu/translate/check.h"
#include "cpu/translate/emit.h"
#include "cpu/translate/scan.h"
#include "translate/oracle.h"

enum { START = 0x10000, STUBS = 0x100, SITES = 16, CODE_MAX = 2048, OVERWRITES = 32 };

struct draft {
    uint8_t code[CODE_MAX];
    struct emitter emitter;
    struct translation translation;
    struct site sites[SITES];
    uint32_t misses[SITES]; /* by site: place of the jump; 0: none */
    int32_t tags[SITES];
};

static struct translator *translator_make(void)
{
    struct error error = {0};
    struct translator *translator = calloc(1, sizeof(*translator));
    fuzz_require(translator && (translator->checker = checker_create()), &error);
    translator->event_native = STUBS;
    translator->event_parked = STUBS + 0x20;
    return translator;
}

static unsigned add_site(struct draft *draft, unsigned kind)
{
    unsigned index = draft->translation.site_count;
    if (index == SITES)
        return SITES - 1;
    draft->sites[index] = (struct site){
        .kind = (uint8_t)kind, .mode = draft->translation.mode, .translation = &draft->translation};
    draft->translation.site_count++;
    return index;
}

static void add_event(struct draft *draft, unsigned site, bool parked)
{
    static const uint8_t mov_s1_imm64[] = {0x49, 0xbf};
    emit_bytes(&draft->emitter, mov_s1_imm64, sizeof(mov_s1_imm64));
    emit_u64(&draft->emitter, (uintptr_t)&draft->sites[site]);
    emit_byte(&draft->emitter, 0xe9);
    uint32_t stub = parked ? STUBS + 0x20 : STUBS;
    emit_u32(&draft->emitter, stub - (START + draft->emitter.length + 4));
}

static void add_access(struct draft *draft, struct fuzz_input *input)
{
    struct emitter *emitter = &draft->emitter;
    unsigned mode = fuzz_take_integer(input, 1) % MMU_CACHED_MODES;
    unsigned access = fuzz_take_integer(input, 1) % MMU_ACCESS_COUNT;
    unsigned size = (unsigned)fuzz_take_integer(input, 1);
    int32_t table =
        VCPU(tlb_entries[0]) + (int32_t)(mode * TLB_SIZE_MAX * sizeof(struct tlb_entry));
    int32_t tlb = VCPU(tlbs) + (int32_t)(mode * sizeof(struct tlb));
    unsigned site = add_site(draft, access == MMU_WRITE ? SITE_WRITE : SITE_READ);
    draft->tags[site] = table + (int32_t)(access * sizeof(uint64_t));
    emit_rorx(emitter, S1, S0, 7);
    emit_vcpu(emitter, OPCODE_AND, false, S1, tlb + (int32_t)offsetof(struct tlb, byte_mask));
    emit_vcpu_indexed(emitter, OPCODE_XOR, S0, S1, draft->tags[site]);
    emit_vcpu(emitter, OPCODE_XOR, true, S0, tlb + (int32_t)offsetof(struct tlb, generation));
    emit_compare_constant(emitter, S0, (int32_t)(PAGE_SIZE - size));
    draft->misses[site] = emit_jump_if(emitter, CONDITION_A);
    emit_vcpu_indexed(emitter, OPCODE_ADD, S0, S1,
                      table + (int32_t)offsetof(struct tlb_entry, page));
    draft->sites[site].size = (uint8_t)size;
    draft->sites[site].resume = START + emitter->length;
}

static void add_raw(struct draft *draft, struct fuzz_input *input)
{
    uint8_t bytes[16];
    unsigned count = fuzz_take_integer(input, 1) & 15;
    fuzz_take(input, bytes, count);
    emit_bytes(&draft->emitter, bytes, count);
}

static void add_operation(struct draft *draft)
{
    unsigned site = add_site(draft, SITE_OPERATION);
    add_event(draft, site, true);
    draft->sites[site].resume = START + draft->emitter.length;
}

/* A jump that may be changed, to an event of its own. */
static void add_branch(struct draft *draft)
{
    unsigned site = add_site(draft, SITE_JUMP);
    uint32_t place = emit_jump_if_aligned(&draft->emitter, CONDITION_E);
    uint32_t over = emit_jump(&draft->emitter);
    emit_land(&draft->emitter, place);
    draft->sites[site].patch = START + place;
    draft->sites[site].stub = START + draft->emitter.length;
    add_event(draft, site, false);
    emit_land(&draft->emitter, over);
}

static void add_part(struct draft *draft, struct fuzz_input *input)
{
    switch (fuzz_take_integer(input, 1) % 10) {
    case 0:
        add_access(draft, input);
        break;
    case 1:
        add_operation(draft);
        break;
    case 2:
        add_branch(draft);
        break;
    case 3:
        emit_park_flags(&draft->emitter);
        break;
    case 4:
        emit_unpark_flags(&draft->emitter);
        break;
    case 5:
        emit_constant(&draft->emitter, S0, fuzz_take_integer(input, 2));
        break;
    case 6:
        emit_vcpu(&draft->emitter, OPCODE_LOAD, true, S0 + (fuzz_take_integer(input, 1) & 1),
                  (int32_t)fuzz_take_integer(input, 2));
        break;
    case 7:
        emit_vcpu(&draft->emitter, OPCODE_STORE, true, S0 + (fuzz_take_integer(input, 1) & 1),
                  (int32_t)fuzz_take_integer(input, 2));
        break;
    default:
        add_raw(draft, input);
    }
}

/* What every translation starts with: cmp dword gs:[requests], 0; jne event; jmp over; event: ...
 */
static void add_entry(struct draft *draft)
{
    unsigned site = add_site(draft, SITE_REQUESTS);
    emit_test_dword(&draft->emitter, VCPU(requests));
    uint32_t asked = emit_jump_if(&draft->emitter, CONDITION_NE);
    uint32_t over = emit_jump(&draft->emitter);
    emit_land(&draft->emitter, asked);
    draft->sites[site].stub = START + draft->emitter.length;
    add_event(draft, site, true);
    emit_land(&draft->emitter, over);
}

static void add_end(struct draft *draft)
{
    add_event(draft, add_site(draft, SITE_INTERPRET), true);
    for (unsigned i = 0; i < draft->translation.site_count; i++) {
        if (!draft->misses[i])
            continue;
        emit_land(&draft->emitter, draft->misses[i]);
        emit_vcpu_indexed(&draft->emitter, OPCODE_XOR, S0, S1, draft->tags[i]);
        emit_vcpu(&draft->emitter, OPCODE_XOR, true, S0, VCPU(tlbs[0].generation));
        add_event(draft, i, true);
    }
}

static void overwrite(struct draft *draft, struct fuzz_input *input)
{
    for (unsigned i = 0; i < OVERWRITES && input->length && draft->emitter.length; i++) {
        uint64_t place = fuzz_take_integer(input, 2) % draft->emitter.length;
        draft->code[place] = (uint8_t)fuzz_take_integer(input, 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static struct translator *translator;
    if (!translator)
        translator = translator_make();
    struct fuzz_input input = {bytes, length};
    struct draft draft = {0};
    draft.emitter = (struct emitter){.bytes = draft.code, .capacity = CODE_MAX};
    unsigned options = (unsigned)fuzz_take_integer(&input, 1);
    draft.translation = (struct translation){
        .start = START,
        .native = START,
        .parked = START,
        .body = START,
        .mode = options & 1   ? CODE_MODE_USER
                : options & 2 ? CODE_MODE_AC
                              : 0,
        .sites = draft.sites,
    };
    add_entry(&draft);
    for (unsigned parts = fuzz_take_integer(&input, 1) % 32; parts && input.length; parts--)
        add_part(&draft, &input);
    add_end(&draft);
    if (draft.emitter.overflow)
        return 0;
    overwrite(&draft, &input);
    draft.translation.end = START + draft.emitter.length;
    struct check_refusal refusal;
    uint32_t offset;
    if (!check_translation(translator->checker, translator, &draft.translation, draft.code,
                           &refusal))
        return 0;
    const char *complaint = oracle_complaint(translator, &draft.translation, draft.code, &offset);
    if (complaint) {
        fprintf(stderr, "accepted, but: %s at byte %u\n", complaint, offset);
        abort();
    }
    return 0;
}
