/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the code checker share: what is known of the registers at a place. */
#ifndef NACRE_CPU_TRANSLATE_CHECK_STATE_H
#define NACRE_CPU_TRANSLATE_CHECK_STATE_H

#include "cpu/translate/cache.h"
#include "cpu/translate/check.h"
#include "cpu/translate/check_decode.h"
#include "cpu/translate/scan.h"

#define CHECK_PLACES_MAX 1024u
#define CHECK_SITES_MAX  256u

/*
 * What a scratch register or the spill field may hold, from the most to the least known; where two
 * ways meet, the later one holds. Everything but the last two is a number that says nothing about
 * the host; BIT_31 and BIT_63 are bounded by that, INDEX by the TLB's size.
 */
enum check_value { VALUE_BIT_31, VALUE_BIT_63, VALUE_INDEX, VALUE_PUBLIC, VALUE_HVA, VALUE_SECRET };

struct check_state {
    uint8_t address; /* R14; HVA: of `size` bytes of guest memory */
    uint8_t index;   /* R15, never HVA */
    uint8_t spill;   /* vcpu->translate.spill, never HVA or SECRET */
    uint8_t live;    /* LIVE_*: registers that hold the guest's values */
    uint16_t size;
    bool writable; /* the address was looked up for writing */
    bool switched; /* the vcpu is in another mode by now: nothing may be looked up any more */
    /* Of string instructions, 1 + the binary logarithm of an element's size, or 0: RCX elements are
     * no more than a page; so many are at the address; so many can be read at translate.source. */
    uint8_t bounded, ranged, source;
    /* What vcpu->translate.windows hold: host addresses of so many bytes, with WINDOW_WRITABLE of
     * such as were looked up for writing; 0: not known. */
    uint16_t windows[TRANSLATE_WINDOWS];
};

#define WINDOW_WRITABLE 0x8000u
#define WINDOW_ANY      0xffffu /* behind an event that keeps them: what they were before it */

/* What is known of a window where two ways meet. */
static inline uint16_t window_meet(uint16_t a, uint16_t b)
{
    uint16_t least = (a & ~WINDOW_WRITABLE) < (b & ~WINDOW_WRITABLE) ? a : b;
    return (uint16_t)((least & ~WINDOW_WRITABLE) | (a & b & WINDOW_WRITABLE));
}

static inline void check_forget_range(struct check_state *state)
{
    state->bounded = state->ranged = state->source = 0;
}

/* A place that something leads to. */
struct check_join {
    uint32_t offset;
    struct check_state state; /* as all that lead there promise; once passed, as it is there */
    bool resumed;             /* C leads there: after an event of the same translation */
    bool reached;             /* the pass came by: it is the start of an instruction */
    int16_t event;            /* index of the site whose event starts there, or -1 */
};

/* A jump whose displacement may be changed later, if a site says so. */
struct check_jump {
    uint32_t place; /* of the displacement */
    uint32_t target;
};

/* A sequence as the matching wants it. */
#define SEQUENCE_WORDS 11
#define SEQUENCE_MAX   80
enum sequence_hole { HOLE_NUMBER, HOLE_JUMP, HOLE_SITE, HOLE_COUNT };

struct compiled_sequence {
    uint64_t bytes[SEQUENCE_WORDS], mask[SEQUENCE_WORDS];
    uint8_t words, length;
    uint8_t hole[HOLE_COUNT];       /* where each is */
    uint8_t next[MMU_CACHED_MODES]; /* of those that start alike; 0: none */
};

struct checker {
    uint8_t code[SCAN_CODE_MAX + SEQUENCE_WORDS * 8];
    uint32_t length;
    uint32_t at; /* the instruction or sequence being looked at */
    const struct translator *translator;
    const struct translation *translation;
    unsigned mmu_mode;
    struct check_state state;
    bool dead; /* nothing comes here from the instruction before */
    enum check_rule rule;
    /* By offset: 0, the number of a join, or NOTE_JUMP + the number of a jump. */
    uint16_t notes[SCAN_CODE_MAX];
    unsigned join_count, joins_passed, jump_count;
    struct check_join joins[CHECK_PLACES_MAX];
    struct check_jump jumps[CHECK_PLACES_MAX];
    uint8_t events_live[CHECK_SITES_MAX]; /* by site: what its events may count on */
    uint32_t
        events_jump[CHECK_SITES_MAX]; /* place of the displacement of its only event; 0: none */
    uint16_t events_windows[CHECK_SITES_MAX][TRANSLATE_WINDOWS];
    struct compiled_sequence sequences[SEQUENCE_MAX];
    /* By MMU mode and a hash of their start: the first of the sequences; 0: none. */
    uint8_t first[MMU_CACHED_MODES][256];
    ZydisDecoder decoder;
};

#define NOTE_JUMP 0x8000u

/* Notes that `state` comes to `offset`. False with checker->rule. */
bool check_note_join(struct checker *checker, int64_t offset, const struct check_state *state,
                     bool resumed);
/* The 32-bit displacement at `place` leads to where `state` must be good. Forward only. */
bool check_note_jump(struct checker *checker, uint32_t place, const struct check_state *state);

/* --- check_sequence.c --- */
void sequences_compile(struct checker *checker);
/* Does the code at `offset` start with the test for requests? */
bool sequence_is_entry(const struct checker *checker, uint32_t offset);
/* Bytes of the fixed sequence at checker->at; 0: none, or a refusal in checker->rule. */
unsigned sequence_check(struct checker *checker);

/* --- check.c, for a sequence with an instruction of the guest's in it --- */
/* Bytes of `head`, the instruction with its operand at [RDI], and `tail`; 0: refused. */
unsigned check_high_byte(struct checker *checker, unsigned head, const uint8_t *tail,
                         unsigned tail_length);

/* --- check_field.c --- */
/* Bytes of a load or store of a scratch register from or to the vcpu; 0: it is none. */
unsigned field_check(struct checker *checker);

/* Sets the rule; false. */
static inline bool check_refuse(struct checker *checker, enum check_rule rule)
{
    checker->rule = rule;
    return false;
}

static inline bool value_is_public(uint8_t value)
{
    return value <= VALUE_PUBLIC;
}

#endif
