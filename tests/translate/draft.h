/* SPDX-License-Identifier: Apache-2.0 */
/* Translations made by hand for the code checker: at level 3, all entries at the start. */
#ifndef NACRE_TESTS_TRANSLATE_DRAFT_H
#define NACRE_TESTS_TRANSLATE_DRAFT_H

#include "corpus.h"

#define START       0x10000u /* cache offset */
#define MAIN        35       /* where the main line begins: behind the test for requests */
#define DRAFT_SITES 9

/* A translation in the making. */
struct draft {
    struct corpus *corpus;
    uint8_t code[1024];
    struct emitter emitter;
    struct translation translation;
    struct site sites[DRAFT_SITES]; /* the first: requests at the entry */
    uint32_t misses[DRAFT_SITES];   /* by site: the place of the jump */
    unsigned access[DRAFT_SITES];
};

struct instruction_case {
    const char *name;
    uint8_t bytes[12];
    uint8_t length;
};
#define CASE(name, ...)                                             \
    {                                                               \
        name, {__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}) \
    }

/* With the entry that all translations have. */
void draft_begin(struct draft *draft, void **state);
/* A new site's index. */
unsigned draft_site(struct draft *draft, enum site_kind kind);
void draft_put(struct draft *draft, const uint8_t *bytes, unsigned length);
#define PUT(draft, ...) \
    draft_put(draft, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

void draft_jump_to(struct draft *draft, uint32_t target);
void draft_event(struct draft *draft, unsigned site);
/* R14 := 0x1000, a number. */
void draft_address(struct draft *draft);
/* R14: gva to hva. Returns its site. */
unsigned draft_access(struct draft *draft, enum mmu_mode mode, enum mmu_access access,
                      unsigned size);
/* Both, for level 3. */
unsigned draft_user_access(struct draft *draft, enum mmu_access access, unsigned size);

/* What the checker says of it as it is. */
enum check_rule draft_verdict(struct draft *draft);
/* Ends the main line with an event, appends what misses do, and asks the checker. */
enum check_rule draft_finish(struct draft *draft);
/* Of an instruction at [r14] behind a look-up of `size` bytes. */
enum check_rule draft_accessed(void **state, enum mmu_access access, unsigned size,
                               const struct instruction_case *instruction);

#define assert_rule(expression, rule) \
    assert_string_equal(check_rule_text(expression), check_rule_text(rule))

#define TEST(name) cmocka_unit_test_setup_teardown(name, corpus_setup, corpus_teardown)

#endif
