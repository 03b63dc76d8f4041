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
            corpus_translate_code(corpus, codes[i], sizeof(codes[i]), true);
        assert_non_null(translation);
        assert_int_equal(translation->instruction_count, 2);
    }
    assert_int_equal(corpus->translator->refused, 0);
}

/* What 64-bit mode has given another meaning, or none. None of it may come through as it is. */
static void encodings_of_32bit_code_become_others(void **state)
{
    struct corpus *corpus = *state;
    static const uint8_t codes[][8] = {
        {0x40, 0xc3},                               /* inc eax */
        {0x66, 0x4f, 0xc3},                         /* dec di */
        {0x82, 0xc0, 0x01, 0xc3},                   /* add al, 1 */
        {0xd6, 0xc3},                               /* salc */
        {0xa1, 0x78, 0x56, 0x34, 0x12, 0xc3},       /* mov eax, [0x12345678] */
        {0x65, 0xa2, 0x78, 0x56, 0x34, 0x92, 0xc3}, /* mov gs:[0x92345678], al */
        {0x67, 0x66, 0xa3, 0x34, 0x92, 0xc3},       /* mov [0x9234], ax */
        {0x64, 0xa1, 0x78, 0x56, 0x34, 0x12, 0xc3}, /* mov eax, fs:[0x12345678], which is null */
        {0x67, 0x8b, 0x40, 0xff, 0xc3},             /* mov eax, [bx+si-1] */
        {0x67, 0x8d, 0x40, 0xff, 0xc3},             /* lea eax, [bx+si-1] */
        {0x8d, 0x05, 0x78, 0x56, 0x34, 0x12, 0xc3}, /* lea eax, [0x12345678] */
        {0x8b, 0x05, 0x78, 0x56, 0x34, 0x12, 0xc3}, /* mov eax, [0x12345678] */
        {0x63, 0xc8, 0xc3},                         /* arpl ax, cx */
        {0x60, 0xc3},                               /* pusha */
        {0xc4, 0x00, 0xc3},                         /* les eax, [eax] */
        {0x06, 0xc3},                               /* push es */
        {0x27, 0xc3},                               /* daa */
        {0xd4, 0x0a, 0xc3},                         /* aam */
        {0xf3, 0xa5, 0xc3},                         /* rep movsd */
    };
    for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
        const struct translation *translation =
            corpus_translate_code(corpus, codes[i], sizeof(codes[i]), false);
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
        cmocka_unit_test_setup_teardown(encodings_of_32bit_code_become_others, corpus_setup,
                                        corpus_teardown),
        cmocka_unit_test_setup_teardown(ignored_rex_is_dropped, corpus_setup, corpus_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
