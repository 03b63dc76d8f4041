/* SPDX-License-Identifier: Apache-2.0 */
/* Translations of random guest code, made but not run, for tests of the code checker. */
#ifndef NACRE_TESTS_TRANSLATE_CORPUS_H
#define NACRE_TESTS_TRANSLATE_CORPUS_H

#include "cpu/bare.h"
#include "cpu/engine.h"
#include "cpu/translate/build.h"
#include "cpu/translate/check.h"

struct random {
    uint64_t state;
};
/* Below `count`. */
unsigned random_pick(struct random *random, unsigned count);

struct corpus {
    struct bare *bare;
    struct vcpu *vcpu;
    struct translator *translator;
    struct random random;
    struct log log; /* refusals are said on stderr */
};

/* cmocka fixtures: *state is a struct corpus. */
int corpus_setup(void **state);
int corpus_teardown(void **state);

/* Random guest code that decodes, most of it into what compilers write. */
void corpus_guest_code(struct random *random, uint8_t *bytes, size_t size);

/* A translation of new random code in a random mode (level 0 or 3, RFLAGS.AC, 64 or 32 bits),
 * through scanner, builder and checker. NULL: refused (translator->refused has grown) or given up.
 */
struct translation *corpus_translate(struct corpus *corpus);
/* The same of given guest code, at level 3; with 64 bits if `wide`. */
struct translation *corpus_translate_code(struct corpus *corpus, const uint8_t *code, size_t size,
                                          bool wide);

/* Its host code. */
const uint8_t *corpus_code(const struct corpus *corpus, const struct translation *translation);

#endif
