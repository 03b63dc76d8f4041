/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The code checker: reads a finished translation before it becomes executable and refuses whatever
 * the translator may not emit. It is a second opinion: it shares nothing with the emitter, decodes
 * the bytes themselves, and believes only constants: offsets of struct vcpu, the places of the
 * stubs, and the list of the translation's sites, which it checks as well.
 *
 * What an accepted translation can do, wherever a jump or C enters it: compute on guest registers,
 * reach guest memory through addresses the look-up has just given for so many bytes, read and write
 * the fields of struct vcpu listed in check_field.c and check_sequence.c, and leave through the two
 * event stubs or a jump slot. docs/security.md says what follows from it.
 */
#ifndef NACRE_CPU_TRANSLATE_CHECK_H
#define NACRE_CPU_TRANSLATE_CHECK_H

#include <stdbool.h>
#include <stdint.h>

struct checker;
struct translation;
struct translator;

enum check_rule {
    CHECK_ACCEPTED,
    CHECK_LENGTH,      /* nothing, or more than a translation may have */
    CHECK_INSTRUCTION, /* not on the list */
    CHECK_MEMORY,      /* a memory operand that is neither looked up nor of the vcpu */
    CHECK_SIZE,        /* more bytes than were looked up */
    CHECK_STORE,       /* a store to what was looked up for reading */
    CHECK_FIELD,       /* a field of the vcpu that this instruction may not touch */
    CHECK_POINTER,     /* a host pointer would be seen by the guest */
    CHECK_VECTOR,      /* vector or x87 registers that may not hold the guest's values */
    CHECK_JUMP,        /* a jump that leads out of the translation, or back */
    CHECK_TARGET,      /* a place that is jumped to lies inside an instruction or a sequence */
    CHECK_SITE,        /* a site, or a pointer to one, that is not as it must be */
    CHECK_RESUME,      /* C would resume where more is taken for granted than at its event */
    CHECK_END,         /* the code runs past its end */
    CHECK_CROWDED,     /* more jumps than the checker keeps */
    CHECK_RULE_COUNT,
};

struct check_refusal {
    enum check_rule rule;
    uint32_t offset;   /* in the translation */
    uint8_t bytes[16]; /* that are there */
};

struct checker *checker_create(void);
void checker_destroy(struct checker *checker);

/*
 * May `code`, about to be copied to translation->start..end, run? The translation's entries, mode,
 * xmm, x87 and sites are what they will be. False with *refusal. Translator's lock held.
 */
bool check_translation(struct checker *checker, const struct translator *translator,
                       const struct translation *translation, const uint8_t *code,
                       struct check_refusal *refusal);

/* A few words for a message. */
const char *check_rule_text(enum check_rule rule);

#endif
