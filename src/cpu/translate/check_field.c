/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of struct vcpu that a single instruction may load a scratch register from, or store it
 * to: mov r14/r15, gs:[constant] and back, 64 bits. */
#include "cpu/translate/check_state.h"

#define FIELD(field) ((uint32_t)offsetof(struct vcpu, field))

enum { LOAD = 1, STORE = 2 };

static const struct {
    uint32_t offset;
    uint8_t allowed; /* LOAD, STORE */
} fields[] = {
    {FIELD(registers[GPR_R14]), LOAD | STORE}, {FIELD(registers[GPR_R15]), LOAD | STORE},
    {FIELD(translate.spill), LOAD | STORE},    {FIELD(translate.rip_page), LOAD},
    {FIELD(segment_bases[SEG_FS]), LOAD},      {FIELD(segment_bases[SEG_GS]), LOAD},
};

static bool field_allows(uint32_t offset, uint8_t use)
{
    for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
        if (fields[i].offset == offset)
            return fields[i].allowed & use;
    return false;
}

/* A selector into a guest register or R15: movzx r32, word gs:[constant]; mov r16, gs:[constant].
 */
static unsigned selector_check(struct checker *checker)
{
    const uint8_t *bytes = checker->code + checker->at;
    unsigned at = 0;
    bool narrow = bytes[at] == 0x66;
    at += narrow;
    if (bytes[at++] != 0x65)
        return 0;
    bool high = bytes[at] == 0x44;
    at += high;
    if (!narrow && bytes[at++] != 0x0f)
        return 0;
    if (bytes[at++] != (narrow ? 0x8b : 0xb7) || (bytes[at] & 0xc7) != 4 || bytes[at + 1] != 0x25)
        return 0;
    unsigned number = (bytes[at] >> 3 & 7u) | (high ? 8u : 0);
    uint32_t offset = (uint32_t)load_le(bytes + at + 2, 4) - FIELD(segments[0].selector);
    at += 6;
    if (number == GPR_R14 || (narrow && number == GPR_R15) || offset % sizeof(struct segment) ||
        offset / sizeof(struct segment) >= SEG_COUNT || checker->at + at > checker->length) {
        check_refuse(checker, CHECK_FIELD);
        return 0;
    }
    if (number == GPR_R15)
        checker->state.index = VALUE_PUBLIC;
    check_forget_range(&checker->state);
    return at;
}

/* mov gs:[window], r14 and back: an address that was looked up, kept for later. */
static unsigned window_check(struct checker *checker, unsigned index, bool store, unsigned length)
{
    struct check_state *state = &checker->state;
    uint16_t *window = &state->windows[index];
    if (store && state->address != VALUE_HVA) {
        check_refuse(checker, CHECK_POINTER);
        return 0;
    }
    if (!store && !*window) {
        check_refuse(checker, CHECK_MEMORY);
        return 0;
    }
    if (store) {
        *window = (uint16_t)(state->size | (state->writable ? WINDOW_WRITABLE : 0));
        return length;
    }
    state->address = VALUE_HVA;
    state->size = *window & ~WINDOW_WRITABLE;
    state->writable = *window & WINDOW_WRITABLE;
    state->ranged = 0;
    return length;
}

#define FIELD_LENGTH 9

unsigned field_check(struct checker *checker)
{
    const uint8_t *bytes = checker->code + checker->at;
    /* GS, REX.WR, the opcode, ModRM and SIB for R14 or R15 with an absolute displacement */
    if (bytes[0] != 0x65 || bytes[1] != 0x4c || (bytes[2] != 0x89 && bytes[2] != 0x8b) ||
        (bytes[3] | 8) != 0x3c || bytes[4] != 0x25 || checker->at + FIELD_LENGTH > checker->length)
        return selector_check(checker);
    uint32_t offset = (uint32_t)load_le(bytes + 5, 4);
    bool is_address = bytes[3] == 0x34, store = bytes[2] == 0x89;
    uint8_t *value = is_address ? &checker->state.address : &checker->state.index;
    bool spill = offset == FIELD(translate.spill);
    uint32_t window = offset - FIELD(translate.windows);
    if (is_address && window < 8 * TRANSLATE_WINDOWS && !(window % 8))
        return window_check(checker, window / 8, store, FIELD_LENGTH);
    if (!field_allows(offset, store ? STORE : LOAD)) {
        check_refuse(checker, CHECK_FIELD);
        return 0;
    }
    if (!store) {
        *value = spill ? checker->state.spill : VALUE_PUBLIC;
        return FIELD_LENGTH;
    }
    if (!value_is_public(*value)) {
        check_refuse(checker, CHECK_POINTER);
        return 0;
    }
    if (spill)
        checker->state.spill = *value;
    return FIELD_LENGTH;
}
