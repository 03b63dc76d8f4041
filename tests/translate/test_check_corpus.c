/* SPDX-License-Identifier: Apache-2.0 */
/* The checker lets everything pass that the translator makes. */
#include "corpus.h"

#include <stdlib.h>

enum { TRANSLATIONS = 100000 };

static void everything_translated_is_accepted(void **state)
{
    struct corpus *corpus = *state;
    unsigned made = 0, given_up = 0;
    while (made < TRANSLATIONS) {
        if (corpus_translate(corpus))
            made++;
        else
            given_up++;
        assert_int_equal(corpus->translator->refused, 0);
        assert_true(given_up < TRANSLATIONS / 10);
    }
    assert_true(corpus->translator->instructions > 3 * TRANSLATIONS);
}

/* A REX byte that another prefix follows is ignored by processors: kept in front of the new memory
 * operand, it would take R14's bit along. */
static void ignored_rex_is_dropped(void **state)
{
    struct corpus *corpus = *state;
    static const uint8_t codes[][7] = {
        {0x49, 0xf2, 0x0f, 0x10, 0x26, 0xc3}, /* movsd xmm4, [rsi] */
        {0x41, 0x66, 0x89, 0x06, 0xc3},       /* mov [rsi], ax */
        {0x41, 0x48, 0x89, 0x06, 0xc3},       /* mov [rsi], rax */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct translation *translation =
            corpus_translate_code(corpus, codes[i], sizeof(codes[i]));
        assert_non_null(translation);
        assert_int_equal(translation->instruction_count, 2);
    }
    assert_int_equal(corpus->translator->refused, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_translated_is_accepted, corpus_setup,
                                        corpus_teardown),
        cmocka_unit_test_setup_teardown(ignored_rex_is_dropped, corpus_setup, corpus_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
