/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed sequences of the translator, byte for byte, with holes for what differs; and what each
 * leaves in the scratch registers. Everything that reaches struct vcpu beyond plain loads and
 * stores of a scratch register stands here. A new sequence is a row in the table.
 */
#include "cpu/interpret/vector_state.h"
#include "cpu/translate/check_state.h"

#include <string.h>

#define FIELD(field) ((uint32_t)offsetof(struct vcpu, field))
#define TLB_FIELD(mode, field) \
    (FIELD(tlbs) + (mode) * (uint32_t)sizeof(struct tlb) + (uint32_t)offsetof(struct tlb, field))
#define TABLE_FIELD(mode, field)                                                         \
    (FIELD(tlb_entries) + (mode) * (uint32_t)(TLB_SIZE_MAX * sizeof(struct tlb_entry)) + \
     (uint32_t)offsetof(struct tlb_entry, field))
#define TAG_FIELD(mode, access) \
    (TABLE_FIELD(mode, tag) + (uint32_t)(access) * (uint32_t)sizeof(uint64_t))

/* A sequence's bytes, as 16-bit units so that holes can stand among them. */
#define LE32(value) \
    (uint8_t)(value), (uint8_t)((value) >> 8), (uint8_t)((value) >> 16), (uint8_t)((value) >> 24)
#define HOLE         0x100
#define HOLE32(kind) HOLE | (kind), HOLE | (kind), HOLE | (kind), HOLE | (kind)
#define HOLE64(kind) HOLE32(kind), HOLE32(kind)

/* The instructions they are made of. */
#define MOV_R15_RAX            0x49, 0x89, 0xc7
#define MOV_RAX_R15            0x4c, 0x89, 0xf8
#define MOV_RDI_R14            0x4c, 0x89, 0xf7
#define LAHF_SETO_AL           0x9f, 0x0f, 0x90, 0xc0
#define ADD_AL_7F_SAHF         0x04, 0x7f, 0x9e
#define MOV_GS_AX(offset)      0x66, 0x65, 0x89, 0x04, 0x25, LE32(offset)
#define MOVZX_EAX_GS(offset)   0x65, 0x0f, 0xb7, 0x04, 0x25, LE32(offset)
#define MOV_GS_R14(offset)     0x65, 0x4c, 0x89, 0x34, 0x25, LE32(offset)
#define MOV_GS_RDI(offset)     0x65, 0x48, 0x89, 0x3c, 0x25, LE32(offset)
#define MOV_RDI_GS(offset)     0x65, 0x48, 0x8b, 0x3c, 0x25, LE32(offset)
#define RORX_R15_R14(count)    0xc4, 0x43, 0xfb, 0xf0, 0xfe, (count)
#define RORX_R15_R15(count)    0xc4, 0x43, 0xfb, 0xf0, 0xff, (count)
#define XOR_R15_R14            0x4d, 0x33, 0xfe
#define AND_R15D_GS(offset)    0x65, 0x44, 0x23, 0x3c, 0x25, LE32(offset)
#define AND_R15D(value)        0x41, 0x81, 0xe7, LE32(value)
#define XOR_R14_GS(offset)     0x65, 0x4c, 0x33, 0x34, 0x25, LE32(offset)
#define XOR_R14_GS_R15(offset) 0x65, 0x4d, 0x33, 0xb7, LE32(offset)
#define CMP_R14_GS_R15(offset) 0x65, 0x4d, 0x3b, 0xb7, LE32(offset)
#define ADD_R14_GS_R15(offset) 0x65, 0x4d, 0x03, 0xb7, LE32(offset)
#define JMP_GS_R15(offset)     0x65, 0x41, 0xff, 0xa7, LE32(offset)
#define CMP_R14_NUMBER         0x49, 0x81, 0xfe, HOLE32(HOLE_NUMBER)
#define CMP_BYTE_GS_0(offset)  0x65, 0x80, 0x3c, 0x25, LE32(offset), 0
#define CMP_DWORD_GS_0(offset) 0x65, 0x83, 0x3c, 0x25, LE32(offset), 0
#define OP_DWORD_GS(operation, offset, value) \
    0x65, 0x81, (operation) << 3 | 4, 0x25, LE32(offset), LE32(value)
#define OR_DWORD_GS(offset, value)  OP_DWORD_GS(1, offset, value)
#define AND_DWORD_GS(offset, value) OP_DWORD_GS(4, offset, value)
#define XOR_DWORD_GS(offset, value) OP_DWORD_GS(6, offset, value)
#define MOV_BYTE_GS(offset, value)  0x65, 0xc6, 0x04, 0x25, LE32(offset), (value)
#define TEST_BYTE_GS(offset, value) 0x65, 0xf6, 0x04, 0x25, LE32(offset), (value)
#define MOV_GS_R15(offset)          0x65, 0x4c, 0x89, 0x3c, 0x25, LE32(offset)
#define MOV_R14_GS(offset)          0x65, 0x4c, 0x8b, 0x34, 0x25, LE32(offset)
#define MOV_R15_GS(offset)          0x65, 0x4c, 0x8b, 0x3c, 0x25, LE32(offset)
#define MOV_R14D_GS(offset)         0x65, 0x44, 0x8b, 0x34, 0x25, LE32(offset)
#define MOVZX_R14D_BYTE_GS(offset)  0x65, 0x44, 0x0f, 0xb6, 0x34, 0x25, LE32(offset)
#define MOVZX_R15D_BYTE_GS(offset)  0x65, 0x44, 0x0f, 0xb6, 0x3c, 0x25, LE32(offset)
#define SHL_R14D_11                 0x41, 0xc1, 0xe6, 0x0b
#define OR_R15D_R14D                0x45, 0x09, 0xf7
#define AND_R14D(value)             0x41, 0x81, 0xe6, LE32(value)
#define AND_R14(value)              0x49, 0x81, 0xe6, LE32(value)
#define CMP_RCX(value)              0x48, 0x81, 0xf9, LE32(value)
#define CMP_R15(value)              0x49, 0x81, 0xff, LE32(value)
#define MOV_R15_R14                 0x4d, 0x89, 0xf7
#define MOV_R14_RDI                 0x49, 0x89, 0xfe
#define MOV_R14_RSI                 0x49, 0x89, 0xf6
#define MOV_R15_RDI                 0x49, 0x89, 0xff
#define MOV_R14_RCX                 0x49, 0x89, 0xce
#define MOV_GS_RSI(offset)          0x65, 0x48, 0x89, 0x34, 0x25, LE32(offset)
#define MOV_RSI_GS(offset)          0x65, 0x48, 0x8b, 0x34, 0x25, LE32(offset)
#define LEA_R15_R15_RCX(shift)      0x4d, 0x8d, 0x3c, (shift) << 6 | 0x0f
#define MOV_R14D_EDI                0x41, 0x89, 0xfe
#define MOV_R14D_ESI                0x41, 0x89, 0xf6
/* rex_w: of the result, which has 32 bits in 32-bit code */
#define LEA_DI_R15_R14(rex_w, shift) 0x43 | (rex_w), 0x8d, 0x3c, (shift) << 6 | 0x37
#define LEA_SI_RSI_R14(rex_w, shift) 0x42 | (rex_w), 0x8d, 0x34, (shift) << 6 | 0x36
#define FLDCW_GS(offset)             0x65, 0xd9, 0x2c, 0x25, LE32(offset)
#define MOV_R15_SITE                 0x49, 0xbf, HOLE64(HOLE_SITE)
#define JMP                          0xe9, HOLE32(HOLE_JUMP)
#define JA                           0x0f, 0x87, HOLE32(HOLE_JUMP)
#define JNE                          0x0f, 0x85, HOLE32(HOLE_JUMP)
#define JE                           0x0f, 0x84, HOLE32(HOLE_JUMP)

struct sequence;
typedef unsigned effect_function(struct checker *checker, const struct sequence *sequence,
                                 const struct compiled_sequence *compiled);

struct sequence {
    const uint16_t *units;
    uint8_t count;
    effect_function *effect; /* the length, or 0 with a rule */
    uint16_t argument;       /* for the effect */
    uint8_t mode;            /* MMU mode that it is for, or ANY_MODE */
};
#define ANY_MODE MMU_MODE_COUNT

static uint64_t hole(const struct checker *checker, const struct compiled_sequence *compiled,
                     enum sequence_hole kind, unsigned size)
{
    return load_le(checker->code + checker->at + compiled->hole[kind], size);
}

static unsigned refuse(struct checker *checker, enum check_rule rule)
{
    checker->rule = rule;
    return 0;
}

static uint32_t jump_place(const struct checker *checker, const struct compiled_sequence *compiled)
{
    return checker->at + compiled->hole[HOLE_JUMP];
}

static bool address_is_public(struct checker *checker)
{
    return value_is_public(checker->state.address) || check_refuse(checker, CHECK_POINTER);
}

/* --- effects --- */

static unsigned effect_none(struct checker *checker, const struct sequence *sequence,
                            const struct compiled_sequence *compiled)
{
    (void)checker, (void)sequence;
    return compiled->length;
}

/* S0: gva in, hva of 4096 - NUMBER bytes out. On the way that misses: what the detour undoes. */
static unsigned effect_access(struct checker *checker, const struct sequence *sequence,
                              const struct compiled_sequence *compiled)
{
    uint64_t limit = hole(checker, compiled, HOLE_NUMBER, 4);
    struct check_state *state = &checker->state;
    if (!address_is_public(checker))
        return 0;
    if (limit >= PAGE_SIZE)
        return refuse(checker, CHECK_SIZE);
    if (state->switched)
        return refuse(checker, CHECK_FIELD);
    state->ranged = 0;
    state->address = VALUE_PUBLIC;
    state->index = VALUE_INDEX;
    if (!check_note_jump(checker, jump_place(checker, compiled), state))
        return 0;
    state->address = VALUE_HVA;
    state->size = (uint16_t)(PAGE_SIZE - limit);
    state->writable = sequence->argument == MMU_WRITE;
    return compiled->length;
}

/* S0: the gva again, after the comparison of the same table. */
static unsigned effect_restore(struct checker *checker, const struct sequence *sequence,
                               const struct compiled_sequence *compiled)
{
    (void)sequence;
    if (!address_is_public(checker))
        return 0;
    if (checker->state.index != VALUE_INDEX)
        return refuse(checker, CHECK_FIELD);
    return compiled->length;
}

/* RAX is the guest's. */
static unsigned effect_flags(struct checker *checker, const struct sequence *sequence,
                             const struct compiled_sequence *compiled)
{
    (void)sequence;
    checker->state.index = VALUE_PUBLIC;
    return compiled->length;
}

static unsigned effect_bit(struct checker *checker, const struct sequence *sequence,
                           const struct compiled_sequence *compiled)
{
    if (!value_is_public(checker->state.index))
        return refuse(checker, CHECK_POINTER);
    checker->state.index = (uint8_t)sequence->argument;
    return compiled->length;
}

/* At an entry: on the way that stays, the set of registers `argument` is the guest's. */
static unsigned effect_test(struct checker *checker, const struct sequence *sequence,
                            const struct compiled_sequence *compiled)
{
    if (!check_note_jump(checker, jump_place(checker, compiled), &checker->state))
        return 0;
    checker->state.live |= (uint8_t)sequence->argument;
    return compiled->length;
}

/* The state after something that does not go on. */
static void leave(struct checker *checker)
{
    checker->dead = true;
    checker->state.address = checker->state.index = VALUE_SECRET;
    checker->state.spill = VALUE_PUBLIC;
    memset(checker->state.windows, 0, sizeof(checker->state.windows));
}

/* Through the jump slots to the gva in S0, which may come from anywhere: all that is there is made
 * by C, and an index is within the table. */
static unsigned effect_lookup(struct checker *checker, const struct sequence *sequence,
                              const struct compiled_sequence *compiled)
{
    (void)sequence;
    if (!address_is_public(checker))
        return 0;
    checker->state.index = VALUE_PUBLIC;
    if (!check_note_jump(checker, jump_place(checker, compiled), &checker->state))
        return 0;
    leave(checker);
    return compiled->length;
}

static bool is_stub(const struct checker *checker, uint32_t place)
{
    int32_t displacement = (int32_t)load_le(checker->code + place, 4);
    int64_t target = (int64_t)checker->translation->start + place + 4 + displacement;
    return target == checker->translator->event_native ||
           target == checker->translator->event_parked;
}

static unsigned effect_event(struct checker *checker, const struct sequence *sequence,
                             const struct compiled_sequence *compiled)
{
    const struct translation *translation = checker->translation;
    uint64_t distance = hole(checker, compiled, HOLE_SITE, 8) - (uintptr_t)translation->sites;
    uint64_t index = distance / sizeof(struct site);
    (void)sequence;
    if (!is_stub(checker, jump_place(checker, compiled)))
        return refuse(checker, CHECK_JUMP);
    if (distance % sizeof(struct site) || index >= translation->site_count)
        return refuse(checker, CHECK_SITE);
    uint8_t kind = translation->sites[index].kind;
    if ((kind == SITE_READ || kind == SITE_WRITE) && !address_is_public(checker))
        return 0; /* the guest would see it as the address of a page fault */
    /* What a branch is linked to must be for the mode that the vcpu is in there. */
    uint32_t mode =
        (translation->mode & ~MODE_SINGLE) ^ (checker->state.switched ? CODE_MODE_AC : 0);
    if (kind == SITE_JUMP && translation->sites[index].mode != mode)
        return refuse(checker, CHECK_SITE);
    if (checker->state.switched && (kind == SITE_OPERATION || kind == SITE_WINDOW))
        return refuse(checker, CHECK_SITE); /* C would resume in code of the other mode */
    if (checker->notes[checker->at])
        checker->joins[checker->notes[checker->at]].event = (int16_t)index;
    if (checker->events_jump[index] && translation->sites[index].run)
        return refuse(checker, CHECK_SITE);
    checker->events_jump[index] = jump_place(checker, compiled);
    checker->events_live[index] &= checker->state.live;
    for (unsigned i = 0; i < TRANSLATE_WINDOWS; i++)
        checker->events_windows[index][i] =
            window_meet(checker->events_windows[index][i], checker->state.windows[i]);
    leave(checker);
    return compiled->length;
}

/* Both scratch registers hold numbers of the guest's. */
static unsigned effect_numbers(struct checker *checker, const struct sequence *sequence,
                               const struct compiled_sequence *compiled)
{
    (void)sequence;
    checker->state.address = checker->state.index = VALUE_PUBLIC;
    return compiled->length;
}

/* PUSHF's image, in the spill field too. */
static unsigned effect_image(struct checker *checker, const struct sequence *sequence,
                             const struct compiled_sequence *compiled)
{
    checker->state.spill = VALUE_PUBLIC;
    return effect_numbers(checker, sequence, compiled);
}

static unsigned effect_switch(struct checker *checker, const struct sequence *sequence,
                              const struct compiled_sequence *compiled)
{
    bool ac = checker->translation->mode & CODE_MODE_AC;
    if (ac == (bool)sequence->argument || checker->state.switched)
        return refuse(checker, CHECK_FIELD); /* it would leave the mode it says it enters */
    checker->state.switched = true;
    return compiled->length;
}

/* A number in R15 becomes the x87's control word, by the spill field, unless it unmasks something.
 */
static unsigned effect_control(struct checker *checker, const struct sequence *sequence,
                               const struct compiled_sequence *compiled)
{
    (void)sequence;
    if (!value_is_public(checker->state.index))
        return refuse(checker, CHECK_POINTER);
    if (!(checker->state.live & LIVE_X87))
        return refuse(checker, CHECK_VECTOR);
    checker->state.index = checker->state.spill = VALUE_PUBLIC;
    return check_note_jump(checker, jump_place(checker, compiled), &checker->state)
               ? compiled->length
               : 0;
}

/* RCX is at most a page of elements on the way that stays. argument: 1 + the shift of their size.
 */
static unsigned effect_bound(struct checker *checker, const struct sequence *sequence,
                             const struct compiled_sequence *compiled)
{
    if (!check_note_jump(checker, jump_place(checker, compiled), &checker->state))
        return 0;
    checker->state.bounded = (uint8_t)sequence->argument;
    return compiled->length;
}

/* All of them are in the page of the address that was looked up. */
static unsigned effect_range(struct checker *checker, const struct sequence *sequence,
                             const struct compiled_sequence *compiled)
{
    struct check_state *state = &checker->state;
    if (state->address != VALUE_HVA || state->bounded != sequence->argument)
        return refuse(checker, CHECK_SIZE);
    state->index = VALUE_SECRET;
    if (!check_note_jump(checker, jump_place(checker, compiled), state))
        return 0;
    state->ranged = (uint8_t)sequence->argument;
    return compiled->length;
}

/* The address becomes the one that is read from; the next is that of RDI. */
static unsigned effect_source(struct checker *checker, const struct sequence *sequence,
                              const struct compiled_sequence *compiled)
{
    struct check_state *state = &checker->state;
    (void)sequence;
    if (!state->ranged || state->address != VALUE_HVA)
        return refuse(checker, CHECK_SIZE);
    state->source = state->ranged;
    state->ranged = 0;
    state->address = VALUE_PUBLIC;
    return compiled->length;
}

/* The next address to be looked up; RCX stays as it is. */
static unsigned effect_pointer(struct checker *checker, const struct sequence *sequence,
                               const struct compiled_sequence *compiled)
{
    (void)sequence;
    checker->state.address = VALUE_PUBLIC;
    return compiled->length;
}

/* REP STOS, and with a source REP MOVS: host addresses are in RDI and RSI only inside. */
static unsigned effect_store_string(struct checker *checker, const struct sequence *sequence,
                                    const struct compiled_sequence *compiled)
{
    const struct check_state *state = &checker->state;
    if (state->address != VALUE_HVA || state->ranged != sequence->argument)
        return refuse(checker, CHECK_SIZE);
    if (!state->writable)
        return refuse(checker, CHECK_STORE);
    check_forget_range(&checker->state);
    return effect_numbers(checker, sequence, compiled);
}

static unsigned effect_move_string(struct checker *checker, const struct sequence *sequence,
                                   const struct compiled_sequence *compiled)
{
    if (checker->state.source != sequence->argument)
        return refuse(checker, CHECK_SIZE);
    return effect_store_string(checker, sequence, compiled);
}

/* Defined with the pass, which decodes the instruction in the middle. */
static unsigned effect_high_byte(struct checker *checker, const struct sequence *sequence,
                                 const struct compiled_sequence *compiled)
{
    static const uint8_t tail[] = {MOV_RDI_GS(FIELD(translate.spill))};
    (void)sequence;
    return check_high_byte(checker, compiled->length, tail, sizeof(tail));
}

/* --- the table --- */

#define UNITS(...)                            \
    .units = (const uint16_t[]){__VA_ARGS__}, \
    .count = sizeof((const uint16_t[]){__VA_ARGS__}) / sizeof(uint16_t)

#define TLB_SHIFT  5 /* of the size of a struct tlb_entry */
#define SLOT_SHIFT 4 /* of a struct jump_slot */

#define ACCESS(accessed, accessing)                                                            \
    {UNITS(RORX_R15_R14(PAGE_SHIFT - TLB_SHIFT), AND_R15D_GS(TLB_FIELD(accessing, byte_mask)), \
           XOR_R14_GS_R15(TAG_FIELD(accessing, accessed)),                                     \
           XOR_R14_GS(TLB_FIELD(accessing, generation)), CMP_R14_NUMBER, JA,                   \
           ADD_R14_GS_R15(TABLE_FIELD(accessing, page))),                                      \
     .effect = effect_access, .argument = (accessed), .mode = (accessing)},                    \
    {                                                                                          \
        UNITS(XOR_R14_GS_R15(TAG_FIELD(accessing, accessed)),                                  \
              XOR_R14_GS(TLB_FIELD(accessing, generation))),                                   \
            .effect = effect_restore, .mode = (accessing)                                      \
    }

/* What kernels do in place: privileged.c. */
#define KERNEL(privileged)                                                                    \
    {UNITS(AND_DWORD_GS(FIELD(rflags), ~(uint32_t)RFLAGS_IF)), .effect = effect_none,         \
     .mode = (privileged)},                                                                   \
        {UNITS(OR_DWORD_GS(FIELD(rflags), RFLAGS_IF)), .effect = effect_none,                 \
         .mode = (privileged)},                                                               \
        {UNITS(OR_DWORD_GS(FIELD(rflags), RFLAGS_AC),                                         \
               MOV_BYTE_GS(FIELD(mmu_mode), MMU_SUPERVISOR_AC),                               \
               XOR_DWORD_GS(FIELD(code_mode), CODE_MODE_AC),                                  \
               XOR_DWORD_GS(FIELD(translate.jump_context), CONTEXT_AC)),                      \
         .effect = effect_switch, .argument = true, .mode = (privileged)},                    \
        {UNITS(AND_DWORD_GS(FIELD(rflags), ~(uint32_t)RFLAGS_AC),                             \
               MOV_BYTE_GS(FIELD(mmu_mode), MMU_SUPERVISOR),                                  \
               XOR_DWORD_GS(FIELD(code_mode), CODE_MODE_AC),                                  \
               XOR_DWORD_GS(FIELD(translate.jump_context), CONTEXT_AC)),                      \
         .effect = effect_switch, .argument = false, .mode = (privileged)},                   \
        {UNITS(MOV_R14_GS(FIELD(segment_bases[SEG_GS])), MOV_R15_GS(FIELD(kernel_gs_base)),   \
               MOV_GS_R14(FIELD(kernel_gs_base)), MOV_GS_R15(FIELD(segment_bases[SEG_GS])),   \
               MOV_GS_R15(FIELD(segments[SEG_GS].base))),                                     \
         .effect = effect_numbers, .mode = (privileged)},                                     \
    {                                                                                         \
        UNITS(MOVZX_R15D_BYTE_GS(FIELD(translate.parked_flags) + 1),                          \
              MOVZX_R14D_BYTE_GS(FIELD(translate.parked_flags)), SHL_R14D_11, OR_R15D_R14D,   \
              MOV_R14D_GS(FIELD(rflags)),                                                     \
              AND_R14D(~(uint32_t)(RFLAGS_ARITHMETIC | RFLAGS_RF | RFLAGS_VM)), OR_R15D_R14D, \
              MOV_GS_R15(FIELD(translate.spill))),                                            \
            .effect = effect_image, .mode = (privileged)                                      \
    }

/* String instructions on elements of 1 << shift bytes: string.c. */
#define REP_PREFIX 0xf3
#define REX_W      8
#define STRING_RANGE(shift)                                                           \
    {UNITS(CMP_RCX((uint32_t)PAGE_SIZE >> (shift)), JA), .effect = effect_bound,      \
     .argument = (shift) + 1, .mode = ANY_MODE},                                      \
    {                                                                                 \
        UNITS(MOV_R15_R14, AND_R15D((uint32_t)PAGE_SIZE - 1), LEA_R15_R15_RCX(shift), \
              CMP_R15((uint32_t)PAGE_SIZE), JA),                                      \
            .effect = effect_range, .argument = (shift) + 1, .mode = ANY_MODE         \
    }
#define STRING(rex_w, shift, prefix_and_stos, prefix_and_movs)                                    \
    {UNITS(MOV_R15_RDI, MOV_RDI_R14, MOV_R14_RCX, prefix_and_stos, LEA_DI_R15_R14(rex_w, shift)), \
     .effect = effect_store_string, .argument = (shift) + 1, .mode = ANY_MODE},                   \
    {                                                                                             \
        UNITS(MOV_GS_RSI(FIELD(translate.spill2)), MOV_RSI_GS(FIELD(translate.source)),           \
              MOV_R15_RDI, MOV_RDI_R14, MOV_R14_RCX, prefix_and_movs,                             \
              LEA_DI_R15_R14(rex_w, shift), MOV_RSI_GS(FIELD(translate.spill2)),                  \
              LEA_SI_RSI_R14(rex_w, shift)),                                                      \
            .effect = effect_move_string, .argument = (shift) + 1, .mode = ANY_MODE               \
    }
/* In 64-bit and in 32-bit code. */
#define STRINGS(shift, prefix_and_stos, prefix_and_movs)                                       \
    STRING_RANGE(shift), STRING(REX_W, shift, BYTES(prefix_and_stos), BYTES(prefix_and_movs)), \
        STRING(0, shift, BYTES(prefix_and_stos), BYTES(prefix_and_movs))
#define BYTES(...) __VA_ARGS__

static const struct sequence sequences[] = {
    {0}, /* 0: none */
    KERNEL(MMU_SUPERVISOR),
    KERNEL(MMU_SUPERVISOR_AC),
    STRINGS(0, BYTES(REP_PREFIX, 0xaa), BYTES(REP_PREFIX, 0xa4)),
    STRINGS(1, BYTES(0x66, REP_PREFIX, 0xab), BYTES(0x66, REP_PREFIX, 0xa5)),
    STRINGS(2, BYTES(REP_PREFIX, 0xab), BYTES(REP_PREFIX, 0xa5)),
    STRING_RANGE(3),
    STRING(REX_W, 3, BYTES(REP_PREFIX, 0x48, 0xab), BYTES(REP_PREFIX, 0x48, 0xa5)),
    {UNITS(MOV_GS_R14(FIELD(translate.source)), MOV_R14_RDI), .effect = effect_source,
     .mode = ANY_MODE},
    {UNITS(MOV_GS_R14(FIELD(translate.source)), MOV_R14D_EDI), .effect = effect_source,
     .mode = ANY_MODE},
    {UNITS(MOV_R14_RDI), .effect = effect_pointer, .mode = ANY_MODE},
    {UNITS(MOV_R14_RSI), .effect = effect_pointer, .mode = ANY_MODE},
    {UNITS(MOV_R14D_EDI), .effect = effect_pointer, .mode = ANY_MODE},
    {UNITS(MOV_R14D_ESI), .effect = effect_pointer, .mode = ANY_MODE},
    {UNITS(AND_DWORD_GS(FIELD(rflags), ~(uint32_t)RFLAGS_DF)), .effect = effect_none,
     .mode = ANY_MODE},
    {UNITS(OR_DWORD_GS(FIELD(rflags), RFLAGS_DF)), .effect = effect_none, .mode = ANY_MODE},
    {UNITS(MOV_GS_R15(FIELD(translate.spill)), AND_R15D(FCW_MASKS), CMP_R15(FCW_MASKS), JNE,
           FLDCW_GS(FIELD(translate.spill))),
     .effect = effect_control, .mode = ANY_MODE},
    {UNITS(TEST_BYTE_GS(FIELD(rflags) + 1, RFLAGS_DF >> 8), JNE), .effect = effect_test,
     .mode = ANY_MODE},
    {UNITS(CMP_BYTE_GS_0(FIELD(interrupt_window)), JNE), .effect = effect_test, .mode = ANY_MODE},
    ACCESS(MMU_READ, MMU_USER),
    ACCESS(MMU_WRITE, MMU_USER),
    ACCESS(MMU_READ, MMU_SUPERVISOR),
    ACCESS(MMU_WRITE, MMU_SUPERVISOR),
    ACCESS(MMU_READ, MMU_SUPERVISOR_AC),
    ACCESS(MMU_WRITE, MMU_SUPERVISOR_AC),
    {UNITS(MOV_R15_RAX, LAHF_SETO_AL, MOV_GS_AX(FIELD(translate.parked_flags)), MOV_RAX_R15),
     .effect = effect_flags, .mode = ANY_MODE},
    {UNITS(MOV_R15_RAX, MOVZX_EAX_GS(FIELD(translate.parked_flags)), ADD_AL_7F_SAHF, MOV_RAX_R15),
     .effect = effect_flags, .mode = ANY_MODE},
    {UNITS(MOV_R15_SITE, JMP), .effect = effect_event, .mode = ANY_MODE},
    {UNITS(RORX_R15_R14(PAGE_SHIFT), XOR_R15_R14, RORX_R15_R15(64 - SLOT_SHIFT),
           AND_R15D((JUMP_SLOTS - 1) << SLOT_SHIFT), XOR_R14_GS(FIELD(translate.jump_context)),
           CMP_R14_GS_R15(FIELD(translate.jumps[0].tag)), JNE, AND_R14((uint32_t)PAGE_MASK),
           MOV_GS_R14(FIELD(translate.rip_page)), JMP_GS_R15(FIELD(translate.jumps[0].parked))),
     .effect = effect_lookup, .mode = ANY_MODE},
    {UNITS(CMP_DWORD_GS_0(FIELD(requests)), JNE), .effect = effect_test, .mode = ANY_MODE},
    {UNITS(CMP_BYTE_GS_0(FIELD(translate.x87_live)), JE), .effect = effect_test,
     .argument = LIVE_X87, .mode = ANY_MODE},
    {UNITS(CMP_BYTE_GS_0(FIELD(translate.xmm_live)), JE), .effect = effect_test,
     .argument = LIVE_XMM, .mode = ANY_MODE},
    {UNITS(CMP_BYTE_GS_0(FIELD(translate.ymm_live)), JE), .effect = effect_test,
     .argument = LIVE_XMM | LIVE_YMM, .mode = ANY_MODE},
    {UNITS(CMP_BYTE_GS_0(FIELD(translate.zmm_live)), JE), .effect = effect_test,
     .argument = LIVE_XMM | LIVE_YMM | LIVE_ZMM, .mode = ANY_MODE},
    {UNITS(AND_R15D(31)), .effect = effect_bit, .argument = VALUE_BIT_31, .mode = ANY_MODE},
    {UNITS(AND_R15D(63)), .effect = effect_bit, .argument = VALUE_BIT_63, .mode = ANY_MODE},
    {UNITS(MOV_GS_RDI(FIELD(translate.spill)), MOV_RDI_R14), .effect = effect_high_byte,
     .mode = ANY_MODE},
};
_Static_assert(ARRAY_SIZE(sequences) <= SEQUENCE_MAX, "struct checker has room for them");
_Static_assert(sizeof(struct tlb_entry) == 1 << TLB_SHIFT, "the index is made by one rotate");
_Static_assert(sizeof(struct jump_slot) == 1 << SLOT_SHIFT, "the index is made by one rotate");

/* --- matching --- */

static void sequence_compile(const struct sequence *sequence, struct compiled_sequence *compiled)
{
    uint8_t bytes[sizeof(compiled->bytes)] = {0}, mask[sizeof(compiled->mask)] = {0};
    for (unsigned i = sequence->count; i-- > 0;) {
        if (sequence->units[i] & HOLE) {
            compiled->hole[sequence->units[i] & 0xff] = (uint8_t)i; /* its first byte, at last */
        } else {
            bytes[i] = (uint8_t)sequence->units[i];
            mask[i] = 0xff;
        }
    }
    memcpy(compiled->bytes, bytes, sizeof(bytes));
    memcpy(compiled->mask, mask, sizeof(mask));
    compiled->length = sequence->count;
    compiled->words = (uint8_t)((sequence->count + 7) / 8);
}

/* By the first two bytes, which are never holes. */
static uint8_t hash(const uint8_t *code)
{
    return (uint8_t)(code[0] ^ code[1] << 1);
}

void sequences_compile(struct checker *checker)
{
    for (unsigned i = ARRAY_SIZE(sequences) - 1; i > 0; i--) {
        struct compiled_sequence *compiled = &checker->sequences[i];
        const uint8_t start[] = {(uint8_t)sequences[i].units[0], (uint8_t)sequences[i].units[1]};
        sequence_compile(&sequences[i], compiled);
        for (unsigned mode = 0; mode < MMU_CACHED_MODES; mode++) {
            if (sequences[i].mode != ANY_MODE && sequences[i].mode != mode)
                continue;
            uint8_t *first = &checker->first[mode][hash(start)];
            compiled->next[mode] = *first;
            *first = (uint8_t)i;
        }
    }
}

static bool sequence_is_at(const struct compiled_sequence *compiled, const uint8_t *code)
{
    for (unsigned i = 0; i < compiled->words; i++) {
        uint64_t word;
        memcpy(&word, code + 8 * (size_t)i, sizeof(word));
        if ((word ^ compiled->bytes[i]) & compiled->mask[i])
            return false;
    }
    return true;
}

bool sequence_is_entry(const struct checker *checker, uint32_t offset)
{
    static const uint8_t test[] = {CMP_DWORD_GS_0(FIELD(requests))};
    return offset + sizeof(test) <= checker->length &&
           !memcmp(checker->code + offset, test, sizeof(test));
}

unsigned sequence_check(struct checker *checker)
{
    const uint8_t *code = checker->code + checker->at;
    unsigned mode = checker->mmu_mode;
    for (unsigned i = checker->first[mode][hash(code)]; i; i = checker->sequences[i].next[mode]) {
        const struct compiled_sequence *compiled = &checker->sequences[i];
        if (sequence_is_at(compiled, code) && checker->at + compiled->length <= checker->length)
            return sequences[i].effect(checker, &sequences[i], compiled);
    }
    return 0;
}
