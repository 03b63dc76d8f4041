/* SPDX-License-Identifier: Apache-2.0 */
#include "cpu/translate/build.h"

#include "cpu/interpret/single.h"
#include "cpu/translate/check.h"
#include "cpu/translate/perf_map.h"
#include "cpu/translate/rewrite.h"

#define EVENT_LENGTH 15 /* mov r15, imm64; jmp rel32 */

struct site *build_site(struct builder *builder, enum site_kind kind)
{
    if (builder->site_count == BUILD_SITES_MAX) {
        builder->emitter.overflow = true;
        builder->site_count--;
    }
    struct site *site = &builder->sites[builder->site_count];
    *site = (struct site){.kind = (uint8_t)kind,
                          .index = (uint16_t)builder->site_count,
                          .mode = builder->mode & ~MODE_SINGLE,
                          .offset = builder->instruction ? builder->instruction->offset
                                                         : builder->scan->instructions[0].offset};
    if (builder->instruction)
        site->executed = (uint8_t)(builder->instruction - builder->scan->instructions);
    builder->site_count++;
    return site;
}

/* A jump to one of the stubs in front of the cache. */
static void jump_to_stub(struct builder *builder, uint32_t stub)
{
    uint32_t place = emit_jump(&builder->emitter);
    if (!builder->emitter.overflow)
        store_le(builder->emitter.bytes + place, stub - (builder->start + place + 4), 4);
}

void build_event(struct builder *builder, const struct site *site, bool parked)
{
    static const uint8_t mov_s1_imm64[] = {0x49, 0xbf};
    const struct translator *translator = builder->translator;
    emit_bytes(&builder->emitter, mov_s1_imm64, sizeof(mov_s1_imm64));
    builder->site_pointers[site->index] = builder->emitter.length;
    emit_u64(&builder->emitter, 0); /* known when the sites have their place */
    jump_to_stub(builder, parked ? translator->event_parked : translator->event_native);
}

/* The event of a window's look-up: its jump is changed when there is a translation that does
 * without the window. */
static void build_window_event(struct builder *builder, struct site *site)
{
    emit_padding(&builder->emitter, EVENT_LENGTH - 4);
    build_event(builder, site, true);
    site->patch = builder->start + builder->emitter.length - 4;
    site->stub = builder->translator->event_parked;
}

void build_detour(struct builder *builder, uint32_t jump, const struct site *site, bool parked)
{
    if (builder->detour_count == BUILD_SITES_MAX) {
        builder->emitter.overflow = true;
        builder->detour_count--;
    }
    builder->detours[builder->detour_count++] =
        (struct detour){.jump = jump, .site = site->index, .parked = parked};
}

void build_free_flags(struct builder *builder, uint32_t wanted)
{
    if (builder->parked || !wanted)
        return;
    emit_park_flags(&builder->emitter);
    builder->parked = true;
}

void build_claim_flags(struct builder *builder)
{
    if (!builder->parked)
        return;
    emit_unpark_flags(&builder->emitter);
    builder->parked = false;
}

/* --- one instruction --- */

/* Lets the next event end at the interpreter; nothing follows it. */
static void build_interpret(struct builder *builder)
{
    build_event(builder, build_site(builder, SITE_INTERPRET), builder->parked);
}

struct site *build_operation_site(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    struct op *ops = translator_take(builder->translator, 2 * sizeof(struct op));
    const uint8_t *bytes = builder->scan->bytes + instruction->offset; /* as the guest wrote it */
    if (!ops || !interpret_prepare(builder->vcpu, builder->mode, bytes, instruction->length, ops))
        return build_site(builder, SITE_INTERPRET);
    struct site *site = build_site(builder, SITE_OPERATION);
    site->target = instruction_end(instruction);
    site->ops = ops;
    site->vectors = instruction->vector_state;
    site->last = instruction + 1 == builder->scan->instructions + builder->scan->count;
    return site;
}

void build_operation(struct builder *builder)
{
    struct site *site = build_operation_site(builder);
    build_event(builder, site, builder->parked);
    site->resume = builder->start + builder->emitter.length;
    builder->parked = true;
}

/* What must be in the host's flags register when the instruction itself runs: what it reads, and
 * what it leaves as it was for somebody later. */
static void claim_flags_for(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    uint32_t kept = instruction->flags_live & ~instruction->flags_written;
    if (!(instruction->flags_read | instruction->flags_written))
        return; /* it does not touch them, wherever they are */
    if (instruction->flags_read || kept)
        build_claim_flags(builder);
    builder->parked = false;
}

static void build_plain(struct builder *builder)
{
    int32_t displacement = builder->instruction->memory >= 0 ? build_operand_access(builder) : 0;
    claim_flags_for(builder);
    rewrite_emit(&builder->emitter, builder->instruction, displacement);
}

static void build_lea(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    struct emitter *emitter = &builder->emitter;
    unsigned size = instruction->operands[0].size;
    ZydisDecodedOperand operand = instruction->operands[1];
    unsigned to = guest_register(instruction->operands[0].reg.value);
    operand.mem.segment = ZYDIS_REGISTER_DS; /* LEA adds no base */
    if (rewrite_lea_is_verbatim(instruction)) {
        emit_bytes(emitter, instruction->bytes, instruction->decoded.length);
        return;
    }
    build_address(builder, &operand);
    if (is_stolen(to)) {
        if (size == 32)
            emit_memory(emitter, OPCODE_LEA, false, S0,
                        &(struct emit_address){S0, NO_REGISTER, 0, 0});
        emit_vcpu(emitter, OPCODE_STORE, true, S0, VCPU_REGISTER(to));
    } else {
        emit_memory(emitter, OPCODE_LEA, size == 64, to,
                    &(struct emit_address){S0, NO_REGISTER, 0, 0});
    }
}

/* BT and its kin reach past their operand: the bit number's upper part moves the address. */
static void build_bit(struct builder *builder)
{
    const struct instruction *instruction = builder->instruction;
    struct emitter *emitter = &builder->emitter;
    unsigned bits = instruction->operands[1].size,
             number = guest_register(instruction->operands[1].reg.value);
    bool stolen_address = is_stolen(guest_register(instruction->operands[0].mem.base)) ||
                          is_stolen(guest_register(instruction->operands[0].mem.index));
    if (bits < 32 || stolen_address || instruction->operands[0].mem.segment == ZYDIS_REGISTER_FS ||
        instruction->operands[0].mem.segment == ZYDIS_REGISTER_GS) {
        build_operation(builder);
        return;
    }
    build_free_flags(builder, flags_wanted(instruction));
    build_address(builder, &instruction->operands[0]);
    if (is_stolen(number))
        emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU_REGISTER(number));
    else
        emit_move(emitter, S1, number);
    if (bits == 32) {
        static const uint8_t movsxd_s1[] = {0x4d, 0x63, 0xff};
        emit_bytes(emitter, movsxd_s1, sizeof(movsxd_s1));
    }
    const uint8_t sar_s1[] = {0x49, 0xc1, 0xff, bits == 64 ? 6 : 5};
    emit_bytes(emitter, sar_s1, sizeof(sar_s1));
    const struct emit_address element = {S0, S1, bits == 64 ? 3 : 2, 0};
    emit_memory(emitter, OPCODE_LEA, builder->wide, S0, &element);
    bool write = instruction->operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    build_access(builder, write ? MMU_WRITE : MMU_READ, bits / 8);
    if (is_stolen(number))
        emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU_REGISTER(number));
    else
        emit_move(emitter, S1, number);
    emit_and_constant(emitter, S1, bits - 1);
    if (builder->parked) {
        emit_vcpu(emitter, OPCODE_STORE, true, S1, VCPU(translate.spill));
        claim_flags_for(builder);
        emit_vcpu(emitter, OPCODE_LOAD, true, S1, VCPU(translate.spill));
    }
    if (instruction->decoded.attributes & ZYDIS_ATTRIB_HAS_LOCK)
        emit_byte(emitter, 0xf0);
    const uint8_t opcode = instruction->bytes[instruction->decoded.raw.modrm.offset - 1];
    const uint8_t bytes[] = {bits == 64 ? 0x4d : 0x45, 0x0f, opcode, 0x3e}; /* [r14], r15 */
    emit_bytes(emitter, bytes, sizeof(bytes));
}

static void build_instruction(struct builder *builder)
{
    switch ((enum method)builder->instruction->method) {
    case METHOD_NOTHING:
        break;
    case METHOD_PLAIN:
        build_plain(builder);
        break;
    case METHOD_LEA:
        build_lea(builder);
        break;
    case METHOD_BIT:
        build_bit(builder);
        break;
    case METHOD_PUSH:
        build_push(builder);
        break;
    case METHOD_POP:
        build_pop(builder);
        break;
    case METHOD_LEAVE:
        build_leave(builder);
        break;
    case METHOD_CALL:
        build_call(builder);
        break;
    case METHOD_RETURN:
        build_return(builder);
        break;
    case METHOD_JUMP:
        build_jump(builder);
        break;
    case METHOD_BRANCH:
        build_branch(builder);
        break;
    case METHOD_LOOP:
        build_loop(builder);
        break;
    case METHOD_OPERATION:
        build_operation(builder);
        break;
    case METHOD_CLI:
        build_cli(builder);
        break;
    case METHOD_STI:
        build_sti(builder);
        break;
    case METHOD_PUSHF:
        build_pushf(builder);
        break;
    case METHOD_SWAPGS:
        build_swapgs(builder);
        break;
    case METHOD_STAC_CLAC:
        build_stac_clac(builder);
        break;
    case METHOD_READ_SEGMENT:
        build_read_segment(builder);
        break;
    case METHOD_STRING:
        build_string(builder);
        break;
    case METHOD_ELEMENT:
        build_element(builder);
        break;
    case METHOD_DIRECTION:
        build_direction(builder);
        break;
    case METHOD_LOAD_CONTROL:
        build_load_control(builder);
        break;
    case METHOD_INTERPRET:
        build_interpret(builder);
        break;
    }
}

/* --- around them --- */

/* Leaves when something is asked of the vcpu, and sees that the registers the code needs are in the
 * host's. Nobody wants the host's flags here. */
static void build_checks(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    emit_test_dword(emitter, VCPU(requests));
    build_detour(builder, emit_jump_if(emitter, CONDITION_NE), build_site(builder, SITE_REQUESTS),
                 true);
    if (builder->scan->x87) {
        emit_test_byte(emitter, VCPU(translate.x87_live));
        build_detour(builder, emit_jump_if(emitter, CONDITION_E),
                     build_site(builder, SITE_LOAD_X87), true);
    }
    if (builder->scan->xmm) {
        emit_test_byte(emitter, builder->scan->zmm   ? VCPU(translate.zmm_live)
                                : builder->scan->ymm ? VCPU(translate.ymm_live)
                                                     : VCPU(translate.xmm_live));
        build_detour(builder, emit_jump_if(emitter, CONDITION_E),
                     build_site(builder, SITE_LOAD_VECTORS), true);
    }
}

/* The entries: `native` with the flags in the host's register, `parked` with them parked, `body`
 * behind the checks. They are one where the code wants no flags. */
static void build_entries(struct builder *builder, struct translation *translation)
{
    bool wanted = builder->scan->flags_live;
    builder->parked = false;
    translation->native = builder->start + builder->emitter.length;
    if (wanted) {
        emit_park_flags(&builder->emitter);
        emit_align(&builder->emitter, ENTRY_ALIGNMENT);
    }
    translation->parked = builder->start + builder->emitter.length;
    build_checks(builder);
    if (wanted)
        emit_unpark_flags(&builder->emitter);
    translation->body = builder->start + builder->emitter.length;
}

static void build_detours(struct builder *builder)
{
    struct emitter *emitter = &builder->emitter;
    for (unsigned i = 0; i < builder->detour_count; i++) {
        const struct detour *detour = &builder->detours[i];
        struct site *site = &builder->sites[detour->site];
        if (builder->site_pointers[detour->site]) { /* several ways lead to the same event */
            emit_land_at(emitter, detour->jump, builder->events[detour->site]);
            continue;
        }
        emit_land(emitter, detour->jump);
        builder->events[detour->site] = emitter->length;
        if (site->kind == SITE_JUMP || site->kind == SITE_REQUESTS)
            site->stub = builder->start + emitter->length;
        if (site->kind == SITE_READ || site->kind == SITE_WRITE)
            build_access_undo(builder, site->kind == SITE_WRITE ? MMU_WRITE : MMU_READ);
        if (site->run)
            build_window_event(builder, site);
        else
            build_event(builder, site, detour->parked);
    }
}

static bool run_ended(const struct scan *scan)
{
    const struct instruction *last = &scan->instructions[scan->count - 1];
    return last->method == METHOD_CALL || last->method == METHOD_RETURN ||
           last->method == METHOD_JUMP || last->method == METHOD_INTERPRET ||
           last->method == METHOD_STAC_CLAC;
}

static void build_body(struct builder *builder)
{
    const struct scan *scan = builder->scan;
    if (builder->mode & MODE_SINGLE)
        window_plan_none(&builder->plan);
    else
        window_plan(&builder->plan, scan);
    for (unsigned i = 0; i < scan->count; i++) {
        builder->instruction = &scan->instructions[i];
        uint16_t host = (uint16_t)builder->emitter.length;
        build_instruction(builder);
        builder->marks[i] =
            (struct instruction_mark){host, builder->instruction->offset, builder->parked};
    }
    if (!run_ended(scan)) {
        const struct instruction *last = &scan->instructions[scan->count - 1];
        if (scan->crosses)
            build_far_goto(builder, instruction_end(last));
        else
            build_goto(builder, instruction_end(last));
    }
    build_detours(builder);
}

/* The second opinion. A refusal is a defect of the translator: it is said once, and counted. */
static bool code_is_allowed(struct builder *builder, const struct translation *translation)
{
    struct translator *translator = builder->translator;
    struct check_refusal refusal;
    if (check_translation(translator->checker, translator, translation, builder->emitter.bytes,
                          &refusal))
        return true;
    if (translator->refused++)
        return false;
    char bytes[3 * sizeof(refusal.bytes) + 1];
    for (unsigned i = 0; i < sizeof(refusal.bytes); i++)
        (void)snprintf(bytes + 3 * (size_t)i, 4, " %02x", refusal.bytes[i]);
    log_message(builder->vcpu->bus->log, LOG_ERROR,
                "translator: refused its own code for guest address %#llx: %s at byte %u:%s; "
                "such code is interpreted; please report this",
                (unsigned long long)translation->gpa, check_rule_text(refusal.rule), refusal.offset,
                bytes);
    return false;
}

/* Copies what the builder has made into memory that stays. */
static bool settle(struct builder *builder, struct translation *translation)
{
    struct translator *translator = builder->translator;
    size_t sites = builder->site_count * sizeof(struct site);
    size_t marks = builder->scan->count * sizeof(struct instruction_mark);
    translation->sites = translator_take(translator, sites);
    translation->marks = translator_take(translator, marks);
    if (!translation->sites || !translation->marks)
        return false;
    for (unsigned i = 0; i < builder->site_count; i++) {
        builder->sites[i].translation = translation;
        if (builder->site_pointers[i])
            store_le(builder->emitter.bytes + builder->site_pointers[i],
                     (uintptr_t)&translation->sites[i], 8);
    }
    memcpy(translation->sites, builder->sites, sites);
    memcpy(translation->marks, builder->marks, marks);
    translation->site_count = (uint16_t)builder->site_count;
    translation->instruction_count = (uint16_t)builder->scan->count;
    translation->start = builder->start;
    translation->end = builder->start + builder->emitter.length;
    if (!code_is_allowed(builder, translation))
        return false;
    memcpy(translator->writable + builder->start, builder->emitter.bytes, builder->emitter.length);
    translator->used = align_up(translation->end, 16);
    return true;
}

struct translation *build_translation(struct translator *translator, struct vcpu *vcpu,
                                      uint64_t gpa, uint64_t second_page, uint32_t mode)
{
    const struct scan *scan = translator->scan;
    uint8_t code[SCAN_CODE_MAX];
    const struct arena_mark mark = translator_mark(translator);
    struct translation *translation = translator_take(translator, sizeof(*translation));
    struct builder *builder = translator->builder;
    if (!translation)
        return NULL;
    *translation = (struct translation){
        .gpa = gpa,
        .second_page = second_page,
        .mode = mode,
        .xmm = scan->xmm,
        .ymm = scan->ymm,
        .zmm = scan->zmm,
        .x87 = scan->x87,
    };
    *builder = (struct builder){
        .translator = translator,
        .vcpu = vcpu,
        .scan = scan,
        .mode = mode,
        .mmu_mode = vcpu->mmu_mode,
        .wide = mode & CODE_MODE_LONG,
        .start = translator->used,
        .emitter = {.bytes = code, .capacity = sizeof(code)},
    };
    build_entries(builder, translation);
    build_body(builder);
    if (builder->emitter.overflow || !settle(builder, translation)) {
        translator_release(translator, mark);
        return NULL;
    }
    translation_add(translator, translation);
    if (translator->perf_map)
        perf_map_add(translator->perf_map, translator_code(translator, translation->start),
                     translation->end - translation->start,
                     vcpu->translate.rip_page + (gpa & (PAGE_SIZE - 1)), mode & CODE_MODE_USER);
    return translation;
}
